//! What can go wrong, by whose fault it is.

use crate::advise::AdviseError;
use crate::bench::BenchError;
use crate::checkpoint::CheckpointError;
use crate::convert::ConvertError;
use crate::facts::TargetError;
use crate::gguf::GgufError;
use crate::inspect::GetError;
use crate::io::output::OutputError;
use crate::io::{ChangedInput, ReadError};
use crate::migrate::MigrateError;
use crate::model::ModelError;
use crate::plan::WriteError;
use crate::prompts::PromptsError;
use crate::quantize::QuantizeError;
use crate::quantize::imatrix::ImportanceError;
use crate::set::SetError;
use crate::source::hub::HubError;
use crate::source::{NameError, SourceError};
use crate::split::SplitError;
use crate::storage::StorageError;
use crate::verify::VerifyError;
use std::io;
use std::path::{Path, PathBuf};

/// Any error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A conversion stopped.
    #[error(transparent)]
    Convert(Box<ConvertError>),
    /// A file could not be quantized.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    /// An importance matrix could not be read.
    #[error(transparent)]
    Importance(#[from] ImportanceError),
    /// A GGUF file could not be read.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A checkpoint could not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A planned file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A migration stopped.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// A file could not be split, or its parts not be put together.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// Metadata could not be changed.
    #[error(transparent)]
    Set(Box<SetError>),
    /// A verification could not be done.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A benchmark stopped.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// There is no advice.
    #[error(transparent)]
    Advise(#[from] AdviseError),
    /// A file could not be opened or read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ReadError,
    },
    /// A file changed while it was read.
    #[error(transparent)]
    Changed(#[from] ChangedInput),
    /// Words that name no model.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A model is not where its name leads.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A model could not be had from the Hub.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A model on disk could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A model holds no such value.
    #[error(transparent)]
    Get(GetError),
    /// A list of checksums holds none.
    #[error(
        "{}: no line is a checksum and a name; give what `gguf-conv hash` or sha256sum has written", path.display()
    )]
    NoList {
        /// The file.
        path: PathBuf,
    },
    /// A program that was to take the result did not.
    #[error("{0}")]
    Install(String),
    /// Threads could not be started.
    #[error("threads cannot be started: {0}; raise the limit of processes or of memory")]
    Threads(String),
    /// The command line asks for what cannot be.
    #[error("{0}")]
    Usage(String),
    /// The result could not be written to standard output.
    #[error("standard output: {0}")]
    Stdout(#[source] io::Error),
}

/// Whose fault an error is. Each has an exit code of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The command line.
    Usage,
    /// What a file holds.
    Input,
    /// Disk, permissions, memory.
    System,
}

impl Fault {
    /// In a word: `input`.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Usage => "usage",
            Fault::Input => "input",
            Fault::System => "system",
        }
    }

    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Fault::Usage => 2,
            Fault::Input => 3,
            Fault::System => 4,
        }
    }
}

impl From<ConvertError> for Error {
    fn from(error: ConvertError) -> Error {
        Error::Convert(Box::new(error))
    }
}

impl From<SetError> for Error {
    fn from(error: SetError) -> Error {
        Error::Set(Box::new(error))
    }
}

impl From<GetError> for Error {
    fn from(error: GetError) -> Error {
        match error {
            GetError::Storage(error) => Error::Storage(error),
            error => Error::Get(error),
        }
    }
}

