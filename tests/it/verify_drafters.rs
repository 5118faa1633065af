//! `verify` of EAGLE-3, DFlash and DSpark: against a run of their formulas in f64, against llama.cpp's figures, and against
//! planted faults.

use crate::common::parts::Parts;
use crate::common::{
    copy_folder, fixture, path_str, program, read_tensors, refuse, succeed, with, write_tensors,
};
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
    changed_in("bf16", kind, change)
}

/// One in this type.
fn changed_in(ty: &str, kind: &str, change: impl FnOnce(&mut Parts)) -> (TempDir, PathBuf) {
    let scratch = TempDir::new().unwrap();
    let path = scratch.path().join("changed.gguf");
    let mut parts = Parts::read(&folder(kind).join(format!("drafter-{ty}.gguf")));
    change(&mut parts);
    parts.write(&path);
    (scratch, path)
}

/// The findings of the program, with or without the source, and the exit code.
fn findings(drafter: &Path, source: Option<&Path>) -> (Vec<String>, Option<i32>) {
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
    let findings = report["results"][0]["findings"].as_array();
    let findings = findings.unwrap_or_else(|| panic!("{report}")).iter();
    let messages = findings.map(|finding| finding["message"].as_str().unwrap().to_owned());
    (messages.collect(), output.status.code())
}

/// Expects that `verify` fails and that one of its sentences is this one.
#[track_caller]
fn told(drafter: &Path, source: Option<&Path>, sentence: &str) {
    let (findings, code) = findings(drafter, source);
    let is_told = findings.iter().any(|message| message.contains(sentence));
    assert!(is_told && code == Some(1), "{sentence:?} not in {findings:?}");
}

/// Without a source these show all the same.
#[test]
fn faults_that_the_file_shows_by_itself() {
    let (_scratch, drafter) = changed("dflash", |parts| parts.remove("dflash.embedding_scale"));
    told(&drafter, None, "dflash.embedding_scale is missing");

    let (_scratch, drafter) = changed("eagle3", without_rows_numbers);
    told(&drafter, None, "d2t names token");

    let (_scratch, drafter) = changed("dflash", |parts| {
        parts.set("dflash.target_layers", Array::I32(vec![1, 3, 5]))
    });
    told(&drafter, None, "the input of layer 5 of the target, which has 5");
}

const TYPES: [&str; 2] = ["bf16", "q8_0"];

/// The errors in a file with its checkpoint beside it, but for what comes of them.
#[track_caller]
fn errors(drafter: &Path, source: &Path) -> Vec<String> {
    let (mut found, code) = findings(drafter, Some(source));
    assert_eq!(code, Some(1), "{found:?}");
    found.retain(|message| !message.starts_with("the drafter is far below its source"));
    found
}

/// Plants a fault in what upstream's converter made of a kind's checkpoint and expects, with that checkpoint beside it, that
/// these are the errors in the file, and no others.
#[track_caller]
fn named(kind: &str, fault: impl Fn(&mut Parts), expected: &[&str]) {
    let source = folder(kind).join("drafter");
    for ty in TYPES {
        let (_scratch, drafter) = changed_in(ty, kind, &fault);
        assert_eq!(errors(&drafter, &source), expected, "{kind} {ty}");
    }
}

/// So that what the others find was planted.
#[test]
fn nothing_is_said_of_upstreams_files_beside_their_source() {
    for kind in KINDS {
        for ty in TYPES {
            let drafter = folder(kind).join(format!("drafter-{ty}.gguf"));
            let (found, code) = findings(&drafter, Some(&folder(kind).join("drafter")));
            assert_eq!((found, code), (vec![], Some(0)), "{kind} {ty}");
        }
    }
}

#[test]
fn two_layers_of_the_target_exchanged() {
    let of = [
        ("eagle3", "eagle3.target_layers", [1, 4, 3], [1, 3, 4]),
        ("dflash", "dflash.target_layers", [3, 1, 4], [1, 3, 4]),
        ("dspark", "dflash.target_layers", [1, 4, 3], [1, 3, 4]),
    ];
    for (kind, key, wrong, right) in of {
        let message = format!(
            "{key} is {wrong:?}, the source's is {right:?}: layers are exchanged, and each has weights of its own"
        );
        named(
            kind,
            |parts| parts.set(key, Array::I32(wrong.to_vec())),
            &[&message],
        );
    }
}

/// As a converter leaves them that takes EAGLE-3's layer for any other: rows half a head apart belong together.
#[test]
fn queries_and_keys_not_permuted() {
    let message = |name: &str| {
        format!(
            "{name} is not permuted: its rows lie as in the source, llama.cpp turns neighbouring ones together"
        )
    };
    let [query, key] = ["blk.0.attn_q.weight", "blk.0.attn_k.weight"];
    let fault = |parts: &mut Parts| {
        half_a_head_apart(parts, query, 4);
        half_a_head_apart(parts, key, 2);
    };
    named("eagle3", fault, &[&message(key), &message(query)]);
    named(
        "eagle3",
        |parts| half_a_head_apart(parts, key, 2),
        &[&message(key)],
    );
}

/// The even rows of each head, then the odd ones.
fn half_a_head_apart(parts: &mut Parts, name: &str, heads: usize) {
    let (_, dims, _, data) = parts.tensors.iter_mut().find(|(n, ..)| n == name).unwrap();
    let row = data.len() / dims[1] as usize;
    let of_head = |head: &[u8]| -> Vec<u8> {
        let rows: Vec<&[u8]> = head.chunks(row).collect();
        let (even, odd) = (rows.iter().step_by(2), rows.iter().skip(1).step_by(2));
        even.chain(odd).copied().flatten().copied().collect()
    };
    *data = data.chunks(data.len() / heads).flat_map(of_head).collect();
}

