//! What can go wrong, by whose fault it is.

use crate::checkpoint::{CheckpointError, CheckpointErrorKind};
use crate::convert::ConvertError;
use crate::gguf::{GgufError, GgufErrorKind};
use crate::migrate::MigrateError;
use crate::output::OutputError;
use std::io;
use std::path::PathBuf;

/// Any error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A conversion stopped.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// A GGUF file could not be read.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A checkpoint could not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A migration stopped.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The operating system would not let a file be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is of another kind than any that is read.
    #[error("{}: neither GGUF nor safetensors; {hint}", path.display())]
    NoModel {
        /// The file.
        path: PathBuf,
        /// What it may be, and the way out.
        hint: &'static str,
    },
    /// A tensor's data cannot be read as numbers.
    #[error("tensor {name} of type {type_name} cannot be read: {why}")]
    Unreadable {
        /// The tensor.
        name: String,
        /// Its type.
        type_name: String,
        /// Why not.
        why: &'static str,
    },
    /// The command line asks for what cannot be.
    #[error("{0}")]
    Usage(String),
    /// The result could not be written to standard output.
    #[error("standard output: {0}")]
    Stdout(#[source] io::Error),
}

/// Whose fault an error is. Each has an exit code of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The command line.
    Usage,
    /// What a file holds.
    Input,
    /// Disk, permissions, memory.
    System,
}

impl Error {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Error::Usage(_) => Fault::Usage,
            Error::Stdout(_) => Fault::System,
            Error::Gguf(GgufError {
                kind: GgufErrorKind::Io(e),
                ..
            })
            | Error::Migrate(MigrateError::Gguf(GgufError {
                kind: GgufErrorKind::Io(e),
                ..
            }))
            | Error::Checkpoint(CheckpointError {
                kind: CheckpointErrorKind::Io(e),
                ..
            })
            | Error::Read { source: e, .. } => io_fault(e),
            Error::Gguf(_) | Error::Checkpoint(_) | Error::NoModel { .. } | Error::Unreadable { .. } => {
                Fault::Input
            }
            Error::Migrate(MigrateError::Convert(error)) => convert_fault(error),
            Error::Migrate(MigrateError::Dialect { .. }) => Fault::Usage,
            Error::Migrate(_) => Fault::Input,
            Error::Convert(error) => convert_fault(error),
        }
    }
}

fn convert_fault(error: &ConvertError) -> Fault {
    match error {
        ConvertError::TokenizerWithoutTarget => Fault::Usage,
        ConvertError::Output(OutputError::Io { .. }) => Fault::System,
        ConvertError::Output(_) => Fault::Usage,
        error => error.io().map_or(Fault::Input, io_fault),
    }
}

/// A path that leads nowhere, or to a folder where a file is needed, is the input's fault; the rest the system's.
fn io_fault(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::InvalidData => Fault::Input,
        _ => Fault::System,
    }
}
