//! The Hugging Face Hub: what a repository holds, ranges of its files, and downloads into the cache.
//!
//! The only connections are those of [`Hub`], to its endpoint and to where that redirects. Interfaces:
//! <https://huggingface.co/docs/hub/api>, and how huggingface_hub 1.x uses them.

mod access;
mod download;
mod error;
mod http;
mod repository;

pub use access::{Access, Token};
pub use download::{Event, Watcher};
pub use error::HubError;
pub use repository::{Checksum, RemoteFile, RepoFile, Repository};

use super::HubName;
use super::pick;
use crate::io::kind::Wanted;
use http::Http;
use std::sync::Arc;

/// The Hub, at its endpoint.
#[derive(Debug, Clone)]
pub struct Hub(Arc<Http>);

impl Hub {
    /// Opens no connection yet. Refused where the environment says that there is none.
    pub fn new(access: &Access) -> Result<Hub, HubError> {
        Ok(Hub(Arc::new(Http::new(access)?)))
    }

    /// What a repository holds at a revision.
    pub fn repository(&self, name: &HubName) -> Result<Repository, HubError> {
        Repository::ask(&self.0, name)
    }

    /// A file, whose ranges can be read.
    pub fn file(&self, repository: &Repository, file: &RepoFile) -> RemoteFile {
        RemoteFile::new(self.0.clone(), repository, file)
    }
}

impl Repository {
    /// The files that are needed of it: a GGUF with the other parts of it, if it is split, or a checkpoint's.
    pub fn needed(&self, name: &HubName, wanted: Wanted) -> Result<Vec<&RepoFile>, HubError> {
        let paths: Vec<String> = self.files.iter().map(|file| file.path.clone()).collect();
        let needed = match pick::pick(name, &paths, wanted)? {
            Some(file) => pick::parts(&file, &paths),
            None => paths.into_iter().filter(|path| is_of_checkpoint(path)).collect(),
        };
        let is_needed = |file: &&RepoFile| needed.contains(&file.path);
        Ok(self.files.iter().filter(is_needed).collect())
    }
}

/// Whether a file belongs to a checkpoint as it is read here: weights, settings, tokenizer, model card, all at the top.
fn is_of_checkpoint(path: &str) -> bool {
    const ENDINGS: [&str; 4] = [".safetensors", ".json", ".jinja", "README.md"];
    !path.contains('/') && ENDINGS.iter().any(|ending| path.ends_with(ending))
}
