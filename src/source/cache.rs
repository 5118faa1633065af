//! The cache of the Hugging Face Hub: `models--ORG--NAME/snapshots/COMMIT/FILE`, links to `blobs/`, with the commit of
//! each revision in `refs/REVISION`.
//!
//! Layout: <https://huggingface.co/docs/huggingface_hub/guides/manage-cache>.

use super::error::SourceError;
use super::hub_name::{HubFile, HubName, is_inner_path};
use super::pick;
use super::places::Places;
use crate::io::kind::Wanted;
use crate::io::{Inputs, ReadError, TextLimit};
use std::path::{Component, Path, PathBuf};

/// How deep files may lie in a snapshot.
const MAX_DEPTH: usize = 6;

/// Why a revision of a model has no snapshot.
#[derive(Debug)]
pub(crate) struct NoSnapshot {
    /// What the revision stands for, where that is known.
    pub commit: Option<String>,
    /// The snapshots that there are.
    pub there: Vec<String>,
}

/// Why a snapshot is not found.
#[derive(Debug)]
pub(crate) enum SnapshotError {
    None(NoSnapshot),
    Read(PathBuf, ReadError),
}

/// The snapshot of a model's folder for a revision: what `refs/` says, a snapshot of this name, or, without any refs, the
/// only one there is.
pub(crate) fn snapshot(inputs: &Inputs, folder: &Path, revision: &str) -> Result<PathBuf, SnapshotError> {
    let snapshots = folder.join("snapshots");
    let reference = folder.join("refs").join(revision);
    let commit = match inputs.text(&reference, TextLimit::SETTINGS) {
        Ok(commit) => Some(commit.trim().to_owned()),
        Err(ReadError::NotFound) => None,
        Err(error) => return Err(SnapshotError::Read(reference, error)),
    };
    // Either is one plain name, whatever the file says.
    for name in commit.iter().map(String::as_str).chain([revision]) {
        let path = snapshots.join(name);
        if is_file_name(name) && path.is_dir() {
            return Ok(path);
        }
    }
    let entries = match std::fs::read_dir(&snapshots) {
        Ok(entries) => entries,
        Err(error) => return Err(SnapshotError::Read(snapshots, error.into())),
    };
    let mut there: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    there.sort();
    match (&commit, there.as_slice()) {
        (None, [only]) if revision == "main" => Ok(only.clone()),
        _ => {
            let name = |path: &PathBuf| Some(path.file_name()?.to_string_lossy().into_owned());
            let there = there.iter().filter_map(name).collect();
            Err(SnapshotError::None(NoSnapshot { commit, there }))
        }
    }
}

/// Whether a name from elsewhere stays in its folder: one plain component, no separator of any system.
pub(crate) fn is_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let first_is_plain = matches!(components.next(), Some(Component::Normal(_)));
    first_is_plain && components.next().is_none() && !name.contains(['/', '\\'])
}

/// What is wanted of a model, in the cache.
pub(super) fn find(
    inputs: &Inputs,
    places: &Places,
    name: &HubName,
    wanted: Wanted,
) -> Result<PathBuf, SourceError> {
    let cache = places
        .hub
        .as_ref()
        .ok_or(SourceError::NoHome("models of the Hub"))?;
    let folder = cache.join(name.folder());
    if !folder.join("snapshots").is_dir() {
        return Err(SourceError::NotCached {
            name: name.to_string(),
            cache: cache.clone(),
        });
    }
    let snapshot = snapshot(inputs, &folder, name.revision()).map_err(|error| match error {
        SnapshotError::Read(path, source) => SourceError::Read { path, source },
        SnapshotError::None(NoSnapshot { there, .. }) => SourceError::Revision {
            name: name.to_string(),
            revision: name.revision().to_owned(),
            there,
        },
    })?;
    if let Some(HubFile::Path(file)) = name.file() {
        let path = snapshot.join(file);
        // A link that leads nowhere is told by whoever opens it.
        if path.symlink_metadata().is_ok() {
            return Ok(path);
        }
    }
    let files = files(&snapshot);
    let picked = pick::pick(name, &files, wanted)?;
    Ok(picked.map_or_else(|| snapshot.clone(), |file| snapshot.join(file)))
}

/// The files in a snapshot, relative to it, with `/`, in order of name.
fn files(snapshot: &Path) -> Vec<String> {
    let mut files = Vec::new();
    collect(snapshot, "", 0, &mut files);
    files.sort();
    files
}

fn collect(folder: &Path, front: &str, depth: usize, files: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let name = format!("{front}{name}");
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && depth < MAX_DEPTH {
            collect(&entry.path(), &format!("{name}/"), depth + 1, files);
        } else if !is_folder && is_inner_path(&name) {
            files.push(name);
        }
    }
}

/// A model in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedModel {
    /// `ORG/NAME`.
    pub repository: String,
    /// Its snapshot's folder.
    pub snapshot: PathBuf,
    /// The files in it, in order of name.
    pub files: Vec<String>,
}

/// The models in a cache, each with the snapshot that `main` stands for, in order of name.
pub fn cached_models(inputs: &Inputs, cache: &Path) -> Vec<CachedModel> {
    let entries = std::fs::read_dir(cache).into_iter().flatten().flatten();
    let model = |entry: std::fs::DirEntry| {
        let folder = entry.file_name().into_string().ok()?;
        let (org, name) = folder.strip_prefix("models--")?.split_once("--")?;
        let snapshot = snapshot(inputs, &entry.path(), "main").ok()?;
        Some(CachedModel {
            repository: format!("{org}/{name}"),
            files: files(&snapshot),
            snapshot,
        })
    };
    let mut models: Vec<CachedModel> = entries.filter_map(model).collect();
    models.sort_by(|a, b| a.repository.cmp(&b.repository));
    models
}
