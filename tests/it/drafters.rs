//! The other drafters of Gemma 4: EAGLE-3, DFlash, DSpark. Their conversion gives upstream's bytes; what cannot run is
//! refused with its reason; `check` and `migrate` know what goes wrong with them.

use crate::bench::llama_server;
use crate::common::parts::*;
use crate::common::*;
use gguf_conv::bench::record::Run;
use gguf_conv::checkpoint::Checkpoint;
use gguf_conv::gguf::{Array, Gguf, Value};
use gguf_conv::io::Inputs;
use gguf_conv::model::{Config, DrafterConfig, RopeNumbers};
use safetensors::Dtype;
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

const INPUT: i32 = 3;

/// The trained drafters: name of the fixture, of the folder that upstream converted, and how llama.cpp drafts with them.
const TRAINED: [(&str, &str, &str); 3] = [
    ("mini-dense-eagle3", "eagle3", "draft-eagle3"),
    ("mini-dense-dflash", "dflash", "draft-dflash"),
    ("mini-dense-dspark", "dspark", "draft-dspark"),
];

fn target() -> PathBuf {
    fixture("mini-dense/target-bf16.gguf")
}

fn converted(drafter: &Path, outtype: &str, out: &Path) -> (String, String) {
    let target = target();
    succeed(&[
        path_str(drafter),
        "--target",
        path_str(&target),
        "--outtype",
        outtype,
        "-o",
        path_str(out),
        "--force",
    ])
}

#[test]
fn trained_drafters_become_upstreams_files() {
    for (pair, name, spec_type) in TRAINED {
        let drafter = Drafter::named(pair, name);
        let out = drafter.beside("out.gguf");
        for outtype in ["f32", "f16", "bf16", "q8_0"] {
            let (told, _) = converted(Path::new(drafter.str()), outtype, &out);
            let sum = &checksums(pair)[&format!("drafter-{outtype}.gguf")];
            assert_eq!(sha256(&out), *sum, "{pair} {outtype}");
            assert!(told.contains(spec_type), "{told}");
        }
    }
}

#[test]
fn trained_drafters_are_quantized_as_llama_quantize_does() {
    for (pair, name, _) in TRAINED {
        let drafter = Drafter::named(pair, name);
        let (one, two) = (drafter.beside("one.gguf"), drafter.beside("two.gguf"));
        let source = fixture(pair).join("drafter-bf16.gguf");
        let args = ["--outtype", "q4_0", "-o", path_str(&two)];
        succeed(&[&["quantize", path_str(&source)], &args[..]].concat());
        assert_eq!(sha256(&two), checksums(pair)["drafter-lq-q4_0.gguf"], "{pair}");
        // In one step the same tensors come out, in the checkpoint's order.
        converted(Path::new(drafter.str()), "q4_0", &one);
        let inputs = Inputs::new();
        let (one, two) = (
            Gguf::open(&inputs, &one).unwrap(),
            Gguf::open(&inputs, &two).unwrap(),
        );
        assert_eq!(one.tensors().count(), two.tensors().count());
        for info in one.tensors() {
            let name = std::str::from_utf8(&info.name).unwrap();
            let ours = one.tensor(name).unwrap().unwrap();
            let theirs = two.tensor(name).unwrap().unwrap();
            assert_eq!(ours.ty, theirs.ty, "{pair} {name}");
            assert!(ours.data == theirs.data, "{pair} {name}");
        }
    }
}

#[test]
fn the_forms_that_people_have_become_upstreams_files() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    let sums = checksums("drafter-variants");
    assert_eq!(sums.len(), 12);
    for (file, sum) in &sums {
        let (name, outtype) = file.strip_suffix(".gguf").unwrap().rsplit_once('-').unwrap();
        converted(&fixture("drafter-variants").join(name), outtype, &out);
        assert_eq!(sha256(&out), *sum, "{file}");
        let checked = succeed(&["check", path_str(&out), "--target", path_str(&target())]).0;
        assert!(checked.contains("nothing found"), "{checked}");
    }
}

