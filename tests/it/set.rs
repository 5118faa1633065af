//! `set` against what the `gguf` package's own scripts make, and what it refuses.
//!
//! The checksums are those of `gguf-new-metadata` and `gguf-set-metadata` (gguf 0.19.0) on mini-dense's `drafter-q8_0.gguf`:
//!
//! ```sh
//! gguf-new-metadata --force --general-name 'New name' --general-description 'What it is' \
//!     --remove-metadata tokenizer.ggml.add_space_prefix drafter-q8_0.gguf named.gguf
//! gguf-new-metadata --force --remove-metadata tokenizer.chat_template named.gguf without.gguf
//! gguf-new-metadata --force --chat-template '{{ bos }}x' without.gguf template.gguf
//! cp drafter-q8_0.gguf numbers.gguf
//! gguf-set-metadata --force numbers.gguf gemma4-assistant.context_length 256
//! gguf-set-metadata --force numbers.gguf general.sampling.top_p 0.5
//! ```

use crate::common::*;
use gguf_conv::gguf::Gguf;
use gguf_conv::io::Inputs;
use std::path::{Path, PathBuf};

const NAMED: &str = "c3838cce78e121faded7ff14b18abcf25becf0a4a965603d02ddc05ff4431114";
const WITHOUT: &str = "cd5a27a6d6bfd633f0cb8b325335ebcf0ac44a372460d023fca0c06e77efae49";
const TEMPLATE: &str = "c056b4b2d61e01f7b6a6c8d5d143dccaf0866cbca8aba7ffc5d7e26feda99592";
const NUMBERS: &str = "b7413d7d962cb019015b7e075d0ec991cb54a6d0fdd657a0753007a578f839f8";

const USAGE: i32 = 2;
const INPUT: i32 = 3;
const CONTEXT: &str = "gemma4-assistant.context_length";

/// A copy of a drafter, and a folder to write beside it.
struct Copy {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Copy {
    fn new() -> Copy {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.gguf");
        std::fs::copy(fixture("mini-dense/drafter-q8_0.gguf"), &path).unwrap();
        Copy { folder, path }
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `set` of the copy into another file.
    fn args<'a>(&'a self, out: &'a Path, args: &[&'a str]) -> Vec<&'a str> {
        [&["set", path_str(&self.path), "-o", path_str(out)], args].concat()
    }

    #[track_caller]
    fn refused(&self, code: i32, words: &[&str], args: &[&str]) {
        let out = self.out("refused.gguf");
        refuse(code, words, &self.args(&out, args));
        assert!(!out.exists());
    }
}

#[test]
fn copies_are_those_of_the_reference() {
    let copy = Copy::new();
    let named = copy.out("named.gguf");
    let args = [
        "--name",
        "New name",
        "general.description=What it is",
        "--remove",
        "tokenizer.ggml.add_space_prefix",
    ];
    let (out, err) = succeed(&copy.args(&named, &args));
    assert_eq!((sha256(&named).as_str(), err.as_str()), (NAMED, ""));
    for words in ["change", "add", "drop", "string \"What it is\"", "3 keys changed"] {
        assert!(out.contains(words), "{words}: {out}");
    }
    let without = copy.out("without.gguf");
    let remove = ["--remove", "tokenizer.chat_template"];
    succeed(&[&["set", path_str(&named), "-o", path_str(&without)], &remove[..]].concat());
    assert_eq!(sha256(&without), WITHOUT);
    let (template, text) = (copy.out("template.gguf"), copy.out("t.jinja"));
    std::fs::write(&text, "{{ bos }}x").unwrap();
    let add = ["--chat-template", path_str(&text)];
    succeed(&[&["set", path_str(&without), "-o", path_str(&template)], &add[..]].concat());
    assert_eq!(sha256(&template), TEMPLATE);
    let numbers = copy.out("numbers.gguf");
    let context = format!("{CONTEXT}=256");
    succeed(&copy.args(&numbers, &[&context, "general.sampling.top_p=0.5"]));
    assert_eq!(sha256(&numbers), NUMBERS);
}

