//! Checksums of models, held against those of other programs, and the check of lists.

use crate::common::parts::*;
use crate::common::*;
use gguf_conv::gguf::Value;
use gguf_conv::quant::GgmlType;
use std::collections::BTreeMap;
use std::path::Path;

const Q8_0: &str = "mini-dense/drafter-q8_0.gguf";

/// The metadata of the fixtures, by `fixtures/metadata_sha256.py`.
const METADATA: [(&str, &str); 6] = [
    (
        "mini-dense/drafter-lq-q4_0.gguf",
        "68ce08c1791fb5385772a8ce8bb5c7d0066af6d3d1f12a91530a2663ce719367",
    ),
    (
        Q8_0,
        "36c83dc1658749da79f10cad309c03b7a3f8d4ea1537b70d75282f577f2d5c45",
    ),
    (
        "mini-dense/target-bf16.gguf",
        "02cdd1fc6e0aac9086fc48e5c18a9040d716e5d5e9200b4f88435cd4f98aae57",
    ),
    (
        "mini-edge/drafter-lq-q4_0.gguf",
        "d023e7295fababe906ede311ce66f8ae79bd71475af8d043606f3d3d9ae454cd",
    ),
    (
        "mini-edge/drafter-q8_0.gguf",
        "cd55f13d9252b9722950df0041a70d9307a69edbac6b2e2b89cb10c01c5ccb12",
    ),
    (
        "mini-edge/target-bf16.gguf",
        "aabd8638514162230ee9fc6c5ef6ef572e2e9b0b0518b0bd15075b18938934cb",
    ),
];

/// What `hash` writes for a file, by what stands behind the file's name: nothing, `:metadata`, `:tensor/NAME`.
fn sums(path: &Path) -> BTreeMap<String, String> {
    let (out, _) = succeed(&["hash", path_str(path)]);
    let entry = |line: &str| {
        let (sum, name) = line.split_once("  ").unwrap();
        let name = name.strip_prefix(path_str(path)).unwrap();
        (name.to_owned(), sum.to_owned())
    };
    out.lines().map(entry).collect()
}

/// The checksums of what a model says, without those of its files.
fn meaning(path: &Path) -> BTreeMap<String, String> {
    let mut sums = sums(path);
    assert!(sums.remove("").is_some());
    sums
}

/// Runs hash --check in this folder and expects this exit code; standard output and standard error.
#[track_caller]
fn check(code: i32, folder: &Path, args: &[&str]) -> (String, String) {
    let mut command = program();
    let output = command
        .current_dir(folder)
        .args(["hash", "--check"])
        .args(args)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}: {out}{err}");
    (out, err)
}