/// `fixtures/rope_variants.py` made the settings and the sums. llama.cpp turns by linear scaling; by YaRN ours does not.
#[test]
fn scaled_rotary_frequencies_become_upstreams_files() {
    let path = fixture("drafter-variants/rope.json");
    let variants: Json = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let variants = variants.as_object().unwrap();
    assert_eq!(variants.len(), 7);
    for (name, variant) in variants {
        let folder = tempfile::tempdir().unwrap();
        let drafter = folder.path().join(name);
        copy_folder(
            &fixture("drafter-variants").join(variant["of"].as_str().unwrap()),
            &drafter,
        );
        let config = drafter.join("config.json");
        let mut settings: Json = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
        let more = variant["config"].as_object().unwrap().clone();
        settings.as_object_mut().unwrap().extend(more);
        std::fs::write(config, settings.to_string()).unwrap();
        let out = folder.path().join("out.gguf");
        converted(&drafter, "bf16", &out);
        assert_eq!(sha256(&out), variant["sha256"].as_str().unwrap(), "{name}");
        let checked = succeed(&["check", path_str(&out), "--target", path_str(&target())]).0;
        assert!(checked.contains("nothing found"), "{name}: {checked}");

        let inputs = Inputs::new();
        let of_gguf = DrafterConfig::from_gguf(&Gguf::open(&inputs, &out).unwrap(), "");
        if name.contains("yarn") {
            let told = of_gguf.unwrap_err().to_string();
            assert!(told.contains("rotary scaling of type yarn"), "{told}");
            continue;
        }
        let of_gguf = of_gguf.unwrap();
        let factor = if name == "dflash-nested" { 2.0 } else { 4.0 };
        assert_eq!(rope_of(&of_gguf).stretch, factor, "{name}");
        let of_target = Config::from_gguf(&Gguf::open(&inputs, &target()).unwrap(), "gemma4").unwrap();
        let checkpoint = Checkpoint::open(&inputs, &drafter).unwrap();
        let of_checkpoint = DrafterConfig::from_checkpoint(&checkpoint, &of_gguf, &of_target).unwrap();
        assert_eq!(rope_of(&of_checkpoint), rope_of(&of_gguf), "{name}");
    }
}

fn rope_of(config: &DrafterConfig) -> &RopeNumbers {
    match config {
        DrafterConfig::Eagle3(config) => &config.numbers.rope,
        DrafterConfig::DFlash(config) => &config.numbers.rope,
        DrafterConfig::Assistant(_) => panic!("an assistant"),
    }
}

/// Nothing that turns a drafter otherwise is dropped in silence.
#[test]
fn other_scalings_are_refused() {
    for (pair, settings, words) in [
        (
            "mini-dense-eagle3",
            json!({ "rope_scaling": { "rope_type": "llama3", "factor": 8.0 } }),
            ["/rope_scaling/rope_type", "llama3"],
        ),
        (
            "mini-dense-dflash",
            json!({ "rope_parameters": { "full_attention": { "rope_type": "llama3" } } }),
            ["/rope_parameters/full_attention/rope_type", "llama3"],
        ),
        (
            "mini-dense-dflash",
            json!({ "rope_scaling": { "type": "dynamic", "factor": 2.0 } }),
            ["/rope_scaling/type", "dynamic"],
        ),
    ] {
        let drafter = Drafter::named(pair, "drafter");
        let more = settings.as_object().unwrap().clone();
        drafter.edit_json("config.json", |config| {
            config.as_object_mut().unwrap().extend(more);
        });
        let target = target();
        let args = [drafter.str(), "--target", path_str(&target), "--dry-run"];
        refuse(INPUT, &words, &args);
    }
}

