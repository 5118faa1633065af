//! What can go wrong in a benchmark, by whose fault it is.

use crate::io::ReadError;
use crate::io::output::OutputError;
use crate::prompts::PromptsError;
use std::io;
use std::path::{Path, PathBuf};

/// Why a benchmark stopped. Calls made until then are kept.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum BenchError {
    #[error("{url} cannot be reached ({message}); start the server there, or correct the address")]
    Unreachable { url: String, message: String },
    #[error(
        "{url} did not answer within {seconds} s; look at the server's log, or allow more time with --timeout"
    )]
    TimedOut { url: String, seconds: u64 },
    #[error("{url} broke off its answer ({message}); look at the server's log")]
    BrokenOff { url: String, message: String },
    #[error("{url} answered {status}: {message}; {hint}")]
    Status {
        url: String,
        status: u16,
        message: String,
        hint: &'static str,
    },
    #[error("{url} answered {found}, which no model server does; {hint}")]
    NotAModelServer {
        url: String,
        found: String,
        hint: &'static str,
    },
    #[error(
        "{url}: the prompt is longer than the context ({message}); give the server more, or leave out lengths of --context"
    )]
    TooLong { url: String, message: String },
    #[error("{url} generated nothing for a prompt of kind {kind}; see whether it answers at all")]
    Nothing { url: String, kind: String },
    #[error("{} cannot be started: {source}; give the path of llama-server", program.display())]
    Start { program: PathBuf, source: io::Error },
    #[error("server \"{label}\" stopped ({status}): {lines}; its log is {}", log.display())]
    Died {
        label: String,
        status: String,
        lines: String,
        log: PathBuf,
    },
    #[error("server \"{label}\" was not ready within {seconds} s; see {}, or allow more time with --start-timeout", log.display())]
    NotReady {
        label: String,
        seconds: u64,
        log: PathBuf,
    },
    #[error("stopped by a signal; {}", match .kept {
        Some(path) => format!("the calls so far are in {}, go on with --resume", path.display()),
        None => "pass --jsonl FILE to keep calls and --resume to go on".to_owned(),
    })]
    Interrupted { kept: Option<PathBuf> },
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: ReadError },
    #[error(transparent)]
    Prompts(#[from] PromptsError),
    #[error("{}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{}: line {line}: {message}; give the JSONL of a benchmark, or of Ollama's answers", path.display())]
    BadRecord {
        path: PathBuf,
        line: usize,
        message: String,
    },
    #[error("{}: {message}; give what `verify --json` wrote", path.display())]
    BadReport { path: PathBuf, message: String },
    #[error("{}: {message}; finish it as it was begun, or begin another file", path.display())]
    OtherRun { path: PathBuf, message: String },
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("{0}")]
    Usage(String),
}

impl BenchError {
    /// The file that it is about, where it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            BenchError::Start { program: path, .. }
            | BenchError::Died { log: path, .. }
            | BenchError::NotReady { log: path, .. }
            | BenchError::Read { path, .. }
            | BenchError::Write { path, .. }
            | BenchError::BadRecord { path, .. }
            | BenchError::BadReport { path, .. }
            | BenchError::OtherRun { path, .. } => Some(path),
            BenchError::Output(error) => error.path(),
            BenchError::Prompts(error) => Some(error.path()),
            _ => None,
        }
    }

    /// Why a file cannot be read, where that is the cause.
    pub fn read(&self) -> Option<&ReadError> {
        match self {
            BenchError::Read { source, .. } | BenchError::Prompts(PromptsError::Read { source, .. }) => {
                Some(source)
            }
            _ => None,
        }
    }
}
