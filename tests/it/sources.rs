//! Checkpoints and models as people have them: what can be read is, to the same bytes; the rest is named as what it is.

use crate::common::parts::*;
use crate::common::*;
use gguf_conv::gguf::{Array, Value};
use gguf_conv::quant::GgmlType;
use half::bf16;
use safetensors::Dtype;
use serde_json::json;
use std::path::{Path, PathBuf};

const INPUT: i32 = 3;

fn target() -> PathBuf {
    fixture("mini-dense/target-bf16.gguf")
}

/// Converts and returns what was written, and standard error.
#[track_caller]
fn convert(drafter: &Path, args: &[&str]) -> (Vec<u8>, String) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    let (_, err) = succeed(&[&[path_str(drafter), "-o", path_str(&out)], args].concat());
    (std::fs::read(out).unwrap(), err)
}

/// A drafter, spoilt in a way that must not matter, converts to upstream's bytes.
#[track_caller]
fn same_bytes(drafter: &Path) -> String {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    let (_, err) = succeed(&[path_str(drafter), "--outtype", "q8_0", "-o", path_str(&out)]);
    assert_eq!(
        sha256(&out),
        checksums("mini-dense")["drafter-q8_0.gguf"],
        "{err}"
    );
    err
}

fn rename(tensors: &mut Tensors, name: impl Fn(&str) -> String) {
    *tensors = std::mem::take(tensors)
        .into_iter()
        .map(|(old, raw)| (name(&old), raw))
        .collect();
}

#[test]
fn names_under_the_prefixes_of_other_programs() {
    let nested = |name: &str| match name.strip_prefix("model.") {
        Some(rest) => format!("model.language_model.{rest}"),
        None => name.to_owned(),
    };
    let namings: [&dyn Fn(&str) -> String; 4] = [
        &|name| format!("language_model.{name}"),
        &|name| format!("language_model.mtp.{name}"),
        &|name| format!("mtp.{name}"),
        &nested,
    ];
    for naming in namings {
        let drafter = Drafter::copy_of("mini-dense");
        drafter.edit_tensors(|tensors| rename(tensors, naming));
        same_bytes(&drafter.path);
        // Without its config, by the shapes of the same names.
        drafter.remove(&["config.json"]);
        succeed(&[drafter.str(), "--target", path_str(&target()), "--dry-run"]);
    }
}

#[test]
fn an_unknown_prefix_is_named() {
    let drafter = Drafter::copy_of("mini-dense");
    drafter.edit_tensors(|tensors| rename(tensors, |name| format!("student.{name}")));
    refuse(
        INPUT,
        &[
            "model.embed_tokens.weight is missing",
            "it has student.model.embed_tokens.weight",
            "without student.",
        ],
        &[drafter.str(), "--dry-run"],
    );
}

#[test]
fn double_precision_and_frequencies_that_are_computed() {
    let (expected, _) = convert(&fixture("mini-dense/drafter"), &["--outtype", "f32"]);
    let drafter = Drafter::copy_of("mini-dense");
    drafter.edit_tensors(|tensors| {
        for name in ["model.norm.weight", "model.layers.0.mlp.up_proj.weight"] {
            let raw = tensors.get_mut(name).unwrap();
            raw.dtype = Dtype::F64;
            raw.data = raw
                .data
                .as_chunks()
                .0
                .iter()
                .flat_map(|bytes| bf16::from_le_bytes(*bytes).to_f64().to_le_bytes())
                .collect();
        }
        for name in [
            "model.layers.0.self_attn.rotary_emb.inv_freq",
            "language_model.model.layers.1.self_attn.rotary_emb.inv_freq",
            "model.rotary_emb.inv_freq",
        ] {
            tensors.insert(name.to_owned(), Raw::bf16(&[4], random(1)));
        }
    });
    let (found, err) = convert(&drafter.path, &["--outtype", "f32"]);
    assert!(found == expected, "another file");
    assert!(
        err.contains("left out: ") && err.contains("rotary frequencies"),
        "{err}"
    );
}

