//! `diff` across containers: byte orders, versions, split models, checkpoints, and files that are odd.

use crate::common::diffs::*;
use crate::common::parts::*;
use crate::common::*;
use gguf_conv::arch::Registry;
use gguf_conv::diff::{self, Data, Diff, Options};
use gguf_conv::gguf::Value;
use gguf_conv::io::Inputs;
use gguf_conv::storage::ModelFile;
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

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
    for args in [[&a, &b], [&b, &a]] {
        let report = diff_json(1, &[args[0], args[1]]);
        assert_eq!(report["tensors"].as_array().unwrap().len(), 1);
        assert_eq!(report["tensors"][0]["difference"], "moved");
    }
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
    run_diff(0, &[&args[..], &["--ignore", "rope_freqs.weight"]].concat());
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

/// Whatever can be opened can be compared with anything else, and from either side the same is found.
#[test]
fn odd_files_are_compared_from_either_side_alike() {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(fixture("bad"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.extend([Q8_0, "mini-edge/drafter", "mini-edge/drafter-lq-q4_0.gguf"].map(fixture));
    let models: Vec<ModelFile> = paths
        .iter()
        .filter_map(|path| ModelFile::open(&Inputs::new(), path).ok())
        .collect();
    assert!(models.len() >= 10, "{}", models.len());
    let registry = Registry::builtin().unwrap();
    let options = Options::new(&registry);
    for a in &models {
        for b in &models {
            let [there, back] = [(a, b), (b, a)].map(|(a, b)| diff::diff(a, b, options, &|_| ()));
            let pair = format!("{} and {}", a.path().display(), b.path().display());
            assert_eq!(there.keys.len(), back.keys.len(), "{pair}");
            assert_eq!(there.tensors.len(), back.tensors.len(), "{pair}");
            assert_eq!(
                (there.equal_keys, there.equal_tensors),
                (back.equal_keys, back.equal_tensors),
                "{pair}"
            );
            let largest = |diff: &Diff| {
                let data = diff.tensors.iter().map(|tensor| &tensor.data);
                data.fold(0.0, |largest, data| match data {
                    Data::Numbers(numbers) => numbers.max.max(largest),
                    _ => largest,
                })
            };
            assert_eq!(largest(&there), largest(&back), "{pair}");
            assert!(!std::ptr::eq(a, b) || there.is_empty(), "{pair}");
        }
    }
}
