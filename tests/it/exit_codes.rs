//! Each exit code that `--help` lists, and a reader of the output that stops early.

use crate::common::*;
use std::io::Read;
use std::process::{Command, Stdio};

fn code(args: &[&str]) -> Option<i32> {
    program().args(args).output().unwrap().status.code()
}

fn pair(name: &str) -> String {
    path_str(&fixture("mini-dense").join(name)).to_owned()
}

#[test]
fn each_code_has_its_cause() {
    let (good, target) = (pair("drafter-q8_0.gguf"), pair("target-bf16.gguf"));
    let bad = fixture("bad/empty-file.gguf");
    assert_eq!(code(&["check", &good, "--target", &target]), Some(0));
    assert_eq!(code(&["diff", &good, &pair("drafter-lq-q4_0.gguf")]), Some(1));
    assert_eq!(code(&["check", "--no-such-option"]), Some(2));
    assert_eq!(code(&["inspect", path_str(&bad)]), Some(3));
}

/// A full disk behind standard output is the system's fault, told in one line.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_the_systems_fault() {
    for args in [
        &["inspect", &pair("drafter-q8_0.gguf")][..],
        &["hash", &pair("drafter-q8_0.gguf"), "--json"],
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("gguf-conv"));
        let output = command
            .args(args)
            .stdout(full)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = output.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(4));
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(err.starts_with("error: ") && err.lines().count() == 1, "{err}");
    }
}

/// `gguf-conv ... | head -1` is no failure, and nothing is said of it.
#[test]
fn a_reader_that_stops_early_is_no_failure() {
    let good = pair("drafter-q8_0.gguf");
    for args in [
        &["inspect", &good, "--full", "--json"][..],
        &["inspect", &good, "--full"],
        &["hash", &good, &good, &good],
        &["diff", &good, &pair("drafter-lq-q4_0.gguf")],
        &["convert", &pair("drafter"), "--dry-run"],
        &["check", &good],
        &["--help"],
    ] {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("gguf-conv"));
        let mut child = command
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let status = child.wait().unwrap();
        assert!(matches!(status.code(), Some(0 | 1)), "{args:?}: {status}: {err}");
        assert!(
            !err.contains("error") && !err.contains("panic"),
            "{args:?}: {err}"
        );
    }
}

/// What is wrong with a command line repeats it, and drives no terminal with it.
#[test]
fn a_hostile_command_line_is_told_escaped() {
    let good = pair("drafter-q8_0.gguf");
    for word in ["\u{1b}[2J", "two\nlines\r", "\u{202e}gnp", &"x".repeat(50_000)] {
        let with = format!("--outtype={word}");
        for args in [
            &["quantize", &good, "-o", "out.gguf", "--outtype", word][..],
            &["quantize", &good, "-o", "out.gguf", &with],
            &[
                "quantize",
                &good,
                "-o",
                "out.gguf",
                "--outtype",
                "q8_0",
                "--tensor-type",
                word,
                "--json",
            ],
            &["check", &good, word, "--json"],
        ] {
            let output = program().args(args).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{args:?}");
            let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            for line in told.lines() {
                assert!(!line.contains(gguf_conv::text::is_hidden), "{line:?}");
                assert!(line.len() < 10_000, "{args:?}");
            }
            assert_eq!(told.lines().filter(|line| line.starts_with("error: ")).count(), 1);
        }
    }
}
