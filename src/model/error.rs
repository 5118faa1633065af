//! What can stand in the way of a forward pass.

use crate::arch::ArchError;
use crate::checkpoint::CheckpointError;
use crate::gguf::GgufError;
use crate::quant::GgmlType;
use std::path::{Path, PathBuf};

/// A model that cannot be run, or an input that it cannot take.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum ModelError {
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Arch(#[from] ArchError),
    #[error("{}: tensor {tensor} is missing", path.display())]
    MissingTensor { path: PathBuf, tensor: String },
    #[error("{}: tensor {tensor} has shape {found:?} (outermost first), the model needs {expected:?}", path.display())]
    Shape {
        path: PathBuf,
        tensor: String,
        found: Vec<usize>,
        expected: Vec<usize>,
    },
    #[error("{}: tensor {tensor} has the type {ty}, which cannot be decoded here; {} can", path.display(), decodable())]
    TensorType {
        path: PathBuf,
        tensor: String,
        ty: String,
    },
    #[error("{}: {message}", path.display())]
    Config { path: PathBuf, message: String },
    #[error("the prompt is empty; give at least one token")]
    EmptyPrompt,
    #[error("the prompt has {tokens} tokens, more than the context of {context} of {}; shorten it", path.display())]
    ContextLength {
        path: PathBuf,
        tokens: usize,
        context: usize,
    },
    #[error("token {token} is beyond the vocabulary of {vocab} tokens in {}", path.display())]
    Token { path: PathBuf, token: u32, vocab: usize },
    #[error(
        "{} holds no centroid head (upstream's converter leaves it out); give --source with the checkpoint that has \
         it, or use --head dense", path.display()
    )]
    NoCentroids { path: PathBuf },
}

impl ModelError {
    /// The file that it is about, where it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            ModelError::Gguf(error) => Some(&error.path),
            ModelError::Checkpoint(error) => Some(&error.path),
            ModelError::Arch(error) => Some(&error.path),
            ModelError::MissingTensor { path, .. }
            | ModelError::Shape { path, .. }
            | ModelError::TensorType { path, .. }
            | ModelError::Config { path, .. }
            | ModelError::ContextLength { path, .. }
            | ModelError::Token { path, .. }
            | ModelError::NoCentroids { path, .. } => Some(path),
            ModelError::EmptyPrompt => None,
        }
    }
}

/// The types that can be decoded, in words.
fn decodable() -> String {
    let names: Vec<&str> = GgmlType::all().map(GgmlType::name).collect();
    names.join(", ")
}
