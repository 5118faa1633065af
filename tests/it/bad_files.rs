//! Every malformed file under `fixtures/bad/` gives the error that its manifest says, and no more than that.

use crate::common::fixture;
use gguf_conv::checkpoint::Checkpoint;
use gguf_conv::gguf::Gguf;
use gguf_conv::io::Inputs;
use std::collections::BTreeMap;
use std::path::Path;

/// Errors by file or folder, without the path in front; empty for the files that must be accepted.
type Manifest = BTreeMap<String, String>;

fn manifest() -> Manifest {
    let text = std::fs::read_to_string(fixture("bad/manifest.toml")).expect("the manifest is there");
    toml::from_str(&text).expect("the manifest is a table of strings")
}

/// What reading everything in the file comes to: the empty string, or the error.
fn verdict(path: &Path) -> String {
    let is_gguf = |path: &Path| path.extension().is_some_and(|ext| ext == "gguf");
    let first_part = || {
        let mut names: Vec<_> = std::fs::read_dir(path)
            .ok()?
            .map(|entry| entry.expect("folder is read").path())
            .collect();
        names.sort();
        names.into_iter().find(|path| is_gguf(path))
    };
    let error = if is_gguf(path) {
        read_gguf(path)
    } else if let Some(part) = first_part() {
        read_gguf(&part)
    } else {
        read_checkpoint(path)
    };
    error.err().unwrap_or_default()
}

fn read_gguf(path: &Path) -> Result<(), String> {
    let gguf = Gguf::open(&Inputs::new(), path).map_err(|e| e.kind.to_string())?;
    for part in gguf.parts() {
        for info in &part.header.tensors {
            part.raw_tensor(info).map_err(|e| e.kind.to_string())?;
        }
    }
    Ok(())
}

fn read_checkpoint(path: &Path) -> Result<(), String> {
    let checkpoint = Checkpoint::open(&Inputs::new(), path).map_err(|e| e.kind.to_string())?;
    let bytes: usize = checkpoint
        .tensors()
        .map(|tensor| tensor.data().unwrap().len())
        .sum();
    let files: usize = checkpoint
        .files()
        .iter()
        .map(|file| file.bytes().unwrap().len())
        .sum();
    assert!(bytes <= files);
    Ok(())
}

#[test]
fn each_malformed_file_gives_its_error() {
    let manifest = manifest();
    let mut wrong = Vec::new();
    for (name, expected) in &manifest {
        let found = verdict(&fixture("bad").join(name));
        if found != *expected {
            wrong.push(format!("{name:?} = {found:?}\n  not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_manifest_lists_every_file() {
    let manifest = manifest();
    for entry in std::fs::read_dir(fixture("bad")).expect("the folder is there") {
        let name = entry.expect("the folder is read").file_name();
        let name = name.to_str().expect("names are ASCII");
        if name != "make.py" && name != "manifest.toml" {
            assert!(manifest.contains_key(name), "{name} is not in the manifest");
            assert_eq!(name.starts_with("ok-"), manifest[name].is_empty(), "{name}");
        }
    }
}