#[test]
fn shards_without_an_index() {
    let drafter = Drafter::copy_of("mini-dense");
    let shards = drafter.shard(|_| ());
    drafter.remove(&["model.safetensors.index.json"]);
    let whole = |path: &Path| {
        let (_, err) = succeed(&[path_str(path), "--dry-run"]);
        assert!(!err.contains("warning"), "{err}");
    };
    whole(&drafter.path);
    shards.iter().for_each(|shard| whole(shard));

    std::fs::remove_file(&shards[1]).unwrap();
    let second = "model-00002-of-00002.safetensors is not there, one of 2 shards";
    for path in [&drafter.path, &shards[0]] {
        refuse(INPUT, &[second], &[path_str(path), "--dry-run"]);
        let (out, err) = succeed(&["inspect", path_str(path)]);
        assert!(out.contains("model.embed_tokens.weight"), "{out}");
        assert!(
            err.contains("model-00002-of-00002.safetensors is not there"),
            "{err}"
        );
    }
}

#[test]
fn configs_as_people_save_them() {
    let edit = |edit: fn(&mut serde_json::Value)| {
        let drafter = Drafter::copy_of("mini-dense");
        drafter.edit_json("config.json", edit);
        drafter
    };
    let config = |drafter: &Drafter| drafter.path.join("config.json");

    let marked = Drafter::copy_of("mini-dense");
    let text = std::fs::read(config(&marked)).unwrap();
    std::fs::write(config(&marked), [&b"\xef\xbb\xbf"[..], &text].concat()).unwrap();
    same_bytes(&marked.path);

    let flat = edit(|config| {
        let text = config.as_object_mut().unwrap().remove("text_config").unwrap();
        for (key, value) in text.as_object().unwrap() {
            config
                .as_object_mut()
                .unwrap()
                .entry(key)
                .or_insert(value.clone());
        }
    });
    same_bytes(&flat.path);
    flat.edit_json("config.json", |config| {
        config.as_object_mut().unwrap().remove("num_key_value_heads");
    });
    refuse(
        INPUT,
        &["kv_heads.sliding", "num_key_value_heads of config.json"],
        &[flat.str(), "--dry-run"],
    );

    let unlisted = edit(|config| {
        config["text_config"]
            .as_object_mut()
            .unwrap()
            .remove("layer_types");
    });
    let err = same_bytes(&unlisted.path);
    assert!(
        err.contains("layer kinds = sliding, sliding, sliding, full from transformers"),
        "{err}"
    );

    let untyped = edit(|config| {
        config.as_object_mut().unwrap().remove("model_type");
    });
    same_bytes(&untyped.path);
    untyped.edit_json("config.json", |config| {
        config.as_object_mut().unwrap().remove("architectures");
    });
    refuse(
        INPUT,
        &["config.json", "neither model_type nor architectures"],
        &[untyped.str(), "--dry-run"],
    );

    // A folder in its place is there, and no reason to do without.
    let blocked = Drafter::copy_of("mini-dense");
    blocked.remove(&["config.json"]);
    std::fs::create_dir(config(&blocked)).unwrap();
    refuse(
        INPUT,
        &["config.json", "folder"],
        &[blocked.str(), "--target", path_str(&target()), "--dry-run"],
    );
}

#[test]
fn what_is_no_drafter_is_named() {
    let drafter = Drafter::copy_of("mini-dense");
    let given = |name: &str, content: &[u8], words: &[&str]| {
        let path = drafter.beside(name);
        std::fs::write(&path, content).unwrap();
        refuse(INPUT, words, &[path_str(&path), "--dry-run"]);
    };
    given(
        "pytorch_model.bin",
        b"\x80\x02}q\0.",
        &["PyTorch checkpoint", "safetensors version"],
    );
    given(
        "drafter.pt",
        b"PK\x03\x04\0\0\0\0\0\0",
        &["PyTorch checkpoint", "safetensors version"],
    );
    given("other.json", b"{\"a\": 1}", &["a JSON file", "give the folder"]);
    refuse(
        INPUT,
        &["config.json", "the settings", "give the folder that it lies in"],
        &[path_str(&drafter.path.join("config.json")), "--dry-run"],
    );
    refuse(
        INPUT,
        &["no *.safetensors", "drafter.pt: get the safetensors"],
        &[path_str(drafter.beside("x").parent().unwrap()), "--dry-run"],
    );

    let configs = [
        // Gemma 4 itself, were it not for the tensors, and without settings.
        (
            json!({"model_type": "gemma4", "architectures": ["Gemma4ForConditionalGeneration"]}),
            "pass --target",
        ),
        (json!({"model_type": "gemma4_text"}), "pass --target"),
        (
            json!({"architectures": ["DeepseekV4DSparkModel"], "model_type": "deepseek_v4"}),
            "draft-dspark",
        ),
        (json!({"model_type": "llama"}), "model_type is llama"),
    ];
    for (config, words) in configs {
        drafter.edit_json("config.json", |text| *text = config);
        refuse(INPUT, &[words], &[drafter.str(), "--dry-run"]);
    }
}

