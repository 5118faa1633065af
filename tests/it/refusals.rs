//! What a conversion refuses: exit code, one clear line, and nothing written.

use crate::common::*;
use gguf_conv::gguf::Metadata;
use gguf_conv::io::Inputs;
use safetensors::tensor::Dtype;
use serde_json::json;
use std::path::Path;

const INPUT: i32 = 3;
const USAGE: i32 = 2;

/// Refused as DRAFTER, whatever else is asked for; the output does not appear.
#[track_caller]
fn refuse_drafter(path: &Path, words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    refuse(
        INPUT,
        words,
        &[path_str(path), "--outtype", "q8_0", "-o", path_str(&out)],
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "something was written"
    );
}

fn refuse_edited(edit: impl FnOnce(&mut Tensors), words: &[&str]) {
    let drafter = Drafter::copy_of("mini-dense");
    drafter.edit_tensors(edit);
    refuse_drafter(&drafter.path, words);
}

/// Rewrites the JSON header of `model.safetensors`; the data stays.
fn edit_header(drafter: &Drafter, edit: impl FnOnce(String) -> String) {
    let bytes = std::fs::read(drafter.weights()).unwrap();
    let (length, rest) = bytes.split_first_chunk::<8>().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header = edit(String::from_utf8(header.to_vec()).unwrap());
    let mut edited = (header.len() as u64).to_le_bytes().to_vec();
    edited.extend(header.as_bytes());
    edited.extend(data);
    std::fs::write(drafter.weights(), edited).unwrap();
}

#[test]
fn truncated_weights() {
    let drafter = Drafter::copy_of("mini-dense");
    let bytes = std::fs::read(drafter.weights()).unwrap();
    for (len, words) in [
        (bytes.len() - 1, "truncated"),
        (4000, "truncated"),
        (8, "truncated"),
        (3, "too short"),
        (0, "an empty file"),
    ] {
        std::fs::write(drafter.weights(), &bytes[..len]).unwrap();
        refuse_drafter(&drafter.path, &["model.safetensors", words]);
    }
}

#[test]
fn a_header_larger_than_the_file() {
    let drafter = Drafter::copy_of("mini-dense");
    let mut bytes = std::fs::read(drafter.weights()).unwrap();
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    std::fs::write(drafter.weights(), bytes).unwrap();
    refuse_drafter(&drafter.path, &["header claims 18446744073709551615 bytes"]);
}

#[test]
fn offsets_that_overlap_or_leave_the_file() {
    let drafter = Drafter::copy_of("mini-dense");
    // The two projections have the same size, so one can be made to lie on the other.
    let tensors = read_tensors(&drafter.weights());
    assert_eq!(
        tensors["model.layers.0.self_attn.q_proj.weight"].data.len(),
        tensors["post_projection.weight"].data.len()
    );
    edit_header(&drafter, |header| {
        let mut json: serde_json::Value = serde_json::from_str(&header).unwrap();
        json["post_projection.weight"]["data_offsets"] =
            json["model.layers.0.self_attn.q_proj.weight"]["data_offsets"].clone();
        json.to_string()
    });
    refuse_drafter(&drafter.path, &["overlap", "post_projection.weight"]);
    edit_header(&drafter, |header| {
        let mut json: serde_json::Value = serde_json::from_str(&header).unwrap();
        json["post_projection.weight"]["data_offsets"] = json!([1_000_000_000, 1_000_016_384]);
        json.to_string()
    });
    refuse_drafter(
        &drafter.path,
        &["post_projection.weight", "beyond the end of the file"],
    );
}

#[test]
fn an_unknown_dtype() {
    let drafter = Drafter::copy_of("mini-dense");
    edit_header(&drafter, |header| header.replacen("BF16", "BF17", 1));
    refuse_drafter(
        &drafter.path,
        &["model.embed_tokens.weight", "unknown dtype BF17"],
    );
}