#[test]
fn a_header_is_changed_in_place_and_put_back() {
    let copy = Copy::new();
    let (path, before) = (path_str(&copy.path).to_owned(), sha256(&copy.path));
    let context = format!("{CONTEXT}=256");
    let edit = ["set", &path, "--in-place", &context, "general.sampling.top_p=0.5"];
    let (out, _) = succeed(&[&edit[..], &["--dry-run"]].concat());
    assert!(out.contains("in place") && sha256(&copy.path) == before, "{out}");
    let (out, _) = succeed(&edit);
    let backup = copy.out("d.gguf.header");
    assert!(
        out.contains("--restore") && out.contains(path_str(&backup)),
        "{out}"
    );
    assert_eq!(sha256(&copy.path), NUMBERS);
    // Nothing is left to change, so that nothing is written; another change has a backup of its own.
    let (out, _) = succeed(&edit);
    assert!(out.contains("nothing to change"), "{out}");
    let second = copy.out("d.gguf.header-2");
    assert!(!second.exists());
    succeed(&["set", &path, "--in-place", "general.sampling.top_p=0.25"]);
    succeed(&["set", &path, "--restore", path_str(&second)]);
    assert_eq!(sha256(&copy.path), NUMBERS);
    // Even where the header was cut off while it was written.
    let mut bytes = std::fs::read(&copy.path).unwrap();
    bytes[..100].fill(0xff);
    std::fs::write(&copy.path, bytes).unwrap();
    succeed(&["set", &path, "--restore", path_str(&backup)]);
    assert_eq!(sha256(&copy.path), before);
    // Of another file.
    let target = copy.out("t.gguf");
    std::fs::copy(fixture("mini-dense/target-bf16.gguf"), &target).unwrap();
    let other = sha256(&target);
    refuse(
        INPUT,
        &["d.gguf.header", "other tensors"],
        &["set", path_str(&target), "--restore", path_str(&backup)],
    );
    assert_eq!(sha256(&target), other);
}

#[test]
fn what_does_not_fit_in_place_is_refused() {
    let copy = Copy::new();
    let (path, before) = (path_str(&copy.path).to_owned(), sha256(&copy.path));
    let long = "x".repeat(100);
    refuse(
        INPUT,
        &["room for", "-o"],
        &["set", &path, "--in-place", "--name", &long],
    );
    refuse(
        INPUT,
        &["general.alignment", "-o"],
        &[
            "set",
            &path,
            "--in-place",
            "general.alignment=64",
            "--type",
            "general.alignment=u32",
        ],
    );
    #[cfg(unix)]
    {
        let link = copy.out("link.gguf");
        std::os::unix::fs::symlink("d.gguf", &link).unwrap();
        refuse(
            INPUT,
            &["a link"],
            &["set", path_str(&link), "--in-place", "--name", "Name"],
        );
    }
    assert_eq!(sha256(&copy.path), before);
    assert!(!copy.out("d.gguf.header").exists());
    // Another alignment moves the data of a copy.
    let out = copy.out("aligned.gguf");
    succeed(&copy.args(
        &out,
        &["general.alignment=256", "--type", "general.alignment=u32"],
    ));
    let gguf = Gguf::open(&Inputs::new(), &out).unwrap();
    assert_eq!(gguf.parts()[0].header.alignment, 256);
    succeed(&["diff", &path, path_str(&out), "--ignore", "general.alignment"]);
}

