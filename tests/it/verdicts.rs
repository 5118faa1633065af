//! What `verify` says where figures are none, too few, or low.

use crate::common::parts::Parts;
use crate::common::{fixture, path_str, program, refuse};
use gguf_conv::quant::GgmlType;
use half::bf16;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const TARGET: &str = "mini-dense/target-bf16.gguf";
const DRAFTER: &str = "mini-dense/drafter-q8_0.gguf";

/// Runs verify; its only result and the exit code.
fn verified(drafter: &Path, target: &Path, more: &[&str]) -> (Json, i32) {
    let mut command = program();
    command.args([
        "verify",
        "--json",
        path_str(drafter),
        "--target",
        path_str(target),
    ]);
    let output = command.args(more).output().unwrap();
    let report: Json = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (report["results"][0].clone(), output.status.code().unwrap())
}

/// A fixture with a change.
fn changed(name: &str, change: impl FnOnce(&mut Parts)) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("changed.gguf");
    let mut parts = Parts::read(&fixture(name));
    change(&mut parts);
    parts.write(&path);
    (folder, path)
}

#[track_caller]
fn assert_no_numbers(report: &Json, code: i32, words: &[&str]) {
    assert_eq!(
        (report["verdict"]["outcome"].as_str(), code),
        (Some("not_ok"), 1),
        "{report}"
    );
    let finding = &report["findings"][0];
    assert_eq!(finding["code"], "non-finite");
    for word in words {
        assert!(finding["message"].as_str().unwrap().contains(word), "{finding}");
    }
    // What was computed all the same is no figure.
    assert!(
        report["acceptance"].is_null() && report["forward"].is_null(),
        "{report}"
    );
}

#[test]
fn no_verdict_is_made_of_nan() {
    let (_folder, target) = changed(TARGET, |parts| {
        let up = parts
            .tensors
            .iter_mut()
            .find(|(name, ..)| name == "blk.2.ffn_up.weight")
            .unwrap();
        assert_eq!(up.2, GgmlType::BF16);
        for at in [10, 500] {
            up.3[at * 2..][..2].copy_from_slice(&bf16::NAN.to_le_bytes());
        }
    });
    let (report, code) = verified(&fixture(DRAFTER), &target, &[]);
    let words = [
        "the target",
        "the output of layer 2",
        "tensor blk.2.ffn_up.weight holds 2 NaN",
    ];
    assert_no_numbers(&report, code, &words);
    assert_eq!(report["findings"][0]["subject"], "blk.2.ffn_up.weight");

    // A key that is none is refused before anything is computed.
    let (_folder, target) = changed(TARGET, |parts| parts.set("gemma4.rope.freq_base", f32::NAN));
    let (drafter, target) = (fixture(DRAFTER), path_str(&target).to_owned());
    refuse(
        3,
        &["the base of the full layers' rotary frequencies is NaN"],
        &["verify", path_str(&drafter), "--target", &target],
    );

    let (_folder, drafter) = changed(DRAFTER, |parts| {
        let norm = parts
            .tensors
            .iter_mut()
            .find(|(name, ..)| name == "blk.1.ffn_norm.weight")
            .unwrap();
        norm.3[..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    });
    let (report, code) = verified(&drafter, &fixture(TARGET), &[]);
    assert_eq!((report["verdict"]["ok"].as_bool(), code), (Some(false), 1));
    let said = report["findings"].to_string();
    assert!(said.contains("the drafter computes NaN or infinity"), "{said}");
}

#[test]
fn too_few_drafts_decide_nothing() {
    for generate in ["0", "3"] {
        let few = ["--generate", generate];
        let (report, code) = verified(&fixture(DRAFTER), &fixture(TARGET), &few);
        assert_eq!(
            (report["verdict"]["outcome"].as_str(), code),
            (Some("not_decided"), 0),
            "{report}"
        );
        assert_eq!(report["verdict"]["ok"], false);
        let line = report["verdict"]["line"].as_str().unwrap();
        assert!(line.contains("too few drafts, about 40 are needed"), "{line}");
        let finding = &report["findings"][0];
        assert_eq!(
            (&finding["severity"], &finding["code"]),
            (&"warning".into(), &"acceptance".into())
        );
        let strict = [&few[..], &["--strict"]].concat();
        assert_eq!(verified(&fixture(DRAFTER), &fixture(TARGET), &strict).1, 1);
    }
    // With the source at hand, weights and drafts are proof by themselves.
    let source = fixture("mini-dense/drafter");
    let more = ["--generate", "3", "--source", path_str(&source)];
    assert_eq!(
        verified(&fixture(DRAFTER), &fixture(TARGET), &more).0["verdict"]["outcome"],
        "ok"
    );
}

/// Without a source nothing names these faults, but a drafter that has one is not called good.
#[test]
fn a_low_rate_is_told_as_low() {
    let negated = changed("mini-dense/drafter-q8_0.gguf", |parts| {
        let name = "nextn.post_projection.weight";
        let (.., data) = parts
            .tensors
            .iter_mut()
            .find(|(found, ..)| found == name)
            .unwrap();
        // The levels of a Q8_0 block stand behind its scale.
        for block in data.chunks_exact_mut(34) {
            block[2..]
                .iter_mut()
                .for_each(|level| *level = level.wrapping_neg());
        }
    });
    let exchanged = changed("mini-edge/drafter-q8_0.gguf", |parts| {
        for (name, ..) in &mut parts.tensors {
            *name = match name.strip_prefix("blk.") {
                Some(rest) if rest.starts_with("0.") => format!("blk.1.{}", &rest[2..]),
                Some(rest) if rest.starts_with("1.") => format!("blk.0.{}", &rest[2..]),
                _ => name.clone(),
            };
        }
    });
    for (pair, (_folder, drafter)) in [("mini-dense", negated), ("mini-edge", exchanged)] {
        let (report, _) = verified(&drafter, &fixture(pair).join("target-bf16.gguf"), &[]);
        let outcome = report["verdict"]["outcome"].as_str().unwrap();
        assert!(matches!(outcome, "low" | "not_ok"), "{pair}: {report}");
        if outcome == "low" {
            let said = report["findings"].to_string();
            assert!(
                said.contains("which is low: between") && said.contains("--source"),
                "{said}"
            );
        }
    }
}
