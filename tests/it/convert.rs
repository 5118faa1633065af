//! What a conversion writes, held against what upstream's tools wrote for the same checkpoints.

use crate::common::*;
use gguf_conv::gguf::{Gguf, Value};
use gguf_conv::io::Inputs;
use gguf_conv::quant::GgmlType;
use safetensors::tensor::Dtype;
use serde_json::json;
use std::path::Path;

/// Converts and returns the output's bytes.
#[track_caller]
fn convert(drafter: &Path, args: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    let mut all = vec![path_str(drafter), "-o", path_str(&out)];
    all.extend(args);
    succeed(&all);
    std::fs::read(out).unwrap()
}

fn golden(pair: &str, name: &str) -> Vec<u8> {
    std::fs::read(fixture(pair).join(name)).unwrap()
}

#[test]
fn every_output_is_upstreams_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    for pair in PAIRS {
        let sums = checksums(pair);
        for outtype in ["f32", "f16", "bf16", "q8_0"] {
            let out = folder.path().join(format!("{pair}-{outtype}.gguf"));
            let drafter = fixture(pair).join("drafter");
            succeed(&[path_str(&drafter), "--outtype", outtype, "-o", path_str(&out)]);
            assert_eq!(
                sha256(&out),
                sums[&format!("drafter-{outtype}.gguf")],
                "{pair} {outtype}"
            );
        }
    }
}

