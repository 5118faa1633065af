//! How `check` tells what it found of a file with many faults of a kind.

use crate::common::*;
use gguf_conv::text::width;
use serde_json::Value as Json;
use std::path::Path;

/// Writes the front of a drafter and returns how many of its tensors end behind it.
fn cut(to: &Path, len: usize) -> (usize, usize) {
    let whole = fixture("mini-dense/drafter-q8_0.gguf");
    let report = result(&succeed(&["inspect", "--json", path_str(&whole)]).0);
    let tensors = report["tensors"].as_array().unwrap();
    let end = |tensor: &Json| {
        tensor["file_offset"].as_u64().unwrap() as usize + tensor["size_bytes"].as_u64().unwrap() as usize
    };
    let bytes = std::fs::read(whole).unwrap();
    std::fs::write(to, &bytes[..len]).unwrap();
    let beyond = tensors.iter().filter(|tensor| end(tensor) > len).count();
    (beyond, tensors.len())
}

fn check(args: &[&str]) -> String {
    let output = program().arg("check").args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// One line for all tensors that are not there, and a count of those whose numbers were read.
#[test]
fn a_cut_file_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.gguf");
    let (beyond, all) = cut(&path, 200_000);
    assert!(beyond > 10 && all - beyond > 10);
    let out = check(&[path_str(&path)]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 3, "{out}");
    let more = format!(
        "beyond the end of the file at 200000, and {} more: blk.",
        beyond - 1
    );
    assert!(
        lines[0].starts_with("error: tensor blk.") && lines[0].contains(&more),
        "{out}"
    );
    assert!(lines[0].ends_with("…; the file is cut short or damaged: download it again"));
    assert!(width(lines[0]) < 300, "{out}");
    let read = format!(
        "drafter's data ({} of {all} tensors, the others cannot be read)",
        all - beyond
    );
    assert!(lines[1].contains(&read), "{out}");
    assert!(
        lines[2].ends_with(&format!("{beyond} errors, 0 warnings; --verbose lists each")),
        "{out}"
    );

    let each = check(&["--verbose", path_str(&path)]);
    let errors = each.lines().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(errors, beyond);
    assert!(!each.contains("--verbose"), "{each}");
    let report = result(&check(&["--json", path_str(&path)]));
    assert_eq!(report["findings"].as_array().unwrap().len(), beyond);
    assert!(
        report["findings"][0]["subject"]
            .as_str()
            .unwrap()
            .starts_with("blk.")
    );
    let data = report["checked"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (data["count"].as_u64(), data["unread"].as_u64()),
        (Some((all - beyond) as u64), Some(beyond as u64))
    );
}

/// A few faults of a kind are told one by one.
#[test]
fn a_few_findings_are_told_each() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.gguf");
    let whole = std::fs::metadata(fixture("mini-dense/drafter-q8_0.gguf"))
        .unwrap()
        .len();
    let (beyond, _) = cut(&path, whole as usize - 100);
    assert!((1..=4).contains(&beyond));
    let out = check(&[path_str(&path)]);
    let errors = out.lines().filter(|line| line.starts_with("error: ")).count();
    assert!(errors == beyond && !out.contains("--verbose"), "{out}");
}
