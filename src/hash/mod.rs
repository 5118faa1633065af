//! SHA-256 of a model: of its files, of its metadata, and of the data of each tensor.
//!
//! Files are hashed as they are. Metadata and tensors are hashed by what they say, so that files of another byte order,
//! GGUF version, order of keys or cutting into parts agree:
//!
//! - the metadata as the keys with their values, sorted by key, each as GGUF writes it in little-endian (key, number of
//!   the type, value), without the `split.*` keys; of safetensors the strings under `__metadata__`;
//! - a tensor's data as its bytes, little-endian. Big-endian data of the few types without an agreed big-endian form is
//!   hashed as it stands.
//!
//! Everything is read through memory maps. A file and its tensors are hashed side by side, window by window: what is read
//! from disk is read once, however large the file is, and hashed once for the file and once for its tensor.

mod check;
mod list;
mod work;

pub use check::{Checklist, Verdict};
pub use list::{Line, line, parse_line};

use crate::gguf::Metadata;
use crate::storage::{ModelFile, ModelTensor, StorageError};
use crate::text::Glob;
use bstr::BStr;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::path::Path;

/// A SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum(pub [u8; 32]);

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What of a model has a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// One of its files.
    File(&'a Path),
    /// Its metadata, by the file that holds it.
    Metadata(&'a Path),
    /// The data of a tensor, by the file that holds it.
    Tensor(&'a Path, &'a BStr),
}

/// A part with its checksum; `None` for tensors of unknown type, whose length nobody knows.
pub type Entry<'a> = (Part<'a>, Option<Sum>);

/// Bytes that are hashed between two reports of progress.
const PIECE: usize = 1 << 20;

/// What is hashed of a model, and how many bytes that takes.
#[derive(Debug)]
pub struct Hashes<'a> {
    jobs: Vec<Job<'a>>,
}

#[derive(Debug)]
enum Job<'a> {
    File(&'a Path, &'a [u8]),
    Metadata(&'a Path, Cow<'a, Metadata>),
    Tensor(&'a Path, ModelTensor<'a>),
}

impl<'a> Hashes<'a> {
    /// Everything: the files, the metadata, then the tensors, in the order of the headers.
    pub fn of(model: &'a ModelFile) -> Result<Hashes<'a>, StorageError> {
        let files = model.files();
        let mut jobs = Vec::new();
        for file in &files {
            jobs.push(Job::File(file.path, file.bytes()?));
        }
        if let Some(file) = files.first() {
            jobs.push(Job::Metadata(file.path, model.metadata()));
        }
        for tensor in model.tensors() {
            if let Some(file) = files.get(tensor.file) {
                jobs.push(Job::Tensor(file.path, tensor));
            }
        }
        Ok(Hashes { jobs })
    }

    /// Of this the tensors whose name fits, and nothing else.
    #[must_use]
    pub fn only(mut self, names: &Glob) -> Hashes<'a> {
        self.jobs
            .retain(|job| matches!(job, Job::Tensor(_, tensor) if names.matches(tensor.name)));
        self
    }

    /// Bytes to be hashed.
    pub fn bytes(&self) -> u64 {
        self.jobs.iter().map(Job::bytes).fold(0, u64::saturating_add)
    }

    /// Hashes them, on all cores. `progress` is told the number of bytes as they are hashed.
    pub fn compute(&self, progress: &(dyn Fn(u64) + Sync)) -> Vec<Entry<'_>> {
        let jobs: Vec<&Job> = self.jobs.iter().collect();
        let sums = work::compute(&jobs, work::WINDOW, progress);
        self.jobs.iter().map(Job::part).zip(sums).collect()
    }
}

impl Job<'_> {
    /// The file that it is of.
    fn path(&self) -> &Path {
        match self {
            Job::File(path, _) | Job::Metadata(path, _) | Job::Tensor(path, _) => path,
        }
    }

    fn part(&self) -> Part<'_> {
        match self {
            Job::File(path, _) => Part::File(path),
            Job::Metadata(path, _) => Part::Metadata(path),
            Job::Tensor(path, tensor) => Part::Tensor(path, tensor.name),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Job::File(_, bytes) => bytes.len() as u64,
            Job::Metadata(..) => 0,
            Job::Tensor(_, tensor) => tensor.size.unwrap_or(0),
        }
    }
}

/// The checksum of some bytes.
pub fn sum(bytes: &[u8], progress: &(dyn Fn(u64) + Sync)) -> Sum {
    let mut hasher = Sha256::new();
    for piece in bytes.chunks(PIECE) {
        hasher.update(piece);
        progress(piece.len() as u64);
    }
    Sum(hasher.finalize().into())
}