/// The speculators format of DFlash, which upstream does not read: the same file as from z-lab's format, but for the
/// reduced vocabulary that only this one has.
#[test]
fn dflash_in_the_speculators_format() {
    let drafter = Drafter::named("mini-dense-dflash", "dflash");
    let (plain, out) = (drafter.beside("plain.gguf"), drafter.beside("out.gguf"));
    converted(Path::new(drafter.str()), "bf16", &plain);
    drafter.edit_json("config.json", |config| {
        let mut layer = config.clone();
        for key in ["dflash_config", "architectures", "block_size"] {
            layer.as_object_mut().unwrap().remove(key);
        }
        *config = json!({
            "architectures": ["DFlashDraftModel"],
            "speculators_model_type": "dflash",
            "aux_hidden_state_layer_ids": [1, 3, 4],
            "mask_token_id": 4,
            "block_size": 8,
            "transformer_layer_config": layer,
        });
    });
    converted(Path::new(drafter.str()), "bf16", &out);
    assert!(std::fs::read(&plain).unwrap() == std::fs::read(&out).unwrap());
    drafter.edit_json("config.json", |config| config["draft_vocab_size"] = json!(4));
    refuse(
        INPUT,
        &["lm_head.weight is missing"],
        &[drafter.str(), "--target", path_str(&target()), "--dry-run"],
    );
    drafter.edit_tensors(|tensors| {
        let head = Raw::bf16(&[4, 128], random(5));
        tensors.insert("lm_head.weight".to_owned(), head);
        tensors.insert("d2t".to_owned(), integers(&[10, 20, 30, 40]));
    });
    converted(Path::new(drafter.str()), "bf16", &out);
    let gguf = Gguf::open(&Inputs::new(), &out).unwrap();
    let ids = gguf.tensor("d2t").unwrap().unwrap();
    let ids: Vec<i64> = ids
        .data
        .as_chunks()
        .0
        .iter()
        .copied()
        .map(i64::from_le_bytes)
        .collect();
    assert_eq!(ids, [10, 21, 32, 43]);
}