#[test]
fn auto_keeps_the_type_of_the_checkpoint() {
    let drafter = Drafter::copy_of("mini-dense");
    assert_eq!(
        convert(&drafter.path, &[]),
        convert(&drafter.path, &["--outtype", "bf16"])
    );
    let widen = |data: &[u8]| {
        let mut values = vec![0.0; data.len() / 2];
        GgmlType::BF16.decode(data, &mut values).unwrap();
        values
    };
    drafter.edit_tensors(|tensors| {
        for tensor in tensors.values_mut() {
            tensor.data = widen(&tensor.data).iter().flat_map(|v| v.to_le_bytes()).collect();
            tensor.dtype = Dtype::F32;
        }
    });
    assert_eq!(
        convert(&drafter.path, &[]),
        convert(&drafter.path, &["--outtype", "f16"])
    );
    // Widening loses nothing, so an f32 source gives the same blocks.
    assert!(convert(&drafter.path, &["--outtype", "q8_0"]) == golden("mini-dense", "drafter-q8_0.gguf"));
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let drafter = fixture("mini-edge/drafter");
    let runs: Vec<Vec<u8>> = ["1", "2", "7"]
        .iter()
        .map(|threads| {
            let out = folder.path().join(threads);
            let args = [path_str(&drafter), "--outtype", "q4_0", "-o", path_str(&out)];
            program()
                .env("RAYON_NUM_THREADS", threads)
                .args(args)
                .assert()
                .success();
            std::fs::read(out).unwrap()
        })
        .collect();
    assert!(runs.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn q4_0_has_the_tensors_of_llama_quantize() {
    let folder = tempfile::tempdir().unwrap();
    for pair in PAIRS {
        let out = folder.path().join(pair);
        succeed(&[
            path_str(&fixture(pair).join("drafter")),
            "--outtype",
            "q4_0",
            "-o",
            path_str(&out),
        ]);
        assert_same_tensors(&out, &fixture(pair).join("drafter-lq-q4_0.gguf"));
        let file = Gguf::open(&Inputs::new(), &out).unwrap();
        assert_eq!(file.metadata().get("general.file_type"), Some(&Value::U32(2)));
    }
}

#[test]
fn pure_gives_every_matrix_the_output_type() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let drafter = fixture("mini-dense/drafter");
    succeed(&[
        path_str(&drafter),
        "--outtype",
        "q4_0",
        "--pure",
        "-o",
        path_str(&out),
    ]);
    let file = Gguf::open(&Inputs::new(), &out).unwrap();
    for info in file.tensors() {
        let expected = if info.dims.len() > 1 {
            GgmlType::Q4_0
        } else {
            GgmlType::F32
        };
        assert_eq!(info.ty.known(), Some(expected), "{}", info.name);
    }
}

#[track_caller]
fn assert_same_tensors(ours: &Path, theirs: &Path) {
    let (ours, theirs) = (
        Gguf::open(&Inputs::new(), ours).unwrap(),
        Gguf::open(&Inputs::new(), theirs).unwrap(),
    );
    assert_eq!(ours.tensors().count(), theirs.tensors().count());
    for info in theirs.tensors() {
        let name = std::str::from_utf8(&info.name).unwrap();
        let (a, b) = (
            ours.tensor(name).unwrap().unwrap(),
            theirs.tensor(name).unwrap().unwrap(),
        );
        assert_eq!((a.ty, &a.info.dims), (b.ty, &b.info.dims), "{name}");
        assert!(a.data == b.data, "{name}");
    }
}

#[test]
fn a_lone_file_takes_what_it_lacks_from_the_target() {
    for pair in PAIRS {
        let folder = tempfile::tempdir().unwrap();
        let lone = folder.path().join("model.safetensors");
        std::fs::copy(fixture(pair).join("drafter/model.safetensors"), &lone).unwrap();
        let (target, out) = (
            fixture(pair).join("target-bf16.gguf"),
            folder.path().join("out.gguf"),
        );
        let (_, told) = succeed(&[
            path_str(&lone),
            "--target",
            path_str(&target),
            "--outtype",
            "q8_0",
            "-o",
            path_str(&out),
        ]);
        for derived in [
            "hidden = 64",
            "backbone = 128",
            "window = 32",
            "layer kinds = sliding, sliding, sliding, full",
        ] {
            assert!(
                told.contains(&format!("derived: {derived} from")),
                "{derived}: {told}"
            );
        }
        let upstream = fixture(pair).join("drafter-q8_0.gguf");
        assert_same_tensors(&out, &upstream);
        let (ours, theirs) = (
            Gguf::open(&Inputs::new(), &out).unwrap(),
            Gguf::open(&Inputs::new(), &upstream).unwrap(),
        );
        let keys = |file: &Gguf| -> Vec<_> {
            let own =
                |key: &&bstr::BStr| key.starts_with(b"gemma4-assistant.") || key.starts_with(b"tokenizer.");
            let mut keys: Vec<_> = file
                .metadata()
                .iter()
                .filter(|(key, _)| own(key))
                .map(|(k, v)| (k.to_owned(), v.clone()))
                .collect();
            keys.sort_by(|a, b| a.0.cmp(&b.0));
            keys
        };
        assert_eq!(keys(&ours), keys(&theirs));
    }
}

#[test]
fn shards_snapshots_and_files_are_the_same_checkpoint() {
    let expected = golden("mini-edge", "drafter-q8_0.gguf");
    let q8_0 = ["--outtype", "q8_0"];
    let drafter = Drafter::copy_of("mini-edge");
    assert!(convert(&drafter.weights(), &q8_0) == expected, "the file itself");

    #[cfg(unix)]
    {
        let (blobs, snapshot) = (
            drafter.beside("models--x--drafter/blobs"),
            drafter.beside("models--x--drafter/snapshots/0a"),
        );
        copy_folder(&drafter.path, &blobs);
        std::fs::create_dir_all(&snapshot).unwrap();
        for entry in std::fs::read_dir(&blobs).unwrap() {
            let name = entry.unwrap().file_name();
            std::os::unix::fs::symlink(Path::new("../../blobs").join(&name), snapshot.join(&name)).unwrap();
        }
        assert!(convert(&snapshot, &q8_0) == expected, "a cache snapshot");
        assert!(
            convert(&snapshot.join("model.safetensors"), &q8_0) == expected,
            "a file of a snapshot"
        );
    }

    let [_, second] = drafter.shard(|_| ());
    assert!(convert(&drafter.path, &q8_0) == expected, "a folder of shards");
    assert!(convert(&second, &q8_0) == expected, "one of the shards");
}

/// Converts mini-dense with an edited config; the folder is still called `drafter`.
fn with_config(edit: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let drafter = Drafter::copy_of("mini-dense");
    drafter.edit_json("config.json", edit);
    convert(&drafter.path, &["--outtype", "q8_0"])
}

#[test]
fn every_spelling_of_the_config_gives_the_same_file() {
    let expected = golden("mini-dense", "drafter-q8_0.gguf");
    let resaved = with_config(|config| {
        let text = config["text_config"].as_object_mut().unwrap();
        text.remove("global_head_dim");
        text.remove("num_global_key_value_heads");
        text.insert(
            "per_layer_config".to_owned(),
            json!({"3": {"head_dim": 64, "num_key_value_heads": 1}}),
        );
    });
    assert!(resaved == expected, "per_layer_config");
    let sparse = with_config(|config| {
        let text = config["text_config"].as_object_mut().unwrap();
        for key in [
            "moe_intermediate_size",
            "num_experts",
            "top_k_experts",
            "final_logit_softcapping",
            "use_double_wide_mlp",
        ] {
            text.remove(key);
        }
    });
    assert!(sparse == expected, "absent keys");
    let unified = with_config(|config| {
        config["model_type"] = json!("gemma4_unified_assistant");
        config["architectures"] = json!(["Gemma4UnifiedAssistantForCausalLM"]);
        config["text_config"]["model_type"] = json!("gemma4_unified_text");
    });
    assert!(unified == expected, "unified");
}

#[test]
fn a_tied_head_is_left_out_and_another_is_refused() {
    const TABLE: &str = "model.embed_tokens.weight";
    const HEAD: &str = "lm_head.weight";
    let q8_0 = ["--outtype", "q8_0"];
    let drafter = Drafter::copy_of("mini-dense");
    let plain = convert(&drafter.path, &q8_0);
    drafter.edit_tensors(|tensors| {
        tensors.insert(HEAD.to_owned(), tensors[TABLE].clone());
    });
    assert!(convert(&drafter.path, &q8_0) == plain, "a twin of the table");
    drafter.edit_tensors(|tensors| {
        tensors.remove(TABLE);
    });
    assert!(
        convert(&drafter.path, &q8_0) == plain,
        "the head in place of the table"
    );
    drafter.edit_tensors(|tensors| {
        tensors.insert(TABLE.to_owned(), tensors[HEAD].clone());
        tensors.get_mut(HEAD).unwrap().data[0] ^= 1;
    });
    refuse(3, &[HEAD, "differs from", TABLE], &[drafter.str(), "--dry-run"]);
}

#[test]
fn a_list_of_extra_special_tokens_is_read() {
    let drafter = Drafter::copy_of("mini-dense");
    drafter.edit_json("tokenizer_config.json", |config| {
        config["extra_special_tokens"] = json!([])
    });
    assert!(convert(&drafter.path, &["--outtype", "q8_0"]) == golden("mini-dense", "drafter-q8_0.gguf"));
    drafter.edit_json("tokenizer_config.json", |config| {
        config["extra_special_tokens"] = json!(["<|turn>"])
    });
    let out = drafter.beside("out.gguf");
    succeed(&[drafter.str(), "-o", path_str(&out)]);
    let file = Gguf::open(&Inputs::new(), &out).unwrap();
    let kinds = file.metadata().array("tokenizer.ggml.token_type").unwrap();
    assert_eq!(
        kinds.get(5),
        Some(Value::I32(3)),
        "<|turn> is a control token now"
    );
}

#[test]
fn tokens_past_the_embedding_are_left_out_with_a_warning() {
    let drafter = Drafter::copy_of("mini-dense");
    drafter.edit_json("tokenizer.json", |tokenizer| {
        let token = json!({"id": 1024, "content": "<image>", "special": true});
        tokenizer["added_tokens"].as_array_mut().unwrap().push(token);
    });
    let out = drafter.beside("out.gguf");
    let (_, told) = succeed(&[drafter.str(), "--outtype", "q8_0", "-o", path_str(&out)]);
    assert!(told.contains("warning: tokenizer.json has 1025 tokens"), "{told}");
    assert!(std::fs::read(out).unwrap() == golden("mini-dense", "drafter-q8_0.gguf"));
}

#[test]
fn the_centroid_head_is_written_only_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, kept) = (folder.path().join("plain"), folder.path().join("kept"));
    let drafter = fixture("mini-edge/drafter");
    let (_, told) = succeed(&[path_str(&drafter), "-o", path_str(&plain)]);
    assert_eq!(told.matches("centroid head").count(), 1, "{told}");
    let (_, told) = succeed(&[path_str(&drafter), "--keep-centroids", "-o", path_str(&kept)]);
    assert!(
        told.contains("warning: llama.cpp will not load this file"),
        "{told}"
    );
    let file = Gguf::open(&Inputs::new(), &kept).unwrap();
    let ordering = file.tensor("masked_embd_ordering").unwrap().unwrap();
    assert_eq!(
        (ordering.ty, ordering.info.dims.as_slice()),
        (GgmlType::I32, &[1024][..])
    );
    let source = read_tensors(&drafter.join("model.safetensors"));
    let expected: Vec<u8> = source["masked_embedding.token_ordering"]
        .data
        .as_chunks::<8>()
        .0
        .iter()
        .flat_map(|bytes| (i64::from_le_bytes(*bytes) as i32).to_le_bytes())
        .collect();
    assert_eq!(ordering.data, expected);
    let centroids = file.tensor("masked_embd_centroids.weight").unwrap().unwrap();
    assert_eq!(centroids.info.dims, [64, 32]);
    assert_eq!(centroids.data, source["masked_embedding.centroids.weight"].data);
    assert_eq!(
        file.metadata().get("gemma4-assistant.centroid_top_k"),
        Some(&Value::U32(6))
    );
}

