//! What `diff` tells of two models, held against changes that were made and numbers computed elsewhere.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::parts::*;
use common::*;
use gguf_conv::gguf::{Array, Value};
use gguf_conv::quant::GgmlType;
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

const Q8_0: &str = "mini-dense/drafter-q8_0.gguf";

/// Runs diff, expects this exit code, and returns standard output.
#[track_caller]
fn diff(code: i32, args: &[&str]) -> String {
    let output = program().arg("diff").args(args).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn diff_json(code: i32, args: &[&str]) -> Json {
    serde_json::from_str(&diff(code, &[&["--json"], args].concat())).unwrap()
}

/// A folder for changed files.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Bench {
        Bench(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A fixture, changed.
    fn changed(&self, name: &str, fixture_name: &str, change: impl FnOnce(&mut Parts)) -> String {
        let mut parts = Parts::read(&fixture(fixture_name));
        change(&mut parts);
        parts.write(&self.path(name));
        path_str(&self.path(name)).to_owned()
    }
}

fn fixture_str(name: &str) -> String {
    path_str(&fixture(name)).to_owned()
}

/// The entry of this name in a list of the report.
#[track_caller]
fn entry<'j>(report: &'j Json, list: &str, name: &str) -> &'j Json {
    let field = if list == "keys" { "key" } else { "name" };
    let mut entries = report[list].as_array().unwrap().iter();
    entries
        .find(|entry| entry[field] == name)
        .unwrap_or_else(|| panic!("{name} is not in {report:#}"))
}

fn names<'j>(report: &'j Json, list: &str) -> Vec<&'j str> {
    let field = if list == "keys" { "key" } else { "name" };
    let entries = report[list].as_array().unwrap().iter();
    entries.map(|entry| entry[field].as_str().unwrap()).collect()
}

fn is_near(found: &Json, expected: f64) -> bool {
    (found.as_f64().unwrap() - expected).abs() <= expected.abs() * 1e-9
}

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
        let text = diff(0, &[&file, other]);
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
    let text = diff(
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
    assert!(diff(1, &[&a, &b]).contains("other bytes for the same numbers"));
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
    assert!(diff(1, &[&a, &b]).contains("Q8_0 -> F32; the same numbers"));
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
    let text = diff(1, &[&a, &b]);
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
            ("output_norm.weight", "shape"),
            ("extra", "only_in_b"),
        ]
    );
    assert_eq!(
        entry(&report, "tensors", "rope_freqs.weight")["moved"],
        json!({ "from": 0, "to": 20 })
    );
    assert_eq!(
        entry(&report, "tensors", "output_norm.weight")["b"]["shape"],
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
    diff(0, &[&[a.as_str(), &b], &ignore[..]].concat());
}