#[test]
fn tokens_of_a_reduced_vocabulary_as_distances() {
    named(
        "eagle3",
        without_rows_numbers,
        &["d2t holds the source's distances: the number of the row was not added"],
    );
}

/// Each token as its distance from its row, as a checkpoint has it.
fn without_rows_numbers(parts: &mut Parts) {
    let (.., data) = parts.tensors.iter_mut().find(|(name, ..)| name == "d2t").unwrap();
    for (row, token) in data.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        *token = (i64::from_le_bytes(*token) - row as i64).to_le_bytes();
    }
}

#[test]
fn the_scale_of_embeddings_left_out() {
    for kind in ["dflash", "dspark"] {
        named(
            kind,
            |parts| parts.remove("dflash.embedding_scale"),
            &["dflash.embedding_scale is missing or 1: the source scales embeddings by 11.313708"],
        );
        named(
            kind,
            |parts| parts.set("dflash.embedding_scale", 8.0f32),
            &["dflash.embedding_scale is 8, the source's is 11.313708"],
        );
    }
}

#[test]
fn another_mask_token() {
    for kind in ["dflash", "dspark"] {
        named(
            kind,
            |parts| parts.set("tokenizer.ggml.mask_token_id", 5u32),
            &["the mask token is 5, the source's is 4"],
        );
    }
}

fn exchange_markov(parts: &mut Parts) {
    parts.rename_tensor("markov_w1.weight", "other");
    parts.rename_tensor("markov_w2.weight", "markov_w1.weight");
    parts.rename_tensor("other", "markov_w2.weight");
}

#[test]
fn markov_tables_exchanged() {
    let message = "markov_w1.weight and markov_w2.weight are exchanged";
    named("dspark", exchange_markov, &[message]);

    // With a reduced vocabulary one is shorter than the other, so that the drafter cannot be run.
    let source = fixture("drafter-variants/dspark-speculators");
    let scratch = TempDir::new().unwrap();
    let drafter = scratch.path().join("drafter.gguf");
    let target = fixture("mini-dense/target-bf16.gguf");
    for ty in TYPES {
        let with = ["--target", path_str(&target), "--outtype", ty, "--force", "-o"];
        succeed(&[&[path_str(&source)], &with[..], &[path_str(&drafter)]].concat());
        let mut parts = Parts::read(&drafter);
        exchange_markov(&mut parts);
        parts.write(&drafter);
        assert_eq!(errors(&drafter, &source), [message], "{ty}");
    }
}

/// Without them the runtime takes the drafter for another kind, or the head for one that is not there.
#[test]
fn tensors_of_the_source_left_out() {
    let fault = |names: &'static [&'static str]| {
        move |parts: &mut Parts| parts.tensors.retain(|(name, ..)| !names.contains(&name.as_str()))
    };
    named(
        "dspark",
        fault(&["markov_w1.weight", "markov_w2.weight"]),
        &["markov_w1.weight and markov_w2.weight are missing: the source has more tensors"],
    );
    named(
        "eagle3",
        fault(&["blk.0.attn_v.weight"]),
        &["blk.0.attn_v.weight is missing: the source has more tensors"],
    );
    named(
        "dspark",
        fault(&["rope_freqs.weight"]),
        &["rope_freqs.weight is missing: the source divides its rotary frequencies by factors"],
    );
}

#[test]
fn rotary_frequencies_that_all_turn() {
    let fault = |parts: &mut Parts| {
        let (.., data) = parts
            .tensors
            .iter_mut()
            .find(|(name, ..)| name == "rope_freqs.weight")
            .unwrap();
        *data = data.chunks(4).flat_map(|_| 1f32.to_le_bytes()).collect();
    };
    named(
        "dspark",
        fault,
        &["factor 8 of rope_freqs.weight is 1, the source's is inf"],
    );
}

/// As some checkpoints have it, and upstream's converter turns it back.
#[test]
fn a_source_whose_heads_turn_neighbours_is_the_same() {
    let scratch = TempDir::new().unwrap();
    let source = scratch.path().join("drafter");
    copy_folder(&folder("dflash").join("drafter"), &source);
    let config = source.join("config.json");
    let mut settings = json(config.clone());
    settings["rope_is_neox_style"] = false.into();
    std::fs::write(config, settings.to_string()).unwrap();
    let weights = source.join("model.safetensors");
    let mut tensors = read_tensors(&weights);
    for (name, raw) in &mut tensors {
        if ["q_proj", "k_proj", "q_norm", "k_norm"]
            .iter()
            .any(|part| name.contains(part))
        {
            let row = raw.data.len() / raw.shape[0];
            // Heads of 32.
            let side_by_side = |head: &[u8]| -> Vec<u8> {
                let (first, second) = head.split_at(16 * row);
                let pairs = first.chunks(row).zip(second.chunks(row));
                pairs.flat_map(|(a, b)| [a, b].concat()).collect()
            };
            raw.data = raw.data.chunks(32 * row).flat_map(side_by_side).collect();
        }
    }
    write_tensors(&weights, &tensors);
    for ty in TYPES {
        let drafter = folder("dflash").join(format!("drafter-{ty}.gguf"));
        assert_eq!(findings(&drafter, Some(&source)), (vec![], Some(0)), "{ty}");
    }
}
