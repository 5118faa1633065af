//! What can be wrong with the name of a model, and why it is not found.

use crate::io::ReadError;
use std::path::{Path, PathBuf};

/// Words that name no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum NameError {
    #[error("hf:{typed} {what}; give hf:ORG/NAME, hf:ORG/NAME@REVISION or hf:ORG/NAME:FILE")]
    Hub { typed: String, what: &'static str },
    #[error(
        "ollama:{0} is no name of a model; give ollama:NAME or ollama:NAME:TAG, as `ollama list` shows it"
    )]
    Ollama(String),
}

/// Why a model is not found.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum SourceError {
    #[error(
        "{name} is not in the cache of Hugging Face ({}); get it with --download, or check the name",
        cache.display()
    )]
    NotCached { name: String, cache: PathBuf },
    #[error(
        "{}: no such file or folder, and no model of this name in the cache of Hugging Face ({}); check the path, or get \
         the model with --download",
        typed.display(), cache.display()
    )]
    NeitherPathNorModel { typed: PathBuf, cache: PathBuf },
    #[error("{name}: its revision {revision} is not in the cache; {}", revisions(there))]
    Revision {
        name: String,
        revision: String,
        there: Vec<String>,
    },
    #[error("{name} has no {wanted}; {}", files(there))]
    NoFile {
        name: String,
        wanted: String,
        there: Vec<String>,
    },
    #[error("{name} has several files that fit; name one of them: {}", there.join(", "))]
    Several { name: String, there: Vec<String> },
    #[error("{name} is not in the store of Ollama ({}); {hint}", stores.iter().map(|s| s.display().to_string()).collect::<Vec<_>>().join(", "))]
    NotStored {
        name: String,
        stores: Vec<PathBuf>,
        hint: String,
    },
    #[error("{}: {what}; pull the model again with `ollama pull`", path.display())]
    Manifest { path: PathBuf, what: String },
    #[error("{name} has no {wanted}: {what}")]
    NoLayer {
        name: String,
        wanted: &'static str,
        what: String,
    },
    #[error("there is no home folder to look for {0} in; set the variable HOME")]
    NoHome(&'static str),
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: ReadError },
}

impl SourceError {
    /// Whether it may be had from elsewhere: what was named is none of what is here.
    pub fn is_missing_here(&self) -> bool {
        matches!(
            self,
            SourceError::NotCached { .. }
                | SourceError::NeitherPathNorModel { .. }
                | SourceError::Revision { .. }
                | SourceError::NoFile { .. }
        )
    }

    /// The file or folder that it is about, where it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            SourceError::NeitherPathNorModel { typed: path, .. }
            | SourceError::Manifest { path, .. }
            | SourceError::Read { path, .. } => Some(path),
            _ => None,
        }
    }

    /// What kept a file from being read, where that is the cause.
    pub(crate) fn read(&self) -> Option<&ReadError> {
        match self {
            SourceError::Read { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Most names that are told.
const TOLD: usize = 12;

fn listed(names: &[String]) -> String {
    let mut told: Vec<&str> = names.iter().take(TOLD).map(String::as_str).collect();
    let more = names.len().saturating_sub(TOLD);
    let more = (more > 0).then(|| format!("{more} more"));
    told.extend(more.as_deref());
    told.join(", ")
}

fn revisions(there: &[String]) -> String {
    match there {
        [] => "get it with --download".to_owned(),
        there => format!("there are {}", listed(there)),
    }
}

fn files(there: &[String]) -> String {
    match there {
        [] => "it has no files of weights here: get them with --download, or check the name".to_owned(),
        there => format!("there are {}; name one, or get it with --download", listed(there)),
    }
}