/// Two tensors of a kind whose data lies the other way round, under the same list in the header.
#[test]
fn data_that_has_moved_is_told() {
    let bench = Bench::new();
    let write = |name: &str, offsets: [u64; 2]| {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(2_u64.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
        for (name, offset) in ["a", "b"].iter().zip(offsets) {
            bytes.extend(1_u64.to_le_bytes());
            bytes.extend(name.as_bytes());
            bytes.extend(1_u32.to_le_bytes());
            bytes.extend(8_u64.to_le_bytes());
            bytes.extend(0_u32.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(32) + 64, 0);
        std::fs::write(bench.path(name), bytes).unwrap();
        path_str(&bench.path(name)).to_owned()
    };
    let (a, b) = (write("a.gguf", [0, 32]), write("b.gguf", [32, 0]));
    let report = diff_json(1, &[&a, &b]);
    assert_eq!(report["tensors"].as_array().unwrap().len(), 1);
    assert_eq!(report["tensors"][0]["difference"], "moved");
}

/// What they say is the same; how they say it is told and is no difference.
#[test]
fn byte_order_version_and_cutting_are_no_differences() {
    let (a, bench) = (fixture_str(Q8_0), Bench::new());
    let big = bench.path("big.gguf");
    succeed(&["migrate", &a, "-o", path_str(&big), "--endian", "big"]);
    let report = diff_json(0, &[&a, path_str(&big)]);
    assert_eq!(
        report["container"],
        json!([{ "what": "byte order", "a": "little-endian", "b": "big-endian" }])
    );
    assert_eq!(report["equal_tensors"], 49);
    // And a difference in the other byte order is found.
    let mut bytes = std::fs::read(&big).unwrap();
    let end = bytes.len() - 40;
    bytes[end] ^= 0x55;
    std::fs::write(&big, bytes).unwrap();
    assert_eq!(
        diff_json(1, &[&a, path_str(&big)])["tensors"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    let mut bytes = std::fs::read(&a).unwrap();
    bytes[4] = 2;
    std::fs::write(bench.path("v2.gguf"), &bytes).unwrap();
    let report = diff_json(0, &[&a, path_str(&bench.path("v2.gguf"))]);
    assert_eq!(report["container"][0]["what"], "GGUF version");

    let mut first = Parts::read(Path::new(&a));
    let mut second = Parts {
        metadata: Vec::new(),
        tensors: first.tensors.split_off(20),
    };
    for (parts, number) in [(&mut first, 0), (&mut second, 1)] {
        for (key, value) in [
            ("split.no", number),
            ("split.count", 2),
            ("split.tensors.count", 49),
        ] {
            parts.metadata.push((key.to_owned(), Value::U16(value)));
        }
    }
    let path = |number| bench.path(&format!("m-{number:05}-of-00002.gguf"));
    first.write(&path(1));
    second.write(&path(2));
    for part in [1, 2] {
        let report = diff_json(0, &[&a, path_str(&path(part))]);
        assert_eq!(
            report["container"],
            json!([{ "what": "files", "a": "1", "b": "2" }])
        );
        assert_eq!(
            (&report["equal_keys"], &report["equal_tensors"]),
            (&json!(43), &json!(49))
        );
    }

    // Padding that is not zero.
    let mut bytes = std::fs::read(&a).unwrap();
    bytes.extend([7; 32]);
    std::fs::write(bench.path("longer.gguf"), bytes).unwrap();
    let report = diff_json(0, &[&a, path_str(&bench.path("longer.gguf"))]);
    assert_eq!(report["container"].as_array().unwrap().len(), 1);
}

#[test]
fn a_checkpoint_and_what_was_made_of_it() {
    for pair in PAIRS {
        let bench = Bench::new();
        let drafter = fixture_str(&format!("{pair}/drafter"));
        let file = format!("{drafter}/model.safetensors");
        for (outtype, code) in [("bf16", 0), ("f32", 0), ("q8_0", 1)] {
            let out = path_str(&bench.path(outtype)).to_owned();
            succeed(&[&drafter, "-o", &out, "--outtype", outtype]);
            for args in [[drafter.as_str(), &out], [&out, &drafter], [&file, &out]] {
                let report = diff_json(code, &args);
                assert_eq!(report["keys"], json!([]), "{args:?}");
                assert_eq!(report["equal_keys"], 43, "{args:?}");
                let tensors = report["tensors"].as_array().unwrap();
                let is_bf16_to_q8_0 = |tensor: &Json| {
                    let types = [tensor["a"]["type"].as_str(), tensor["b"]["type"].as_str()];
                    types == [Some("BF16"), Some("Q8_0")] || types == [Some("Q8_0"), Some("BF16")]
                };
                assert!(tensors.iter().all(is_bf16_to_q8_0), "{args:?}");
                assert_eq!(tensors.len(), if outtype == "q8_0" { 23 } else { 0 });
            }
        }
        // The error of one tensor, computed by hand.
        let out = bench.path("q8_0");
        let report = diff_json(1, &[&drafter, path_str(&out)]);
        let name = "nextn.pre_projection.weight";
        let theirs = &read_tensors(Path::new(&file))["pre_projection.weight"].data;
        let parts = Parts::read(&out);
        let (.., ours) = parts.tensors.iter().find(|(known, ..)| known == name).unwrap();
        let largest = ours
            .chunks(34)
            .flat_map(|block| {
                let scale = half::f16::from_le_bytes([block[0], block[1]]).to_f64();
                block[2..].iter().map(move |q| f64::from(q.cast_signed()) * scale)
            })
            .zip(
                theirs
                    .chunks(2)
                    .map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f64()),
            )
            .map(|(ours, theirs)| (ours - theirs).abs())
            .fold(0.0, f64::max);
        assert!(is_near(&entry(&report, "tensors", name)["error"]["max"], largest));
    }
}

#[test]
fn a_checkpoint_against_a_dialect_and_with_its_centroid_head() {
    let bench = Bench::new();
    let drafter = fixture_str("mini-edge/drafter");
    let path = bench.path("atomic.gguf");
    atomic("mini-edge", "bf16").write(&path);
    let report = diff_json(1, &[&drafter, path_str(&path)]);
    assert_eq!(report["tensors"], json!([]));
    assert_eq!(
        report["equal_tensors"], 51,
        "the two of the centroid head included"
    );
    let keys = names(&report, "keys");
    for key in ["general.architecture", "gemma4-assistant.nextn_predict_layers"] {
        assert!(keys.contains(&key), "{keys:?}");
    }
    assert!(
        !keys.contains(&"gemma4-assistant.embedding_length_out"),
        "{keys:?}"
    );
    // Without it, a note says why it is left out.
    let report = diff_json(1, &[&drafter, &fixture_str("mini-edge/drafter-q8_0.gguf")]);
    let notes = report["notes"].to_string();
    assert!(
        notes.contains("masked_embedding.centroids.weight is left out"),
        "{notes}"
    );
}

#[test]
fn a_lone_file_is_compared_by_its_tensors_or_with_the_targets_help() {
    let drafter = Drafter::copy_of("mini-dense");
    let lone = drafter.beside("lone.safetensors");
    std::fs::copy(drafter.weights(), &lone).unwrap();
    let out = drafter.beside("bf16.gguf");
    succeed(&[drafter.str(), "-o", path_str(&out), "--outtype", "bf16"]);
    let args = [path_str(&lone), path_str(&out)];
    let report = diff_json(1, &args);
    assert_eq!(
        names(&report, "tensors"),
        ["rope_freqs.weight"],
        "which no checkpoint holds"
    );
    assert_eq!(
        (&report["equal_tensors"], &report["equal_keys"]),
        (&json!(48), &json!(0))
    );
    assert!(report["notes"].to_string().contains("by its tensors alone"));
    diff(0, &[&args[..], &["--ignore", "rope_freqs.weight"]].concat());
    let target = fixture_str("mini-dense/target-bf16.gguf");
    let report = diff_json(1, &[&args[..], &["--target", &target]].concat());
    assert_eq!(report["tensors"], json!([]));
    assert!(
        names(&report, "keys").contains(&"general.name"),
        "the folder has another name"
    );
}

#[test]
fn safetensors_are_compared_with_each_other() {
    let drafter = Drafter::copy_of("mini-dense");
    let whole = fixture_str("mini-dense/drafter");
    assert_eq!(diff_json(0, &[&whole, drafter.str()])["equal_tensors"], 48);
    drafter.edit_tensors(|tensors| tensors.get_mut("model.norm.weight").unwrap().data[1] ^= 0x80);
    let report = diff_json(1, &[&whole, drafter.str()]);
    assert_eq!(names(&report, "tensors"), ["model.norm.weight"]);
    assert_eq!(report["tensors"][0]["error"]["differing"], 1);
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let a = fixture_str(Q8_0);
    refuse(3, &["No such file"], &["diff", &a, "no-such-file.gguf"]);
    let bad = fixture_str("bad/overlap.gguf");
    refuse(3, &["overlap"], &["diff", &a, &bad]);
    assert_eq!(
        program().args(["diff", &a]).output().unwrap().status.code(),
        Some(2)
    );
}
