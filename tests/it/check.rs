//! What `check` finds in drafters that a test has spoilt, and that it finds nothing in those that are right.

use crate::common::parts::*;
use crate::common::*;
use gguf_conv::gguf::{Array, Gguf, Strings, Value};
use gguf_conv::io::Inputs;
use gguf_conv::quant::GgmlType;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

/// Runs check and returns its findings and exit code.
fn findings(path: &Path, target: Option<&Path>) -> (Vec<Json>, i32) {
    let mut command = program();
    command.args(["check", "--json"]).arg(path);
    if let Some(target) = target {
        command.arg("--target").arg(target);
    }
    let output = command.output().unwrap();
    let report = result(&String::from_utf8_lossy(&output.stdout));
    let findings = report["findings"].as_array().unwrap().clone();
    assert_eq!(
        findings.len() as u64,
        report["errors"].as_u64().unwrap() + report["warnings"].as_u64().unwrap()
    );
    for finding in &findings {
        assert!(!finding["hint"].as_str().unwrap().is_empty(), "{finding}");
    }
    (findings, output.status.code().unwrap())
}

/// Spoils mini-dense's drafter and expects one finding with this code and these words, or several of the code.
#[track_caller]
fn finds(code: &str, words: &str, spoil: impl FnOnce(&mut Parts)) {
    finds_with(None, code, words, spoil);
}

#[track_caller]
fn finds_with(target: Option<&Path>, code: &str, words: &str, spoil: impl FnOnce(&mut Parts)) {
    let mut parts = Parts::read(&fixture("mini-dense/drafter-q8_0.gguf"));
    spoil(&mut parts);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("drafter.gguf");
    parts.write(&path);
    expect(&path, target, code, words);
}

#[track_caller]
fn expect(path: &Path, target: Option<&Path>, code: &str, words: &str) {
    let (findings, exit) = findings(path, target);
    let fails = findings.iter().any(|finding| finding["severity"] == "error");
    assert_eq!(exit, i32::from(fails), "a warning alone does not fail");
    let found = findings
        .iter()
        .any(|f| f["code"] == code && f["message"].as_str().unwrap().contains(words));
    assert!(found, "no {code} with {words:?} in {findings:#?}");
    let others: Vec<&Json> = findings.iter().filter(|f| f["code"] != code).collect();
    assert!(others.is_empty(), "{others:#?}");
}

fn key(name: &str) -> String {
    format!("{UPSTREAM}.{name}")
}

fn target() -> PathBuf {
    fixture("mini-dense/target-bf16.gguf")
}

#[test]
fn nothing_is_found_in_files_that_are_right() {
    for pair in PAIRS {
        for file in ["drafter-q8_0.gguf", "drafter-lq-q4_0.gguf"] {
            let drafter = fixture(pair).join(file);
            let target = fixture(pair).join("target-bf16.gguf");
            assert_eq!(findings(&drafter, None), (Vec::new(), 0), "{pair} {file}");
            assert_eq!(
                findings(&drafter, Some(&target)),
                (Vec::new(), 0),
                "{pair} {file}"
            );
        }
    }
    let drafter = fixture("mini-dense/drafter-q8_0.gguf");
    let (out, _) = succeed(&["check", path_str(&drafter)]);
    assert!(out.contains("nothing found\n"), "{out}");
    // As gguf-py counts them.
    let checked = "checked: container (1 file), metadata (43 keys), tensors (49 tensors), vocabulary (1024 tokens), \
        drafter's data (49 tensors)\n";
    assert!(out.starts_with(checked), "{out}");
    for said in ["requires ctx_other", "_M_range_check", "invalid vector subscript"] {
        assert!(out.contains(said), "{said} is not explained: {out}");
    }
}

#[test]
fn another_dialect_and_how_to_mend_it() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.gguf"), folder.path().join("new.gguf"));
    for (parts, architecture) in [
        (atomic("mini-edge", "q8_0"), "gemma4_assistant"),
        (ik("mini-edge", "q8_0"), "gemma4_mtp"),
    ] {
        parts.write(&old);
        let target = fixture("mini-edge/target-bf16.gguf");
        expect(
            &old,
            Some(&target),
            "dialect",
            &format!("unknown model architecture: '{architecture}'"),
        );
        succeed(&["migrate", path_str(&old), "-o", path_str(&new), "--force"]);
        assert_eq!(findings(&new, Some(&target)), (Vec::new(), 0));
    }
    finds("dialect", "is called nextn.pre_projection.weight", |parts| {
        parts.rename_tensor("nextn.pre_projection.weight", "mtp_pre_proj.weight");
    });
}

