//! Why a planned file cannot be written.

use crate::io::output::OutputError;
use crate::quant::QuantError;
use std::path::PathBuf;

/// Why a planned file cannot be written. Each message names the file and the tensor.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum WriteError {
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error(
        "{}: tensor {name} holds {value} at {position}, which {ty} cannot hold; the checkpoint is damaged",
        path.display()
    )]
    NonFinite {
        path: PathBuf,
        name: String,
        value: f32,
        position: String,
        ty: &'static str,
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
