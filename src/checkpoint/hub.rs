//! A model's folder in the cache of Hugging Face, given as a checkpoint: it stands for one of its snapshots.

use super::error::{CheckpointError, CheckpointErrorKind};
use super::file_name;
use crate::io::Inputs;
use crate::source::{self, NoSnapshot, SnapshotError};
use std::path::{Path, PathBuf};

/// The snapshot that a model's folder in the cache stands for; `None` where `folder` is no such folder.
pub(super) fn snapshot(inputs: &Inputs, folder: &Path) -> Result<Option<PathBuf>, CheckpointError> {
    if !file_name(folder).starts_with("models--") || !folder.join("snapshots").is_dir() {
        return Ok(None);
    }
    let found = source::snapshot(inputs, folder, "main");
    found.map(Some).map_err(|error| match error {
        SnapshotError::Read(path, error) => CheckpointError::new(path, error),
        SnapshotError::None(NoSnapshot { commit, there }) => {
            let kind = CheckpointErrorKind::HubCache {
                revision: commit,
                snapshots: there,
            };
            CheckpointError::new(folder, kind)
        }
    })
}
