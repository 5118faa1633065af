//! Drafters of other dialects, byte orders and versions, made from the fixtures, become the files that `convert` writes.

use crate::common::parts::*;
use crate::common::*;
use gguf_conv::gguf::{Array, Gguf, Value};
use gguf_conv::io::Inputs;
use gguf_conv::quant::GgmlType;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

/// A folder with a drafter in it that a test has changed.
struct Old {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Old {
    fn new(parts: &Parts) -> Old {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.gguf");
        parts.write(&path);
        Old { folder, path }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("new.gguf")
    }

    #[track_caller]
    fn migrate(&self, args: &[&str]) -> Vec<u8> {
        let out = self.out();
        let fixed = ["migrate", path_str(&self.path), "-o", path_str(&out), "--force"];
        succeed(&[&fixed, args].concat());
        std::fs::read(out).unwrap()
    }

    #[track_caller]
    fn refuse(&self, words: &[&str], args: &[&str]) {
        let out = self.out();
        refuse(
            3,
            words,
            &[&["migrate", path_str(&self.path), "-o", path_str(&out)], args].concat(),
        );
        assert!(!out.exists());
    }

    fn changes(&self, args: &[&str]) -> Vec<Json> {
        let fixed = ["migrate", path_str(&self.path), "--dry-run", "--json"];
        let (out, _) = succeed(&[&fixed, args].concat());
        let report = result(&out);
        report["changes"].as_array().unwrap().clone()
    }
}

#[test]
fn other_dialects_become_what_convert_writes() {
    for pair in PAIRS {
        for outtype in ["bf16", "q8_0", "q4_0"] {
            let expected = converted(pair, &["--outtype", outtype]);
            for parts in [atomic(pair, outtype), ik(pair, outtype)] {
                assert!(Old::new(&parts).migrate(&[]) == expected, "{pair} {outtype}");
            }
        }
        let upstream = std::fs::read(fixture(pair).join("drafter-q8_0.gguf")).unwrap();
        assert!(
            Old::new(&atomic(pair, "q8_0")).migrate(&[]) == upstream,
            "{pair}, by upstream's converter"
        );
    }
}

#[test]
fn the_centroid_head_is_kept_on_demand() {
    let old = Old::new(&atomic("mini-edge", "q8_0"));
    let kept = converted("mini-edge", &["--outtype", "q8_0", "--keep-centroids"]);
    assert!(old.migrate(&["--keep-centroids"]) == kept);
    let dropped: Vec<Json> = old
        .changes(&[])
        .into_iter()
        .filter(|change| change["action"] == "drop")
        .collect();
    let names: Vec<&str> = dropped
        .iter()
        .map(|change| change["from"].as_str().unwrap())
        .collect();
    for name in [
        "mtp.centroids.weight",
        "mtp.token_ordering.weight",
        "gemma4_assistant.n_centroids",
        "gemma4_assistant.attention.k_eq_v",
        "gemma4_assistant.requires_target_arch",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
}

#[test]
fn there_and_back() {
    for pair in PAIRS {
        let parts = Parts::read(&fixture(pair).join("drafter-q8_0.gguf"));
        let original = std::fs::read(fixture(pair).join("drafter-q8_0.gguf")).unwrap();
        for args in [&["--to", "atomic"][..], &["--to", "ik"], &["--endian", "big"]] {
            let there = Old::new(&parts).migrate(args);
            assert!(there != original);
            let back = Old::new(&parts);
            std::fs::write(&back.path, there).unwrap();
            assert!(back.migrate(&[]) == original, "{pair} {args:?}");
        }
    }
}

/// What the fork's loader asks for: `general.architecture`, the backbone's width under its own name, its tensors.
#[test]
fn to_another_dialect() {
    let old = Old::new(&Parts::read(&fixture("mini-dense/drafter-q8_0.gguf")));
    old.migrate(&["--to", "atomic"]);
    let new = Gguf::open(&Inputs::new(), &old.out()).unwrap();
    let meta = new.metadata();
    assert_eq!(meta.string("general.architecture").unwrap(), "gemma4_assistant");
    assert_eq!(meta.uint("gemma4_assistant.n_embd_backbone").unwrap(), 128);
    assert_eq!(
        meta.string("gemma4_assistant.requires_target_arch").unwrap(),
        "gemma4"
    );
    assert!(!meta.contains("gemma4_assistant.nextn_predict_layers"));
    assert!(new.info("mtp.pre_projection.weight").is_some() && new.info("rope_freqs.weight").is_some());
    old.migrate(&["--to", "ik"]);
    let new = Gguf::open(&Inputs::new(), &old.out()).unwrap();
    assert_eq!(
        new.metadata()
            .uint("gemma4_mtp.backbone_embedding_length")
            .unwrap(),
        128
    );
    assert!(new.info("mtp_post_proj.weight").is_some() && new.info("rope_freqs.weight").is_none());
    refuse(
        2,
        &["no dialect \"vllm\"", "upstream, atomic, ik"],
        &["migrate", path_str(&old.path), "--dry-run", "--to", "vllm"],
    );
}

#[test]
fn a_file_that_is_right_stays_as_it_is() {
    for pair in PAIRS {
        for file in ["drafter-q8_0.gguf", "drafter-lq-q4_0.gguf"] {
            let old = Old::new(&Parts::read(&fixture(pair).join(file)));
            assert!(
                old.migrate(&[]) == std::fs::read(fixture(pair).join(file)).unwrap(),
                "{pair} {file}"
            );
            assert!(old.changes(&[]).is_empty());
        }
    }
}

#[test]
fn a_file_in_another_dialect_stays_as_it_is_in_that() {
    for dialect in ["atomic", "ik"] {
        let old = Old::new(&Parts::read(&fixture("mini-dense/drafter-q8_0.gguf")));
        let there = old.migrate(&["--to", dialect]);
        std::fs::write(&old.path, &there).unwrap();
        assert!(old.changes(&["--to", dialect]).is_empty(), "{dialect}");
        assert!(old.migrate(&["--to", dialect]) == there, "{dialect}");
    }
}

/// Some change only the architecture's name, or only that and the keys.
#[test]
fn files_renamed_by_half() {
    let expected = std::fs::read(fixture("mini-dense/drafter-q8_0.gguf")).unwrap();
    let mut parts = atomic("mini-dense", "q8_0");
    parts.set("general.architecture", UPSTREAM);
    assert!(Old::new(&parts).migrate(&[]) == expected);
    for (key, _) in &mut parts.metadata {
        *key = key.replace("gemma4_assistant.", "gemma4-assistant.");
    }
    assert!(Old::new(&parts).migrate(&[]) == expected);
}

#[test]
fn version_2_and_split_files() {
    let expected = std::fs::read(fixture("mini-dense/drafter-q8_0.gguf")).unwrap();
    let old = Old::new(&Parts::read(&fixture("mini-dense/drafter-q8_0.gguf")));
    let mut version_2 = expected.clone();
    version_2[4] = 2;
    std::fs::write(&old.path, version_2).unwrap();
    assert!(old.migrate(&[]) == expected);
    assert_eq!(old.changes(&[])[0]["from"], "GGUF version 2");

    let mut first = Parts::read(&fixture("mini-dense/drafter-q8_0.gguf"));
    let rest = first.tensors.split_off(20);
    let split = |parts: &mut Parts, number: u16| {
        for (key, value) in [
            ("split.no", number),
            ("split.count", 2),
            ("split.tensors.count", 49),
        ] {
            parts.metadata.push((key.to_owned(), Value::U16(value)));
        }
    };
    let mut second = Parts {
        metadata: Vec::new(),
        tensors: rest,
    };
    split(&mut first, 0);
    split(&mut second, 1);
    let path = |number| old.folder.path().join(format!("m-{number:05}-of-00002.gguf"));
    first.write(&path(1));
    second.write(&path(2));
    let out = old.out();
    succeed(&["migrate", path_str(&path(2)), "-o", path_str(&out), "--force"]);
    assert!(std::fs::read(out).unwrap() == expected);
}

/// Everything that shapes and other keys tell can be missing.
#[test]
fn keys_are_derived() {
    let expected = std::fs::read(fixture("mini-dense/drafter-q8_0.gguf")).unwrap();
    let mut parts = parts_of(&expected);
    for name in [
        "block_count",
        "embedding_length",
        "feed_forward_length",
        "attention.head_count",
        "attention.value_length",
        "attention.value_length_swa",
        "attention.shared_kv_layers",
        "embedding_length_per_layer_input",
        "attention.sliding_window_pattern",
        "rope.dimension_count",
        "rope.dimension_count_swa",
        "embedding_length_out",
        "nextn_predict_layers",
    ] {
        parts.remove(&format!("{UPSTREAM}.{name}"));
    }
    let old = Old::new(&parts);
    assert!(old.migrate(&[]) == expected);
    let changes = old.changes(&[]);
    let added = |text: &str| {
        let mut added = changes.iter().filter(|change| change["action"] == "add");
        added.any(|change| change["to"] == text)
    };
    assert!(added("gemma4-assistant.nextn_predict_layers = 4"));
    assert!(added(
        "gemma4-assistant.attention.sliding_window_pattern = [true, true, true, false]"
    ));
}

#[test]
fn what_cannot_be_derived_is_named_and_the_target_helps() {
    let expected = std::fs::read(fixture("mini-dense/drafter-q8_0.gguf")).unwrap();
    let target = fixture("mini-dense/target-bf16.gguf");
    for name in [
        "context_length",
        "rope.freq_base",
        "attention.sliding_window",
        "attention.layer_norm_rms_epsilon",
        "attention.head_count_kv",
    ] {
        let mut parts = parts_of(&expected);
        let key = format!("{UPSTREAM}.{name}");
        parts.remove(&key);
        let old = Old::new(&parts);
        old.refuse(&[&key, "cannot be derived", "--target"], &[]);
        assert!(
            old.migrate(&["--target", path_str(&target)]) == expected,
            "{name}"
        );
    }
    // Neither the key nor the heads' lengths tell which layers slide.
    let mut parts = parts_of(&expected);
    let pattern = format!("{UPSTREAM}.attention.sliding_window_pattern");
    parts.remove(&pattern);
    parts
        .tensors
        .retain(|(name, ..)| name != "blk.1.attn_q_norm.weight");
    let old = Old::new(&parts);
    old.refuse(&[&pattern, "cannot be derived", "the kind of each layer"], &[]);
    let mut parts = parts_of(&expected);
    parts.tensors.retain(|(name, ..)| name != "output_norm.weight");
    Old::new(&parts).refuse(
        &["output_norm.weight is missing", "convert the checkpoint again"],
        &[],
    );
}

#[test]
fn values_of_other_integer_types_are_mended() {
    let expected = std::fs::read(fixture("mini-dense/drafter-q8_0.gguf")).unwrap();
    let mut parts = parts_of(&expected);
    parts.set("gemma4-assistant.block_count", Value::U64(4));
    parts.set("gemma4-assistant.rope.freq_base", Value::F64(1e6));
    let old = Old::new(&parts);
    assert!(old.migrate(&[]) == expected);
    assert_eq!(old.changes(&[]).len(), 2);
}

#[test]
fn other_tensors_are_an_error_unless_dropped() {
    let expected = std::fs::read(fixture("mini-dense/drafter-q8_0.gguf")).unwrap();
    let mut parts = parts_of(&expected);
    parts.tensors.push((
        "mtp_input_embd.weight".to_owned(),
        vec![8],
        GgmlType::F32,
        vec![0; 32],
    ));
    let old = Old::new(&parts);
    old.refuse(&["mtp_input_embd.weight", "--drop-extra"], &[]);
    assert!(old.migrate(&["--drop-extra"]) == expected);
}

#[test]
fn two_spellings_of_the_same_are_refused() {
    let bytes = std::fs::read(fixture("mini-dense/drafter-q8_0.gguf")).unwrap();
    let mut parts = parts_of(&bytes);
    parts
        .metadata
        .push(("gemma4_assistant.n_embd_backbone".to_owned(), Value::U32(64)));
    Old::new(&parts).refuse(&["embedding_length_out", "n_embd_backbone", "two spellings"], &[]);
    let mut parts = parts_of(&bytes);
    parts.tensors.push((
        "mtp.pre_projection.weight".to_owned(),
        vec![8],
        GgmlType::F32,
        vec![0; 32],
    ));
    Old::new(&parts).refuse(
        &[
            "nextn.pre_projection.weight",
            "mtp.pre_projection.weight",
            "two spellings",
        ],
        &[],
    );
}

#[test]
fn only_drafters_are_migrated() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    let target = fixture("mini-dense/target-bf16.gguf");
    refuse(
        3,
        &["architecture is gemma4,", "gemma4_assistant, gemma4_mtp"],
        &["migrate", path_str(&target), "-o", path_str(&out)],
    );
    refuse(
        3,
        &["architecture is gemma4-assistant"],
        &[
            "migrate",
            path_str(&fixture("mini-dense/drafter-q8_0.gguf")),
            "-o",
            path_str(&out),
            "--target",
            path_str(&fixture("mini-dense/drafter-q8_0.gguf")),
        ],
    );
}

#[test]
fn a_dry_run_writes_nothing_and_tells_all() {
    let old = Old::new(&atomic("mini-edge", "q8_0"));
    let (out, _) = succeed(&[
        "migrate",
        path_str(&old.path),
        "-o",
        path_str(&old.out()),
        "--dry-run",
    ]);
    assert!(!old.out().exists());
    for words in [
        "gemma4_assistant -> gemma4-assistant",
        "gemma4_assistant.n_embd_backbone -> gemma4-assistant.embedding_length_out",
        "gemma4-assistant.nextn_predict_layers = 4",
        "mtp.pre_projection.weight -> nextn.pre_projection.weight",
        "part of the centroid head",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
}

#[test]
fn the_old_file_and_others_are_never_replaced_unasked() {
    let old = Old::new(&atomic("mini-dense", "q8_0"));
    let before = std::fs::read(&old.path).unwrap();
    let path = path_str(&old.path).to_owned();
    refuse(
        2,
        &["is one of the inputs"],
        &["migrate", &path, "-o", &path, "--force"],
    );
    assert!(std::fs::read(&old.path).unwrap() == before);
    std::fs::write(old.out(), "mine").unwrap();
    refuse(2, &["--force"], &["migrate", &path, "-o", path_str(&old.out())]);
    assert_eq!(std::fs::read(old.out()).unwrap(), b"mine");
}

/// At whatever moment it is killed, the old file is as it was and the new one whole or not there.
#[cfg(target_os = "linux")]
#[test]
fn a_kill_leaves_the_old_file_and_no_new_one() {
    use std::process::{Command, Stdio};
    let mut parts = atomic("mini-dense", "q8_0");
    // Long enough that the kill often comes in the middle of the writing.
    let rows = 200_000;
    let at = parts
        .tensors
        .iter()
        .position(|(name, ..)| name == "token_embd.weight")
        .unwrap();
    parts.tensors[at].1 = vec![64, rows];
    parts.tensors[at].3 = vec![1; 68 * rows as usize];
    let old = Old::new(&parts);
    let before = sha256(&old.path);
    let expected = old.migrate(&[]).len();
    std::fs::remove_file(old.out()).unwrap();
    let mut killed = 0;
    for microseconds in (0..60).map(|i| i * 700) {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin("gguf-conv"))
            .args(["migrate", path_str(&old.path), "-o", path_str(&old.out())])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_micros(microseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        let files = std::fs::read_dir(old.folder.path()).unwrap().count();
        match std::fs::read(old.out()) {
            Ok(bytes) => {
                assert_eq!((bytes.len(), files), (expected, 2));
                std::fs::remove_file(old.out()).unwrap();
            }
            Err(_) => {
                assert_eq!(files, 1, "nothing lies beside the old file");
                killed += 1;
            }
        }
    }
    assert!(killed > 0, "no kill came in time");
    assert_eq!(sha256(&old.path), before);
}

/// A dialect is data: a file that describes another is understood without a new program.
#[test]
fn a_dialect_of_ones_own() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("arch/gemma4_assistant.toml"))
            .unwrap();
    let own = "\n[[dialect]]\nname = \"mine\"\nof = \"a test\"\narchitecture = \"my-arch\"\n\
               keys = { block_count = \"depth\" }\ntensors = { \"blk.{l}.attn_q.weight\" = \"layer.{l}.q\" }\n";
    let folder = tempfile::tempdir().unwrap();
    let arch = folder.path().join("mine.toml");
    std::fs::write(&arch, text + own).unwrap();
    let old = Old::new(&Parts::read(&fixture("mini-dense/drafter-q8_0.gguf")));
    let there = old.migrate(&["--arch", path_str(&arch), "--to", "mine"]);
    let new = Gguf::open(&Inputs::new(), &old.out()).unwrap();
    assert_eq!(new.metadata().uint("my-arch.depth").unwrap(), 4);
    assert!(new.info("layer.3.q").is_some());
    std::fs::write(&old.path, there).unwrap();
    let back = old.migrate(&["--arch", path_str(&arch)]);
    assert!(back == std::fs::read(fixture("mini-dense/drafter-q8_0.gguf")).unwrap());
}

/// Arrays of other lengths than there are layers, and numbers out of all bounds, are no reason to stop in disorder.
#[test]
fn absurd_numbers_do_no_harm() {
    let bytes = std::fs::read(fixture("mini-dense/drafter-q8_0.gguf")).unwrap();
    for (key, value) in [
        ("attention.key_length", Value::U32(u32::MAX)),
        ("block_count", Value::U32(u32::MAX)),
        ("block_count", Value::I32(-1)),
        ("attention.head_count_kv", Array::I32(vec![1; 3]).into()),
        ("attention.sliding_window_pattern", Array::Bool(Vec::new()).into()),
        ("attention.sliding_window_pattern", "no array".into()),
    ] {
        let mut parts = parts_of(&bytes);
        parts.set(&format!("{UPSTREAM}.{key}"), value);
        parts.tensors.retain(|(name, ..)| name != "rope_freqs.weight");
        let old = Old::new(&parts);
        let output = program()
            .args(["migrate", "--dry-run"])
            .arg(&old.path)
            .output()
            .unwrap();
        assert!(matches!(output.status.code(), Some(0 | 3)), "{key}: {output:?}");
    }
}
