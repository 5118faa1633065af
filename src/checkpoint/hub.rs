//! The cache of Hugging Face: `models--ORG--NAME/snapshots/REVISION`, with the newest revision in `refs/main`.

use super::error::{CheckpointError, CheckpointErrorKind};
use super::file_name;
use crate::io::{Inputs, ReadError, TextLimit};
use std::path::{Path, PathBuf};

/// The snapshot that a model's folder in the cache stands for; `None` where `folder` is no such folder.
pub(super) fn snapshot(inputs: &Inputs, folder: &Path) -> Result<Option<PathBuf>, CheckpointError> {
    let snapshots = folder.join("snapshots");
    if !file_name(folder).starts_with("models--") || !snapshots.is_dir() {
        return Ok(None);
    }
    let main = folder.join("refs").join("main");
    let revision = match inputs.text(&main, TextLimit::SETTINGS) {
        Ok(revision) => Some(revision.trim().to_owned()),
        Err(ReadError::NotFound) => None,
        Err(error) => return Err(CheckpointError::new(main, error)),
    };
    // A revision is one plain name, whatever the file says.
    let named = revision
        .as_ref()
        .filter(|name| super::shards::is_plain_name(name));
    if let Some(snapshot) = named
        .map(|name| snapshots.join(name))
        .filter(|path| path.is_dir())
    {
        return Ok(Some(snapshot));
    }
    let fail = |kind: CheckpointErrorKind| CheckpointError::new(folder, kind);
    let entries = std::fs::read_dir(&snapshots).map_err(|e| fail(ReadError::from(e).into()))?;
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.sort();
    match (revision, found.as_slice()) {
        (None, [only]) => Ok(Some(only.clone())),
        (revision, found) => {
            let snapshots = found.iter().map(|path| file_name(path)).collect();
            Err(fail(CheckpointErrorKind::HubCache { revision, snapshots }))
        }
    }
}
