//! The error for an input that did not stay what it was.

use std::path::PathBuf;

/// A file that changed while it was read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} changed while it was read; run it again when nothing writes to it", path.display())]
pub struct ChangedInput {
    /// The file.
    pub path: PathBuf,
}