#[cfg(unix)]
#[test]
fn the_cache_of_hugging_face() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("models--google--gemma-4-E2B-it-assistant");
    let (snapshot, blobs) = (root.join("snapshots/0a1b"), root.join("blobs"));
    std::fs::create_dir_all(&snapshot).unwrap();
    copy_folder(&fixture("mini-dense/drafter"), &blobs);
    for entry in std::fs::read_dir(&blobs).unwrap() {
        let name = entry.unwrap().file_name();
        let blob = Path::new("../../blobs").join(&name);
        std::os::unix::fs::symlink(blob, snapshot.join(name)).unwrap();
    }
    let (by_snapshot, _) = convert(&snapshot, &[]);
    assert!(convert(&root, &[]).0 == by_snapshot, "the only snapshot");
    std::fs::create_dir_all(root.join("snapshots/ffff")).unwrap();
    refuse(
        INPUT,
        &["without refs/main", "0a1b, ffff"],
        &[path_str(&root), "--dry-run"],
    );
    std::fs::create_dir_all(root.join("refs")).unwrap();
    std::fs::write(root.join("refs/main"), "0a1b\n").unwrap();
    assert!(convert(&root, &[]).0 == by_snapshot, "the newest snapshot");
    std::fs::write(root.join("refs/main"), "../../..").unwrap();
    refuse(
        INPUT,
        &["refs/main is", "not there"],
        &[path_str(&root), "--dry-run"],
    );

    std::fs::remove_file(blobs.join("model.safetensors")).unwrap();
    refuse(
        INPUT,
        &[
            "model.safetensors",
            "a link to ../../blobs/model.safetensors, which is not there",
        ],
        &[path_str(&snapshot), "--dry-run"],
    );
}

/// A GGUF that is something else than a model: metadata, and one tensor or none.
fn odd_gguf(path: &Path, keys: &[(&str, Value)], tensor: Option<&str>) {
    let mut metadata = gguf_conv::gguf::Metadata::default();
    for (key, value) in keys {
        metadata.set(*key, value.clone());
    }
    let tensors = tensor.map(|name| (name, &[4_u64][..], GgmlType::F32, vec![0; 16]));
    write_gguf(path, &metadata, tensors.as_slice());
}

