//! What `diff` tells of two GGUF files, held against changes that were made and numbers computed elsewhere.

use crate::common::diffs::*;
use crate::common::parts::Parts;
use crate::common::*;
use gguf_conv::gguf::{Array, Value};
use gguf_conv::quant::GgmlType;
use serde_json::{Value as Json, json};
use std::path::Path;

#[test]
fn a_file_is_equal_to_itself_and_to_a_copy() {
    let (file, bench) = (fixture_str(Q8_0), Bench::new());
    std::fs::copy(&file, bench.path("copy.gguf")).unwrap();
    for other in [file.as_str(), path_str(&bench.path("copy.gguf"))] {
        let report = diff_json(0, &[&file, other]);
        assert_eq!(report["equal"], true);
        assert_eq!(
            (&report["equal_keys"], &report["equal_tensors"]),
            (&json!(43), &json!(49))
        );
        for list in ["container", "keys", "tensors", "notes"] {
            assert_eq!(report[list], json!([]), "{list}");
        }
        let text = run_diff(0, &[&file, other]);
        assert!(
            text.ends_with("no difference: 43 keys and 49 tensors are the same\n"),
            "{text}"
        );
    }
}

/// The figures were computed in f64 from what gguf-py 0.19 decodes (`gguf.quants.dequantize`).
#[test]
fn the_errors_between_types_are_those_of_gguf_py() {
    struct Expected(&'static str, u64, [f64; 4]);
    let of_types = [
        Expected(
            "blk.3.attn_q.weight",
            16270,
            [
                0.05078887939453125,
                0.004198565601175005,
                0.08045599866879642,
                0.9967630447560732,
            ],
        ),
        Expected(
            "nextn.pre_projection.weight",
            16266,
            [
                0.018184661865234375,
                0.003537939921906642,
                0.08645772336705745,
                0.9962643187511854,
            ],
        ),
    ];
    let of_models = [
        Expected(
            "token_embd.weight",
            65528,
            [
                0.9094352722167969,
                0.27360817559321526,
                1.3347960350069938,
                0.0503251527946299,
            ],
        ),
        Expected(
            "blk.0.attn_norm.weight",
            62,
            [
                0.14453125,
                0.06172655273561023,
                0.06524528238325784,
                0.9978704111772284,
            ],
        ),
        Expected(
            "blk.3.attn_q.weight",
            16382,
            [
                0.6036453247070312,
                0.071231136236551,
                1.3649833649427656,
                -0.010716479984374137,
            ],
        ),
    ];
    let against = |other: &str| diff_json(1, &[&fixture_str(Q8_0), &fixture_str(other)]);
    let types = against("mini-dense/drafter-lq-q4_0.gguf");
    let models = against("mini-edge/drafter-q8_0.gguf");
    let kinds = [(&types, &of_types[..], "type"), (&models, &of_models[..], "data")];
    for (report, expected, difference) in kinds {
        for Expected(name, differing, figures) in expected {
            let tensor = entry(report, "tensors", name);
            assert_eq!(tensor["difference"], difference, "{name}");
            let error = &tensor["error"];
            assert_eq!(error["differing"], *differing, "{name}");
            assert_eq!(
                (&error["first_difference"], &error["not_finite"]),
                (&json!(0), &json!(0))
            );
            for (key, figure) in ["max", "rms", "relative", "cosine"].iter().zip(figures) {
                assert!(is_near(&error[key], *figure), "{name} {key}: {error}");
            }
        }
    }
    assert!(
        !names(&types, "tensors").contains(&"token_embd.weight"),
        "it is Q8_0 in both"
    );
    let file_type = entry(&types, "keys", "general.file_type");
    assert_eq!(
        (&file_type["a"]["value"], &file_type["b"]["value"]),
        (&json!(7), &json!(2))
    );
    let text = run_diff(
        1,
        &[
            &fixture_str(Q8_0),
            &fixture_str("mini-dense/drafter-lq-q4_0.gguf"),
        ],
    );
    let line = "Q8_0 -> Q4_0; max 0.05079, rms 0.004199 (8.046 %), cosine 0.99676304";
    assert!(text.contains(line), "{text}");
}

#[test]
fn a_few_numbers_are_found_at_their_place() {
    let bench = Bench::new();
    // A sign of the second block, and the highest byte of two f32; one becomes infinite.
    let b = bench.changed("b.gguf", Q8_0, |parts| {
        let data = |parts: &mut Parts, name: &str, edit: &dyn Fn(&mut Vec<u8>)| {
            let tensor = parts
                .tensors
                .iter_mut()
                .find(|(known, ..)| known == name)
                .unwrap();
            edit(&mut tensor.3);
        };
        data(parts, "blk.1.ffn_up.weight", &|bytes| bytes[34 + 2 + 5] ^= 0xff);
        data(parts, "output_norm.weight", &|bytes| {
            bytes[4 * 7..4 * 8].copy_from_slice(&f32::INFINITY.to_le_bytes());
            bytes[4 * 9..4 * 10].copy_from_slice(&3.0_f32.to_le_bytes());
        });
    });
    let report = diff_json(1, &[&fixture_str(Q8_0), &b]);
    assert_eq!(
        names(&report, "tensors"),
        ["blk.1.ffn_up.weight", "output_norm.weight"]
    );
    assert_eq!(report["keys"], json!([]));

    // With simple code over the bytes: what the one element was and is.
    let block = |path: &Path| {
        let parts = Parts::read(path);
        let tensor = parts
            .tensors
            .iter()
            .find(|(name, ..)| name == "blk.1.ffn_up.weight")
            .unwrap();
        let bytes = &tensor.3[34..68];
        let scale = half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f64();
        f64::from(bytes[2 + 5].cast_signed()) * scale
    };
    let change = (block(&fixture(Q8_0)) - block(Path::new(&b))).abs();
    let error = &entry(&report, "tensors", "blk.1.ffn_up.weight")["error"];
    assert_eq!(
        (
            &error["elements"],
            &error["differing"],
            &error["first_difference"]
        ),
        (&json!(10240), &json!(1), &json!(32 + 5))
    );
    assert!(is_near(&error["max"], change));
    assert!(is_near(&error["rms"], change / 10240_f64.sqrt()));

    let error = &entry(&report, "tensors", "output_norm.weight")["error"];
    assert_eq!(
        (
            &error["differing"],
            &error["first_difference"],
            &error["not_finite"]
        ),
        (&json!(2), &json!(7), &json!(1))
    );
    let parts = Parts::read(&fixture(Q8_0));
    let (.., norm) = parts
        .tensors
        .iter()
        .find(|(name, ..)| name == "output_norm.weight")
        .unwrap();
    let ninth = f64::from(f32::from_le_bytes(norm[36..40].try_into().unwrap()));
    assert!(
        is_near(&error["max"], (3.0 - ninth).abs()),
        "the infinite one is left out: {error}"
    );
}

#[test]
fn other_bytes_for_the_same_numbers_are_a_difference() {
    let bench = Bench::new();
    let write = |name: &str, ty: GgmlType, data: &[u8]| {
        let dims = [(data.len() / ty.block_bytes() * ty.block_len()) as u64];
        let path = bench.path(name);
        write_gguf(&path, &Default::default(), &[("a", &dims, ty, data.to_vec())]);
        path_str(&path).to_owned()
    };
    // A block of zeros, its scale 0 and -0.
    let (mut zeros, mut minus) = ([0_u8; 34], [0_u8; 34]);
    minus[1] = 0x80;
    let (a, b) = (
        write("a.gguf", GgmlType::Q8_0, &zeros),
        write("b.gguf", GgmlType::Q8_0, &minus),
    );
    let report = diff_json(1, &[&a, &b]);
    let tensor = entry(&report, "tensors", "a");
    assert_eq!(
        (&tensor["difference"], &tensor["error"]["differing"]),
        (&json!("data"), &json!(0))
    );
    assert!(run_diff(1, &[&a, &b]).contains("other bytes for the same numbers"));
    // The same numbers in another type are another type.
    zeros[..2].copy_from_slice(&half::f16::ONE.to_le_bytes());
    zeros[2] = 3;
    let a = write("a.gguf", GgmlType::Q8_0, &zeros);
    let floats: Vec<u8> = (0..32)
        .flat_map(|i| if i == 0 { 3.0_f32 } else { 0.0 }.to_le_bytes())
        .collect();
    let b = write("b.gguf", GgmlType::F32, &floats);
    let report = diff_json(1, &[&a, &b]);
    let tensor = entry(&report, "tensors", "a");
    assert_eq!(
        (&tensor["difference"], &tensor["error"]),
        (&json!("type"), &Json::Null)
    );
    assert!(run_diff(1, &[&a, &b]).contains("Q8_0 -> F32; the same numbers"));
}

/// f32 would hold neither of these integers.
#[test]
fn wide_integers_are_compared_exactly() {
    let bench = Bench::new();
    let write = |name: &str, ty: GgmlType, data: Vec<u8>| {
        let path = bench.path(name);
        write_gguf(&path, &Default::default(), &[("a", &[2], ty, data)]);
        path_str(&path).to_owned()
    };
    let i32s = |values: [i32; 2]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let i64s = |values: [i64; 2]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let a = write("a.gguf", GgmlType::I32, i32s([1, 16_777_217]));
    let b = write("b.gguf", GgmlType::I32, i32s([1, 16_777_216]));
    let error = &diff_json(1, &[&a, &b])["tensors"][0]["error"];
    assert_eq!(
        (&error["max"], &error["first_difference"]),
        (&json!(1.0), &json!(1))
    );
    let b = write("b.gguf", GgmlType::I64, i64s([1, 16_777_217]));
    assert_eq!(diff_json(1, &[&a, &b])["tensors"][0]["error"], Json::Null);
}

#[test]
fn keys_that_are_added_changed_and_moved() {
    let bench = Bench::new();
    let b = bench.changed("b.gguf", Q8_0, |parts| {
        parts.set("general.name", "Another");
        parts.set("gemma4-assistant.block_count", Value::U64(4));
        parts.remove("general.type");
        parts.metadata.push(("my.key".to_owned(), Value::F32(f32::NAN)));
        // To the end, where llama-quantize puts it.
        let at = parts
            .metadata
            .iter()
            .position(|(key, _)| key == "general.file_type")
            .unwrap();
        let moved = parts.metadata.remove(at);
        parts.metadata.push(moved);
        let (_, tokens) = parts
            .metadata
            .iter_mut()
            .find(|(key, _)| key == "tokenizer.ggml.tokens")
            .unwrap();
        let Value::Array(Array::String(strings)) = tokens else {
            panic!()
        };
        let mut changed: Vec<Vec<u8>> = strings.iter().map(|token| token.to_vec()).collect();
        changed[700] = b"other".to_vec();
        changed.push(b"one more".to_vec());
        *tokens = Value::Array(Array::String(changed.iter().collect()));
    });
    let a = fixture_str(Q8_0);
    let report = diff_json(1, &[&a, &b]);
    assert_eq!(
        names(&report, "keys"),
        [
            "general.type",
            "general.name",
            "gemma4-assistant.block_count",
            "general.file_type",
            "tokenizer.ggml.tokens",
            "my.key",
        ]
    );
    let kind = |key: &str| entry(&report, "keys", key)["difference"].as_str().unwrap();
    assert_eq!(
        [
            kind("general.type"),
            kind("my.key"),
            kind("general.name"),
            kind("general.file_type")
        ],
        ["only_in_a", "only_in_b", "value", "moved"]
    );
    let count = entry(&report, "keys", "gemma4-assistant.block_count");
    assert_eq!(
        (&count["a"]["type"], &count["b"]["type"]),
        (&json!("u32"), &json!("u64"))
    );
    assert_eq!(entry(&report, "keys", "my.key")["b"]["value"], "NaN");
    let tokens = entry(&report, "keys", "tokenizer.ggml.tokens");
    assert_eq!(
        (&tokens["first_difference"], &tokens["differing"]),
        (&json!(700), &json!(2))
    );
    assert_eq!(
        (&tokens["a"]["length"], &tokens["b"]["length"]),
        (&json!(1024), &json!(1025))
    );
    assert_eq!(tokens["b"]["element"], "other");
    assert_eq!(
        tokens["a"]["value"],
        Json::Null,
        "long lists are not reported whole"
    );
    let text = run_diff(1, &[&a, &b]);
    for words in [
        "only in A  general.type",
        "u32 4 -> u64 4",
        "string[] of 1024 -> of 1025; 2 differ, the first at [700]: ",
        " -> \"other\"",
        "moved from place",
        "6 keys and 0 tensors differ, 38 keys and 49 tensors are the same",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    // Whatever fits a pattern is left out, tensors too.
    let ignore = [
        "--ignore",
        "general.*",
        "--ignore",
        "*.block_count",
        "--ignore",
        "tokenizer*",
        "--ignore",
        "my.key",
    ];
    let report = diff_json(0, &[&[a.as_str(), &b], &ignore[..]].concat());
    assert_eq!(report["equal_tensors"], 49);
    assert!(report["equal_keys"].as_u64().unwrap() > 10);
}

#[test]
fn tensors_that_are_added_reshaped_and_moved() {
    let bench = Bench::new();
    let b = bench.changed("b.gguf", Q8_0, |parts| {
        parts
            .tensors
            .retain(|(name, ..)| name != "blk.0.attn_norm.weight");
        parts
            .tensors
            .push(("extra".to_owned(), vec![2], GgmlType::F32, vec![0; 8]));
        let at = parts
            .tensors
            .iter()
            .position(|(name, ..)| name == "output_norm.weight")
            .unwrap();
        parts.tensors[at].1 = vec![32, 2];
        let moved = parts.tensors.remove(0);
        parts.tensors.insert(20, moved);
    });
    let a = fixture_str(Q8_0);
    let report = diff_json(1, &[&a, &b]);
    let found: Vec<(&str, &str)> = report["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tensor| {
            (
                tensor["name"].as_str().unwrap(),
                tensor["difference"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("rope_freqs.weight", "moved"),
            ("blk.0.attn_norm.weight", "only_in_a"),
            ("output_norm.weight", "dims"),
            ("extra", "only_in_b"),
        ]
    );
    assert_eq!(
        entry(&report, "tensors", "rope_freqs.weight")["moved"],
        json!({ "from": 0, "to": 20 })
    );
    assert_eq!(
        entry(&report, "tensors", "output_norm.weight")["b"]["dims"],
        json!([32, 2])
    );
    let ignore = [
        "--ignore",
        "rope_freqs.weight",
        "--ignore",
        "*_norm.weight",
        "--ignore",
        "ext??",
    ];
    run_diff(0, &[&[a.as_str(), &b], &ignore[..]].concat());
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let a = fixture_str(Q8_0);
    refuse(3, &["no such file"], &["diff", &a, "no-such-file.gguf"]);
    let bad = fixture_str("bad/overlap.gguf");
    refuse(3, &["overlap"], &["diff", &a, &bad]);
    assert_eq!(
        program().args(["diff", &a]).output().unwrap().status.code(),
        Some(2)
    );
}

/// Tensors are read in pieces; places and figures are those of the whole.
#[test]
fn long_tensors_are_compared_as_a_whole() {
    let bench = Bench::new();
    let write = |name: &str, values: &[f32]| {
        let path = bench.path(name);
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let dims = [values.len() as u64];
        write_gguf(&path, &Default::default(), &[("a", &dims, GgmlType::F32, data)]);
        path_str(&path).to_owned()
    };
    let values: Vec<f32> = random(3).take(700_001).collect();
    let mut other = values.clone();
    for at in [300_000, 600_000, 700_000] {
        other[at] += 0.5;
    }
    let (a, b) = (write("a.gguf", &values), write("b.gguf", &other));
    let error = &diff_json(1, &[&a, &b])["tensors"][0]["error"];
    assert_eq!(
        (
            &error["elements"],
            &error["differing"],
            &error["first_difference"]
        ),
        (&json!(700_001), &json!(3), &json!(300_000))
    );
    let pairs = || {
        values
            .iter()
            .zip(&other)
            .map(|(a, b)| (f64::from(*a), f64::from(*b)))
    };
    let sum = |of: fn((f64, f64)) -> f64| pairs().map(of).sum::<f64>();
    let (squares, of_a, of_b) = (
        sum(|(a, b)| (a - b).powi(2)),
        sum(|(a, _)| a * a),
        sum(|(_, b)| b * b),
    );
    assert!(is_near(&error["rms"], (squares / 700_001.0).sqrt()));
    assert!(is_near(&error["relative"], (squares / of_a).sqrt()));
    assert!(is_near(
        &error["cosine"],
        sum(|(a, b)| a * b) / (of_a * of_b).sqrt()
    ));
}