#[test]
fn a_drafter_without_a_table_takes_the_targets_rows() {
    const WIDTH: usize = 256;
    const VOCAB: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    let drafter = folder.path().join("drafter.safetensors");
    let mut numbers = random(1);
    let mut tensors = Tensors::new();
    let mut add = |name: &str, shape: &[usize]| {
        tensors.insert(name.to_owned(), Raw::bf16(shape, &mut numbers));
    };
    add("model.norm.weight", &[WIDTH]);
    add("pre_projection.weight", &[WIDTH, 2 * WIDTH]);
    add("post_projection.weight", &[WIDTH, WIDTH]);
    for (layer, head_dim) in [(0, 32), (1, 64)] {
        let mut add = |name: &str, shape: &[usize]| add(&format!("model.layers.{layer}.{name}"), shape);
        add("self_attn.q_proj.weight", &[4 * head_dim, WIDTH]);
        add("self_attn.o_proj.weight", &[WIDTH, 4 * head_dim]);
        add("self_attn.q_norm.weight", &[head_dim]);
        add("mlp.gate_proj.weight", &[512, WIDTH]);
        add("mlp.up_proj.weight", &[512, WIDTH]);
        add("mlp.down_proj.weight", &[WIDTH, 512]);
        add("layer_scalar", &[1]);
        for norm in ["input", "post_attention", "pre_feedforward", "post_feedforward"] {
            add(&format!("{norm}_layernorm.weight"), &[WIDTH]);
        }
    }
    write_tensors(&drafter, &tensors);

    let tokens: Vec<String> = (0..VOCAB).map(|i| format!("t{i}")).collect();
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let metadata = target_metadata(WIDTH as u32, [32, 64], 1, &tokens);
    let rows: Vec<f32> = random(7).take(WIDTH * VOCAB).collect();
    for stored in [GgmlType::Q6_K, GgmlType::F32, GgmlType::Q8_0] {
        let mut blocks = vec![0; stored.bytes((WIDTH * VOCAB) as u64).unwrap() as usize];
        stored.encode(&rows, WIDTH, None, &mut blocks).unwrap();
        let mut decoded = vec![0.0; rows.len()];
        stored.decode(&blocks, &mut decoded).unwrap();
        let target = folder.path().join(format!("target-{stored}.gguf"));
        let dims = [WIDTH as u64, VOCAB as u64];
        let freqs: Vec<u8> = [1.0_f32; 8]
            .iter()
            .chain(&[1e30; 24])
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let tensors: [(&str, &[u64], GgmlType, Vec<u8>); 2] = [
            ("rope_freqs.weight", &[32], GgmlType::F32, freqs),
            ("token_embd.weight", &dims, stored, blocks.clone()),
        ];
        write_gguf(&target, &metadata, &tensors);
        for (outtype, expected) in [
            ("q8_0", GgmlType::Q8_0),
            ("q4_0", GgmlType::Q6_K),
            ("f32", GgmlType::F32),
        ] {
            let out = folder.path().join(format!("{stored}-{outtype}.gguf"));
            let (_, told) = succeed(&[
                path_str(&drafter),
                "--target",
                path_str(&target),
                "--outtype",
                outtype,
                "-o",
                path_str(&out),
            ]);
            assert!(told.contains("its rows are taken from the target"), "{told}");
            assert!(told.contains("as wide as its target"), "{told}");
            let file = Gguf::open(&Inputs::new(), &out).unwrap();
            let table = file.tensor("token_embd.weight").unwrap().unwrap();
            // Rows that have the type already are taken as they are.
            let mut encoded = blocks.clone();
            if stored != expected {
                encoded.resize(table.data.len(), 0);
                expected.encode(&decoded, WIDTH, None, &mut encoded).unwrap();
            }
            assert_eq!(table.ty, expected);
            assert!(table.data == encoded, "{stored} to {outtype}");
        }
    }
}

