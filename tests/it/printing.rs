//! What people see: whatever a file holds or is called, it neither drives the terminal nor floods it.

use crate::common::*;
use gguf_conv::gguf::{Array, Metadata, Strings};
use gguf_conv::quant::GgmlType;
use std::path::{Path, PathBuf};

/// Standard output and standard error of a run that does not panic.
#[track_caller]
fn shown(args: &[&str]) -> (String, String) {
    let output = program().args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(matches!(output.status.code(), Some(0..=4)), "{args:?}: {err}");
    for line in out.lines().chain(err.lines()) {
        assert!(!line.contains(gguf_conv::text::is_hidden), "{args:?}: {line:?}");
    }
    (out, err)
}

fn longest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

/// Every model among the fixtures.
fn fixtures(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.extension().and_then(|ext| ext.to_str()) {
            _ if path.is_dir() => fixtures(&path, found),
            Some("gguf" | "safetensors") => found.push(path),
            _ => {}
        }
    }
}

#[test]
fn every_fixture_is_shown_in_full() {
    let mut found = Vec::new();
    fixtures(&fixture(""), &mut found);
    assert!(found.len() > 90);
    let paths: Vec<&str> = found.iter().map(|path| path_str(path)).collect();
    let (out, _) = shown(&[&["inspect", "--full"], &paths[..]].concat());
    assert!(out.contains("mini-edge"));
}

/// A vocabulary of Gemma's size makes lines of megabytes; a column is not as wide as that.
#[test]
fn a_real_vocabulary_is_shown_in_full() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vocabulary.gguf");
    let mut metadata = Metadata::default();
    metadata.set("general.architecture", "gemma4-assistant");
    let tokens: Strings = (0..262_144).map(|i| format!("▁token{i}")).collect();
    metadata.set("tokenizer.ggml.tokens", Array::String(tokens));
    metadata.set("tokenizer.ggml.scores", Array::F32(vec![-1000.0; 262_144]));
    metadata.set("last", 7_u32);
    write_gguf(&path, &metadata, &[]);
    let (out, _) = shown(&["inspect", "--full", path_str(&path)]);
    assert!(out.contains("\"▁token262143\"]"));
    let last = out.lines().find(|line| line.starts_with("  last ")).unwrap();
    assert!(
        last.chars().count() < 60,
        "other lines keep their columns: {last}"
    );
    let (out, _) = shown(&["inspect", path_str(&path)]);
    assert!(longest(&out) < 200);
}

#[test]
fn long_and_hostile_names_are_escaped_and_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("names.gguf");
    let mut metadata = Metadata::default();
    metadata.set("general.architecture", "\u{1b}[2J".repeat(10_000).as_str());
    metadata.set("\u{7}".repeat(20_000), 1_u32);
    metadata.set("日本語".repeat(2_000), 1_u32);
    write_gguf(
        &path,
        &metadata,
        &[(&"\u{202e}".repeat(20), &[1], GgmlType::F32, vec![0; 4])],
    );
    let out = folder.path().join("out.gguf");
    for args in [
        &["inspect"][..],
        &["inspect", "--full"],
        &["check"],
        &["quantize", "--outtype", "q8_0", "-o", path_str(&out)],
    ] {
        let (out, err) = shown(&[args, &[path_str(&path)]].concat());
        assert!(longest(&err) < 2_100, "{args:?}: {}", longest(&err));
        if !args.contains(&"--full") {
            assert!(longest(&out) < 2_100, "{args:?}: {}", longest(&out));
        }
    }
}

/// A checkpoint may claim any number of dimensions.
#[test]
fn a_shape_of_a_hundred_thousand_ones_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ones.safetensors");
    let ones = vec!["1"; 100_000].join(",");
    let header = format!(r#"{{"a":{{"dtype":"F32","shape":[{ones}],"data_offsets":[0,4]}}}}"#);
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend([0; 4]);
    std::fs::write(&path, bytes).unwrap();
    let (out, _) = shown(&["inspect", path_str(&path)]);
    assert!(out.contains("(100000 in all)") && longest(&out) < 300, "{out}");
    let other = fixture("mini-dense/drafter-q8_0.gguf");
    let (out, err) = shown(&["diff", path_str(&path), path_str(&other)]);
    assert!(longest(&out).max(longest(&err)) < 2_100);
    let (_, err) = shown(&[
        path_str(&path),
        "--dry-run",
        "--target",
        path_str(&fixture("mini-dense/target-bf16.gguf")),
    ]);
    assert!(longest(&err) < 2_100);
}

/// The command that is told can be copied into a shell, whatever the file is called.
#[test]
fn paths_in_commands_are_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let path = folder.path().join(name);
        let drafter = fixture("mini-dense/drafter");
        let args = [path_str(&drafter), "--outtype", "q8_0", "-o", path_str(&path)];
        let (out, err) = shown(&args);
        assert!(path.exists(), "{err}");
        let command = out
            .lines()
            .find(|line| line.starts_with("run it with: "))
            .unwrap();
        let words = shlex::split(command).unwrap();
        let at = words.iter().position(|word| word == "--model-draft").unwrap();
        (words[at + 1].clone(), path_str(&path).to_owned())
    };
    for name in ["plain.gguf", "a b.gguf", "it's.gguf", "$(reboot);`x`.gguf"] {
        let (word, path) = write(name);
        assert_eq!(word, path);
    }
    // No word that a terminal can show stands for these.
    let (word, _) = write("a\nb\u{1b}[2J.gguf");
    assert_eq!(word, "DRAFTER.gguf");
}

/// So many cannot even be started.
#[test]
fn threads_are_capped_at_what_helps() {
    let target = fixture("mini-dense/target-bf16.gguf");
    let start = std::time::Instant::now();
    for threads in ["100000", "4294967296", "0", "none"] {
        let output = program()
            .env("RAYON_NUM_THREADS", threads)
            .args(["hash", path_str(&target)])
            .output()
            .unwrap();
        assert!(output.status.success(), "{threads}");
    }
    assert!(start.elapsed().as_secs() < 300, "{:?}", start.elapsed());
}
