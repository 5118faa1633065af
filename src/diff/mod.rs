//! What distinguishes two models on disk: metadata, tensors, and the numbers in them.
//!
//! What counts is what the files say, not how: byte order, GGUF version and the cutting of a split model are told, but
//! are no differences. The order of keys and of tensors is one.
//!
//! A drafter's checkpoint is compared with a GGUF as that which a conversion would make of it: by the names, shapes and
//! metadata that the architecture file gives. A checkpoint has neither ggml's types nor an order, so of its tensors only
//! the numbers count.

mod keys;
mod order;
mod side;
mod tensors;

pub use keys::{FirstDifference, KeyDifference};
pub use tensors::{Data, Form, NumberDifference, TensorDifference};

use crate::arch::Registry;
use crate::gguf::{Endian, Gguf};
use crate::io::kind::FileKind;
use crate::storage::{ModelFile, WeightFile};
use crate::text::Glob;
use rayon::prelude::*;
use side::{Converted, Side};

/// What a comparison heeds.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Options<'a> {
    /// How the parts of a checkpoint are called in a GGUF.
    pub registry: &'a Registry,
    /// Supplies what a checkpoint lacks, as in a conversion.
    pub target: Option<&'a Gguf>,
    /// Keys and tensors to leave out.
    pub ignore: &'a [Glob],
}

impl<'a> Options<'a> {
    /// Everything is compared, and no target is at hand.
    pub fn new(registry: &'a Registry) -> Options<'a> {
        Options {
            registry,
            target: None,
            ignore: &[],
        }
    }
}

/// The differences between two models.
#[derive(Debug, Clone, Default)]
pub struct Diff {
    /// How the containers differ, which is no difference between the models.
    pub container: Vec<ContainerDifference>,
    /// Keys that differ, in the order of the first model, then those of the second only.
    pub keys: Vec<KeyDifference>,
    /// Tensors that differ, in the same order.
    pub tensors: Vec<TensorDifference>,
    /// Number of keys that are the same in both.
    pub equal_keys: usize,
    /// Number of tensors that are the same in both.
    pub equal_tensors: usize,
    /// What the user should know of how they were compared.
    pub notes: Vec<String>,
}

/// A difference between containers, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerDifference {
    /// What differs.
    pub what: &'static str,
    /// In the first model.
    pub a: String,
    /// In the second.
    pub b: String,
}

impl Diff {
    /// Whether the models say the same.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.tensors.is_empty()
    }
}

/// What one of the two is, where it holds no model's weights.
fn odd_kind(file: &ModelFile) -> Option<String> {
    let ModelFile::Gguf(gguf) = file else { return None };
    match gguf.kind() {
        FileKind::Model(_) | FileKind::Gguf => None,
        kind => Some(format!("{} is {kind}", gguf.path().display())),
    }
}

/// Compares two models. `progress` is told the number of elements as they are compared.
pub fn diff(a: &ModelFile, b: &ModelFile, options: Options, progress: &(dyn Fn(u64) + Sync)) -> Diff {
    let mut notes: Vec<String> = [a, b].into_iter().filter_map(odd_kind).collect();
    let mut container = container(a, b);
    // What a conversion makes of a checkpoint holds computed tensors, so it outlives the sides.
    let converted = match (a, b) {
        (ModelFile::Safetensors(checkpoint), ModelFile::Gguf(gguf))
        | (ModelFile::Gguf(gguf), ModelFile::Safetensors(checkpoint)) => {
            Some(Converted::new(checkpoint, gguf, options, &mut notes))
        }
        _ => None,
    };
    let (side_a, side_b) = match &converted {
        None => (Side::of(a), Side::of(b)),
        Some(converted) => (converted.side(a), converted.side(b)),
    };
    let (side_a, side_b) = (side_a.without(options.ignore), side_b.without(options.ignore));
    let is_converted = converted.is_some();
    let is_distant = a.is_distant() || b.is_distant();
    if is_distant {
        notes.push(
            "only headers are compared, for a model is on the Hub; --download gets its tensors".to_owned(),
        );
    }
    let (keys, equal_keys) = keys::compare(&side_a, &side_b, !is_converted);
    if let (None, true) = (&converted, !is_distant && are_identical(a, b)) {
        return Diff {
            equal_keys,
            equal_tensors: side_a.tensors.len(),
            ..Diff::default()
        };
    }
    let (tensors, equal_tensors) = tensors::compare(&side_a, &side_b, is_converted, progress);
    if !is_converted && !is_distant && keys.is_empty() && tensors.is_empty() && options.ignore.is_empty() {
        container.extend(unused_bytes(a, b, container.is_empty()));
    }
    Diff {
        container,
        keys,
        tensors,
        equal_keys,
        equal_tensors,
        notes,
    }
}

/// Differences between containers of the same kind.
fn container(a: &ModelFile, b: &ModelFile) -> Vec<ContainerDifference> {
    let mut found = Vec::new();
    let mut compare = |what: &'static str, a: String, b: String| {
        if a != b {
            found.push(ContainerDifference { what, a, b });
        }
    };
    let both_headers = match (a, b) {
        (ModelFile::Gguf(a), ModelFile::Gguf(b)) => Some((&a.parts()[0].header, &b.parts()[0].header)),
        (ModelFile::Safetensors(_), ModelFile::Safetensors(_)) => None,
        _ => return found,
    };
    if let Some((a, b)) = both_headers {
        let order = |endian| match endian {
            Endian::Little => "little-endian".to_owned(),
            Endian::Big => "big-endian".to_owned(),
        };
        compare("GGUF version", a.version.to_string(), b.version.to_string());
        compare("byte order", order(a.endian), order(b.endian));
    }
    let files = |model: &ModelFile| model.files().len().to_string();
    compare("files", files(a), files(b));
    found
}

/// Whether both are the same files, byte for byte.
fn are_identical(a: &ModelFile, b: &ModelFile) -> bool {
    const PIECE: usize = 1 << 20;
    let (a, b) = (a.files(), b.files());
    let pairs = || a.iter().zip(&b);
    let has_same_bytes = |(a, b): (&WeightFile, &WeightFile)| {
        let (Ok(a), Ok(b)) = (a.bytes(), b.bytes()) else {
            return false;
        };
        let pieces = a.par_chunks(PIECE).zip(b.par_chunks(PIECE));
        pieces.all(|(a, b)| a == b)
    };
    a.len() == b.len() && pairs().all(|(a, b)| a.len == b.len) && pairs().all(has_same_bytes)
}

/// For models that say the same though their bytes differ: that it is so, where nothing else tells.
fn unused_bytes(a: &ModelFile, b: &ModelFile, is_unexplained: bool) -> Option<ContainerDifference> {
    let length = |model: &ModelFile| -> u64 {
        let files = model.files();
        files.iter().map(|file| file.len).sum()
    };
    let words = |model| format!("{} bytes in all", length(model));
    is_unexplained.then(|| ContainerDifference {
        what: "layout, or bytes that belong to nothing",
        a: words(a),
        b: words(b),
    })
}