#[test]
fn tensors_missing_extra_misshapen_or_of_a_wrong_type() {
    finds("tensor-missing", "output_norm.weight is missing", |parts| {
        parts.tensors.retain(|(name, ..)| name != "output_norm.weight");
    });
    finds("tensor-missing", "blk.3.attn_q.weight is missing", |parts| {
        parts
            .tensors
            .retain(|(name, ..)| !name.starts_with("blk.3.attn_q.") && name != "rope_freqs.weight");
    });
    finds("tensor-extra", "foo.weight is no part of a drafter", |parts| {
        parts
            .tensors
            .push(("foo.weight".to_owned(), vec![8], GgmlType::F32, vec![1; 32]));
    });
    finds("tensor-extra", "two spellings", |parts| {
        parts.tensors.push((
            "mtp.pre_projection.weight".to_owned(),
            vec![8],
            GgmlType::F32,
            vec![1; 32],
        ));
    });
    finds(
        "tensor-shape",
        "blk.2.ffn_up.weight has dims [64, 128]; by the keys it should be [64, 160]",
        |parts| {
            let tensor = parts
                .tensors
                .iter_mut()
                .find(|(name, ..)| name == "blk.2.ffn_up.weight")
                .unwrap();
            tensor.1 = vec![64, 128];
            tensor.3.truncate(64 * 128 / 32 * 34);
        },
    );
    finds(
        "tensor-type",
        "blk.1.attn_norm.weight is of type F16; llama.cpp can use it as F32 only",
        |parts| {
            let tensor = parts
                .tensors
                .iter_mut()
                .find(|(name, ..)| name == "blk.1.attn_norm.weight")
                .unwrap();
            tensor.2 = GgmlType::F16;
            tensor.3.truncate(128);
        },
    );
    finds(
        "tensor-type",
        "of type I8, which llama.cpp cannot multiply with",
        |parts| {
            let tensor = parts
                .tensors
                .iter_mut()
                .find(|(name, ..)| name == "blk.1.attn_q.weight")
                .unwrap();
            tensor.2 = GgmlType::I8;
            tensor.3.truncate(64 * 128);
        },
    );
}

#[test]
fn the_centroid_head_that_llama_cpp_does_not_load() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("drafter.gguf");
    std::fs::write(&path, converted("mini-edge", &["--keep-centroids"])).unwrap();
    let (findings, exit) = findings(&path, None);
    assert_eq!((findings.len(), exit), (2, 1), "{findings:#?}");
    for (finding, name) in findings
        .iter()
        .zip(["masked_embd_centroids.weight", "masked_embd_ordering"])
    {
        assert_eq!(
            (&finding["code"], &finding["subject"]),
            (&Json::from("tensor-extra"), &Json::from(name))
        );
        assert!(finding["hint"].as_str().unwrap().contains("migrate"));
    }
}

#[test]
fn keys_missing_or_of_a_wrong_type() {
    for name in [
        "block_count",
        "attention.sliding_window",
        "embedding_length_out",
        "nextn_predict_layers",
    ] {
        finds("key-missing", "does not load the file without it", |parts| {
            parts.remove(&key(name))
        });
    }
    finds("key-missing", "llama.cpp takes 10000", |parts| {
        parts.remove(&key("rope.freq_base"))
    });
    finds(
        "key-type",
        "block_count is of type u64; llama.cpp takes u32",
        |parts| {
            parts.set(&key("block_count"), Value::U64(4));
        },
    );
    finds(
        "key-type",
        "head_count_kv is of type f32[]; llama.cpp takes u32 or i32[]",
        |parts| {
            parts.set(
                &key("attention.head_count_kv"),
                Array::F32(vec![2.0, 2.0, 2.0, 1.0]),
            );
        },
    );
    finds(
        "key-length",
        "sliding_window_pattern has 3 entries for 4 layers",
        |parts| {
            parts.set(&key("attention.head_count_kv"), 2_u32);
            parts.set(
                &key("attention.sliding_window_pattern"),
                Array::Bool(vec![true, true, true]),
            );
            parts.tensors.retain(|(name, ..)| !name.starts_with("blk.3"));
        },
    );
    finds(
        "key-value",
        "nextn_predict_layers is 2; with the other keys it should be 4",
        |parts| {
            parts.set(&key("nextn_predict_layers"), 2_u32);
        },
    );
    finds(
        "key-value",
        "rope.dimension_count_swa is 64; with the other keys it should be 32",
        |parts| {
            parts.set(&key("rope.dimension_count_swa"), 64_u32);
        },
    );
    finds("role", "general.architecture is missing", |parts| {
        parts.remove("general.architecture")
    });
}