impl Error {
    /// The file that it is about, where it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Error::Convert(error) => error.path(),
            Error::Quantize(error) => error.path(),
            Error::Importance(error) => error.path(),
            Error::Gguf(error) => Some(&error.path),
            Error::Checkpoint(error) => Some(&error.path),
            Error::Write(error) => error.path(),
            Error::Migrate(error) => error.path(),
            Error::Split(error) => error.path(),
            Error::Set(error) => error.path(),
            Error::Verify(error) => error.path(),
            Error::Storage(error) => error.path(),
            Error::Get(error) => error.path(),
            Error::Read { path, .. } | Error::NoList { path } => Some(path),
            Error::Bench(error) => error.path(),
            Error::Advise(error) => error.path(),
            Error::Source(error) => error.path(),
            Error::Hub(error) => error.path(),
            Error::Changed(ChangedInput { path }) => Some(path),
            Error::Threads(_) | Error::Usage(_) | Error::Name(_) | Error::Stdout(_) | Error::Install(_) => {
                None
            }
        }
    }

    /// Whether nothing is at the path that it is about.
    pub fn is_missing(&self) -> bool {
        match self {
            Error::Source(SourceError::NeitherPathNorModel { .. }) => true,
            error => matches!(error.read(), Some(ReadError::NotFound)),
        }
    }

    /// What kept a file from being read, where that is the cause.
    fn read(&self) -> Option<&ReadError> {
        match self {
            Error::Gguf(error)
            | Error::Importance(ImportanceError::Gguf(error))
            | Error::Migrate(MigrateError::Gguf(error) | MigrateError::Target(TargetError::Gguf(error)))
            | Error::Split(SplitError::Gguf(error))
            | Error::Quantize(QuantizeError::Gguf(error)) => error.read(),
            Error::Checkpoint(error) => error.read(),
            Error::Importance(ImportanceError::Read { source, .. }) | Error::Read { source, .. } => {
                Some(source)
            }
            Error::Convert(error) => error.read(),
            Error::Set(error) => error.read(),
            Error::Verify(error) => error.read(),
            Error::Storage(error) => error.read(),
            Error::Source(error) => error.read(),
            Error::Bench(error) => error.read(),
            Error::Advise(error) => error.read(),
            _ => None,
        }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        if let Some(error) = self.read() {
            return read_fault(error);
        }
        match self {
            Error::Usage(_) | Error::Name(_) | Error::Get(_) => Fault::Usage,
            Error::Stdout(_) | Error::Threads(_) | Error::Changed(_) | Error::Install(_) => Fault::System,
            Error::Quantize(
                QuantizeError::NoEncoder(_)
                | QuantizeError::TensorType { .. }
                | QuantizeError::NoImportance { given: false, .. },
            )
            | Error::Migrate(MigrateError::Dialect { .. }) => Fault::Usage,
            Error::Set(error) => set_fault(error),
            Error::Split(SplitError::TooMany { .. }) => Fault::Usage,
            Error::Convert(error) => convert_fault(error),
            Error::Write(WriteError::Output(error)) if error.is_system() => Fault::System,
            Error::Write(WriteError::Output(_)) => Fault::Usage,
            Error::Verify(error) => verify_fault(error),
            Error::Hub(error) => match error.is_system() {
                true => Fault::System,
                false => Fault::Input,
            },
            Error::Bench(error) => bench_fault(error),
            Error::Checkpoint(_)
            | Error::Write(_)
            | Error::NoList { .. }
            | Error::Gguf(_)
            | Error::Read { .. }
            | Error::Storage(_)
            | Error::Source(_)
            | Error::Advise(_)
            | Error::Importance(_)
            | Error::Migrate(_)
            | Error::Split(_)
            | Error::Quantize(_) => Fault::Input,
        }
    }
}

fn set_fault(error: &SetError) -> Fault {
    match error {
        SetError::Output(error) if error.is_system() => Fault::System,
        SetError::Output(_) => Fault::Usage,
        error if error.is_usage() => Fault::Usage,
        _ => Fault::Input,
    }
}

fn convert_fault(error: &ConvertError) -> Fault {
    match error {
        ConvertError::TokenizerWithoutTarget | ConvertError::NoImportance { .. } => Fault::Usage,
        _ => Fault::Input,
    }
}

fn verify_fault(error: &VerifyError) -> Fault {
    match error {
        VerifyError::Output(error) if error.is_system() => Fault::System,
        VerifyError::Output(_) | VerifyError::Option { .. } => Fault::Usage,
        VerifyError::Model(
            ModelError::EmptyPrompt
            | ModelError::ContextLength { .. }
            | ModelError::Token { .. }
            | ModelError::NoCentroids { .. },
        ) => Fault::Usage,
        _ => Fault::Input,
    }
}

fn bench_fault(error: &BenchError) -> Fault {
    match error {
        BenchError::Usage(_) | BenchError::OtherRun { .. } => Fault::Usage,
        BenchError::Start { source, .. } if source.kind() == io::ErrorKind::NotFound => Fault::Usage,
        BenchError::Output(OutputError::Io { .. } | OutputError::Changed(_)) => Fault::System,
        BenchError::Output(_) => Fault::Usage,
        BenchError::Status { .. }
        | BenchError::NotAModelServer { .. }
        | BenchError::TooLong { .. }
        | BenchError::Nothing { .. }
        | BenchError::BadRecord { .. }
        | BenchError::Prompts(PromptsError::Line { .. })
        | BenchError::BadReport { .. } => Fault::Input,
        _ => Fault::System,
    }
}

fn read_fault(error: &ReadError) -> Fault {
    match error.is_system() {
        true => Fault::System,
        false => Fault::Input,
    }
}
