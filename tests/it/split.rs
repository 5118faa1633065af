//! `split` and `merge` against checksums of `llama-gguf-split`'s files (`fixtures/split/make.sh`), and what that program
//! does not help with.

use crate::common::*;
use gguf_conv::gguf::{Metadata, Value};
use gguf_conv::quant::GgmlType;
use std::path::{Path, PathBuf};

const INPUT: i32 = 3;

/// What `llama-gguf-split` made in a case, by name.
fn expected(case: &str) -> Vec<(String, String)> {
    let sums = checksums("split").into_iter();
    let of_case =
        sums.filter_map(|(name, sum)| Some((name.strip_prefix(case)?.strip_prefix('/')?.to_owned(), sum)));
    of_case.collect()
}

/// Files of a folder with their checksums.
fn made(folder: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut files: Vec<_> = entries.map(|path| (name(&path), sha256(&path))).collect();
    files.sort();
    files
}

/// The parts of mini-dense's target, four of 20 tensors.
struct Parts {
    folder: tempfile::TempDir,
    paths: Vec<PathBuf>,
}

impl Parts {
    fn new() -> Parts {
        let folder = tempfile::tempdir().unwrap();
        let prefix = folder.path().join("m");
        let target = fixture("mini-dense/target-bf16.gguf");
        let limit = ["--max-tensors", "20"];
        succeed(&[&["split", path_str(&target), "-o", path_str(&prefix)], &limit[..]].concat());
        let path = |no| folder.path().join(format!("m-{no:05}-of-00004.gguf"));
        Parts {
            paths: (1..=4).map(path).collect(),
            folder,
        }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("merged")
    }

    fn rename(&mut self, no: usize, name: &str) {
        let path = self.folder.path().join(name);
        std::fs::rename(&self.paths[no], &path).unwrap();
        self.paths[no] = path;
    }

    fn args<'a>(&self, files: &'a [&Path], out: &'a Path) -> Vec<&'a str> {
        let files = files.iter().map(|path| path_str(path));
        ["merge"]
            .into_iter()
            .chain(files)
            .chain(["-o", path_str(out)])
            .collect()
    }

    /// What is told on standard error of a merge whose file is `llama-gguf-split`'s.
    #[track_caller]
    fn merged(&self, files: &[&Path]) -> String {
        let out = self.out();
        let (_, err) = succeed(&self.args(files, &out));
        let merged = expected("again")
            .into_iter()
            .find(|(name, _)| name == "merged.gguf");
        assert_eq!(sha256(&out), merged.unwrap().1);
        std::fs::remove_file(out).unwrap();
        err
    }

    #[track_caller]
    fn refused(&self, words: &[&str], files: &[&Path]) {
        let out = self.out();
        refuse(INPUT, words, &self.args(files, &out));
        assert!(!out.exists());
    }
}