#[test]
fn types_are_kept_declared_or_said() {
    let copy = Copy::new();
    let out = copy.out("out.gguf");
    let optional = copy.args(&out, &["--remove", "general.file_type"]);
    succeed(&optional);
    let again = copy.out("again.gguf");
    let add = [
        "general.file_type=7",
        "my.list=[1, 2]",
        "--type",
        "my.list=i16[]",
        "my.switch=true",
        "--type",
        "my.switch=bool",
    ];
    succeed(&[&["set", path_str(&out), "-o", path_str(&again)], &add[..]].concat());
    let gguf = Gguf::open(&Inputs::new(), &again).unwrap();
    let ty = |key: &str| gguf.metadata().get(key).unwrap().type_name();
    assert_eq!(
        (ty("general.file_type"), ty("my.list"), ty("my.switch")),
        ("u32".into(), "i16[]".into(), "bool".into())
    );
    copy.refused(USAGE, &["my.key is new", "--type my.key=string"], &["my.key=1"]);
    copy.refused(
        USAGE,
        &[CONTEXT, "u32", "4294967295"],
        &[&format!("{CONTEXT}=many")],
    );
    copy.refused(USAGE, &["f32"], &["general.sampling.top_p=1e40"]);
    copy.refused(
        USAGE,
        &["split.count", "gguf-conv split"],
        &["split.count=2", "--type", "split.count=u16"],
    );
    copy.refused(
        USAGE,
        &["no key general.nam", "did you mean general.name"],
        &["--remove", "general.nam"],
    );
    copy.refused(USAGE, &["given twice"], &["--name", "a", "general.name=b"]);
    copy.refused(
        USAGE,
        &["without a value"],
        &["--type", "my.key=u32", "--name", "a"],
    );
    copy.refused(USAGE, &["nothing is to change"], &[]);
    misuse(
        &["u33", "f64"],
        &["set", "x.gguf", "-o", "y.gguf", "a=1", "--type", "a=u33"],
    );
    misuse(&["KEY=VALUE"], &["set", "x.gguf", "-o", "y.gguf", "a"]);
}

#[test]
fn what_would_not_load_is_refused() {
    let copy = Copy::new();
    let refused = |words: &[&str], args: &[&str]| {
        copy.refused(INPUT, &[words, &["would not load", "--force"]].concat(), args);
    };
    refused(&["block_count"], &["--remove", "gemma4-assistant.block_count"]);
    refused(
        &[CONTEXT],
        &[&format!("{CONTEXT}=1"), "--type", &format!("{CONTEXT}=f32")],
    );
    refused(&["architecture llama"], &["general.architecture=llama"]);
    refused(&["tokens"], &["tokenizer.ggml.tokens=[\"a\"]"]);
    let out = copy.out("forced.gguf");
    let (_, err) = succeed(&copy.args(&out, &["--remove", "gemma4-assistant.block_count", "--force"]));
    assert!(err.contains("warning: ") && err.contains("block_count"), "{err}");
    // It is new; over a file that is there only one is written that loads.
    let before = sha256(&out);
    for (code, args) in [
        (
            INPUT,
            &["--remove", "gemma4-assistant.block_count", "--force"][..],
        ),
        (USAGE, &["--name", "b"]),
    ] {
        refuse(code, &["exists already"], &copy.args(&out, args));
        assert_eq!(sha256(&out), before);
    }
    succeed(&copy.args(&out, &["--name", "b", "--force"]));
    assert_ne!(sha256(&out), before);
    succeed(&copy.args(
        &copy.out("again.gguf"),
        &["--remove", "gemma4-assistant.block_count", "--force"],
    ));
    std::fs::rename(copy.out("again.gguf"), &out).unwrap();
    // A target by what its forward pass needs, and of other models at least the architecture.
    let target = fixture("mini-dense/target-bf16.gguf");
    let out = copy.out("refused.gguf");
    let args = [
        "set",
        path_str(&target),
        "-o",
        path_str(&out),
        "--remove",
        "gemma4.embedding_length",
    ];
    refuse(INPUT, &["would not load", "gemma4.embedding_length"], &args);
    // What was wrong before may stay.
    let forced = copy.out("forced.gguf");
    succeed(&["set", path_str(&forced), "-o", path_str(&out), "--name", "b"]);
}

#[test]
fn tensors_of_parts_become_one_file_and_inputs_stay() {
    let copy = Copy::new();
    succeed(&["split", path_str(&copy.path), "--max-tensors", "25"]);
    let part = copy.out("d-00002-of-00002.gguf");
    let before = sha256(&part);
    let out = copy.out("one.gguf");
    let args = ["set", path_str(&part), "-o", path_str(&out), "--name", "New name"];
    let (_, err) = succeed(&args);
    assert!(err.contains("become one file"), "{err}");
    succeed(&[
        "diff",
        path_str(&copy.path),
        path_str(&out),
        "--ignore",
        "general.name",
    ]);
    assert_eq!(sha256(&part), before);
    refuse(USAGE, &["exists already"], &args);
    refuse(
        USAGE,
        &["one of the inputs"],
        &copy.args(&copy.path, &["--name", "b", "--force"]),
    );
}