fn integers(values: &[i64]) -> Raw {
    Raw {
        dtype: Dtype::I64,
        shape: vec![values.len()],
        data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

#[test]
fn a_lone_file_is_known_by_its_tensors() {
    for (pair, name, words) in [
        ("mini-dense-eagle3", "eagle3", "heads"),
        ("mini-dense-dflash", "dflash", "target_layers"),
        ("mini-dense-dspark", "dspark", "target_layers"),
    ] {
        let drafter = Drafter::named(pair, name);
        drafter.remove(&["config.json"]);
        let target = target();
        let weights = drafter.weights();
        // No tensor tells which layers of the target it reads, or how many heads there are.
        refuse(
            INPUT,
            &[words, "is not to be found", "config.json"],
            &[path_str(&weights), "--target", path_str(&target), "--dry-run"],
        );
        let (shown, _) = succeed(&["inspect", path_str(&weights)]);
        assert!(shown.contains("for a target of width 128"), "{shown}");
    }
}

/// Changes a drafter's config and wants a refusal with these words.
#[track_caller]
fn refused(pair: &str, words: &[&str], edit: impl FnOnce(&mut Json)) {
    refused_of(&fixture(pair).join("drafter"), words, edit);
}

#[track_caller]
fn refused_of(checkpoint: &Path, words: &[&str], edit: impl FnOnce(&mut Json)) {
    let drafter = Drafter::copied(checkpoint, "drafter");
    drafter.edit_json("config.json", edit);
    let target = target();
    refuse(
        INPUT,
        words,
        &[drafter.str(), "--target", path_str(&target), "--dry-run"],
    );
}

#[test]
fn what_llama_cpp_cannot_run_is_refused_with_its_reason() {
    let eagle3 = "mini-dense-eagle3";
    refused(eagle3, &["/num_hidden_layers is 5", "one layer only"], |config| {
        config["num_hidden_layers"] = json!(5);
    });
    refused(eagle3, &["P-EAGLE"], |config| {
        config["parallel_drafting"] = json!(true)
    });
    refused(eagle3, &["attention biases"], |config| {
        config["attention_bias"] = json!(true)
    });
    refused(eagle3, &["is 4", "3"], |config| {
        config["eagle_aux_hidden_state_layer_ids"] = json!([1, 2, 3, 4]);
    });
    refused(
        eagle3,
        &["number of a layer that is read", "no such layer"],
        |config| {
            config["eagle_aux_hidden_state_layer_ids"] = json!([1, 3, 6]);
        },
    );
    refused(eagle3, &["width of the target", "128", "256"], |config| {
        config["target_hidden_size"] = json!(256);
    });
    refused(eagle3, &["/draft_vocab_size is 2048", "at most 1024"], |config| {
        config["draft_vocab_size"] = json!(2048);
    });
    let dflash = "mini-dense-dflash";
    refused(
        dflash,
        &["number of a layer that is read", "out of reach"],
        |config| {
            config["dflash_config"]["target_layer_ids"] = json!([0, 2, 4]);
        },
    );
    refused(dflash, &["mask_token_id is 1024", "below 1024"], |config| {
        config["dflash_config"]["mask_token_id"] = json!(1024);
    });
    refused(dflash, &["/block_size is 1"], |config| {
        config["block_size"] = json!(1)
    });
    refused(
        dflash,
        &["rope_type is \"longrope\"", "convert_hf_to_gguf.py"],
        |config| {
            config["rope_scaling"] = json!({"rope_type": "longrope", "factor": 4.0});
        },
    );
    let dspark = "mini-dense-dspark";
    refused(
        dspark,
        &["/attention_k_eq_v is missing", "values are the keys"],
        |config| {
            config.as_object_mut().unwrap().remove("attention_k_eq_v");
        },
    );
    refused(dspark, &["/layer_types", "see everything"], |config| {
        config["layer_types"] = json!(["full_attention", "sliding_attention"]);
    });
    for checkpoint in ["mini-dense-dspark/drafter", "drafter-variants/dspark-qwen3"] {
        refused_of(&fixture(checkpoint), &["plain Markov head"], |config| {
            config["markov_head_type"] = json!("gated")
        });
    }
    let drafter = Drafter::named(dflash, "drafter");
    std::fs::write(drafter.weights().with_file_name("mask_embedding.pt"), b"PK").unwrap();
    let target = target();
    refuse(
        INPUT,
        &["mask_embedding.pt", "PyTorch"],
        &[drafter.str(), "--target", path_str(&target), "--dry-run"],
    );
}

#[test]
fn faults_of_the_map_of_tokens_are_found() {
    let drafter = Drafter::named("mini-dense-eagle3", "eagle3");
    let target = target();
    let spoil = |at: usize, value: i64| {
        drafter.edit_tensors(|tensors| {
            let d2t = tensors.get_mut("d2t").unwrap();
            d2t.data[at * 8..at * 8 + 8].copy_from_slice(&value.to_le_bytes());
        });
    };
    let args = [drafter.str(), "--target", path_str(&target), "--dry-run"];
    spoil(511, 1024 - 511);
    refuse(
        INPUT,
        &["d2t", "entry 511 leads to token 1024; the target has 1024"],
        &args,
    );
    // The last, as far from its own number that it leads to the token of the first.
    let first = i64::from_le_bytes(
        read_tensors(&drafter.weights())["d2t"].data[..8]
            .try_into()
            .unwrap(),
    );
    spoil(511, first - 511);
    refuse(INPUT, &["d2t", "entries 0 and 511 both lead to token"], &args);
}

/// A target's cap, which a config that was copied from the target's states, is told and not applied.
#[test]
fn a_cap_that_llama_cpp_does_not_apply_is_told() {
    let drafter = Drafter::named("mini-dense-dspark", "dspark");
    drafter.edit_json("config.json", |config| {
        config["final_logit_softcapping"] = json!(30.0)
    });
    let out = drafter.beside("out.gguf");
    let (_, told) = converted(Path::new(drafter.str()), "bf16", &out);
    assert!(
        told.contains("/final_logit_softcapping of config.json is 30.0"),
        "{told}"
    );
    assert!(told.contains("does not cap"), "{told}");
    let gguf = Gguf::open(&Inputs::new(), &out).unwrap();
    let cap = gguf.metadata().get("dflash.final_logit_softcapping");
    assert_eq!(cap, Some(&Value::F32(30.0)));
}

#[test]
fn default_names_are_those_by_which_runtimes_find_them() {
    for (pair, name, spec_type) in TRAINED {
        let drafter = Drafter::named(pair, name);
        let folder = tempfile::tempdir().unwrap();
        let target = target();
        let args = [
            drafter.str(),
            "--target",
            path_str(&target),
            "-o",
            path_str(folder.path()),
        ];
        let (told, _) = succeed(&args);
        let prefix = spec_type.strip_prefix("draft-").unwrap();
        let file = folder.path().join(format!("{prefix}-{name}-BF16.gguf"));
        assert!(file.exists(), "{told}");
        let (told, _) = succeed(&["check", path_str(&file), "--target", path_str(&target)]);
        assert!(told.contains(&format!("--spec-type {spec_type}")), "{told}");
        assert!(!told.contains("a name that begins"), "{told}");
        let renamed = folder.path().join("drafter.gguf");
        std::fs::rename(&file, &renamed).unwrap();
        let (told, _) = succeed(&["check", path_str(&renamed)]);
        assert!(
            told.contains(&format!("a name that begins with {prefix}-")),
            "{told}"
        );
        let checked = result(&succeed(&["check", path_str(&renamed), "--json"]).0);
        assert_eq!(checked["spec_type"], spec_type);
        let (_, told) = succeed(&[
            "diff",
            drafter.str(),
            path_str(&renamed),
            "--target",
            path_str(&target),
        ]);
        assert!(!told.contains("cannot be converted"), "{told}");
    }
}

/// What `check` says of a changed drafter, with the target; it must be an error or a warning of this code.
#[track_caller]
fn found(pair: &str, code: &str, words: &str, change: impl FnOnce(&mut Parts)) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("d.gguf");
    let mut parts = Parts::read(&fixture(pair).join("drafter-bf16.gguf"));
    change(&mut parts);
    parts.write(&file);
    let target = target();
    let output = program()
        .args(["check", path_str(&file), "--target", path_str(&target), "--json"])
        .output()
        .unwrap();
    let checked = result(&String::from_utf8(output.stdout).unwrap());
    let findings = checked["findings"].as_array().unwrap();
    let is_it =
        |finding: &&Json| finding["code"] == code && finding["message"].as_str().unwrap().contains(words);
    assert!(findings.iter().any(|finding| is_it(&finding)), "{checked:#}");
}

#[test]
fn check_finds_what_is_wrong_with_the_pair() {
    for (pair, _, _) in TRAINED {
        let file = fixture(pair).join("drafter-bf16.gguf");
        let target = target();
        let (told, _) = succeed(&["check", path_str(&file), "--target", path_str(&target)]);
        assert!(told.contains("nothing found"), "{told}");
    }
    found("mini-dense-eagle3", "pair", "no such layer", |parts| {
        parts.set("eagle3.target_layers", Array::I32(vec![1, 3, 6]));
    });
    found("mini-dense-eagle3", "pair", "width of the target", |parts| {
        parts.set("eagle3.target_hidden_size", Value::U32(64));
    });
    found("mini-dense-dflash", "pair", "out of reach", |parts| {
        parts.set("dflash.target_layers", Array::I32(vec![1, 3, 5]));
    });
    found(
        "mini-dense-dflash",
        "key-missing",
        "the root of their width",
        |parts| {
            parts.remove("dflash.embedding_scale");
        },
    );
    found(
        "mini-dense-dspark",
        "vocabulary",
        "mask_token_id names no token",
        |parts| {
            parts.set("tokenizer.ggml.mask_token_id", Value::U32(5000));
        },
    );
    found("mini-dense-dspark", "key-value", "block_size is 1;", |parts| {
        parts.set("dflash.block_size", Value::U32(1));
    });
    found(
        "mini-dense-dspark",
        "key-type",
        "target_layers is of type u32",
        |parts| {
            parts.set("dflash.target_layers", Value::U32(1));
        },
    );
    found(
        "mini-dense-dspark",
        "tensor-missing",
        "markov_w2.weight is missing",
        |parts| {
            parts.rename_tensor("markov_w2.weight", "markov_w3.weight");
        },
    );
}

#[test]
fn check_finds_duplicates_in_the_map_of_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("d.gguf");
    let mut bytes = std::fs::read(fixture("mini-dense-eagle3/drafter-bf16.gguf")).unwrap();
    // It is the last tensor.
    let end = bytes.len();
    bytes.copy_within(end - 4096..end - 4088, end - 8);
    std::fs::write(&file, bytes).unwrap();
    program()
        .args(["check", path_str(&file)])
        .assert()
        .code(1)
        .stdout(predicates::str::contains("entries 0 and 511 both lead to token"));
}

