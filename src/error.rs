//! What can go wrong, by whose fault it is.

use crate::convert::ConvertError;
use crate::gguf::{GgufError, GgufErrorKind};
use crate::model::ModelError;
use crate::output::OutputError;
use crate::verify::VerifyError;
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
    /// A verification could not be done.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A file that the command line names could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Threads could not be started.
    #[error("threads cannot be started: {0}")]
    Threads(String),
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
            }) => io_fault(e),
            Error::Gguf(_) => Fault::Input,
            Error::Verify(error) => verify_fault(error),
            Error::Read { source, .. } => io_fault(source),
            Error::Threads(_) => Fault::System,
            Error::Convert(ConvertError::TokenizerWithoutTarget) => Fault::Usage,
            Error::Convert(ConvertError::Output(OutputError::Io { .. })) => Fault::System,
            Error::Convert(ConvertError::Output(_)) => Fault::Usage,
            Error::Convert(error) => error.io().map_or(Fault::Input, io_fault),
        }
    }
}

fn verify_fault(error: &VerifyError) -> Fault {
    match error {
        VerifyError::Output(OutputError::Io { .. }) => Fault::System,
        VerifyError::Output(_) => Fault::Usage,
        VerifyError::Model(
            ModelError::EmptyPrompt
            | ModelError::ContextLength { .. }
            | ModelError::Token { .. }
            | ModelError::NoCentroids { .. },
        ) => Fault::Usage,
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