#[test]
fn the_dry_run_tells_what_would_be_written_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    let drafter = fixture("mini-dense/drafter");
    let args = [
        path_str(&drafter),
        "--outtype",
        "q8_0",
        "--dry-run",
        "--json",
        "-o",
        path_str(&out),
    ];
    let (json, _) = succeed(&args);
    assert!(!out.exists());
    let report = result(&json);
    assert_eq!(
        report["size_bytes"],
        golden("mini-dense", "drafter-q8_0.gguf").len()
    );
    let upstream = Gguf::open(&Inputs::new(), &fixture("mini-dense/drafter-q8_0.gguf")).unwrap();
    let data_offset = upstream.parts()[0].header.data_offset;
    for (ours, theirs) in report["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .zip(upstream.tensors())
    {
        assert_eq!(ours["name"], theirs.name.to_string());
        assert_eq!(ours["file_offset"], theirs.offset + data_offset);
        assert_eq!(ours["dims"], json!(theirs.dims));
    }
}

#[test]
fn without_a_name_the_output_is_one_that_llama_cpp_finds() {
    let drafter = Drafter::named("mini-dense", "gemma-4-12B-it-assistant");
    let work = tempfile::tempdir().unwrap();
    program()
        .current_dir(work.path())
        .args([drafter.str(), "--outtype", "q8_0"])
        .assert()
        .success();
    assert!(work.path().join("mtp-gemma-4-12B-it-Q8_0.gguf").exists());
    // `.` has a name too.
    program()
        .current_dir(&drafter.path)
        .args([".", "--outtype", "q4_0"])
        .assert()
        .success();
    assert!(drafter.path.join("mtp-gemma-4-12B-it-Q4_0.gguf").exists());
}