#[test]
fn files_have_the_checksums_that_lie_beside_them() {
    let mut compared = 0;
    for pair in PAIRS {
        let known = checksums(pair);
        for entry in std::fs::read_dir(fixture(pair)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if let (Some(sum), true) = (known.get(name), path.extension().is_some_and(|ext| ext == "gguf")) {
                assert_eq!(sums(&path)[""], *sum, "{}", path.display());
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 4);
}

#[test]
fn metadata_has_the_checksum_of_its_canonical_form() {
    for (file, sum) in METADATA {
        assert_eq!(sums(&fixture(file))[":metadata"], sum, "{file}");
    }
}

/// By `hashlib.sha256(tensor.data)` over what gguf-py 0.19 reads.
#[test]
fn tensors_have_the_checksums_of_their_bytes() {
    let sums = sums(&fixture(Q8_0));
    assert_eq!(sums.len(), 51, "file, metadata, 49 tensors");
    for (name, sum) in [
        (
            "rope_freqs.weight",
            "bba520565cec5ad5018a4a13b58d7f1e3b3c6d621347a88fca8a5b499639d19a",
        ),
        (
            "token_embd.weight",
            "c0f3af6f7b40a7dc2f28cd67c0539606dfab141a28477547370073bf401994cb",
        ),
        (
            "blk.2.ffn_norm.weight",
            "27e6696f5da87f57e93b7865d61e6a098de36b0b1a3a09d63f8b8a7aa3835920",
        ),
        (
            "nextn.pre_projection.weight",
            "bffdb300fadab1876b654dcad4eb5c86bf36d50ea7e1eb252f3f8633143296f6",
        ),
    ] {
        assert_eq!(sums[&format!(":tensor/{name}")], sum, "{name}");
    }
}

#[test]
fn byte_order_version_key_order_and_cutting_do_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let expected = meaning(&fixture(Q8_0));
    succeed(&[
        "migrate",
        path_str(&fixture(Q8_0)),
        "-o",
        path_str(&path("big.gguf")),
        "--endian",
        "big",
    ]);
    assert_eq!(meaning(&path("big.gguf")), expected);

    let mut bytes = std::fs::read(fixture(Q8_0)).unwrap();
    bytes[4] = 2;
    std::fs::write(path("v2.gguf"), bytes).unwrap();
    assert_eq!(meaning(&path("v2.gguf")), expected);

    let mut parts = Parts::read(&fixture(Q8_0));
    parts.metadata.reverse();
    parts.tensors.reverse();
    parts.write(&path("reversed.gguf"));
    assert_eq!(meaning(&path("reversed.gguf")), expected);

    // Cut in two, each tensor goes by the file that holds it.
    parts.metadata.reverse();
    let mut second = Parts {
        metadata: Vec::new(),
        tensors: parts.tensors.split_off(20),
    };
    for (parts, number) in [(&mut parts, 0), (&mut second, 1)] {
        for (key, value) in [
            ("split.no", number),
            ("split.count", 2),
            ("split.tensors.count", 49),
        ] {
            parts.metadata.push((key.to_owned(), Value::U16(value)));
        }
    }
    let files = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"];
    parts.write(&path(files[0]));
    second.write(&path(files[1]));
    let output = program()
        .current_dir(folder.path())
        .args(["hash", files[1]])
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let mut found = BTreeMap::new();
    for line in out.lines() {
        let (sum, name) = line.split_once("  ").unwrap();
        let file = files.iter().find(|file| name.starts_with(**file)).unwrap();
        match &name[file.len()..] {
            "" => assert_eq!(sum, sha256(&path(file))),
            part => assert!(found.insert(part.to_owned(), sum.to_owned()).is_none()),
        }
    }
    assert_eq!(found, expected);
    assert!(out.contains("  m-00001-of-00002.gguf:metadata\n"));
    // And what was written can be checked.
    std::fs::write(path("SUMS"), &out).unwrap();
    let (out, err) = check(0, folder.path(), &["SUMS"]);
    assert_eq!((out.lines().count(), err.as_str()), (52, ""));
    assert!(out.lines().all(|line| line.ends_with(": OK")));
}

#[test]
fn a_change_changes_its_own_checksum() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.gguf");
    let before = meaning(&fixture(Q8_0));
    let differing = |parts: &Parts| {
        parts.write(&path);
        let after = meaning(&path);
        let names: Vec<String> = before
            .keys()
            .filter(|name| before[*name] != after[*name])
            .cloned()
            .collect();
        names
    };
    let mut parts = Parts::read(&fixture(Q8_0));
    parts.set("general.name", "Another");
    assert_eq!(differing(&parts), [":metadata"]);
    // The type of a value is part of the metadata.
    let mut parts = Parts::read(&fixture(Q8_0));
    parts.set("general.file_type", Value::I32(7));
    assert_eq!(differing(&parts), [":metadata"]);
    let mut parts = Parts::read(&fixture(Q8_0));
    let last = parts.tensors.last_mut().unwrap();
    let name = format!(":tensor/{}", last.0);
    *last.3.last_mut().unwrap() ^= 1;
    assert_eq!(differing(&parts), [name]);
}

#[test]
fn safetensors_have_checksums_too() {
    let drafter = Drafter::copy_of("mini-dense");
    let (out, _) = succeed(&["hash", drafter.str()]);
    let file = path_str(&drafter.weights()).to_owned();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], format!("{}  {file}", sha256(&drafter.weights())));
    assert_eq!(lines.len(), 1 + 1 + 48);
    let norm = &read_tensors(&drafter.weights())["model.norm.weight"].data;
    let own = drafter.beside("norm");
    std::fs::write(&own, norm).unwrap();
    assert!(lines.contains(&format!("{}  {file}:tensor/model.norm.weight", sha256(&own)).as_str()));
    let list = drafter.beside("SUMS");
    std::fs::write(&list, &out).unwrap();
    check(0, Path::new("."), &[path_str(&list)]);

    // In shards, each tensor goes by its own.
    let shards = drafter.shard(|_| ());
    let mut command = program();
    let output = command
        .current_dir(&drafter.path)
        .args(["hash", "."])
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(out.lines().count(), 2 + 1 + 48, "{out}");
    assert!(out.contains(&sha256(&shards[1])));
    std::fs::write(&list, &out).unwrap();
    check(0, &drafter.path, &[path_str(&list)]);
}

