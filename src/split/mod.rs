//! From a GGUF to the parts of a split model, and back, as `llama-gguf-split` does it: the same names, keys and bytes.
//!
//! Where that program makes a file that does not load, this one makes one that does: with a `general.alignment` other than
//! 32 the first part is laid out by it, and text with zeros inside is kept whole.

use crate::gguf::{
    Endian, Gguf, GgufError, LayoutError, Metadata, SPLIT_KEYS, TensorInfo, part_path, part_prefix,
};
use crate::plan::{Plan, kept};
use crate::text;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// What a part may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// So many tensors.
    Tensors(NonZeroUsize),
    /// Tensors of so many bytes, each padded to 32; what else is in a file does not count.
    Bytes(u64),
}

/// How a file is split.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Options {
    /// What a part may hold.
    pub limit: Limit,
    /// The first part holds the metadata alone.
    pub no_tensor_first_split: bool,
}

impl Options {
    /// Parts that hold tensors from the first on.
    pub fn new(limit: Limit) -> Options {
        Options {
            limit,
            no_tensor_first_split: false,
        }
    }
}

/// Why a file cannot be split or put together.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum SplitError {
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error("{}: it would be {count} parts, and there can be {MAX_PARTS} at most; let a part hold more", path.display())]
    TooMany { path: PathBuf, count: usize },
}

impl SplitError {
    /// The file that it is about, where it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            SplitError::Gguf(error) => Some(&error.path),
            SplitError::Layout(_) => None,
            SplitError::TooMany { path, .. } => Some(path),
        }
    }
}

/// Most parts that `split.count` can tell.
const MAX_PARTS: usize = u16::MAX as usize;

/// Bytes to which the size of a tensor is padded when it is counted, whatever the file's alignment.
const COUNTED: u64 = 32;

/// Plans the parts, in order.
pub fn plan(gguf: &Gguf, options: Options) -> Result<Vec<Plan<'_>>, SplitError> {
    let infos: Vec<&TensorInfo> = gguf.tensors().collect();
    let groups = cut(&infos, options);
    let count = u16::try_from(groups.len()).map_err(|_| SplitError::TooMany {
        path: gguf.path().to_owned(),
        count: groups.len(),
    })?;
    let mut plans = Vec::with_capacity(groups.len());
    for (no, group) in (0..count).zip(groups) {
        let mut metadata = Metadata::default();
        if no == 0 {
            for (key, value) in gguf.metadata().iter().filter(|(key, _)| !is_of_split(key)) {
                metadata.set(key, value.clone());
            }
        }
        metadata.set("split.no", no);
        // The number of tensors that are read at all is far below i32's.
        metadata.set(
            "split.tensors.count",
            i32::try_from(infos.len()).unwrap_or(i32::MAX),
        );
        metadata.set("split.count", count);
        let warnings = match no {
            0 => told_of_large(&infos, options.limit),
            _ => Vec::new(),
        };
        let tensors = kept(gguf, group.iter().copied(), TensorInfo::written_dims)?;
        plans.push(Plan::new(metadata, tensors, Endian::Little, warnings)?);
    }
    Ok(plans)
}

/// Plans the whole file of a split model; see [`Gguf::assemble`] for parts by other names.
pub fn merge(gguf: &Gguf) -> Result<Plan<'_>, SplitError> {
    let mut metadata = Metadata::default();
    for (key, value) in gguf.metadata().iter().filter(|(key, _)| *key != "split.count") {
        metadata.set(key, value.clone());
    }
    // By it a whole file is known.
    metadata.set("split.count", 0_u16);
    let tensors = kept(gguf, gguf.tensors(), TensorInfo::written_dims)?;
    let warnings = told_of_names(gguf).into_iter().collect();
    Ok(Plan::new(metadata, tensors, Endian::Little, warnings)?)
}

fn is_of_split(key: &[u8]) -> bool {
    SPLIT_KEYS.iter().any(|known| key == known.as_bytes())
}

/// The tensors of each part.
fn cut<'t>(infos: &[&'t TensorInfo], options: Options) -> Vec<Vec<&'t TensorInfo>> {
    let mut groups = vec![Vec::new()];
    if options.no_tensor_first_split {
        groups.push(Vec::new());
    }
    let mut bytes = 0_u64;
    for (index, info) in infos.iter().enumerate() {
        let size = counted(info);
        let is_full = match options.limit {
            // Counted through, whether or not the first part holds any.
            Limit::Tensors(limit) => index > 0 && index.is_multiple_of(limit.get()),
            // No part but the first is empty, however large its tensor.
            Limit::Bytes(limit) => index > 0 && bytes.saturating_add(size) > limit,
        };
        if is_full {
            groups.push(Vec::new());
            bytes = 0;
        }
        bytes = bytes.saturating_add(size);
        if let Some(group) = groups.last_mut() {
            group.push(*info);
        }
    }
    groups
}

fn counted(info: &TensorInfo) -> u64 {
    let size = info.size().unwrap_or(0);
    size.checked_next_multiple_of(COUNTED).unwrap_or(u64::MAX)
}

/// Which tensors are larger than a part may be.
fn told_of_large(infos: &[&TensorInfo], limit: Limit) -> Vec<String> {
    let Limit::Bytes(limit) = limit else {
        return Vec::new();
    };
    let large = || infos.iter().filter(|info| counted(info) > limit);
    let largest = large().max_by_key(|info| info.size());
    let told = largest.map(|info| {
        let (verb, has) = match large().count() {
            1 => ("tensor is", "has a part of its own"),
            _ => ("tensors are", "have parts of their own"),
        };
        format!(
            "{} {verb} larger than a part may be and {has}; the largest, {}, takes {} bytes",
            large().count(),
            text::name(&info.name),
            counted(info)
        )
    });
    told.into_iter().collect()
}

/// Whether the parts were found by other names than theirs.
fn told_of_names(gguf: &Gguf) -> Option<String> {
    let parts = gguf.parts();
    let prefix = part_prefix(gguf.path());
    let is_named = |(at, path): (usize, &Path)| {
        let own = part_prefix(path).filter(|own| Some(own) == prefix.as_ref());
        own.is_some_and(|own| part_path(&own, at + 1, parts.len()) == path)
    };
    let all_named = parts
        .iter()
        .map(|part| part.path.as_path())
        .enumerate()
        .all(is_named);
    (!all_named).then(|| {
        "the parts were put together by what they say of themselves, not by their names; see that all are of one model"
            .to_owned()
    })
}
