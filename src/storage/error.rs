//! Why a model on disk cannot be read.

use crate::checkpoint::CheckpointError;
use crate::gguf::GgufError;
use crate::io::ReadError;
use crate::io::kind::WrongKind;
use std::path::{Path, PathBuf};

/// Why a model on disk cannot be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum StorageError {
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: ReadError },
    #[error("{}: {kind}", path.display())]
    Kind { path: PathBuf, kind: WrongKind },
    #[error(
        "{}: neither GGUF nor safetensors; give a .gguf or .safetensors file, or a checkpoint folder", path.display()
    )]
    NoModel { path: PathBuf },
    #[error("tensor {name} of type {type_name} cannot be read: {why}")]
    Unreadable {
        name: String,
        type_name: String,
        why: &'static str,
    },
}

impl StorageError {
    /// The file that it is about, where it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            StorageError::Gguf(error) => Some(&error.path),
            StorageError::Checkpoint(error) => Some(&error.path),
            StorageError::Read { path, .. }
            | StorageError::Kind { path, .. }
            | StorageError::NoModel { path } => Some(path),
            StorageError::Unreadable { .. } => None,
        }
    }

    /// What the operating system said, where that is the cause.
    pub(crate) fn read(&self) -> Option<&ReadError> {
        match self {
            StorageError::Gguf(error) => error.read(),
            StorageError::Checkpoint(error) => error.read(),
            StorageError::Read { source, .. } => Some(source),
            StorageError::Kind { .. } | StorageError::NoModel { .. } | StorageError::Unreadable { .. } => {
                None
            }
        }
    }
}