#[test]
fn a_name_that_stands_twice() {
    let drafter = Drafter::copy_of("mini-dense");
    edit_header(&drafter, |header| {
        header.replace("model.layers.1.layer_scalar", "model.layers.0.layer_scalar")
    });
    refuse_drafter(&drafter.path, &["model.layers.0.layer_scalar", "stands twice"]);
}

#[test]
fn shards_outside_missing_doubled_or_incomplete() {
    let redirect = |to: &'static str| {
        move |index: &mut serde_json::Value| index["weight_map"]["pre_projection.weight"] = json!(to)
    };
    for outside in [
        "../model.safetensors",
        "/etc/passwd",
        "a/b.safetensors",
        "..\\x",
        "..",
    ] {
        let drafter = Drafter::copy_of("mini-dense");
        drafter.shard(redirect(outside));
        refuse_drafter(&drafter.path, &["outside its folder"]);
    }
    let drafter = Drafter::copy_of("mini-dense");
    let [first, second] = drafter.shard(|_| ());
    std::fs::remove_file(&second).unwrap();
    refuse_drafter(&drafter.path, &["model-00002-of-00002.safetensors", "not there"]);
    std::fs::copy(&first, &second).unwrap();
    refuse_drafter(&drafter.path, &["does not hold it"]);

    let drafter = Drafter::copy_of("mini-dense");
    let [first, second] = drafter.shard(|_| ());
    let mut both = read_tensors(&first);
    both.extend(read_tensors(&second));
    write_tensors(&second, &both);
    refuse_drafter(&drafter.path, &["stands in two shards"]);
}

#[test]
fn nan_and_infinity_are_named_with_their_place() {
    let set = |tensors: &mut Tensors, row: usize, column: usize, bits: u16| {
        let at = 2 * (row * 64 + column);
        tensors.get_mut("model.embed_tokens.weight").unwrap().data[at..at + 2]
            .copy_from_slice(&bits.to_le_bytes());
    };
    refuse_edited(
        |t| set(t, 1000, 63, 0x7fc0),
        &["model.embed_tokens.weight", "NaN at row 1000, column 63"],
    );
    refuse_edited(
        |t| {
            set(t, 900, 1, 0x7f80);
            set(t, 3, 5, 0xff80);
        },
        &["-inf at row 3, column 5"],
    );
    // A type that can hold it keeps it.
    let drafter = Drafter::copy_of("mini-dense");
    drafter.edit_tensors(|t| set(t, 1, 1, 0x7fc0));
    let out = drafter.beside("out.gguf");
    succeed(&[drafter.str(), "--outtype", "bf16", "-o", path_str(&out)]);
}

#[test]
fn quantized_sources() {
    refuse_edited(
        |tensors| {
            let scales = Raw::bf16(&[64, 2], random(1));
            tensors.insert("model.layers.0.self_attn.q_proj.scales".to_owned(), scales);
        },
        &["q_proj.scales", "quantized checkpoint", "bf16"],
    );
    refuse_edited(
        |tensors| {
            let raw = Raw {
                dtype: Dtype::F8_E4M3,
                shape: vec![64, 256],
                data: vec![0; 64 * 256],
            };
            tensors.insert("pre_projection.weight".to_owned(), raw);
        },
        &["pre_projection.weight", "F8_E4M3"],
    );
}

