//! Hostile inputs: files of every kind with one thing changed, given to every command that reads them. Whatever they
//! hold, the program ends by itself and soon, within little memory, with one of its exit codes and at most one line of
//! error that drives no terminal; it leaves no output behind a failure, changes no input, and makes no number into none.
//!
//! The changes are the same ones every time. `HOSTILE_SEED=7 HOSTILE_RUNS=1000 cargo test --test it -- hostile::` makes
//! others, and more of them.

mod change;
mod judge;

use crate::common::parts::converted;
use crate::common::*;
use crate::quantize_options::importance;
use change::{Rng, Source};
use judge::{Case, judge};
use rayon::prelude::*;
use std::sync::LazyLock;

/// Runs of each kind of input.
const RUNS: u64 = 40;
const SEED: u64 = 1;

const OUTTYPES: [&str; 8] = ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_k_m", "q6_k", "iq4_nl"];

fn environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// What is changed, read once.
struct Sources {
    drafters: Vec<Source>,
    target: Source,
    weights: Vec<u8>,
    settings: Vec<(&'static str, Vec<u8>)>,
    index: Vec<u8>,
    imatrix: Vec<u8>,
    list: String,
    arch: String,
}

static SOURCES: LazyLock<Sources> = LazyLock::new(|| {
    let read = |name: &str| std::fs::read(fixture("mini-dense").join(name)).unwrap();
    let bf16 = converted("mini-dense", &["--outtype", "bf16"]);
    let edge = std::fs::read(fixture("mini-edge/drafter-q8_0.gguf")).unwrap();
    let drafter = Drafter::copy_of("mini-dense");
    let matrix = drafter.beside("imatrix.gguf");
    let sums = |len: usize| random(3).take(len).map(f32::abs).collect::<Vec<_>>();
    importance(
        &matrix,
        &[
            ("blk.0.ffn_up.weight", sums(64)),
            ("blk.1.attn_q.weight", sums(64)),
        ],
    );
    let list = succeed(&["hash", path_str(&fixture("mini-dense/drafter-q8_0.gguf"))]).0;
    drafter.shard(|_| ());
    let settings = [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
        "chat_template.jinja",
    ];
    Sources {
        drafters: vec![Source::new(bf16), Source::new(edge)],
        target: Source::new(read("target-bf16.gguf")),
        weights: read("drafter/model.safetensors"),
        settings: settings
            .map(|name| (name, read(&format!("drafter/{name}"))))
            .to_vec(),
        index: std::fs::read(drafter.path.join("model.safetensors.index.json")).unwrap(),
        imatrix: std::fs::read(matrix).unwrap(),
        list,
        arch: include_str!("../../../arch/gemma4_assistant.toml").to_owned(),
    }
});

fn whole(name: &str) -> String {
    path_str(&fixture("mini-dense").join(name)).to_owned()
}

fn strings(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

/// `verify`, as short as it gets.
fn verify(drafter: &str, target: &str, more: &[&str]) -> Vec<String> {
    let args = [
        "verify",
        drafter,
        "--target",
        target,
        "--generate",
        "6",
        "--tokens",
        "2,10,20,30,40",
    ];
    strings(&[&args, more].concat())
}

/// A file name that a terminal or a shell would stumble over, now and then.
fn file_name(rng: &mut Rng, ending: &str) -> String {
    let names = [
        "a b$(id)'",
        "\u{1b}[31mred\u{7}",
        "two\nlines",
        "-dash",
        "\u{202e}ffug",
        "a;b|c&d",
    ];
    match rng.once_in(4) && cfg!(unix) {
        true => format!("{}{ending}", rng.pick(&names)),
        false => format!("file{ending}"),
    }
}

/// A command that reads one drafter's GGUF.
fn on_drafter(rng: &mut Rng, path: &str) -> Vec<String> {
    let (good, target) = (whole("drafter-q8_0.gguf"), whole("target-bf16.gguf"));
    let out = ["-o", "out.gguf"];
    match rng.below(16) {
        0 => strings(&["inspect", path]),
        1 => strings(&["inspect", path, "--full"]),
        2 => strings(&["inspect", path, "--stats", "--sort", "size"]),
        3 => strings(&["check", path]),
        4 | 5 => strings(&["check", path, "--target", &target]),
        6 => strings(&["hash", path]),
        7 => strings(&["diff", path, &good]),
        8 => strings(&["diff", &good, path, "--full"]),
        9 => strings(&["diff", path, &whole("drafter")]),
        10 => strings(&[&["migrate", path], &out[..]].concat()),
        11 => strings(&["migrate", path, "--to", rng.word(&["atomic", "ik"]), "--dry-run"]),
        12 => verify(path, &target, &[]),
        _ => {
            let args = [
                "quantize",
                path,
                "--allow-requantize",
                "--outtype",
                rng.word(&OUTTYPES),
            ];
            strings(&[&args, &out[..]].concat())
        }
    }
}

fn on_target(rng: &mut Rng, path: &str) -> Vec<String> {
    let (good, folder) = (whole("drafter-q8_0.gguf"), whole("drafter"));
    let lone = format!("{folder}/model.safetensors");
    let with = [
        "--target",
        path,
        "-o",
        "out.gguf",
        "--outtype",
        rng.word(&OUTTYPES),
    ];
    match rng.below(12) {
        0 => strings(&["inspect", path]),
        1..=3 => strings(&["check", &good, "--target", path]),
        4 => strings(&["hash", path]),
        5 => verify(&good, path, &[]),
        6 => strings(&[
            "quantize",
            path,
            "-o",
            "out.gguf",
            "--outtype",
            rng.word(&OUTTYPES),
        ]),
        7 => strings(&["migrate", &good, "--target", path, "-o", "out.gguf"]),
        8 => strings(&["convert", path, "-o", "out.gguf"]),
        9 => strings(&[&[&folder[..], "--tokenizer", "target"], &with[..]].concat()),
        _ => strings(&[&[&lone[..]], &with[..]].concat()),
    }
}

/// A command that reads a checkpoint folder.
fn on_folder(rng: &mut Rng, path: &str) -> Vec<String> {
    let (good, target) = (whole("drafter-q8_0.gguf"), whole("target-bf16.gguf"));
    let out = ["-o", "out.gguf", "--outtype", rng.word(&OUTTYPES)];
    match rng.below(12) {
        0 => strings(&["inspect", path, "--stats"]),
        1 => strings(&["hash", path]),
        2 => strings(&["diff", path, &good]),
        3 => strings(&["diff", &good, path, "--target", &target]),
        4 => verify(&good, &target, &["--source", path]),
        5 => strings(&[path]),
        6..=8 => strings(&[&[path, "--target", &target], &out[..]].concat()),
        _ => strings(&[&[path], &out[..]].concat()),
    }
}

/// A drafter's folder in which one file is another.
fn folder_with(case: &Case, rng: &mut Rng, name: &str, bytes: &[u8]) -> String {
    let folder = file_name(rng, "");
    for (other, source) in &SOURCES.settings {
        if *other != name {
            case.input(&format!("{folder}/{other}"), source);
        }
    }
    if name != "model.safetensors" {
        case.input(&format!("{folder}/model.safetensors"), &SOURCES.weights);
    }
    let path = case.input(&format!("{folder}/{name}"), bytes);
    path[..path.len() - name.len() - 1].to_owned()
}

type Maker = fn(&mut Case, &mut Rng);

fn a_drafters_gguf(case: &mut Case, rng: &mut Rng) {
    let source = rng.pick(&SOURCES.drafters);
    let (told, bytes) = change::gguf(rng, source);
    let path = case.input(&file_name(rng, ".gguf"), &bytes);
    (case.change, case.args) = (told, on_drafter(rng, &path));
}

fn a_targets_gguf(case: &mut Case, rng: &mut Rng) {
    let (told, bytes) = change::gguf(rng, &SOURCES.target);
    let path = case.input(&file_name(rng, ".gguf"), &bytes);
    (case.change, case.args) = (told, on_target(rng, &path));
}

fn weights(case: &mut Case, rng: &mut Rng) {
    let (told, bytes) = change::safetensors(rng, &SOURCES.weights);
    let path = folder_with(case, rng, "model.safetensors", &bytes);
    (case.change, case.args) = (told, on_folder(rng, &path));
}

fn settings(case: &mut Case, rng: &mut Rng) {
    let (file, source) = rng.pick(&SOURCES.settings);
    let (told, bytes) = match file.ends_with(".json") {
        true => change::json_file(rng, source),
        false => change::lines(rng, std::str::from_utf8(source).unwrap()),
    };
    let path = folder_with(case, rng, file, &bytes);
    (case.change, case.args) = (format!("{file}: {told}"), on_folder(rng, &path));
}

fn an_index_of_shards(case: &mut Case, rng: &mut Rng) {
    let (told, bytes) = change::json_file(rng, &SOURCES.index);
    let path = folder_with(case, rng, "model.safetensors.index.json", &bytes);
    std::fs::remove_file(std::path::Path::new(&path).join("model.safetensors")).unwrap();
    (case.change, case.args) = (told, on_folder(rng, &path));
}

fn an_importance_matrix(case: &mut Case, rng: &mut Rng) {
    let mut bytes = SOURCES.imatrix.clone();
    let len = bytes.len();
    let told = change::bytes(rng, &mut bytes, len);
    let matrix = case.input(&file_name(rng, ".imatrix"), &bytes);
    let model = case.input("drafter.gguf", &SOURCES.drafters[0].bytes);
    let args = [
        "quantize",
        &model,
        "--outtype",
        rng.word(&OUTTYPES),
        "-o",
        "out.gguf",
    ];
    (case.change, case.args) = (told, strings(&[&args[..], &["--imatrix", &matrix]].concat()));
}

fn a_list_of_checksums(case: &mut Case, rng: &mut Rng) {
    let (told, bytes) = change::lines(rng, &SOURCES.list);
    let path = case.input(&file_name(rng, ".sums"), &bytes);
    (case.change, case.args) = (told, strings(&["hash", "--check", &path]));
    if rng.once_in(2) {
        case.args.push("--quiet".to_owned());
    }
}

fn an_architecture_file(case: &mut Case, rng: &mut Rng) {
    let (told, bytes) = change::lines(rng, &SOURCES.arch);
    let path = case.input(&file_name(rng, ".toml"), &bytes);
    let (good, target) = (whole("drafter-q8_0.gguf"), whole("target-bf16.gguf"));
    let args = match rng.below(6) {
        0 => strings(&["check", &good, "--target", &target]),
        1 => strings(&["migrate", &good, "-o", "out.gguf"]),
        2 => strings(&["inspect", &good]),
        3 => verify(&good, &target, &[]),
        4 => strings(&["diff", &good, &whole("drafter")]),
        _ => strings(&[&whole("drafter")[..], "-o", "out.gguf"]),
    };
    (case.change, case.args) = (told, args);
    case.args.extend(["--arch".to_owned(), path]);
}

fn a_prompt(case: &mut Case, rng: &mut Rng) {
    let mut text = "some words\nand lines of it\n".repeat(4).into_bytes();
    let len = text.len();
    let told = match rng.below(4) {
        0 => {
            text = change::text(rng).into_bytes();
            text.truncate(2_000);
            "a strange text".to_owned()
        }
        _ => change::bytes(rng, &mut text, len),
    };
    let path = case.input(&file_name(rng, ".txt"), &text);
    let (good, target) = (whole("drafter-q8_0.gguf"), whole("target-bf16.gguf"));
    let args = [
        "verify",
        &good,
        "--target",
        &target,
        "--generate",
        "4",
        "--prompt-file",
        &path,
    ];
    (case.change, case.args) = (told, strings(&args));
}

fn a_command_line(case: &mut Case, rng: &mut Rng) {
    let good = whole("drafter-q8_0.gguf");
    let mut word = change::text(rng).replace('\0', "");
    word = word.chars().take(600).collect();
    let number = *rng.pick(&["-1", "0", "1e9", "18446744073709551616", "4294967295", "NaN", ""]);
    let args = match rng.below(9) {
        0 => strings(&["inspect", &good, "--filter", &word]),
        1 => strings(&["diff", &good, &good, "--ignore", &word]),
        2 => strings(&[
            "quantize",
            &good,
            "-o",
            "out.gguf",
            "--outtype",
            "q4_0",
            "--tensor-type",
            &word,
        ]),
        3 => {
            let pattern = format!("{word}=q8_0");
            strings(&[
                "quantize",
                &good,
                "-o",
                "out.gguf",
                "--outtype",
                "q4_0",
                "--tensor-type",
                &pattern,
            ])
        }
        4 => verify(&good, &whole("target-bf16.gguf"), &["--draft-max", number]),
        5 => strings(&["verify", &good, "--target", &good, "--tokens", number]),
        6 => strings(&["inspect", &word]),
        7 => strings(&[&word, "--outtype", number]),
        _ => strings(&["migrate", &good, "-o", "out.gguf", "--to", &word]),
    };
    (case.change, case.args) = (
        format!("the word {:?}", word.chars().take(40).collect::<String>()),
        args,
    );
}

const KINDS: [(&str, Maker); 10] = [
    ("a drafter's GGUF", a_drafters_gguf),
    ("a target's GGUF", a_targets_gguf),
    ("weights", weights),
    ("settings", settings),
    ("an index of shards", an_index_of_shards),
    ("an importance matrix", an_importance_matrix),
    ("a list of checksums", a_list_of_checksums),
    ("an architecture file", an_architecture_file),
    ("a prompt", a_prompt),
    ("a command line", a_command_line),
];

#[test]
fn no_input_makes_the_program_fail_otherwise_than_it_says() {
    let (seed, runs) = (
        environment("HOSTILE_SEED", SEED),
        environment("HOSTILE_RUNS", RUNS),
    );
    LazyLock::force(&SOURCES);
    let fixtures = [
        "drafter-q8_0.gguf",
        "target-bf16.gguf",
        "drafter/model.safetensors",
        "drafter/config.json",
    ];
    let sums = || fixtures.map(|name| sha256(&fixture("mini-dense").join(name)));
    let before = sums();
    let all: Vec<(usize, u64)> = (0..KINDS.len())
        .flat_map(|kind| (0..runs).map(move |run| (kind, run)))
        .collect();
    let failures: Vec<String> = all
        .into_par_iter()
        .filter_map(|(kind, run)| {
            let (what, make) = KINDS[kind];
            let mut rng = Rng((seed << 40) ^ ((kind as u64) << 32) ^ run);
            let mut case = Case::new();
            make(&mut case, &mut rng);
            if rng.once_in(3) {
                case.args.push("--json".to_owned());
            }
            let faults = judge(&case);
            if faults.is_empty() {
                return None;
            }
            let Case { folder, change, args } = case;
            let kept = folder.keep();
            let change: String = change.chars().take(200).collect();
            Some(format!(
                "{what} {run}, {change}: {args:?}\n  in {kept:?}\n  {}",
                faults.join("\n  ")
            ))
        })
        .collect();
    let shown = failures.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(
        failures.is_empty(),
        "{} of {} runs:\n{shown}",
        failures.len(),
        KINDS.len() as u64 * runs
    );
    assert_eq!(sums(), before, "no fixture was changed");
}