#[test]
fn values_that_llama_cpp_refuses() {
    let (mut findings, _) = {
        let mut parts = Parts::read(&fixture("mini-dense/drafter-q8_0.gguf"));
        parts.set(&key("embedding_length_out"), 64_u32);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("drafter.gguf");
        parts.write(&path);
        findings(&path, None)
    };
    findings.retain(|finding| finding["code"] == "rule");
    let message = findings[0]["message"].as_str().unwrap();
    assert!(
        message.contains("embedding_length_out") && message.contains("both 64"),
        "{message}"
    );
    finds(
        "rule",
        "key_length_swa is 32 and gemma4-assistant.attention.value_length_swa is 16",
        |parts| {
            parts.set(&key("attention.value_length_swa"), 16_u32);
        },
    );
}

#[test]
fn factors_of_rotary_frequencies() {
    let factors = |ones: usize| -> Vec<u8> {
        let factor = |pair| if pair < ones { 1.0_f32 } else { 1e30 };
        (0..32).flat_map(|pair| factor(pair).to_le_bytes()).collect()
    };
    finds("rope-freqs", "should hold ones and then 1e30", |parts| {
        parts.tensors[0].3 = vec![0; 128];
    });
    finds("rope-freqs", "should hold ones and then 1e30", |parts| {
        parts.tensors[0].3 = factors(0)
    });
    finds_with(
        Some(&target()),
        "pair",
        "16 of 32 pairs turn in the drafter, 8 of 32 in the target",
        |parts| {
            parts.tensors[0].3 = factors(16);
        },
    );
}

#[test]
fn numbers_that_are_none_and_tensors_of_zeros() {
    finds(
        "nan",
        "output_norm.weight holds 1 NaN and 1 infinities among 64 numbers",
        |parts| {
            let tensor = parts
                .tensors
                .iter_mut()
                .find(|(name, ..)| name == "output_norm.weight")
                .unwrap();
            tensor.3[..4].copy_from_slice(&f32::NAN.to_le_bytes());
            tensor.3[4..8].copy_from_slice(&f32::NEG_INFINITY.to_le_bytes());
        },
    );
    // A scale of NaN in a quantized block.
    finds("nan", "blk.0.attn_q.weight holds 32 NaN", |parts| {
        let tensor = parts
            .tensors
            .iter_mut()
            .find(|(name, ..)| name == "blk.0.attn_q.weight")
            .unwrap();
        tensor.3[..2].copy_from_slice(&[0xff, 0x7f]);
    });
    finds("zeros", "nothing but zeros", |parts| {
        let tensor = parts
            .tensors
            .iter_mut()
            .find(|(name, ..)| name == "blk.0.attn_q.weight")
            .unwrap();
        tensor.3.fill(0);
    });
}