#[test]
fn every_command_names_what_a_gguf_is() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("odd.gguf"), folder.path().join("out.gguf"));
    let (odd, out) = (path_str(&path), path_str(&out));
    let (drafter, target) = (fixture("mini-dense/drafter-q8_0.gguf"), target());
    let (drafter, target) = (path_str(&drafter), path_str(&target));
    let source = fixture("mini-dense/drafter");
    let text = |text: &str| Value::from(text);
    let tokens = || Value::Array(Array::String(["a"].iter().collect()));
    // Keys, a tensor, and what every command calls such a file.
    type Odd<'a> = (&'a [(&'a str, Value)], Option<&'a str>, &'a str);
    let kinds: [Odd; 7] = [
        (
            &[
                ("general.architecture", text("gemma4")),
                ("general.type", text("adapter")),
                ("adapter.type", text("lora")),
            ],
            Some("blk.0.attn_q.weight.lora_a"),
            "a LoRA adapter",
        ),
        (
            &[("general.type", text("imatrix"))],
            Some("blk.0.attn_q.weight.in_sum2"),
            "an importance matrix",
        ),
        (
            &[
                ("general.type", text("mmproj")),
                ("general.architecture", text("clip")),
            ],
            Some("v.patch_embd.weight"),
            "mmproj",
        ),
        (
            &[
                ("general.architecture", text("gemma4")),
                ("tokenizer.ggml.tokens", tokens()),
            ],
            None,
            "a vocabulary without weights",
        ),
        (
            &[("general.architecture", text("eagle3"))],
            Some("fc.weight"),
            "of the kind EAGLE-3",
        ),
        (
            &[("general.architecture", text("dflash"))],
            Some("fc.weight"),
            "of the kind DFlash",
        ),
        (
            &[("general.architecture", text("dflash"))],
            Some("markov_w1.weight"),
            "of the kind DSpark",
        ),
    ];
    for (keys, tensor, words) in kinds {
        odd_gguf(&path, keys, tensor);
        refuse(
            INPUT,
            &[words],
            &[path_str(&source), "--target", odd, "--dry-run"],
        );
        // Drafters of every kind are verified; these have no numbers.
        let missing = words
            .contains("of the kind")
            .then_some("attention.head_count is missing");
        let verified = missing.unwrap_or(words);
        refuse(INPUT, &[verified], &["verify", odd, "--target", target]);
        refuse(INPUT, &[words], &["verify", drafter, "--target", odd]);
        let is_drafter = words.contains("of the kind");
        if !is_drafter {
            refuse(INPUT, &[words], &["migrate", odd, "-o", out]);
        }
        let checks = [&["check", odd][..], &["check", drafter, "--target", odd]];
        for args in checks.into_iter().skip(usize::from(is_drafter)) {
            program()
                .args(args)
                .assert()
                .code(1)
                .stdout(predicates::str::contains(words));
        }
        let (shown, _) = succeed(&["inspect", odd]);
        assert!(shown.contains(words), "{shown}");
        let (shown, told) = {
            let output = program().args(["diff", odd, drafter]).output().unwrap();
            (
                String::from_utf8(output.stdout).unwrap(),
                String::from_utf8(output.stderr).unwrap(),
            )
        };
        assert!(shown.contains(words) || told.contains(words), "{shown}{told}");
    }
    // Drafters of other kinds have advice too.
    for (keys, tensor, words) in &kinds[..4] {
        odd_gguf(&path, keys, *tensor);
        for (drafter, target) in [(odd, target), (drafter, odd)] {
            refuse(
                INPUT,
                &[words],
                &["advise", "--drafter", drafter, "--target", target],
            );
        }
    }
    for (keys, tensor, words) in &kinds[..2] {
        odd_gguf(&path, keys, *tensor);
        refuse(
            INPUT,
            &[words],
            &["quantize", odd, "--outtype", "q8_0", "-o", out],
        );
    }
    let checkpoint = source.join("model.safetensors");
    for path in [path_str(&source), path_str(&checkpoint)] {
        refuse(
            INPUT,
            &["not the GGUF", "`gguf-conv` makes one"],
            &["check", path],
        );
    }
}

/// A target as Ollama's own converter makes it (convert_gemma4.go): tokenizer `llama`, other scores, and the tensors of
/// the vision and audio parts inside.
fn ollamas_target(path: &Path, edit: impl FnOnce(&mut Parts)) {
    let mut parts = Parts::read(&target());
    parts.set("tokenizer.ggml.model", "llama");
    parts.set(
        "tokenizer.ggml.scores",
        Value::Array(Array::F32((0..1024_u16).map(f32::from).collect())),
    );
    parts
        .metadata
        .push(("tokenizer.ggml.pre".to_owned(), "gemma4".into()));
    for name in [
        "v.patch_embd.weight",
        "mm.input_projection.weight",
        "a.blk.0.ln1.weight",
    ] {
        parts
            .tensors
            .push((name.to_owned(), vec![4], GgmlType::F32, vec![0; 16]));
    }
    edit(&mut parts);
    parts.write(path);
}

#[test]
fn a_target_of_ollamas_converter() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("ollama.gguf");
    ollamas_target(&made, |_| ());
    let drafter = fixture("mini-dense/drafter-q8_0.gguf");
    let output = program()
        .args(["check", "--json", path_str(&drafter), "--target", path_str(&made)])
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = report.to_string();
    assert_eq!(text.matches("\"severity\"").count(), 1, "{text}");
    assert!(
        text.contains("Ollama's own converter") && text.contains("wrong number of tensors"),
        "{text}"
    );

    // What a lone file takes from it is what it would take from the target of llama.cpp's converter.
    let lone = folder.path().join("drafter.safetensors");
    std::fs::copy(fixture("mini-dense/drafter/model.safetensors"), &lone).unwrap();
    let (found, err) = convert(&lone, &["--target", path_str(&made)]);
    let (expected, _) = convert(&lone, &["--target", path_str(&target())]);
    assert!(found == expected, "another tokenizer");
    assert!(err.contains("Ollama's own converter"), "{err}");
    let out = folder.path().join("lone.gguf");
    std::fs::write(&out, found).unwrap();
    succeed(&["check", path_str(&out), "--target", path_str(&target())]);

    ollamas_target(&made, |parts| parts.remove("tokenizer.ggml.merges"));
    refuse(
        INPUT,
        &[
            "its tokenizer is of the kind llama, the drafter's is gemma4",
            "tokenizer.json",
        ],
        &[path_str(&lone), "--target", path_str(&made), "--dry-run"],
    );
}