#[test]
fn tensors_missing_misshapen_or_unexpected() {
    refuse_edited(
        |tensors| drop(tensors.remove("model.layers.2.mlp.up_proj.weight")),
        &["model.layers.2.mlp.up_proj.weight is missing"],
    );
    refuse_edited(
        |tensors| {
            let wrong = Raw::bf16(&[128, 128], random(1));
            tensors.insert("pre_projection.weight".to_owned(), wrong);
        },
        &[
            "pre_projection.weight has checkpoint shape [128, 128] (outermost first), expected [64, 256] (hidden, 2 * backbone)",
        ],
    );
    refuse_edited(
        |tensors| {
            let extra = Raw::bf16(&[64], random(1));
            tensors.insert("model.layers.4.input_layernorm.weight".to_owned(), extra);
        },
        &[
            "1 tensors are not part of",
            "model.layers.4.input_layernorm.weight",
        ],
    );
    refuse_edited(
        |tensors| {
            let wrong = Raw {
                dtype: Dtype::I32,
                shape: vec![64],
                data: vec![0; 256],
            };
            tensors.insert("model.norm.weight".to_owned(), wrong);
        },
        &["model.norm.weight has dtype I32"],
    );
}

#[test]
fn configs_of_other_models_or_with_unknown_settings() {
    let with = |edit: fn(&mut serde_json::Value), words: &[&str]| {
        let drafter = Drafter::copy_of("mini-dense");
        drafter.edit_json("config.json", edit);
        refuse_drafter(&drafter.path, words);
    };
    with(
        |c| c["text_config"]["rope_parameters"]["full_attention"]["rope_type"] = json!("yarn"),
        &["rope_type is \"yarn\"; expected \"proportional\""],
    );
    with(
        |c| c["text_config"]["enable_moe_block"] = json!(true),
        &["enable_moe_block is true"],
    );
    with(
        |c| c["text_config"]["layer_types"] = json!(["full_attention"]),
        &["layer_types", "a list of 4"],
    );
    with(
        |c| c["text_config"]["hidden_size"] = json!("64"),
        &["/text_config/hidden_size is \"64\"; expected an integer"],
    );
    with(
        |c| c["text_config"]["num_hidden_layers"] = json!(1e18),
        &["num_hidden_layers is 1e18; expected an integer from 1 to 512"],
    );
    with(
        |c| c["text_config"]["intermediate_size"] = json!(-5),
        &["intermediate_size is -5; expected an integer from 1"],
    );
    with(
        |c| c["text_config"]["sliding_window"] = json!(null),
        &["window is not to be found", "--target"],
    );
    let drafter = Drafter::copy_of("mini-dense");
    std::fs::write(drafter.path.join("config.json"), "{").unwrap();
    refuse_drafter(&drafter.path, &["config.json", "not valid JSON"]);
}

/// A drafter as wide as its target is none for llama.cpp; other programs may load it.
#[test]
fn a_broken_rule_of_the_architecture_is_told() {
    let drafter = Drafter::copy_of("mini-dense");
    drafter.edit_json("config.json", |config| {
        config["backbone_hidden_size"] = json!(64);
    });
    drafter.edit_tensors(|tensors| {
        for (name, shape) in [
            ("pre_projection.weight", [64, 128]),
            ("post_projection.weight", [64, 64]),
        ] {
            tensors.insert(name.to_owned(), Raw::bf16(&shape, random(1)));
        }
    });
    let (_, told) = succeed(&[drafter.str(), "--dry-run"]);
    let words = "warning: llama.cpp will not load this file: it refuses a drafter as wide as its target";
    assert!(told.contains(words) && told.contains("must differ"), "{told}");
}