#[test]
fn parts_are_those_of_llama_gguf_split() {
    for (case, input, options) in [
        (
            "tensors",
            "mini-dense/target-bf16.gguf",
            &["--max-tensors", "20"][..],
        ),
        ("default", "mini-dense/target-bf16.gguf", &[]),
        ("size", "mini-dense/target-bf16.gguf", &["--max-size", "1M"]),
        (
            "size",
            "mini-dense/target-bf16.gguf",
            &["--split-max-size", "1000K"],
        ),
        (
            "first-free",
            "mini-dense/target-bf16.gguf",
            &["--max-tensors", "30", "--no-tensor-first-split"],
        ),
        (
            "size-first-free",
            "mini-edge/target-bf16.gguf",
            &["--max-size", "1M", "--no-tensor-first-split"],
        ),
        (
            "drafter",
            "mini-edge/drafter-q8_0.gguf",
            &["--split-max-tensors", "16"],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let prefix = folder.path().join("m");
        let input = fixture(input);
        succeed(&[&["split", path_str(&input), "-o", path_str(&prefix)], options].concat());
        let expected = expected(case);
        assert!(!expected.is_empty() && made(folder.path()) == expected, "{case}");
    }
}

#[test]
fn parts_become_the_file_that_llama_gguf_split_makes_of_them_and_are_split_again() {
    let parts = Parts::new();
    let folder = tempfile::tempdir().unwrap();
    let merged = folder.path().join("merged.gguf");
    // Any part will do, and standard output holds the same.
    let output = program()
        .args(parts.args(&[&parts.paths[2]], Path::new("-")))
        .output()
        .unwrap();
    std::fs::write(&merged, output.stdout).unwrap();
    let again = |input: &Path| {
        let prefix = folder.path().join("m.gguf");
        succeed(&[
            "split",
            path_str(input),
            "-o",
            path_str(&prefix),
            "--max-tensors",
            "25",
            "--force",
        ]);
    };
    again(&merged);
    assert_eq!(made(folder.path()), expected("again"));
    // Parts are split as the whole is.
    again(&parts.paths[0]);
    assert_eq!(made(folder.path()), expected("again"));
}

#[test]
fn renamed_parts_are_known_by_what_they_say() {
    let mut parts = Parts::new();
    assert_eq!(parts.merged(&[&parts.paths[1]]), "");
    parts.rename(0, "first.gguf");
    let told = parts.merged(&[&parts.paths[0]]);
    assert!(told.contains("not by their names"), "{told}");
    parts.rename(1, "m-00002-of-00004 (1).gguf");
    parts.merged(&[&parts.paths[0]]);
    parts.merged(&[&parts.paths[3]]);
    // Under each other's names too, and in any order.
    parts.rename(2, "kept.gguf");
    parts.rename(3, "m-00003-of-00004.gguf");
    let [a, b, c, d] = [0, 1, 2, 3].map(|no| parts.paths[no].as_path());
    parts.merged(&[d, b, a, c]);
    // Two that may be meant.
    let copy = parts.folder.path().join("copy.gguf");
    std::fs::copy(c, &copy).unwrap();
    parts.refused(
        &[
            "its part 3 of 4 may be",
            "copy.gguf",
            "kept.gguf",
            "name all parts",
        ],
        &[a],
    );
    parts.refused(
        &["copy.gguf", "part 3 of 4, as", "give one"],
        &[a, b, c, &copy, d],
    );
}

#[test]
fn other_commands_name_merge_where_parts_were_renamed_or_joined() {
    let mut parts = Parts::new();
    parts.rename(0, "first.gguf");
    refuse(
        INPUT,
        &["original names", "gguf-conv merge"],
        &["hash", path_str(&parts.paths[0])],
    );
    let joined = parts.folder.path().join("joined.gguf");
    let bytes: Vec<Vec<u8>> = [2, 0, 3, 1]
        .map(|no| std::fs::read(&parts.paths[no]).unwrap())
        .into();
    std::fs::write(&joined, bytes.concat()).unwrap();
    refuse(
        INPUT,
        &["as by `cat`", "gguf-conv merge"],
        &["hash", path_str(&joined)],
    );
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("joined.gguf");
    std::fs::rename(&joined, &alone).unwrap();
    parts.merged(&[&alone]);
    // Some of them, and the others beside it.
    std::fs::write(&alone, bytes[..2].concat()).unwrap();
    parts.refused(&["part 2 of the 4", "and 1 more"], &[&alone]);
    parts.merged(&[&alone, &parts.paths[1], &parts.paths[3]]);
    // Cut short behind a whole part.
    let all = bytes.concat();
    std::fs::write(&alone, &all[..all.len() - 40]).unwrap();
    parts.refused(&["cut short"], &[&alone]);
}

#[test]
fn missing_and_foreign_parts_are_named() {
    let parts = Parts::new();
    let [a, b, c, d] = [0, 1, 2, 3].map(|no| parts.paths[no].as_path());
    parts.refused(&["part 4 of the 4", "m-00004-of-00004.gguf"], &[a, b, c]);
    std::fs::remove_file(c).unwrap();
    parts.refused(
        &["part 3 of the 4", "m-00003-of-00004.gguf", "put it beside"],
        &[a],
    );
    // Of another model, cut into as many parts.
    let other = tempfile::tempdir().unwrap();
    let [input, prefix] = [fixture("mini-edge/drafter-q8_0.gguf"), other.path().join("e")];
    succeed(&[
        "split",
        path_str(&input),
        "-o",
        path_str(&prefix),
        "--max-tensors",
        "16",
    ]);
    let foreign = other.path().join("e-00003-of-00004.gguf");
    parts.refused(
        &["with 49 tensors", "with 72 tensors", "one split"],
        &[a, b, &foreign, d],
    );
    // Of the same numbers, and told by its name alone.
    let twin = other.path().join("n-00003-of-00004.gguf");
    let whole = fixture("mini-dense/target-bf16.gguf");
    let limit = ["--max-tensors", "20"];
    let prefix = other.path().join("n");
    succeed(&[&["split", path_str(&whole), "-o", path_str(&prefix)], &limit[..]].concat());
    parts.refused(&["by its name of another split"], &[a, b, &twin, d]);
    parts.refused(&["no part of a split model", "whole already"], &[&whole]);
}

#[test]
fn nothing_is_replaced_and_nothing_half_written() {
    let parts = Parts::new();
    let whole = path_str(&fixture("mini-dense/target-bf16.gguf")).to_owned();
    let prefix = parts.folder.path().join("x");
    let existing = parts.folder.path().join("x-00003-of-00004.gguf");
    std::fs::write(&existing, "mine").unwrap();
    let before = made(parts.folder.path());
    let args = ["split", &whole, "-o", path_str(&prefix), "--max-tensors", "20"];
    refuse(2, &["x-00003-of-00004.gguf", "--force"], &args);
    assert_eq!(made(parts.folder.path()), before);
    succeed(&[&args[..], &["--force"]].concat());
    assert_eq!(
        std::fs::read(&existing).unwrap(),
        std::fs::read(&parts.paths[2]).unwrap()
    );
    // A part is an input of its own merge.
    refuse(
        2,
        &["one of the inputs"],
        &parts.args(&[&parts.paths[0]], &parts.paths[1]),
    );
    refuse(2, &["several files"], &["split", &whole, "-o", "-"]);
    misuse(&["--max-size"], &["split", &whole, "--max-size", "1.5G"]);
    misuse(&["--max-tensors"], &["split", &whole, "--max-tensors", "0"]);
}

#[test]
fn a_dry_run_shows_the_parts_and_a_folder_takes_their_name() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("a.gguf");
    std::fs::copy(fixture("mini-dense/drafter-q8_0.gguf"), &input).unwrap();
    let before = made(folder.path());
    let (out, _) = succeed(&["split", path_str(&input), "--max-tensors", "25", "--dry-run"]);
    assert!(
        out.contains("a-00001-of-00002.gguf") && out.contains("would write 2 parts"),
        "{out}"
    );
    assert_eq!(made(folder.path()), before);
    let (out, err) = succeed(&[
        "split",
        path_str(&input),
        "--max-size",
        "100K",
        "-o",
        path_str(folder.path()),
        "-q",
    ]);
    assert!(out.lines().count() > 1 && err.is_empty());
    assert!(out.lines().all(|line| Path::new(line).exists()), "{out}");
    let first = out.lines().next().unwrap();
    let merge = ["merge", first, "-o", path_str(folder.path())];
    refuse(2, &["a.gguf", "--force"], &merge);
    std::fs::remove_file(&input).unwrap();
    succeed(&merge);
    succeed(&[
        "diff",
        path_str(&input),
        path_str(&fixture("mini-dense/drafter-q8_0.gguf")),
        "--ignore",
        "split.*",
    ]);
}