/// Cuts a GGUF into parts, as llama-gguf-split names them.
fn split(whole: &Path, folder: &Path, count: usize) -> Vec<PathBuf> {
    let whole = Parts::read(whole);
    let each = whole.tensors.len().div_ceil(count);
    type Tensors = [(String, Vec<u64>, GgmlType, Vec<u8>)];
    let part = |(no, tensors): (usize, &Tensors)| {
        let mut metadata = if no == 0 {
            whole.metadata.clone()
        } else {
            Vec::new()
        };
        metadata.push(("split.no".to_owned(), Value::U16(no as u16)));
        metadata.push(("split.count".to_owned(), Value::U16(count as u16)));
        metadata.push((
            "split.tensors.count".to_owned(),
            Value::I32(whole.tensors.len() as i32),
        ));
        let path = folder.join(format!("t-{:05}-of-{count:05}.gguf", no + 1));
        let tensors = tensors.to_vec();
        Parts { metadata, tensors }.write(&path);
        path
    };
    whole.tensors.chunks(each).enumerate().map(part).collect()
}

#[test]
fn parts_of_a_split_model_alone_and_joined() {
    let folder = tempfile::tempdir().unwrap();
    let parts = split(&fixture("mini-dense/drafter-q8_0.gguf"), folder.path(), 3);
    let joined = folder.path().join("joined.gguf");
    let bytes: Vec<u8> = parts
        .iter()
        .flat_map(|part| std::fs::read(part).unwrap())
        .collect();
    std::fs::write(&joined, bytes).unwrap();
    for args in [&["inspect"][..], &["check"], &["hash"]] {
        refuse(
            INPUT,
            &["of 3 parts", "`cat`"],
            &[args, &[path_str(&joined)]].concat(),
        );
    }
    std::fs::remove_file(&parts[1]).unwrap();
    for part in [&parts[0], &parts[2]] {
        let (out, err) = succeed(&["inspect", path_str(part)]);
        assert!(out.contains("in 2 files") && out.contains("blk.3."), "{out}");
        assert!(err.contains("t-00002-of-00003.gguf is not there"), "{err}");
        refuse(INPUT, &["part 2 of 3"], &["check", path_str(part)]);
    }
}

#[test]
fn dialects_and_types_of_ik_llama_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ik.gguf");
    ik("mini-dense", "q8_0").write(&path);
    refuse(
        INPUT,
        &["dialect of ik_llama.cpp", "gguf-conv migrate"],
        &["verify", path_str(&path), "--target", path_str(&target())],
    );
    let mut bytes = b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0".to_vec();
    let text = |text: &str, bytes: &mut Vec<u8>| {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    };
    text("general.architecture", &mut bytes);
    bytes.extend(8_u32.to_le_bytes());
    text("gemma4", &mut bytes);
    text("t", &mut bytes);
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(256_u64.to_le_bytes());
    bytes.extend(137_u32.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(32) + 96, 0);
    std::fs::write(&path, bytes).unwrap();
    let out = folder.path().join("out.gguf");
    refuse(
        INPUT,
        &["type 137", "ik_llama.cpp"],
        &[
            "quantize",
            path_str(&path),
            "--outtype",
            "q8_0",
            "-o",
            path_str(&out),
        ],
    );
}