#[test]
fn tokenizers_that_do_not_fit() {
    let with = |edit: fn(&mut serde_json::Value), words: &[&str]| {
        let drafter = Drafter::copy_of("mini-dense");
        drafter.edit_json("tokenizer.json", edit);
        refuse_drafter(&drafter.path, words);
    };
    with(
        |t| t["model"]["type"] = json!("Unigram"),
        &["tokenizer.json", "Unigram"],
    );
    with(
        |t| t["model"]["vocab"]["<pad>"] = json!(1_000_000),
        &["token id 1000000", "no gaps"],
    );
    with(|t| t["model"]["vocab"]["<pad>"] = json!(7), &["share the id 7"]);
    with(
        |t| t["model"]["merges"] = json!([]),
        &["has no merges", "download it again"],
    );
    with(
        |t| t["model"]["merges"][0] = json!("nospace"),
        &["\"nospace\"", "expected a merge"],
    );
    // Both parts are tokens, and what they make is none; or a part is none.
    for merge in ["<pad> <eos>", "no-token neither"] {
        let drafter = Drafter::copy_of("mini-dense");
        drafter.edit_json("tokenizer.json", |t| t["model"]["merges"][0] = json!(merge));
        let words = format!("merges holds \"{merge}\" at 0, which names or makes a token that is not");
        refuse_drafter(&drafter.path, &["tokenizer.json", &words, "download it again"]);
    }
    with(
        |t| {
            let vocab = t["model"]["vocab"].as_object_mut().unwrap();
            vocab.retain(|_, id| id.as_u64().unwrap() < 1000);
        },
        &["1000 tokens, the embedding 1024 rows"],
    );
}

#[test]
fn nothing_to_take_the_tokenizer_from() {
    let drafter = Drafter::copy_of("mini-dense");
    drafter.remove(&["tokenizer.json"]);
    refuse_drafter(
        &drafter.path,
        &["no tokenizer.json", "download the tokenizer files", "--target"],
    );
    drafter.remove(&["config.json"]);
    refuse_drafter(&drafter.path, &["no config.json", "download it", "--target"]);
    refuse(
        USAGE,
        &["--tokenizer target needs --target"],
        &[
            path_str(&fixture("mini-dense/drafter")),
            "--tokenizer",
            "target",
            "--dry-run",
        ],
    );
}

#[test]
fn targets_of_another_architecture_width_or_vocabulary() {
    let drafter = Drafter::copy_of("mini-dense");
    let refuse_target = |target: &Path, words: &[&str]| {
        refuse(
            INPUT,
            words,
            &[drafter.str(), "--target", path_str(target), "--dry-run"],
        );
    };
    refuse_target(
        &fixture("mini-dense/drafter-q8_0.gguf"),
        &["architecture is gemma4-assistant", "gemma4"],
    );
    refuse_target(
        &fixture("mini-edge/target-bf16.gguf"),
        &["kv heads of the sliding layers", "1 in the target and 2"],
    );

    let target = drafter.beside("target.gguf");
    // Without a tensor it would be a vocabulary and no target.
    let f32 = gguf_conv::quant::GgmlType::F32;
    let norm: [(&str, &[u64], _, Vec<u8>); 1] = [("output_norm.weight", &[1], f32, vec![0; 4])];
    let tokens: Vec<String> = (0..1024).map(|i| format!("t{i}")).collect();
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    write_gguf(&target, &target_metadata(256, [32, 64], 2, &tokens), &norm);
    refuse_target(
        &target,
        &["backbone width is 256 in the target and 128 in the drafter"],
    );
    write_gguf(&target, &target_metadata(128, [32, 32], 2, &tokens), &norm);
    refuse_target(&target, &["head dim of the full layers"]);

    let mut pattern = target_metadata(128, [32, 64], 2, &tokens);
    pattern.set(
        "gemma4.attention.head_count_kv",
        gguf_conv::gguf::Array::I32(vec![2, 1]),
    );
    write_gguf(&target, &pattern, &norm);
    refuse_target(
        &target,
        &[
            "vocabulary",
            "token 0 is \"<pad>\" in the drafter and \"t0\" in the target",
        ],
    );
    let mut shorter = pattern.clone();
    shorter.set(
        "tokenizer.ggml.tokens",
        gguf_conv::gguf::Array::String(tokens[..9].iter().collect()),
    );
    write_gguf(&target, &shorter, &norm);
    refuse(
        INPUT,
        &["it has 9 tokens, the drafter's embedding 1024 rows"],
        &[
            drafter.str(),
            "--target",
            path_str(&target),
            "--tokenizer",
            "target",
            "--dry-run",
        ],
    );
    write_gguf(&target, &Metadata::default(), &[]);
    refuse_target(&target, &["general.architecture is missing"]);
    std::fs::write(&target, b"GGUF\x03\0\0\0").unwrap();
    refuse_target(&target, &["file ends too early"]);
}

