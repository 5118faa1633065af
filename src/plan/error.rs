//! Why a planned file cannot be written.

use crate::io::ReadError;
use crate::io::output::OutputError;
use crate::quant::{GgmlType, QuantError};
use std::path::{Path, PathBuf};

/// Why a planned file cannot be written. Each message names the file and the tensor.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum WriteError {
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("{}: {}", path.display(), ReadError::Distant)]
    Elsewhere { path: PathBuf },
    #[error(
        "{}: tensor {name} holds {value} at {position}, which is no weight; the file is damaged, get it again",
        path.display()
    )]
    NonFinite {
        path: PathBuf,
        name: String,
        value: f32,
        position: String,
    },
    #[error(
        "{}: tensor {name} holds {value} at {position}, which {ty} would make infinite; pass --outtype {}",
        path.display(),
        wider(*ty)
    )]
    Overflow {
        path: PathBuf,
        name: String,
        value: f32,
        position: String,
        ty: GgmlType,
    },
    #[error("{}: tensor {name}: {source}", path.display())]
    Encode {
        path: PathBuf,
        name: String,
        source: QuantError,
    },
    #[error("{}: tensor {name} holds {value} at element {index}, which is no i32", path.display())]
    Integer {
        path: PathBuf,
        name: String,
        value: i64,
        index: usize,
    },
}

impl WriteError {
    /// The file that it is about, where it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            WriteError::Output(error) => error.path(),
            WriteError::Elsewhere { path }
            | WriteError::NonFinite { path, .. }
            | WriteError::Overflow { path, .. }
            | WriteError::Encode { path, .. }
            | WriteError::Integer { path, .. } => Some(path),
        }
    }
}

/// A type with the range of f32, or f32 itself.
fn wider(ty: GgmlType) -> &'static str {
    if ty == GgmlType::BF16 { "f32" } else { "bf16" }
}
