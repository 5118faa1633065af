//! `verify` of EAGLE-3, DFlash and DSpark: against a run of their formulas in f64, against llama.cpp's figures, and against
//! planted faults.

use crate::common::parts::Parts;
use crate::common::{fixture, path_str, program, refuse, with};
use gguf_conv::gguf::Array;
use gguf_conv::io::Inputs;
use gguf_conv::verify::{Limits, Options, Prompt, Report, verify};
use safetensors::SafeTensors;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const KINDS: [&str; 3] = ["eagle3", "dflash", "dspark"];

fn folder(kind: &str) -> PathBuf {
    fixture(&format!("mini-dense-{kind}"))
}

fn json(path: PathBuf) -> Json {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn tokens(json: &Json) -> Vec<u32> {
    let tokens = json.as_array().unwrap().iter();
    tokens.map(|token| token.as_u64().unwrap() as u32).collect()
}

/// The drafter in a file beside the pair's target and on its prompt.
fn options(drafter: PathBuf) -> Options {
    let reference = json(fixture("mini-dense/reference.json"));
    with(
        Options::new(drafter, fixture("mini-dense/target-bf16.gguf")),
        |o| o.prompt = Prompt::Tokens(tokens(&reference["prompt"])),
    )
}

fn run(options: &Options) -> Report {
    verify(&Inputs::new(), options).unwrap()
}

/// `fixtures/drafters_f64.py` computes the same in f64 and shares nothing with the program.
#[test]
fn every_step_is_that_of_the_formulas_in_f64() {
    for kind in KINDS.into_iter().chain(["dflash2"]) {
        let scratch = TempDir::new().unwrap();
        let dump = scratch.path().join("dump.safetensors");
        let reference = json(folder(kind).join("reference.json"));
        let report = run(&with(options(folder(kind).join("drafter-bf16.gguf")), |o| {
            o.dump = Some(dump.clone());
            o.limits = Limits {
                generate: 8,
                ..Limits::default()
            };
        }));
        let forward = report.forward.unwrap();
        assert_eq!(u64::from(forward.next), reference["next"].as_u64().unwrap());
        assert_eq!(forward.drafted[..3], tokens(&reference["drafted"]), "{kind}");

        let expected = std::fs::read(folder(kind).join("reference.safetensors")).unwrap();
        let expected = SafeTensors::deserialize(&expected).unwrap();
        let found = std::fs::read(dump).unwrap();
        let found = SafeTensors::deserialize(&found).unwrap();
        let numbers = |data: &[u8]| -> Vec<f32> {
            let elements = data.as_chunks().0.iter();
            elements.map(|b| f32::from_le_bytes(*b)).collect()
        };
        let names = expected.names();
        assert!(names.len() >= 3);
        for name in names {
            let a = numbers(expected.tensor(name).unwrap().data());
            let b = numbers(found.tensor(name).unwrap().data());
            let largest = a.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            let error = a.iter().zip(&b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
            assert_eq!(a.len(), b.len());
            assert!(error <= 1e-4 * largest, "{kind} {name}: {error} of {largest}");
        }
    }
}

/// Drafted and accepted of `llama-speculative-simple --spec-type draft-KIND --spec-draft-n-max 3 -n 128 --temp 0` with the
/// bf16 target, on the prompt of the pair without its last line break, which the program cuts off.
const FIGURES: [(&str, f64, f64); 4] = [
    ("eagle3", 256.0, 44.0),
    ("dflash", 357.0, 10.0),
    ("dspark", 295.0, 31.0),
    ("dflash2", 313.0, 25.0),
];

/// What it drafts first there: behind the whole prompt but its last token.
const FIRST: [(&str, [u32; 3]); 3] = [
    ("eagle3", [266, 639, 316]),
    ("dflash", [266, 363, 361]),
    ("dspark", [266, 364, 421]),
];

#[test]
fn acceptance_is_that_of_llama_cpp() {
    for (kind, drafted, accepted) in FIGURES {
        for ty in ["bf16", "q8_0"] {
            let drafter = folder(kind).join(format!("drafter-{ty}.gguf"));
            if kind == "dflash2" && ty == "q8_0" {
                continue;
            }
            let report = run(&options(drafter));
            let ours = report.acceptance.unwrap();
            assert_eq!(ours.output_is_greedy, Some(true));
            let apart = ours.rate.unwrap() - accepted / drafted;
            assert!(
                apart.abs() < 0.05,
                "{kind} {ty}: {} of {}",
                ours.accepted,
                ours.drafted
            );
        }
    }
}

/// Its first draft stands where the prompt's last token but one has been read.
#[test]
fn the_first_draft_is_that_of_llama_cpp() {
    for (kind, first) in FIRST {
        let options = options(folder(kind).join("drafter-bf16.gguf"));
        let Prompt::Tokens(mut prompt) = options.prompt.clone() else {
            panic!("tokens");
        };
        // The line break, and what the target itself writes in the place of the last token.
        prompt.truncate(prompt.len() - 2);
        let report = run(&with(options, |o| {
            o.prompt = Prompt::Tokens(prompt);
            o.limits = Limits {
                generate: 0,
                ..Limits::default()
            };
        }));
        let forward = report.forward.unwrap();
        assert_eq!(forward.drafted[..3], first, "{kind}");
    }
}

/// A draft ends where the drafter is not sure enough.
#[test]
fn drafts_end_at_the_confidence_asked_for() {
    for kind in KINDS {
        let with = |p_min| {
            let limits = Limits {
                p_min,
                ..Limits::default()
            };
            let drafter = folder(kind).join("drafter-bf16.gguf");
            let report = run(&with(options(drafter), |o| o.limits = limits));
            let acceptance = report.acceptance.unwrap();
            (acceptance.drafted, acceptance.output.unwrap())
        };
        let (all, some, none) = (with(0.0), with(0.2), with(1.0));
        assert!(all.0 > some.0 && some.0 > none.0 && none.0 == 0, "{kind}");
        assert_eq!(all.1[..128], some.1[..128]);
        assert_eq!(all.1[..128], none.1[..128]);
    }
}

#[test]
fn options_of_assistants_are_refused_for_others() {
    for kind in KINDS {
        let (drafter, target) = (
            folder(kind).join("drafter-bf16.gguf"),
            fixture("mini-dense/target-bf16.gguf"),
        );
        let base = ["verify", path_str(&drafter), "--target", path_str(&target)];
        for option in [["--head", "centroid"], ["--window", "transformers"]] {
            refuse(2, &[option[0], "assistants only"], &[&base[..], &option].concat());
        }
        program()
            .args(&base[..])
            .args(["--draft-p-min", "2"])
            .assert()
            .code(2)
            .stderr(predicates::str::contains("a number from 0 to 1"));
    }
}

/// A drafter with a change.
fn changed(kind: &str, change: impl FnOnce(&mut Parts)) -> (TempDir, PathBuf) {
    let scratch = TempDir::new().unwrap();
    let path = scratch.path().join("changed.gguf");
    let mut parts = Parts::read(&folder(kind).join("drafter-bf16.gguf"));
    change(&mut parts);
    parts.write(&path);
    (scratch, path)
}

/// The findings of the program, with or without the source, and the exit code.
fn findings(drafter: &Path, source: Option<&Path>) -> (String, Option<i32>) {
    let mut command = program();
    command.args([
        "verify",
        "--json",
        "--generate",
        "16",
        path_str(drafter),
        "--target",
    ]);
    command.arg(fixture("mini-dense/target-bf16.gguf"));
    if let Some(source) = source {
        command.arg("--source").arg(source);
    }
    let output = command.output().unwrap();
    let report: Json = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (report["results"][0]["findings"].to_string(), output.status.code())
}

/// Without a source these show all the same.
#[test]
fn faults_that_the_file_shows_by_itself() {
    let (_scratch, drafter) = changed("dflash", |parts| parts.remove("dflash.embedding_scale"));
    let (told, code) = findings(&drafter, None);
    assert!(
        told.contains("dflash.embedding_scale is missing") && code == Some(1),
        "{told}"
    );

    let (_scratch, drafter) = changed("eagle3", without_rows_numbers);
    let (told, code) = findings(&drafter, None);
    assert!(told.contains("d2t names token") && code == Some(1), "{told}");

    let (_scratch, drafter) = changed("dflash", |parts| {
        parts.set("dflash.target_layers", Array::I32(vec![1, 3, 5]))
    });
    let (told, code) = findings(&drafter, None);
    assert!(
        told.contains("the input of layer 5 of the target, which has 5") && code == Some(1),
        "{told}"
    );
}

/// Each token as its distance from its row, as a checkpoint has it.
fn without_rows_numbers(parts: &mut Parts) {
    let (.., data) = parts.tensors.iter_mut().find(|(name, ..)| name == "d2t").unwrap();
    for (row, token) in data.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        *token = (i64::from_le_bytes(*token) - row as i64).to_le_bytes();
    }
}