/// Files of before October 2026 lack the scale of the embeddings; `migrate` adds it, and the file is as it should be.
#[test]
fn migrate_adds_the_scale_of_the_embeddings() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.gguf"), folder.path().join("new.gguf"));
    for pair in ["mini-dense-dflash", "mini-dense-dspark"] {
        let right = fixture(pair).join("drafter-bf16.gguf");
        let mut parts = Parts::read(&right);
        parts.remove("dflash.embedding_scale");
        parts.write(&old);
        let (told, _) = succeed(&["migrate", path_str(&old), "-o", path_str(&new), "--force"]);
        assert!(told.contains("dflash.embedding_scale = 11.31"), "{told}");
        assert!(
            std::fs::read(&new).unwrap() == std::fs::read(&right).unwrap(),
            "{pair}"
        );
    }
}

/// A real server drafts with what is converted here, and accepts as many of the drafts as it does of upstream's files
/// (`llama-speculative-simple` of b11434 on this prompt: 43 of 259, 8 of 363, 32 of 292), give or take what builds differ.
#[test]
fn llama_cpp_drafts_with_each_kind() {
    let Some(server) = llama_server() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (prompt, target) = (folder.path().join("prompt.txt"), target());
    std::fs::write(&prompt, "import os\nimport sys\n\ndef read_file(path):\n").unwrap();
    for ((pair, name, _), expected) in TRAINED.into_iter().zip([43.0 / 259.0, 8.0 / 363.0, 32.0 / 292.0]) {
        let drafter = Drafter::named(pair, name);
        let (out, calls) = (drafter.beside("d.gguf"), drafter.beside("calls.jsonl"));
        converted(Path::new(drafter.str()), "q8_0", &out);
        let output = program()
            .args(["bench", "--llama-server", &server, "--target", path_str(&target)])
            .args([
                "--drafter",
                path_str(&out),
                "--n-max",
                "3",
                "--calls",
                "2",
                "--warmup",
                "0",
            ])
            .args(["--predict", "128", "--raw", "--prompts", path_str(&prompt)])
            .args(["--jsonl", path_str(&calls)])
            .output()
            .unwrap();
        let run = Run::read(&Inputs::new(), &calls);
        let run = run.unwrap_or_else(|error| panic!("{pair}: {error}: {output:?}"));
        let sum = |count: fn(&gguf_conv::bench::record::Call) -> Option<u64>| -> u64 {
            run.calls.iter().filter_map(count).sum()
        };
        let (drafted, accepted) = (sum(|call| call.drafted), sum(|call| call.accepted));
        assert!(drafted >= 200, "{pair}: {drafted} drafted: {output:?}");
        let rate = accepted as f64 / drafted as f64;
        assert!((rate - expected).abs() < 0.05, "{pair}: {accepted} of {drafted}");
    }
}