#[test]
fn the_container() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("drafter.gguf");
    let original = std::fs::read(fixture("mini-dense/drafter-q8_0.gguf")).unwrap();
    std::fs::write(&path, &original[..original.len() - 20_000]).unwrap();
    expect(&path, None, "data-range", "beyond the end of the file");

    // The last tensor 32 bytes further on: a hole that this program reads over and llama.cpp does not.
    let gguf = Gguf::open(&Inputs::new(), &fixture("mini-dense/drafter-q8_0.gguf")).unwrap();
    let last = gguf.tensors().last().unwrap();
    let name = last.name.to_vec();
    let at = original
        .windows(name.len())
        .rposition(|window| window == name)
        .unwrap();
    let offset_at = at + name.len() + 4 + 8 * last.dims.len() + 4;
    let shift = |by: u64| {
        let mut bytes = original.clone();
        bytes[offset_at..offset_at + 8].copy_from_slice(&(last.offset + by).to_le_bytes());
        bytes.extend([0; 64]);
        std::fs::write(&path, bytes).unwrap();
    };
    shift(32);
    let (found, _) = findings(&path, None);
    assert!(found.iter().any(|f| f["code"] == "tensor-order"), "{found:#?}");
    shift(1);
    let (found, _) = findings(&path, None);
    assert!(found.iter().any(|f| f["code"] == "data-range"), "{found:#?}");

    let out = folder.path().join("big.gguf");
    let drafter = fixture("mini-dense/drafter-q8_0.gguf");
    succeed(&[
        "migrate",
        path_str(&drafter),
        "-o",
        path_str(&out),
        "--endian",
        "big",
    ]);
    expect(&out, None, "endian", "big-endian");
    finds("nested-array", "arrays within an array", |parts| {
        parts.metadata.push((
            "nested".to_owned(),
            Array::Array(vec![Array::U8(Vec::new())]).into(),
        ));
    });
}

#[test]
fn a_tensor_type_that_nobody_knows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("drafter.gguf");
    let mut bytes = std::fs::read(fixture("mini-dense/drafter-q8_0.gguf")).unwrap();
    let name = b"nextn.pre_projection.weight";
    let at = bytes
        .windows(name.len())
        .rposition(|window| window == name)
        .unwrap();
    bytes[at + name.len() + 4 + 16] = 99;
    std::fs::write(&path, bytes).unwrap();
    expect(
        &path,
        None,
        "tensor-type",
        "type 99, which llama.cpp does not know",
    );
}

#[test]
fn the_drafters_own_vocabulary() {
    finds("vocabulary", "there are 1023 tokens and 1024 rows", |parts| {
        let tokens: Strings = (0..1023).map(|i| format!("t{i}")).collect();
        parts.set("tokenizer.ggml.tokens", Array::String(tokens));
        parts.set("tokenizer.ggml.scores", Array::F32(vec![0.0; 1023]));
        parts.set("tokenizer.ggml.token_type", Array::I32(vec![1; 1023]));
    });
    finds("vocabulary", "scores has 7 entries for 1024 tokens", |parts| {
        parts.set("tokenizer.ggml.scores", Array::F32(vec![0.0; 7]));
    });
    // Read as f32 it would reach beyond its end.
    finds(
        "vocabulary",
        "scores is of type u8[]; it should be f32[]",
        |parts| {
            parts.set("tokenizer.ggml.scores", Array::U8(vec![0; 1024]));
        },
    );
    finds(
        "vocabulary",
        "tokens should be an array of strings, the file has u8[]",
        |parts| {
            parts.set("tokenizer.ggml.tokens", Array::U8(vec![0; 1024]));
        },
    );
    finds("vocabulary", "bos_token_id names no token", |parts| {
        parts.set("tokenizer.ggml.bos_token_id", 1024_u32)
    });
    finds("vocabulary", "of the kind llama", |parts| {
        parts.set("tokenizer.ggml.model", "llama")
    });
    finds("vocabulary", "tokenizer.ggml.model is missing", |parts| {
        parts.remove("tokenizer.ggml.model")
    });
}

#[test]
fn a_target_that_does_not_fit() {
    let other = fixture("mini-edge/target-bf16.gguf");
    let drafter = fixture("mini-dense/drafter-q8_0.gguf");
    let (found, exit) = findings(&drafter, Some(&other));
    assert_eq!(exit, 1);
    assert!(
        found
            .iter()
            .any(|f| f["code"] == "pair" && f["message"].as_str().unwrap().contains("kv heads"))
    );
    expect(&drafter, Some(&drafter), "target", "a drafter's");
    for (name, value, words) in [
        (
            "rope.freq_base",
            Value::F32(1e4),
            "rope base of the full layers is 10000 in the drafter",
        ),
        (
            "rope.freq_base_swa",
            Value::F32(1e6),
            "rope base of the sliding layers",
        ),
        (
            "attention.sliding_window",
            Value::U32(512),
            "sliding window is 512 in the drafter and 32 in the target",
        ),
    ] {
        finds_with(Some(&target()), "pair", words, |parts| {
            parts.set(&key(name), value)
        });
    }
}

