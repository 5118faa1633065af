//! The JSON of every command is what `docs/json.md` says: these structs know its fields and deny all others.
#![allow(dead_code)]

use crate::common::*;
use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::BTreeSet;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<R> {
    schema_version: u32,
    command: String,
    results: Vec<R>,
    errors: Vec<Error>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Error {
    fault: String,
    message: String,
    path: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    key: Json,
    r#type: String,
    value: Json,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Planned {
    name: String,
    r#type: String,
    dims: Vec<u64>,
    file_offset: u64,
    size_bytes: u64,
    source: String,
    source_type: String,
    importance: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Convert {
    output: String,
    dry_run: bool,
    size_bytes: u64,
    warnings: Vec<String>,
    tensors: Vec<Planned>,
    parameters: u64,
    outtype: String,
    tokenizer: String,
    q4_0_blocks: Option<u64>,
    q4_0_blocks_without_loss: Option<u64>,
    derived: Vec<Derived>,
    ignored: Vec<Ignored>,
    metadata: Vec<Key>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Derived {
    name: String,
    value: String,
    from: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ignored {
    name: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Quantize {
    output: String,
    dry_run: bool,
    size_bytes: u64,
    warnings: Vec<String>,
    tensors: Vec<Planned>,
    outtype: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Migrate {
    output: Option<String>,
    dry_run: bool,
    size_bytes: u64,
    warnings: Vec<String>,
    tensors: Vec<Planned>,
    metadata: Vec<Key>,
    changes: Vec<Change>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Split {
    dry_run: bool,
    warnings: Vec<String>,
    parts: Vec<SplitPart>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SplitPart {
    output: String,
    size_bytes: u64,
    tensors: Vec<Planned>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Merge {
    output: Option<String>,
    dry_run: bool,
    size_bytes: u64,
    warnings: Vec<String>,
    parts: Vec<MergedPart>,
    tensors: Vec<Planned>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MergedPart {
    path: String,
    size_bytes: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    output: Option<String>,
    dry_run: bool,
    backup: Option<String>,
    changes: Vec<SetChange>,
    warnings: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetChange {
    action: String,
    key: String,
    from: Option<SetSide>,
    to: Option<SetSide>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetSide {
    r#type: String,
    value: Json,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    action: String,
    subject: String,
    from: Option<String>,
    to: Option<String>,
    why: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inspect {
    path: String,
    container: String,
    version: Option<u32>,
    endian: String,
    alignment: Option<u64>,
    parts: Vec<Part>,
    summary: Summary,
    faults: Vec<String>,
    metadata: Vec<Key>,
    tensors: Vec<Tensor>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    path: String,
    size_bytes: u64,
    data_offset: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Summary {
    role: String,
    architecture: Option<String>,
    dialect: Option<String>,
    backbone_width: Option<u64>,
    parameters: u64,
    data_bytes: u64,
    bits_per_weight: f64,
    types: Vec<TypeShare>,
    context_length: Option<u64>,
    sliding_window: Option<u64>,
    vocabulary: Option<u64>,
    width: Option<u64>,
    layers: Option<u64>,
    sliding_layers: Option<u64>,
    heads: Option<u64>,
    kv_heads: Vec<u64>,
    head_dims: Vec<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TypeShare {
    r#type: String,
    tensors: usize,
    parameters: u64,
    size_bytes: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tensor {
    name: Json,
    r#type: String,
    dims: Vec<u64>,
    offset: u64,
    file_offset: u64,
    size_bytes: Option<u64>,
    part: usize,
    stats: Option<Stats>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stats {
    min: Option<f64>,
    max: Option<f64>,
    mean: Option<f64>,
    rms: Option<f64>,
    zero_share: f64,
    nan: u64,
    infinite: u64,
    histogram: Option<Vec<u64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Get {
    path: String,
    get: String,
    #[serde(rename = "type")]
    ty: String,
    tensor_type: Option<String>,
    first: Option<u64>,
    value: Json,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Diff {
    a: String,
    b: String,
    equal: bool,
    container: Vec<Container>,
    keys: Vec<KeyDifference>,
    tensors: Vec<TensorDifference>,
    equal_keys: usize,
    equal_tensors: usize,
    notes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Container {
    what: String,
    a: String,
    b: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyDifference {
    key: Json,
    difference: String,
    a: Option<Side>,
    b: Option<Side>,
    first_difference: Option<usize>,
    differing: Option<usize>,
    moved: Option<Moved>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Side {
    r#type: String,
    value: Json,
    length: Option<usize>,
    element: Json,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Moved {
    from: usize,
    to: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TensorDifference {
    name: Json,
    difference: String,
    a: Option<Form>,
    b: Option<Form>,
    error: Option<Measures>,
    not_compared: Option<String>,
    moved: Option<Moved>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    r#type: String,
    dims: Vec<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Measures {
    elements: u64,
    differing: u64,
    first_difference: Option<u64>,
    not_finite: u64,
    max: f64,
    rms: f64,
    relative: Option<f64>,
    cosine: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hash {
    path: String,
    files: Vec<HashedFile>,
    metadata_sha256: Option<String>,
    tensors: Vec<HashedTensor>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HashedFile {
    path: String,
    sha256: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HashedTensor {
    name: String,
    file: String,
    sha256: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HashCheck {
    list: String,
    failed: usize,
    improper_lines: usize,
    lines: Vec<Line>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    ok: bool,
    missing: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    drafter: String,
    target: Option<String>,
    errors: usize,
    warnings: usize,
    findings: Vec<Finding>,
    checked: Vec<Checked>,
    spec_type: Option<String>,
    file_prefix: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checked {
    group: String,
    count: u64,
    of: String,
    unread: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Finding {
    severity: String,
    code: String,
    subject: Option<String>,
    message: String,
    hint: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Verify {
    verdict: Verdict,
    findings: Vec<Finding>,
    drafter: String,
    target: String,
    source: Option<String>,
    target_source: Option<String>,
    window: String,
    head: String,
    arithmetic: String,
    prompt: Vec<u32>,
    weights: Option<Vec<Weights>>,
    forward: Option<Forward>,
    agreement: Option<Vec<Agreement>>,
    acceptance: Option<Acceptance>,
    source_acceptance: Option<Acceptance>,
    suite: Option<Suite>,
    checkpoints: Option<Checkpoints>,
    partial: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Suite {
    kinds: Vec<SuiteKind>,
    all: SuiteKind,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SuiteKind {
    kind: String,
    prompts: usize,
    drafted: usize,
    accepted: usize,
    rate: Option<f64>,
    interval: (f64, f64),
    mean_accepted_length: Option<f64>,
    by_position: Vec<Position>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Verdict {
    outcome: String,
    ok: bool,
    line: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Weights {
    name: String,
    r#type: String,
    ok: bool,
    compared: bool,
    exact: bool,
    max_error: f64,
    rms_error: f64,
    relative_error: f64,
    ceiling: f64,
    cosine: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Forward {
    position: usize,
    next: u32,
    drafted: Vec<u32>,
    source_drafted: Option<Vec<u32>>,
    steps: Option<Vec<Step>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    agree: bool,
    kl: f64,
    max_logit_difference: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Agreement {
    steps: usize,
    top_1: f64,
    mean_kl: f64,
    max_kl: f64,
    max_logit_difference: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Acceptance {
    drafted: usize,
    accepted: usize,
    rate: Option<f64>,
    rounds: usize,
    mean_accepted_length: Option<f64>,
    by_position: Vec<Position>,
    surprise: Option<f64>,
    output: Option<Vec<u32>>,
    output_is_greedy: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    drafted: usize,
    accepted: usize,
    rate: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkpoints {
    next: u32,
    drafted: Vec<u32>,
    greedy: Vec<u32>,
}

/// Runs a command with `--json` and reads its document, whose fields must all stand in `docs/json.md`.
#[track_caller]
fn document<R: for<'de> Deserialize<'de>>(code: i32, command: &str, args: &[&str]) -> Envelope<R> {
    let output = program().args(args).arg("--json").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
    assert!(text.ends_with("}\n"), "{text}");
    let document: Envelope<R> =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: {e}\n{text}"));
    assert_eq!((document.schema_version, document.command.as_str()), (2, command));
    assert_documented(&serde_json::from_str(&text).unwrap());
    document
}

/// Every field name stands in the document about them.
#[track_caller]
fn assert_documented(document: &Json) {
    let about = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md")).unwrap();
    let words: BTreeSet<&str> = about
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .collect();
    let mut rest = vec![document];
    while let Some(json) = rest.pop() {
        match json {
            Json::Object(fields) => {
                for (name, value) in fields {
                    assert!(words.contains(name.as_str()), "{name} is not in docs/json.md");
                    rest.push(value);
                }
            }
            Json::Array(elements) => rest.extend(elements),
            _ => {}
        }
    }
}

#[track_caller]
fn one<R: for<'de> Deserialize<'de>>(code: i32, command: &str, args: &[&str]) -> R {
    let mut document = document(code, command, args);
    assert!(document.errors.is_empty() && document.results.len() == 1);
    document.results.remove(0)
}

fn file(name: &str) -> String {
    path_str(&fixture(name)).to_owned()
}

#[test]
fn what_is_written_is_reported_alike() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| path_str(&folder.path().join(name)).to_owned();
    let (drafter, target) = (file("mini-dense/drafter"), file("mini-dense/target-bf16.gguf"));
    let path = out("d.gguf");
    let report: Convert = one(
        0,
        "convert",
        &[&drafter, "--target", &target, "--outtype", "q4_0", "-o", &path],
    );
    assert_eq!((report.output, report.dry_run), (path, false));
    assert!(report.q4_0_blocks > report.q4_0_blocks_without_loss);
    assert_eq!(report.size_bytes, std::fs::metadata(out("d.gguf")).unwrap().len());
    let report: Quantize = one(
        0,
        "quantize",
        &[
            "quantize",
            &target,
            "-o",
            &out("q.gguf"),
            "--outtype",
            "q8_0",
            "--dry-run",
        ],
    );
    assert!(report.dry_run && !std::path::Path::new(&report.output).exists());
    let report: Migrate = one(
        0,
        "migrate",
        &["migrate", &out("d.gguf"), "-o", &out("m.gguf"), "--to", "atomic"],
    );
    assert_eq!(report.output.as_deref(), Some(out("m.gguf").as_str()));
    assert!(!report.dry_run && !report.changes.is_empty());
    let split = ["split", &out("d.gguf"), "--max-tensors", "25"];
    let report: Split = one(0, "split", &split);
    assert_eq!((report.dry_run, report.parts.len()), (false, 2));
    let part = &report.parts[1];
    assert_eq!(
        (part.output.as_str(), part.tensors.len()),
        (out("d-00002-of-00002.gguf").as_str(), 24)
    );
    assert_eq!(part.size_bytes, std::fs::metadata(&part.output).unwrap().len());
    let report: Merge = one(0, "merge", &["merge", &part.output, "-o", &out("w.gguf")]);
    assert_eq!((report.tensors.len(), report.parts.len()), (49, 2));
    assert_eq!(report.parts[1].path, part.output);
    let set = ["set", &out("w.gguf"), "--in-place", "general.sampling.top_k=9"];
    let report: Set = one(0, "set", &set);
    assert_eq!(report.output, Some(out("w.gguf")));
    assert_eq!(report.backup, Some(out("w.gguf.header")));
    let change = &report.changes[0];
    assert_eq!(
        (change.action.as_str(), &change.to.as_ref().unwrap().value),
        ("change", &Json::from(9))
    );
}

#[test]
fn readers_report_a_list_of_results() {
    let (a, b) = (
        file("mini-dense/drafter-q8_0.gguf"),
        file("mini-dense/drafter-lq-q4_0.gguf"),
    );
    let source = file("mini-dense/drafter");
    let report: Inspect = one(0, "inspect", &["inspect", &a, "--stats"]);
    assert!(report.tensors.iter().all(|tensor| tensor.stats.is_some()));
    let reports = document::<Inspect>(0, "inspect", &["inspect", &a, &source]).results;
    assert_eq!(reports.len(), 2);
    let report: Diff = one(1, "diff", &["diff", &a, &b]);
    assert!(!report.equal && report.tensors.iter().any(|tensor| tensor.error.is_some()));
    let report: Hash = one(0, "hash", &["hash", &a]);
    assert_eq!(report.tensors.len(), 49);
}

#[test]
fn a_value_is_a_result() {
    let drafter = file("mini-dense/drafter-q8_0.gguf");
    let asked = "token_embd.weight[1..3]";
    let report: Get = one(0, "inspect", &["inspect", "--get", asked, &drafter]);
    assert_eq!(
        (report.path.as_str(), report.get.as_str()),
        (drafter.as_str(), asked)
    );
    assert_eq!(
        (report.ty.as_str(), report.tensor_type.as_deref()),
        ("f32[]", Some("Q8_0"))
    );
    assert_eq!(
        (report.first, report.value.as_array().unwrap().len()),
        (Some(1), 2)
    );
}

#[test]
fn lists_of_checksums_are_one_result() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("SUMS");
    let sums = "0000000000000000000000000000000000000000000000000000000000000000  none.gguf\n";
    std::fs::write(&list, sums).unwrap();
    let report: HashCheck = one(1, "hash --check", &["hash", "--check", path_str(&list)]);
    assert_eq!(
        (report.failed, report.improper_lines, report.lines.len()),
        (1, 0, 1)
    );
    assert!(report.lines[0].missing.is_some());
}

#[test]
fn verdicts_report_findings_of_one_form() {
    let (drafter, target) = (
        file("mini-dense/drafter-q8_0.gguf"),
        file("mini-dense/target-bf16.gguf"),
    );
    let report: Check = one(0, "check", &["check", &drafter, "--target", &target]);
    assert_eq!(report.errors, 0);
    let tensors = report
        .checked
        .iter()
        .find(|checked| checked.group == "tensors")
        .unwrap();
    assert_eq!((tensors.count, tensors.of.as_str()), (49, "tensor"));
    let report: Check = one(1, "check", &["check", &target]);
    assert!(report.errors > 0 && report.findings[0].hint.is_some());
    let source = file("mini-dense/drafter");
    let args = [
        "verify",
        &drafter,
        "--target",
        &target,
        "--source",
        &source,
        "--tokens",
        "2,946",
        "--generate",
        "8",
        "--suite",
        "--kinds",
        "short",
    ];
    let report: Verify = one(0, "verify", &args);
    assert_eq!(report.suite.unwrap().kinds[0].prompts, 4);
    assert!(report.verdict.ok && report.weights.is_some() && report.agreement.is_some());
    let stranger = file("mini-edge/drafter-q8_0.gguf");
    let report: Verify = one(1, "verify", &["verify", &stranger, "--target", &target]);
    assert!(!report.verdict.ok && report.findings[0].severity == "error");
}

#[test]
fn an_error_is_a_document_too() {
    let missing = document::<Json>(3, "check", &["check", "no/such.gguf"]);
    assert!(missing.results.is_empty());
    assert_eq!(missing.errors[0].fault, "input");
    assert_eq!(missing.errors[0].path.as_deref(), Some("no/such.gguf"));
    assert!(missing.errors[0].message.contains("no/such.gguf"));
    // What clap refuses.
    let usage = document::<Json>(2, "inspect", &["inspect", "--no-such-option"]);
    assert_eq!((usage.errors[0].fault.as_str(), usage.errors.len()), ("usage", 1));
    let usage = document::<Json>(2, "convert", &["--outtype", "q8_0"]);
    assert_eq!(usage.errors[0].fault, "usage");
    let input = document::<Json>(3, "convert", &["no/such/folder"]);
    assert_eq!(input.errors[0].fault, "input");
}

/// As `sha256sum` does.
#[test]
fn of_several_files_the_good_are_done_and_the_bad_are_told() {
    let (good, bad) = (file("mini-dense/drafter-q8_0.gguf"), file("bad/magic.gguf"));
    let inspected = document::<Inspect>(3, "inspect", &["inspect", &bad, &good, "no/such.gguf"]);
    assert_eq!(inspected.results[0].path, good);
    let paths: Vec<_> = inspected
        .errors
        .iter()
        .map(|error| error.path.as_deref())
        .collect();
    assert_eq!(paths, [Some(bad.as_str()), Some("no/such.gguf")]);
    let hashed = document::<Hash>(3, "hash", &["hash", &good, "no/such.gguf"]);
    assert_eq!((hashed.results.len(), hashed.errors.len()), (1, 1));
    // In words too.
    for command in ["inspect", "hash"] {
        let output = program().args([command, "no/such.gguf", &good]).output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert!(String::from_utf8_lossy(&output.stderr).contains("no/such.gguf"));
        assert!(String::from_utf8_lossy(&output.stdout).contains("drafter-q8_0.gguf"));
    }
}

#[test]
fn benchmarks_and_advice_are_documented() {
    let folder = tempfile::tempdir().unwrap();
    let log = |name: &str, duration: u64| {
        let line = |i: u64| {
            format!(
                "{{\"wall_ns\": 9, \"eval_count\": 80, \"eval_duration\": {}}}\n",
                duration + i
            )
        };
        let path = folder.path().join(name);
        std::fs::write(&path, (0..20).map(line).collect::<String>()).unwrap();
        path_str(&path).to_owned()
    };
    let (a, b) = (log("a.jsonl", 2_000_000), log("b.jsonl", 1_000_000));
    let report: Json = one(0, "bench", &["bench", "--compare", &a, &b]);
    assert_eq!(report["conditions"][1]["overall"]["decision"], "pays");
    let (drafter, target) = (
        file("mini-dense/drafter-q8_0.gguf"),
        file("mini-dense/target-bf16.gguf"),
    );
    let report: Json = one(
        0,
        "advise",
        &["advise", "--target", &target, "--drafter", &drafter],
    );
    assert!(report["memory_total"].as_u64() > Some(0));
}