/// Where `llama-gguf-split` fails or makes a file that does not load.
#[test]
fn large_tensors_and_alignments_are_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("a.gguf");
    let mut metadata = Metadata::default();
    metadata.set("general.alignment", 128_u32);
    metadata.set("a.text", Value::String(b"x\0y".into()));
    let tensor = |name, len: u64| (name, vec![len], GgmlType::F32, vec![len as u8; len as usize * 4]);
    let tensors = [
        tensor("large", 900),
        tensor("b", 9),
        tensor("c", 9),
        tensor("d", 300),
    ];
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(n, d, t, v)| (*n, d.as_slice(), *t, v.clone()))
        .collect();
    write_gguf(&input, &metadata, &tensors);
    let (_, err) = succeed(&["split", path_str(&input), "--max-size", "1K"]);
    assert!(
        err.contains("2 tensors are larger") && err.contains("large, takes 3616 bytes"),
        "{err}"
    );
    let first = folder.path().join("a-00001-of-00003.gguf");
    succeed(&["inspect", path_str(&first)]);
    let merged = folder.path().join("merged.gguf");
    succeed(&["merge", path_str(&first), "-o", path_str(&merged)]);
    succeed(&["diff", path_str(&input), path_str(&merged), "--ignore", "split.*"]);
    std::fs::remove_file(&input).unwrap();
    let whole = write_many(&input);
    assert!(whole > 65_535);
    refuse(2, &["65535"], &["split", path_str(&input), "--max-tensors", "1"]);
}

/// A file of more tensors than there can be parts.
fn write_many(path: &Path) -> usize {
    let names: Vec<String> = (0..65_600).map(|n| format!("t{n}")).collect();
    let tensors: Vec<(&str, &[u64], GgmlType, Vec<u8>)> = names
        .iter()
        .map(|name| (name.as_str(), &[1_u64][..], GgmlType::F32, vec![0; 4]))
        .collect();
    write_gguf(path, &Metadata::default(), &tensors);
    tensors.len()
}