#[test]
fn a_vocabulary_that_is_not_the_targets() {
    let words = "token 300 is \"other\" in the drafter and ";
    finds_with(Some(&target()), "vocabulary", words, |parts| {
        let tokens = parts
            .metadata
            .iter_mut()
            .find(|(key, _)| key == "tokenizer.ggml.tokens");
        let (_, Value::Array(Array::String(tokens))) = tokens.unwrap() else {
            panic!("tokens are strings")
        };
        let edited = tokens.iter().enumerate().map(|(id, token)| match id {
            300 => b"other".to_vec(),
            _ => token.to_vec(),
        });
        *tokens = edited.collect::<Strings>();
    });
    finds_with(
        Some(&target()),
        "vocabulary",
        "eos_token_id differs from the target's",
        |parts| {
            parts.set("tokenizer.ggml.eos_token_id", 5_u32);
        },
    );
}

#[test]
fn training_for_another_kind_of_target() {
    let folder = tempfile::tempdir().unwrap();
    let named = |file: &str, name: &str| {
        let mut parts = Parts::read(&fixture("mini-dense").join(file));
        parts.set("general.name", name);
        let path = folder.path().join(file);
        parts.write(&path);
        path
    };
    let plain = "Gemma 4 12B It";
    let qat = "gemma-4-12B-it-qat-q4_0-unquantized";
    for (ours, theirs, is_found) in [
        (qat, plain, true),
        (plain, qat, true),
        (qat, qat, false),
        (plain, plain, false),
        ("Drafter", qat, false),
        (qat, "Model", false),
    ] {
        let drafter = named("drafter-q8_0.gguf", ours);
        let target = named("target-bf16.gguf", theirs);
        let (found, _) = findings(&drafter, Some(&target));
        assert_eq!(
            found.iter().any(|f| f["code"] == "qat"),
            is_found,
            "{ours} with {theirs}: {found:#?}"
        );
    }
}

#[test]
fn other_models_are_told_apart() {
    expect(&target(), None, "role", "this is a target (gemma4)");
    finds("role", "architecture llama", |parts| {
        parts.set("general.architecture", "llama")
    });
    refuse(
        3,
        &["git lfs pull"],
        &["check", path_str(&fixture("bad/git-lfs-pointer.gguf"))],
    );
    refuse(
        3,
        &["not the GGUF of a model"],
        &["check", path_str(&fixture("bad/safetensors.gguf"))],
    );
}

/// Headers that the reader accepts are checked to the end, whatever nonsense they hold.
#[test]
fn no_file_makes_it_panic() {
    for entry in std::fs::read_dir(fixture("bad")).unwrap() {
        let path = entry.unwrap().path();
        let output = program().arg("check").arg(&path).output().unwrap();
        assert!(
            matches!(output.status.code(), Some(1 | 3)),
            "{}: {output:?}",
            path.display()
        );
    }
    for value in [
        Value::U32(u32::MAX),
        Value::I32(-5),
        Value::U64(u64::MAX),
        "text".into(),
    ] {
        for name in [
            "block_count",
            "attention.key_length",
            "embedding_length",
            "attention.head_count",
        ] {
            let mut parts = Parts::read(&fixture("mini-dense/drafter-q8_0.gguf"));
            parts.set(&key(name), value.clone());
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("drafter.gguf");
            parts.write(&path);
            assert_eq!(findings(&path, Some(&target())).1, 1, "{name} {value:?}");
        }
    }
}

#[test]
fn merges_that_are_missing_or_join_nothing() {
    const KEY: &str = "tokenizer.ggml.merges";
    finds(
        "vocabulary",
        "merges is missing, and llama.cpp does not load",
        |parts| {
            parts.remove(KEY);
        },
    );
    for (merge, words) in [
        ("nospace", "joins no two tokens"),
        ("", "joins no two tokens"),
        (
            "no-token neither",
            "names or makes a token that is not in the vocabulary",
        ),
    ] {
        finds("vocabulary", words, |parts| {
            let at = parts.metadata.iter().position(|(key, _)| key == KEY).unwrap();
            let Value::Array(Array::String(merges)) = &parts.metadata[at].1 else {
                panic!("merges are strings");
            };
            let changed: Strings = std::iter::once(merge.as_bytes())
                .chain(merges.iter().skip(1).map(AsRef::as_ref))
                .collect();
            parts.metadata[at].1 = Value::Array(Array::String(changed));
        });
    }
}

