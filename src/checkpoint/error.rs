//! What can be wrong with a checkpoint.

use crate::io::ReadError;
use crate::io::kind::{FileKind, Wanted, WrongKind};
use std::path::PathBuf;

/// A checkpoint file that cannot be read, with its path.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kind}", path.display())]
pub struct CheckpointError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub kind: CheckpointErrorKind,
}

impl CheckpointError {
    pub(crate) fn new(path: impl Into<PathBuf>, kind: impl Into<CheckpointErrorKind>) -> CheckpointError {
        CheckpointError {
            path: path.into(),
            kind: kind.into(),
        }
    }

    /// What the operating system said, where that is the cause.
    pub(crate) fn read(&self) -> Option<&ReadError> {
        match &self.kind {
            CheckpointErrorKind::Read(error) => Some(error),
            _ => None,
        }
    }
}

const DAMAGED: &str = "the file is damaged: download it again";

/// What is wrong with a checkpoint file. Offsets count from the start of the file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum CheckpointErrorKind {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("file is {len} bytes long, too short for a safetensors header; download it again")]
    TooShort { len: usize },
    #[error(transparent)]
    Kind(#[from] WrongKind),
    #[error(
        "header claims {claimed} bytes, the file has {left} behind its first 8; \
         it is truncated or no safetensors file: download it again"
    )]
    HeaderLength { claimed: u64, left: usize },
    #[error("header of {claimed} bytes is over the limit of {limit} that safetensors sets; {DAMAGED}")]
    HeaderLimit { claimed: u64, limit: u64 },
    #[error("header is not valid JSON: {0}; {DAMAGED}")]
    HeaderJson(String),
    #[error("tensor {name} stands twice in the header; {DAMAGED}")]
    DuplicateTensor { name: String },
    #[error("tensor {name} has the unknown dtype {dtype}; F32, F16 and BF16 can be converted")]
    Dtype { name: String, dtype: String },
    #[error("__metadata__ holds something else than strings; {DAMAGED}")]
    Metadata,
    #[error("tensor {name}: {message}; {DAMAGED}")]
    TensorInfo { name: String, message: String },
    #[error(
        "tensor {name} of checkpoint shape {shape:?} and dtype {dtype} takes {expected} bytes, its offsets span {found}; {DAMAGED}"
    )]
    TensorSize {
        name: String,
        dtype: String,
        shape: Vec<usize>,
        expected: u64,
        found: u64,
    },
    #[error(
        "tensor {name} ends at offset {end}, beyond the end of the file at {file}; \
         the file is truncated: download it again"
    )]
    OutOfFile { name: String, end: u64, file: u64 },
    #[error("tensors {first} and {second} overlap at offset {offset}; {DAMAGED}")]
    Overlap {
        first: String,
        second: String,
        offset: u64,
    },
    #[error("{bytes} bytes at offset {offset} belong to no tensor; {DAMAGED}")]
    Hole { offset: u64, bytes: u64 },
    #[error("not valid JSON: {0}; download the file again")]
    Json(String),
    #[error("key {key} should be {expected}")]
    Key { key: String, expected: &'static str },
    #[error(
        "the index names the shard {shard:?}, which lies outside its folder; get the checkpoint from its source"
    )]
    ShardOutside { shard: String },
    #[error("the index names the shard {shard:?}, which is not there; download it too")]
    ShardMissing { shard: String },
    #[error(
        "the index places tensor {name} in {shard:?}, which does not hold it; download index and shards again"
    )]
    ShardTensor { name: String, shard: String },
    #[error("tensor {name} stands in two shards, {first:?} and {second:?}; download index and shards again")]
    ShardDuplicate {
        name: String,
        first: String,
        second: String,
    },
    #[error(
        "no *.safetensors file in this folder; give the folder of a drafter's checkpoint or its safetensors file"
    )]
    NoWeights,
    #[error("{} safetensors files and no index ({}); name the one you mean", .0.len(), .0.join(", "))]
    Ambiguous(Vec<String>),
    #[error("no *.safetensors file in this folder, but {name}: {}", kind.way_out(Wanted::Checkpoint))]
    OtherWeights { name: String, kind: FileKind },
    #[error("{shard} is not there, one of {count} shards; download it too")]
    SeriesShard { shard: String, count: usize },
    #[error("{}", hub_cache(revision.as_deref(), snapshots))]
    HubCache {
        revision: Option<String>,
        snapshots: Vec<String>,
    },
    #[error(
        "tensor {name} marks a quantized checkpoint ({what}), which cannot be converted; \
         use the checkpoint with bf16, f16 or f32 weights that it was made from"
    )]
    Quantized { name: String, what: String },
    #[error("{0}")]
    Tokenizer(String),
}

fn hub_cache(revision: Option<&str>, snapshots: &[String]) -> String {
    let snapshots = match snapshots {
        [] => "it has no snapshots: download the model again".to_owned(),
        names => format!("name one of its snapshots: {}", names.join(", ")),
    };
    match revision {
        None => format!("a model of Hugging Face's cache without refs/main; {snapshots}"),
        Some(revision) => {
            format!(
                "a model of Hugging Face's cache whose refs/main is {revision:?}, which is not there; {snapshots}"
            )
        }
    }
}
