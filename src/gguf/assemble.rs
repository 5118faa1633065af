//! Parts of a split model that are known by what they say of themselves, whatever they are called: renamed, given in any
//! order, joined to one file.

use super::error::{GgufError, GgufErrorKind};
use super::file::Gguf;
use super::metadata::Metadata;
use super::part::Part;
use super::reader::LongArrays;
use super::split::{FETCH_PARTS, SplitName, part_path};
use crate::io::{Inputs, folder_of};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a part says of the split that it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Split {
    /// Number of parts.
    count: u64,
    /// Number of tensors in all of them.
    tensors: Option<u64>,
}

/// A split and, counted from 0, which part of it.
fn told_by(metadata: &Metadata) -> Option<(Split, u64)> {
    let count = metadata.uint("split.count").ok().filter(|count| *count > 0)?;
    let no = metadata.uint("split.no").ok().filter(|no| *no < count)?;
    let tensors = metadata.uint("split.tensors.count").ok();
    Some((Split { count, tensors }, no))
}

/// Parts by their numbers, counted from 0.
type Numbered = BTreeMap<u64, Part>;

impl Gguf {
    /// The split model whose parts these files hold, in whatever order. A file may hold several, one behind the other. Of
    /// one part alone the others are looked for beside it: by its name, or where that is no part's name by what the other
    /// files say of themselves.
    pub fn assemble(inputs: &Inputs, paths: &[PathBuf]) -> Result<Gguf, GgufError> {
        let mut split = None;
        let mut parts = Numbered::new();
        for path in paths {
            for part in Part::open_joined(inputs, path)? {
                split = Some(add(&mut parts, part, split)?);
            }
        }
        let Some(split) = split else {
            let path = paths.first().cloned().unwrap_or_default();
            return Err(fault(
                path,
                "no part of a split model is given; name one".to_owned(),
            ));
        };
        if parts.len() == 1
            && split.count > 1
            && let Some(part) = parts.values().next()
        {
            for path in beside(part, split)? {
                add(
                    &mut parts,
                    Part::open(inputs, &path, LongArrays::Kept)?,
                    Some(split),
                )?;
            }
        }
        check_whole(&parts, split)?;
        check_names(&parts)?;
        Gguf::of_parts(parts.into_values().collect(), Vec::new())?.checked()
    }
}

fn fault(path: impl Into<PathBuf>, message: String) -> GgufError {
    GgufError::new(path, GgufErrorKind::Split(message))
}

/// Adds a part to others of its split, if it is of the same.
fn add(parts: &mut Numbered, part: Part, split: Option<Split>) -> Result<Split, GgufError> {
    let Some((own, no)) = told_by(&part.header.metadata) else {
        let message = "no part of a split model: it has no split.no and split.count that make sense; it is whole already, \
                       or was not made by llama-gguf-split";
        return Err(fault(part.path, message.to_owned()));
    };
    if let Some(split) = split.filter(|split| *split != own) {
        let told = |split: Split| {
            let tensors = split.tensors.map(|tensors| format!(" with {tensors} tensors"));
            format!("{} parts{}", split.count, tensors.unwrap_or_default())
        };
        let message = format!(
            "part of a split of {}, the file before it of one of {}; give the parts of one split",
            told(own),
            told(split)
        );
        return Err(fault(part.path, message));
    }
    if let Some(other) = parts.get(&no) {
        let message = format!(
            "part {} of {}, as {} is; give one of the two",
            no + 1,
            own.count,
            other.path.display()
        );
        return Err(fault(part.path, message));
    }
    parts.insert(no, part);
    Ok(own)
}

/// The files beside a part that hold the other parts of its split.
fn beside(part: &Part, split: Split) -> Result<Vec<PathBuf>, GgufError> {
    let known = told_by(&part.header.metadata).map(|(_, no)| no);
    let prefix = |path: &Path| SplitName::parse(path).map(|name| name.prefix);
    let own = prefix(&part.path);
    let mut found: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    for path in ggufs_in(folder_of(&part.path)) {
        // A file of another split's name is another split's.
        let other = prefix(&path);
        if own.is_some() && other.is_some() && own != other {
            continue;
        }
        // These are looked at, not read: that one of them changes is nothing to this model.
        let Ok(file) = Part::open(&Inputs::new(), &path, LongArrays::Emptied) else {
            continue;
        };
        if let Some((_, no)) = told_by(&file.header.metadata).filter(|(other, _)| *other == split) {
            found.entry(no).or_default().push(path);
        }
    }
    let mut paths = Vec::new();
    for (no, mut files) in found {
        if files
            .iter()
            .any(|path| prefix(path).is_some() && prefix(path) == own)
        {
            files.retain(|path| prefix(path) == own);
        }
        match files.as_slice() {
            _ if Some(no) == known => {}
            [path] => paths.push(path.clone()),
            [first, second, ..] => {
                let message = format!(
                    "its part {} of {} may be {} or {}; name all parts",
                    no + 1,
                    split.count,
                    first.display(),
                    second.display()
                );
                return Err(fault(&part.path, message));
            }
            [] => {}
        }
    }
    Ok(paths)
}

/// The GGUF files of a folder by name, in order; none where it cannot be read.
fn ggufs_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| match folder == Path::new(".") {
            true => entry.file_name().into(),
            false => folder.join(entry.file_name()),
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "gguf"))
        .collect();
    paths.sort();
    paths
}

/// All parts are there, with all tensors.
fn check_whole(parts: &Numbered, split: Split) -> Result<(), GgufError> {
    let Some(first) = parts.values().next() else {
        return Ok(());
    };
    if let Some(no) = (0..split.count).find(|no| !parts.contains_key(no)) {
        let missing = split.count - parts.len() as u64;
        let count = usize::try_from(split.count).unwrap_or(usize::MAX);
        let named = SplitName::parse(&first.path).map(|name| part_path(&name.prefix, no as usize + 1, count));
        let named = named.map_or_else(String::new, |path| format!(" ({})", path.display()));
        let others = match missing {
            1 => String::new(),
            more => format!(", and {} more", more - 1),
        };
        let message = format!(
            "part {} of the {} of its split is missing{named}{others}; put it beside the others, or name all parts",
            no + 1,
            split.count
        );
        return Err(fault(&first.path, message));
    }
    let found: usize = parts.values().map(|part| part.header.tensors.len()).sum();
    match split.tensors {
        Some(expected) if expected != found as u64 => Err(fault(
            &first.path,
            format!("the parts hold {found} tensors, split.tensors.count says {expected}; {FETCH_PARTS}"),
        )),
        _ => Ok(()),
    }
}

/// Files whose names are parts' names are of one name: two splits of one model into as many parts say the same of
/// themselves.
fn check_names(parts: &Numbered) -> Result<(), GgufError> {
    let name = |part: &Part| {
        let prefix = SplitName::parse(&part.path)?.prefix;
        prefix.file_name().map(ToOwned::to_owned)
    };
    let mut named = parts.values().filter_map(|part| Some((name(part)?, part)));
    let Some((first, first_part)) = named.next() else {
        return Ok(());
    };
    match named.find(|(other, _)| *other != first) {
        None => Ok(()),
        Some((_, part)) => Err(fault(
            &part.path,
            format!(
                "by its name of another split than {}; give the parts of one split, or name them alike if they are",
                first_part.path.display()
            ),
        )),
    }
}