#[test]
fn norms_and_scales_of_zeros() {
    for ending in ["layer_output_scale.weight", "attn_norm.weight"] {
        finds("zeros", "no draft is accepted", |parts| {
            let spoilt = parts
                .tensors
                .iter_mut()
                .filter(|(name, ..)| name.ends_with(ending));
            spoilt.for_each(|(.., data)| data.fill(0));
        });
    }
}

/// The architecture file's bounds hold for keys too.
#[test]
fn numbers_out_of_bounds() {
    for (name, value, words) in [
        ("context_length", Value::U32(0), "it must be an integer from 1 to"),
        (
            "attention.sliding_window",
            Value::U32(0),
            "it must be an integer from 1 to",
        ),
        (
            "attention.layer_norm_rms_epsilon",
            Value::F32(0.0),
            "it must be a number above 0 and at most 1",
        ),
        (
            "attention.layer_norm_rms_epsilon",
            Value::F32(-1.0),
            "is -1; it must be",
        ),
        (
            "rope.freq_base",
            Value::F32(f32::NAN),
            "is NaN; it must be a number above 0",
        ),
        ("attention.head_count", Value::U32(0), "is 0; it must be"),
    ] {
        finds("key-value", words, |parts| parts.set(&key(name), value));
    }
}

/// They hold for the target's numbers as well, here and in a conversion that takes them from it.
#[test]
fn numbers_of_the_target_out_of_bounds() {
    const WORDS: &str = "it must be an integer from 1 to";
    let mut parts = Parts::read(&target());
    parts.set("gemma4.attention.sliding_window", 0_u32);
    let folder = tempfile::tempdir().unwrap();
    let spoilt = folder.path().join("target.gguf");
    parts.write(&spoilt);
    let drafter = fixture("mini-dense/drafter-q8_0.gguf");
    expect(&drafter, Some(&spoilt), "pair", WORDS);
    let lone = folder.path().join("lone.safetensors");
    std::fs::copy(fixture("mini-dense/drafter/model.safetensors"), &lone).unwrap();
    refuse(
        3,
        &["gemma4.attention.sliding_window is 0; expected an integer from 1 to"],
        &[path_str(&lone), "--target", path_str(&spoilt), "--dry-run"],
    );
}

/// Spoils the target and expects findings of one code, with these words in one; the drafter is as it should be.
#[track_caller]
fn finds_in_target(code: &str, words: &str, spoil: impl FnOnce(&mut Parts)) {
    let mut parts = Parts::read(&target());
    spoil(&mut parts);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("target.gguf");
    parts.write(&path);
    expect(&fixture("mini-dense/drafter-q8_0.gguf"), Some(&path), code, words);
}

#[test]
fn numbers_that_are_none_in_the_target() {
    let spoil = |number: u16| {
        move |parts: &mut Parts| {
            let up = parts
                .tensors
                .iter_mut()
                .find(|(name, ..)| name == "blk.1.ffn_up.weight");
            up.unwrap().3[100..102].copy_from_slice(&number.to_le_bytes());
        }
    };
    finds_in_target("target-nan", "blk.1.ffn_up.weight holds 1 NaN", spoil(0x7fc0));
    finds_in_target("target-nan", "0 NaN and 1 infinities", spoil(0xff80));

    let mut parts = Parts::read(&target());
    spoil(0x7fc0)(&mut parts);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("target.gguf");
    parts.write(&path);
    let drafter = fixture("mini-dense/drafter-q8_0.gguf");
    succeed(&[
        "check",
        path_str(&drafter),
        "--target",
        path_str(&path),
        "--no-data",
    ]);
}

#[test]
fn numbers_that_no_target_can_have() {
    let key = |name: &str| format!("gemma4.{name}");
    finds_in_target("target-value", "0 heads", |parts| {
        parts.set(&key("attention.head_count"), 0_u32)
    });
    finds_in_target("target-value", "soft cap", |parts| {
        parts.set(&key("final_logit_softcapping"), f32::NAN);
    });
    finds_in_target("target-value", "ffn_", |parts| {
        parts.set(&key("feed_forward_length"), 96_u32)
    });
    finds_in_target("target-value", "ffn_norm.weight is missing", |parts| {
        parts.tensors.retain(|(name, ..)| name != "blk.0.ffn_norm.weight");
    });
}