#[test]
fn what_does_not_agree_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture(Q8_0), folder.path().join("d.gguf")).unwrap();
    let output = program()
        .current_dir(folder.path())
        .args(["hash", "d.gguf"])
        .output()
        .unwrap();
    let good = String::from_utf8(output.stdout).unwrap();
    let list = folder.path().join("SUMS");
    std::fs::write(&list, &good).unwrap();
    let (out, err) = check(0, folder.path(), &["SUMS"]);
    assert_eq!(out.lines().count(), 51);
    assert!(err.is_empty(), "{err}");
    assert_eq!(check(0, folder.path(), &["SUMS", "--quiet"]).0, "");

    // Data of one tensor, two lines of what is not there, one that is none, and other spellings of the rest.
    let mut bytes = std::fs::read(folder.path().join("d.gguf")).unwrap();
    let end = bytes.len() - 40;
    bytes[end] ^= 1;
    std::fs::write(folder.path().join("d.gguf"), bytes).unwrap();
    let zeros = "0".repeat(64);
    let bad = format!(
        "# a comment\n{}\n{zeros}  d.gguf:tensor/no.such.weight\n{zeros} *no.gguf\n{zeros}  no.gguf:metadata\n",
        good.replace("  d.gguf:metadata", " *d.gguf:metadata")
            .replace('\n', "\r\n")
    );
    std::fs::write(&list, bad).unwrap();
    let (out, err) = check(1, folder.path(), &["SUMS", "--quiet"]);
    let failed = [
        "d.gguf: FAILED",
        "d.gguf:tensor/nextn.pre_projection.weight: FAILED",
        "d.gguf:tensor/no.such.weight: FAILED (no such tensor)",
        "no.gguf: FAILED (no such file)",
        "no.gguf:metadata: FAILED (no such file)",
    ];
    assert_eq!(out.lines().collect::<Vec<_>>(), failed);
    assert!(err.contains("1 line is no checksum"), "{err}");
    assert!(err.contains("5 of 54 checksums did not agree"), "{err}");
    let (out, _) = check(1, folder.path(), &["SUMS", "--json"]);
    let report = result(&out);
    assert_eq!(
        (&report["failed"], &report["improper_lines"]),
        (&5.into(), &1.into())
    );
    let results = report["lines"].as_array().unwrap();
    assert_eq!(results.iter().filter(|result| result["ok"] == true).count(), 49);

    // A model that cannot be read any more is named too.
    std::fs::write(folder.path().join("d.gguf"), "GGUF").unwrap();
    let (out, _) = check(1, folder.path(), &["SUMS"]);
    assert!(
        out.contains("d.gguf:metadata: FAILED (d.gguf: file ends too early"),
        "{out}"
    );

    for text in ["", "no list\n"] {
        std::fs::write(&list, text).unwrap();
        refuse(
            3,
            &["no line is a checksum"],
            &["hash", "--check", path_str(&list)],
        );
    }
}

#[test]
fn lists_come_from_standard_input_and_from_sha256sum() {
    let sum = &checksums("mini-dense")["drafter-q8_0.gguf"];
    let mut command = program();
    command
        .current_dir(fixture("mini-dense"))
        .args(["hash", "--check", "-"]);
    let output = command
        .write_stdin(format!("{sum}  drafter-q8_0.gguf\n"))
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"drafter-q8_0.gguf: OK\n");
    // SHA256SUMS also lists files that are made by the tests and do not lie there.
    let (out, _) = check(1, &fixture("mini-dense"), &["SHA256SUMS"]);
    assert!(out.contains("drafter-q8_0.gguf: OK\n"));
    assert!(out.contains("drafter-bf16.gguf: FAILED (no such file)\n"));
}

