//! What stands in the way of a verification.

use super::tokenize::TokenizeError;
use crate::arch::ArchError;
use crate::checkpoint::CheckpointError;
use crate::gguf::GgufError;
use crate::io::ReadError;
use crate::io::kind::DrafterKind;
use crate::io::output::OutputError;
use crate::model::ModelError;
use std::path::{Path, PathBuf};

/// A verification that could not be done.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum VerifyError {
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Arch(#[from] ArchError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("{}: it is in the dialect of {of}; rewrite it with `gguf-conv migrate` first", path.display())]
    Dialect { path: PathBuf, of: String },
    #[error("{}: the chat template cannot be used: {message}; leave --template out", path.display())]
    Template { path: PathBuf, message: String },
    #[error("{}: {message}", path.display())]
    Dump { path: PathBuf, message: String },
    #[error("{option} is for Gemma 4's assistants only, {} is a drafter of the kind {kind}; leave it out", path.display())]
    Option {
        path: PathBuf,
        option: &'static str,
        kind: DrafterKind,
    },
}

impl VerifyError {
    /// The file that it is about, where it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            VerifyError::Gguf(error) => Some(&error.path),
            VerifyError::Checkpoint(error) => Some(&error.path),
            VerifyError::Arch(error) => Some(&error.path),
            VerifyError::Model(error) => error.path(),
            VerifyError::Tokenize(error) => error.path(),
            VerifyError::Output(error) => error.path(),
            VerifyError::Dialect { path, .. }
            | VerifyError::Dump { path, .. }
            | VerifyError::Template { path, .. }
            | VerifyError::Option { path, .. } => Some(path),
        }
    }

    /// Why a file could not be read, where that is the cause.
    pub fn read(&self) -> Option<&ReadError> {
        match self {
            VerifyError::Gguf(error)
            | VerifyError::Model(ModelError::Gguf(error))
            | VerifyError::Tokenize(TokenizeError::Gguf(error)) => error.read(),
            VerifyError::Checkpoint(error) | VerifyError::Model(ModelError::Checkpoint(error)) => {
                error.read()
            }
            VerifyError::Arch(error) => error.io.as_ref(),
            _ => None,
        }
    }
}
