//! What can go wrong with the Hub.

use crate::io::ReadError;
use crate::source::SourceError;
use std::io;
use std::path::{Path, PathBuf};

/// Why something is not had from the Hub. No message holds a token, or an address that is signed with one.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum HubError {
    #[error(
        "no connection is opened, for HF_HUB_OFFLINE is set; unset it, or take a model that is in the cache"
    )]
    Offline,
    #[error("HF_ENDPOINT is {0:?}, which is no address; give one like https://huggingface.co")]
    Endpoint(String),
    #[error(
        "the token of Hugging Face holds characters that no token has; set HF_TOKEN anew, or log in with `hf auth login`"
    )]
    Token,
    #[error("{host} cannot be reached: {message}; check the connection, and HF_ENDPOINT if that is set")]
    Unreachable { host: String, message: String },
    #[error(
        "{repository} is not there, or not for everyone; check the name, or log in with `hf auth login` (or set HF_TOKEN)"
    )]
    NoRepository { repository: String },
    #[error(
        "{repository} is given to those only who ask: accept its terms at {endpoint}/{repository}, then log in with \
         `hf auth login` (or set HF_TOKEN)"
    )]
    Gated { repository: String, endpoint: String },
    #[error("{repository} has no revision {revision}; check it on the page of the model")]
    NoRevision { repository: String, revision: String },
    #[error("{repository} has no file {file}; check it on the page of the model")]
    NoFile { repository: String, file: String },
    #[error(
        "the token of Hugging Face is not accepted; log in again with `hf auth login`, or unset HF_TOKEN"
    )]
    Refused,
    #[error("{host} has had too many requests{}; {}", after.as_ref().map(|s| format!(" (again in {s} s)")).unwrap_or_default(), if *known { "wait and run it again" } else { "wait, or log in with `hf auth login` (or set HF_TOKEN)" })]
    RateLimit {
        host: String,
        after: Option<u64>,
        /// Whether a token was sent.
        known: bool,
    },
    #[error("{host} answers with status {status}; try again later")]
    Status { host: String, status: u16 },
    #[error("{host} answers what is no answer of a Hub ({what}); check HF_ENDPOINT")]
    NoHub { host: String, what: String },
    #[error("{host} redirects {what}; nothing is fetched from there: check HF_ENDPOINT")]
    Redirect { host: String, what: &'static str },
    #[error("{host} sends whole files only, no parts of them; get the file with --download")]
    NoRanges { host: String },
    #[error(
        "{file}: the connection broke {times} times without a byte in between; run it again, it goes on where it stopped"
    )]
    Broken { file: String, times: u32 },
    #[error("{file} on the server is not the one that its repository lists; run it again")]
    Changed { file: String },
    #[error(
        "{file}: what came has another checksum than its repository lists, and was removed; run it again"
    )]
    Checksum { file: String },
    #[error(
        "{repository} lists a file {file:?}, which would lie outside its folder; nothing of it is fetched"
    )]
    Outside { repository: String, file: String },
    #[error(
        "{} has {free} bytes free, and {needed} are needed; make room, or set HF_HUB_CACHE to a folder elsewhere",
        folder.display()
    )]
    NoSpace { folder: PathBuf, free: u64, needed: u64 },
    #[error("there is no folder for the cache; set the variable HF_HOME")]
    NoCache,
    #[error("{}: {}", path.display(), crate::io::told(source))]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: ReadError },
    #[error(transparent)]
    Source(#[from] Box<SourceError>),
}

impl From<SourceError> for HubError {
    fn from(error: SourceError) -> HubError {
        HubError::Source(Box::new(error))
    }
}

impl HubError {
    /// The file that it is about, where it is about one here.
    pub fn path(&self) -> Option<&Path> {
        match self {
            HubError::Io { path, .. } | HubError::Read { path, .. } => Some(path),
            HubError::NoSpace { folder, .. } => Some(folder),
            HubError::Source(error) => error.path(),
            _ => None,
        }
    }

    /// Whether the system, the network or the server is at fault, and not what was asked for.
    pub fn is_system(&self) -> bool {
        match self {
            HubError::Offline
            | HubError::Endpoint(_)
            | HubError::Token
            | HubError::NoRepository { .. }
            | HubError::Gated { .. }
            | HubError::NoRevision { .. }
            | HubError::NoFile { .. }
            | HubError::Refused
            | HubError::NoHub { .. }
            | HubError::Redirect { .. }
            | HubError::NoRanges { .. }
            | HubError::Outside { .. }
            | HubError::NoCache
            | HubError::Source(_) => false,
            HubError::Read { source, .. } => source.is_system(),
            HubError::Unreachable { .. }
            | HubError::RateLimit { .. }
            | HubError::Status { .. }
            | HubError::Broken { .. }
            | HubError::Changed { .. }
            | HubError::Checksum { .. }
            | HubError::NoSpace { .. }
            | HubError::Io { .. } => true,
        }
    }
}