#[test]
fn targets_that_are_broken_files() {
    let drafter = Drafter::copy_of("mini-dense");
    let original = std::fs::read(fixture("mini-dense/target-bf16.gguf")).unwrap();
    let target = drafter.beside("target.gguf");
    for (len, words) in [
        (original.len() - 64, "beyond the end of the file"),
        (5000, "more than the 3591 bytes behind offset 1401"),
        (0, "an empty file"),
    ] {
        std::fs::write(&target, &original[..len]).unwrap();
        refuse(
            INPUT,
            &[words],
            &[drafter.str(), "--target", path_str(&target), "--dry-run"],
        );
    }
}

#[test]
fn split_targets_are_read_whole_or_not_at_all() {
    let drafter = Drafter::copy_of("mini-dense");
    drafter.remove(&[
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
    ]);
    let whole = fixture("mini-dense/target-bf16.gguf");
    let file = gguf_conv::gguf::Gguf::open(&Inputs::new(), &whole).unwrap();
    let names: Vec<String> = file.tensors().map(|info| info.name.to_string()).collect();
    let paths = [
        drafter.beside("t-00001-of-00002.gguf"),
        drafter.beside("t-00002-of-00002.gguf"),
    ];
    for (no, (path, half)) in paths
        .iter()
        .zip(names.chunks(names.len().div_ceil(2)))
        .enumerate()
    {
        let mut metadata = if no == 0 {
            file.metadata().clone()
        } else {
            Metadata::default()
        };
        metadata.set("split.no", no as u32);
        metadata.set("split.count", 2_u32);
        metadata.set("split.tensors.count", names.len() as u32);
        let tensors: Vec<_> = half
            .iter()
            .map(|name| file.tensor(name).unwrap().unwrap())
            .zip(half)
            .map(|(tensor, name)| {
                (
                    name.as_str(),
                    tensor.info.dims.as_slice(),
                    tensor.ty,
                    tensor.data.to_vec(),
                )
            })
            .collect();
        write_gguf(path, &metadata, &tensors);
    }
    let convert = |target: &Path, out: &Path| {
        succeed(&[
            drafter.str(),
            "--target",
            path_str(target),
            "--outtype",
            "q8_0",
            "-o",
            path_str(out),
        ]);
        std::fs::read(out).unwrap()
    };
    let expected = convert(&whole, &drafter.beside("whole.gguf"));
    assert!(convert(&paths[0], &drafter.beside("first.gguf")) == expected);
    assert!(convert(&paths[1], &drafter.beside("second.gguf")) == expected);
    std::fs::remove_file(&paths[1]).unwrap();
    refuse(
        INPUT,
        &["t-00002-of-00002.gguf"],
        &[drafter.str(), "--target", path_str(&paths[0]), "--dry-run"],
    );
    let renamed = drafter.beside("renamed.gguf");
    std::fs::rename(&paths[0], &renamed).unwrap();
    refuse(
        INPUT,
        &["original names"],
        &[drafter.str(), "--target", path_str(&renamed), "--dry-run"],
    );
}

