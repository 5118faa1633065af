//! `verify --source` with checkpoints as people have them: in shards, in other types, without `config.json`; and a fault
//! is found in each.

use crate::common::parts::Parts;
use crate::common::*;
use half::{bf16, f16};
use safetensors::tensor::Dtype;
use serde_json::Value as Json;
use std::path::Path;

/// Verifies a GGUF against a source; the report and the exit code.
fn verified(gguf: &Path, source: &Path) -> (Json, Option<i32>) {
    let target = fixture("mini-dense/target-bf16.gguf");
    let mut command = program();
    command
        .args(["verify", "--json", "--generate", "64", "--target"])
        .arg(target);
    command.arg(gguf).arg("--source").arg(source);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{told}");
    (
        result(&String::from_utf8_lossy(&output.stdout)),
        output.status.code(),
    )
}

/// A source and what was converted from it agree; with two matrices exchanged in the GGUF, the verdict names them.
#[track_caller]
fn holds(source: &Path, args: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (folder.path().join("good.gguf"), folder.path().join("bad.gguf"));
    let target = fixture("mini-dense/target-bf16.gguf");
    let with = [
        "--target",
        path_str(&target),
        "--outtype",
        "q8_0",
        "-o",
        path_str(&good),
    ];
    succeed(&[&[path_str(source)], &with[..], args].concat());
    let (report, code) = verified(&good, source);
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["findings"], serde_json::json!([]));
    assert_eq!(
        report["acceptance"]["accepted"],
        report["source_acceptance"]["accepted"]
    );

    let mut parts = Parts::read(&good);
    let at = |name: &str| parts.tensors.iter().position(|(n, ..)| n == name).unwrap();
    let (up, gate) = (at("blk.1.ffn_up.weight"), at("blk.1.ffn_gate.weight"));
    let data = parts.tensors[up].3.clone();
    parts.tensors[up].3 = std::mem::replace(&mut parts.tensors[gate].3, data);
    parts.write(&bad);
    let (report, code) = verified(&bad, source);
    assert_eq!(code, Some(1), "{report}");
    let told = report["findings"].to_string();
    assert!(
        told.contains("blk.1.ffn_up.weight") && told.contains("blk.1.ffn_gate.weight"),
        "{told}"
    );
}

#[test]
fn a_source_in_shards() {
    let drafter = Drafter::copy_of("mini-dense");
    drafter.shard(|_| ());
    holds(&drafter.path, &[]);
}

/// The same numbers in another type.
fn retype(dtype: Dtype) -> Drafter {
    let drafter = Drafter::copy_of("mini-dense");
    drafter.edit_tensors(|tensors| {
        for raw in tensors.values_mut() {
            let (values, _) = raw.data.as_chunks();
            let values = values.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32());
            raw.data = match dtype {
                Dtype::F16 => values.flat_map(|v| f16::from_f32(v).to_le_bytes()).collect(),
                _ => values.flat_map(f32::to_le_bytes).collect(),
            };
            raw.dtype = dtype;
        }
    });
    let name = if dtype == Dtype::F16 { "float16" } else { "float32" };
    drafter.edit_json("config.json", |config| config["dtype"] = name.into());
    drafter
}

#[test]
fn a_source_in_f16() {
    holds(&retype(Dtype::F16).path, &[]);
}

#[test]
fn a_source_in_f32() {
    holds(&retype(Dtype::F32).path, &[]);
}

#[test]
fn a_source_without_config() {
    let drafter = Drafter::copy_of("mini-dense");
    drafter.remove(&["config.json"]);
    holds(&drafter.path, &[]);
    holds(&drafter.weights(), &["--tokenizer", "target"]);
}