/// Line breaks and backslashes are escaped as coreutils do; a tensor's name cannot drive the terminal.
#[cfg(unix)]
#[test]
fn odd_names_come_through() {
    let folder = tempfile::tempdir().unwrap();
    let name = "a\\b\nc:tensor/d.gguf";
    let tensors = [
        ("x\u{1b}[2J\n", &[1_u64][..], GgmlType::F32, vec![1; 4]),
        (":tensor/", &[1], GgmlType::F32, vec![2; 4]),
    ];
    // A folder of the first half of the name, so that the mark in it is a path's.
    std::fs::create_dir(folder.path().join("a\\b\nc:tensor")).unwrap();
    write_gguf(&folder.path().join(name), &Default::default(), &tensors);
    let output = program()
        .current_dir(folder.path())
        .args(["hash", name])
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 4, "{out}");
    assert_eq!(
        lines[0],
        format!(
            "\\{}  a\\\\b\\nc:tensor/d.gguf",
            sha256(&folder.path().join(name))
        )
    );
    assert!(lines[2].ends_with(":tensor/x\\\\u{1b}[2J\\\\n"), "{out}");
    std::fs::write(folder.path().join("SUMS"), &out).unwrap();
    let (out, _) = check(0, folder.path(), &["SUMS"]);
    assert_eq!(
        out.lines().filter(|line| line.ends_with(": OK")).count(),
        4,
        "{out}"
    );
    // coreutils, where they are, agree on the file.
    std::fs::write(folder.path().join("FILE"), format!("{}\n", lines[0])).unwrap();
    let theirs = std::process::Command::new("sha256sum")
        .current_dir(folder.path())
        .args(["-c", "FILE"])
        .output();
    if let Ok(theirs) = theirs {
        assert!(theirs.status.success(), "{theirs:?}");
    }
}

#[test]
fn a_tensor_of_unknown_type_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gguf");
    write_gguf(
        &path,
        &Default::default(),
        &[("a", &[1], GgmlType::F32, vec![0; 4])],
    );
    let mut bytes = std::fs::read(&path).unwrap();
    // Behind the number of lengths and the one length.
    let lengths = b"\x01\0\0\0\x01\0\0\0\0\0\0\0";
    let at = bytes.windows(12).position(|bytes| bytes == lengths).unwrap();
    bytes[at + 12] = 99;
    std::fs::write(&path, bytes).unwrap();
    let (out, err) = succeed(&["hash", path_str(&path)]);
    assert_eq!(out.lines().count(), 2);
    assert!(err.contains(":tensor/a: its type is not known"), "{err}");
}

#[test]
fn reports_as_json_say_the_same() {
    let lines = sums(&fixture(Q8_0));
    let (out, _) = succeed(&["hash", "--json", path_str(&fixture(Q8_0))]);
    let report = result(&out);
    assert_eq!(report["files"][0]["sha256"], lines[""]);
    assert_eq!(report["metadata_sha256"], lines[":metadata"]);
    let tensors = report["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), 49);
    for tensor in tensors {
        assert_eq!(
            tensor["sha256"],
            lines[&format!(":tensor/{}", tensor["name"].as_str().unwrap())]
        );
    }
    let two = [
        path_str(&fixture(Q8_0)).to_owned(),
        path_str(&fixture("mini-edge/drafter")).to_owned(),
    ];
    let (out, _) = succeed(&["hash", "--json", &two[0], &two[1]]);
    assert_eq!(results(&out).len(), 2);
}

/// Tensors are read in pieces, here in the other byte order too.
#[test]
fn long_tensors_are_hashed_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut parts = Parts::read(&fixture(Q8_0));
    let embedding = parts
        .tensors
        .iter_mut()
        .find(|(name, ..)| name == "token_embd.weight")
        .unwrap();
    let data: Vec<u8> = random(5).take(700_032).flat_map(f32::to_le_bytes).collect();
    *embedding = (
        embedding.0.clone(),
        vec![64, 700_032 / 64],
        GgmlType::F32,
        data.clone(),
    );
    parts.write(&path("a.gguf"));
    std::fs::write(path("data"), data).unwrap();
    let expected = sha256(&path("data"));
    assert_eq!(sums(&path("a.gguf"))[":tensor/token_embd.weight"], expected);
    let big = path("big.gguf");
    succeed(&[
        "migrate",
        path_str(&path("a.gguf")),
        "-o",
        path_str(&big),
        "--endian",
        "big",
    ]);
    assert_eq!(sums(&big)[":tensor/token_embd.weight"], expected);
}

#[test]
fn a_filter_leaves_the_tensors_that_fit() {
    let file = fixture(Q8_0);
    let mut wanted = sums(&file);
    wanted.retain(|name, _| name.starts_with(":tensor/blk.0."));
    assert!(wanted.len() > 3);
    let (out, _) = succeed(&["hash", "--filter", "blk.0.*", path_str(&file)]);
    let lines: BTreeMap<String, String> = out
        .lines()
        .map(|line| line.split_once("  ").unwrap())
        .map(|(sum, name)| (name.replace(path_str(&file), ""), sum.to_owned()))
        .collect();
    assert_eq!(lines, wanted);
    let (out, _) = succeed(&["hash", "--filter", "nothing", path_str(&file)]);
    assert_eq!(out, "");
    misuse(&["--filter"], &["hash", "--check", "-", "--filter", "*"]);
}
