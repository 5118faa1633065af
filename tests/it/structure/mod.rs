//! A file's place tells what it may touch: each folder of `src` uses only those in front of it in this list, so that
//! there is no circle among them.

mod circles;

use std::collections::BTreeSet;
use std::path::Path;

const ORDER: [&str; 29] = [
    "text",
    "io",
    "finding",
    "source",
    "quant",
    "gguf",
    "plan",
    "checkpoint",
    "arch",
    "facts",
    "convert",
    "quantize",
    "migrate",
    "split",
    "model",
    "storage",
    "prompts",
    "verify",
    "bench",
    "advise",
    "inspect",
    "check",
    "set",
    "diff",
    "hash",
    "list",
    "report",
    "error",
    "cli",
];

/// What may be used of the rest, where the order alone would allow more.
const ONLY: [(&str, &[&str]); 5] = [
    ("text", &[]),
    ("finding", &[]),
    // Names and places: knows no container.
    ("source", &["io", "text"]),
    // Numbers to blocks and back: knows no container.
    ("quant", &["text"]),
    // Independent of the conversion on purpose, so that a mistake there cannot hide itself.
    ("model", &["arch", "checkpoint", "gguf", "io", "quant", "text"]),
];

/// The folders that a source text uses, its tests left out.
fn used(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let mut used = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let names = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default(),
            None => rest,
        };
        for name in names.split(',') {
            let word = name
                .trim()
                .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .next()
                .unwrap_or_default();
            // `Error`, `Fault` and what else the crate has at its root come from there.
            let is_type = word.starts_with(|c: char| c.is_ascii_uppercase());
            used.insert(if is_type { "error" } else { word }.to_owned());
            if !rest.starts_with('{') {
                break;
            }
        }
    }
    used
}

fn assert_uses(folder: &str, path: &Path) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            assert_uses(folder, &entry.unwrap().path());
        }
        return;
    }
    if path.extension().is_none_or(|extension| extension != "rs") {
        return;
    }
    let place = |name: &str| ORDER.iter().position(|known| *known == name);
    let own = place(folder).unwrap_or_else(|| panic!("{folder} has no place in the order"));
    let only = ONLY
        .iter()
        .find(|(name, _)| *name == folder)
        .map(|(_, only)| only);
    for other in used(&std::fs::read_to_string(path).unwrap()) {
        let allowed = other == folder
            || place(&other).is_some_and(|place| place < own)
                && only.is_none_or(|only| only.contains(&other.as_str()));
        assert!(allowed, "{} may not use {other}", path.display());
    }
}

#[test]
fn folders_form_no_circle() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = 0;
    for entry in std::fs::read_dir(src).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if !["lib", "main"].contains(&name.as_str()) {
            assert_uses(&name, &path);
            folders += 1;
        }
    }
    assert_eq!(folders, ORDER.len(), "the order names what there is");
}

#[test]
fn uses_are_found() {
    let source = "use crate::{gguf::Gguf, io};\nlet x = crate::quant::f();\n// crate::cli\nuse crate::Error;";
    let found: Vec<String> = used(source).into_iter().collect();
    assert_eq!(found, ["error", "gguf", "io", "quant"]);
}