#[test]
fn a_checkpoint_on_the_q4_0_grid_is_told() {
    let drafter = Drafter::copy_of("mini-dense");
    let share = || {
        let out = drafter.beside("out.gguf");
        let args = [
            drafter.str(),
            "--outtype",
            "q4_0",
            "--json",
            "--force",
            "-o",
            path_str(&out),
        ];
        let report = result(&succeed(&args).0);
        let count = |key: &str| report[key].as_u64().unwrap() as f64;
        count("q4_0_blocks_without_loss") / count("q4_0_blocks")
    };
    assert!(share() < 0.01, "ordinary weights");
    drafter.edit_tensors(|tensors| {
        for tensor in tensors.values_mut().filter(|tensor| tensor.shape.len() == 2) {
            // -8 to 7 times a scale, the -8 in every block.
            let numbers = random(3)
                .enumerate()
                .map(|(i, v)| if i % 32 == 5 { -8.0 } else { (v * 7.5).round() });
            *tensor = Raw::bf16(&tensor.shape.clone(), numbers.map(|v| v / 64.0));
        }
    });
    assert_eq!(share(), 1.0);
    let out = drafter.beside("out.gguf");
    let (told, _) = succeed(&[
        drafter.str(),
        "--outtype",
        "q4_0",
        "--force",
        "-o",
        path_str(&out),
    ]);
    assert!(
        told.contains("100.0% of the Q4_0 blocks") && told.contains("trained for Q4_0"),
        "{told}"
    );
}

/// A config that was copied from the target says what the target is; the tensors say what this is.
#[test]
fn a_drafter_under_its_targets_config_is_known_by_its_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let converted = |name: &str, edit: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>)| {
        let path = folder.path().join(name).join("drafter");
        std::fs::create_dir_all(&path).unwrap();
        for entry in std::fs::read_dir(fixture("mini-dense/drafter")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), path.join(entry.file_name())).unwrap();
        }
        let config = path.join("config.json");
        let text = std::fs::read_to_string(&config).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        edit(json.as_object_mut().unwrap());
        std::fs::write(&config, json.to_string()).unwrap();
        let out = folder.path().join(format!("{name}.gguf"));
        let (_, err) = succeed(&[path_str(&path), "--outtype", "q8_0", "-o", path_str(&out)]);
        (sha256(&out), err)
    };
    let (right, _) = converted("right", &|_| ());
    let (typed, err) = converted("typed", &|config| {
        config.insert("model_type".to_owned(), "gemma4".into());
    });
    assert!(err.contains("converted as a drafter (assistant)"), "{err}");
    let (bare, _) = converted("bare", &|config| {
        config.insert("model_type".to_owned(), "gemma4_text".into());
        config.remove("architectures");
    });
    assert_eq!([&typed, &bare], [&right, &right]);
    let (out, _) = succeed(&["inspect", path_str(&folder.path().join("typed/drafter"))]);
    assert!(out.contains("drafter, for a target of width 128"), "{out}");
}