#[test]
fn what_is_no_drafter_at_all() {
    refuse(INPUT, &["no-such-folder"], &["no-such-folder"]);
    let folder = tempfile::tempdir().unwrap();
    refuse_drafter(folder.path(), &["no *.safetensors file in this folder"]);
    refuse_drafter(&fixture("mini-dense/drafter-q8_0.gguf"), &["this is a GGUF file"]);
    for name in ["a.safetensors", "b.safetensors"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    refuse_drafter(
        folder.path(),
        &["2 safetensors files and no index", "a.safetensors, b.safetensors"],
    );
}

#[test]
fn outputs_that_would_destroy_something() {
    let drafter = Drafter::copy_of("mini-dense");
    let out = drafter.beside("out.gguf");
    std::fs::write(&out, "precious").unwrap();
    refuse(
        USAGE,
        &["out.gguf exists already", "--force"],
        &[drafter.str(), "-o", path_str(&out)],
    );
    assert_eq!(std::fs::read(&out).unwrap(), b"precious");
    let weights = drafter.weights();
    refuse(
        USAGE,
        &["one of the inputs"],
        &[drafter.str(), "--force", "-o", path_str(&weights)],
    );
    let tokenizer = drafter.path.join("tokenizer.json");
    refuse(
        USAGE,
        &["one of the inputs"],
        &[drafter.str(), "--force", "-o", path_str(&tokenizer)],
    );
    refuse(
        USAGE,
        &["does not exist"],
        &[drafter.str(), "-o", path_str(&drafter.beside("no/out.gguf"))],
    );
    #[cfg(target_os = "linux")]
    refuse(
        USAGE,
        &["is a device", "`-o -`"],
        &[drafter.str(), "--force", "-o", "/dev/null"],
    );
    succeed(&[drafter.str(), "--force", "-o", path_str(&out)]);
    assert!(std::fs::read(&out).unwrap().starts_with(b"GGUF"));
}

#[test]
fn a_data_error_leaves_the_old_file() {
    let drafter = Drafter::copy_of("mini-dense");
    drafter.edit_tensors(|tensors| {
        let data = &mut tensors.get_mut("pre_projection.weight").unwrap().data;
        data[..2].copy_from_slice(&0x7fc0_u16.to_le_bytes());
    });
    let out = drafter.beside("out.gguf");
    std::fs::write(&out, "old").unwrap();
    refuse(
        INPUT,
        &["NaN"],
        &[
            drafter.str(),
            "--outtype",
            "q8_0",
            "--force",
            "-o",
            path_str(&out),
        ],
    );
    assert_eq!(std::fs::read(&out).unwrap(), b"old");
}

/// A process that is killed, or that reaches the largest file it may write, leaves nothing under the final name.
#[cfg(target_os = "linux")]
#[test]
fn a_kill_leaves_the_old_file_and_no_new_one() {
    use std::process::{Command, Stdio};
    let drafter = Drafter::copy_of("mini-dense");
    let out = drafter.beside("out.gguf");
    let run = |shell: &str| {
        let program = assert_cmd::cargo::cargo_bin("gguf-conv");
        let script = format!(
            "{shell} {} {} --force -o {}",
            path_str(&program),
            drafter.str(),
            path_str(&out)
        );
        let mut command = Command::new("sh");
        command
            .args(["-c", &script])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    // To replace a file a whole one gets a temporary name first; a kill at that moment leaves it behind.
    let is_part = |entry: &std::fs::DirEntry| entry.path().extension().is_some_and(|ext| ext == "part");
    let files = || {
        let entries = std::fs::read_dir(drafter.beside("")).unwrap().map(Result::unwrap);
        entries.filter(|entry| !is_part(entry)).count()
    };
    let before = files();
    for old in [false, true] {
        if old {
            std::fs::write(&out, "old").unwrap();
        }
        for limit in [1, 64, 512] {
            let status = run(&format!("ulimit -f {limit};")).status().unwrap();
            assert!(!status.success(), "the limit of {limit} blocks was not reached");
        }
        for microseconds in (0..40).map(|i| i * 500) {
            let mut child = run("exec").spawn().unwrap();
            std::thread::sleep(std::time::Duration::from_micros(microseconds));
            child.kill().unwrap();
            child.wait().unwrap();
            match std::fs::read(&out) {
                Ok(bytes) if bytes.starts_with(b"GGUF") => {
                    // It was done before the kill; the file is whole.
                    assert_eq!(bytes.len(), 630_816);
                    if old {
                        std::fs::write(&out, "old").unwrap()
                    } else {
                        std::fs::remove_file(&out).unwrap()
                    }
                }
                Ok(bytes) => assert!(old && bytes == b"old"),
                Err(_) => assert!(!old),
            }
        }
    }
    assert_eq!(files(), before + 1, "only the old file lies beside the drafter");
}

#[test]
fn wrong_usage() {
    for args in [&["--outtype", "q9", "x"][..], &["--no-such-option"], &["inspect"]] {
        let output = program().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(USAGE), "{args:?}");
    }
    let output = program().output().unwrap();
    assert_eq!(output.status.code(), Some(USAGE));
}

/// Numbers have types and bounds: nothing is cut off, rounded or wrapped on its way from the config into a key.
#[test]
fn numbers_of_the_config_that_are_none() {
    for (key, value, allowed) in [
        ("max_position_embeddings", "-5", "an integer from 1 to 2147483647"),
        (
            "max_position_embeddings",
            "1e12",
            "an integer from 1 to 2147483647",
        ),
        (
            "max_position_embeddings",
            "1000000000000",
            "an integer from 1 to 2147483647",
        ),
        (
            "max_position_embeddings",
            "131072.5",
            "an integer from 1 to 2147483647",
        ),
        ("sliding_window", "-1", "an integer from 1 to 2147483647"),
        ("sliding_window", "\"32\"", "an integer from 1 to 2147483647"),
        ("num_key_value_heads", "3.7", "an integer from 1 to 65536"),
        ("num_key_value_heads", "true", "an integer from 1 to 65536"),
        ("rms_norm_eps", "-1", "a number above 0 and at most 1"),
        ("rms_norm_eps", "1e300", "a number above 0 and at most 1"),
        ("use_double_wide_mlp", "1", "true or false"),
        (
            "rope_parameters/full_attention/partial_rotary_factor",
            "50",
            "a number from 0 to 1",
        ),
        ("rope_parameters/full_attention/rope_theta", "{}", "a number"),
    ] {
        let drafter = Drafter::copy_of("mini-dense");
        drafter.edit_json("config.json", |config| {
            let pointer = format!("/text_config/{key}");
            *config.pointer_mut(&pointer).unwrap() = serde_json::from_str(value).unwrap();
        });
        refuse_drafter(&drafter.path, &["config.json", key, allowed]);
    }
    // Small enough for the config's f64, not for the key's f32.
    let drafter = Drafter::copy_of("mini-dense");
    drafter.edit_json("config.json", |config| {
        config["text_config"]["rms_norm_eps"] = 1e-60.into();
    });
    refuse_drafter(&drafter.path, &["layer_norm_rms_epsilon", "1e-60", "f32"]);
}

/// Every command that reads an architecture takes one, and tells the line.
#[test]
fn an_architecture_file_that_is_not_sound() {
    let folder = tempfile::tempdir().unwrap();
    let arch = folder.path().join("mine.toml");
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("arch/gemma4_assistant.toml"))
            .unwrap();
    std::fs::write(&arch, text.replace("value = \"hidden\"", "value = \"hiden\"")).unwrap();
    let drafter = fixture("mini-dense/drafter-q8_0.gguf");
    let target = fixture("mini-dense/target-bf16.gguf");
    let (drafter, target, arch) = (path_str(&drafter), path_str(&target), path_str(&arch));
    for args in [
        vec!["check", drafter],
        vec!["inspect", drafter],
        vec!["diff", drafter, drafter],
        vec!["migrate", drafter, "--dry-run"],
        vec!["verify", drafter, "--target", target],
        vec!["convert", drafter],
    ] {
        let args = [&args[..], &["--arch", arch]].concat();
        refuse(INPUT, &["mine.toml:", "\"hiden\"", "nearest are hidden"], &args);
    }
}
