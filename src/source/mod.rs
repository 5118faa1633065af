//! What a user may call a model by, the same in every command, and where it lies on this machine: a path, a model of the
//! Hugging Face Hub in its cache, a model of Ollama in its store.

mod cache;
mod error;
pub mod hub;
mod hub_name;
mod ollama;
mod pick;
mod places;

pub use cache::{CachedModel, cached_models};
pub(crate) use cache::{NoSnapshot, SnapshotError, is_file_name, snapshot};
pub use error::{NameError, SourceError};
pub use hub_name::{HubFile, HubName};
pub use ollama::{Manifest, OllamaName, stored_models};
pub use places::Places;

use crate::io::Inputs;
use crate::io::kind::Wanted;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A model as the user named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    typed: PathBuf,
    meaning: Meaning,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning {
    /// A path, and the model of the Hub that the same words name where nothing is at the path.
    Path(Option<HubName>),
    Hub(HubName),
    Ollama(OllamaName),
}

impl Source {
    /// Reads `ollama:NAME[:TAG]`, `hf:ORG/NAME[@REV][:FILE or quantization]` (also as an address of the Hub),
    /// `ORG/NAME[@REV]`, or a path. A file whose name begins with such a prefix is `./hf:…`.
    pub fn parse(typed: impl Into<OsString>) -> Result<Source, NameError> {
        let typed = PathBuf::from(typed.into());
        let Some(text) = typed.to_str() else {
            return Ok(Source::from(typed));
        };
        let meaning = if let Some(name) = text.strip_prefix("ollama:") {
            Meaning::Ollama(OllamaName::parse(name)?)
        } else if let Some(name) = text.strip_prefix("hf:") {
            Meaning::Hub(HubName::parse(name)?)
        } else if let Some(name) = HubName::of_address(text) {
            Meaning::Hub(name?)
        } else {
            Meaning::Path(HubName::bare(text))
        };
        Ok(Source { typed, meaning })
    }

    /// As it was typed.
    pub fn typed(&self) -> &Path {
        &self.typed
    }

    /// What the model's file may be called, where its own name is a checksum.
    pub fn file_name(&self) -> Option<String> {
        match &self.meaning {
            Meaning::Ollama(name) => Some(name.file_name()),
            Meaning::Path(_) | Meaning::Hub(_) => None,
        }
    }

    /// The model of the Hub that it names, or would where nothing is at the path.
    pub fn hub_name(&self) -> Option<&HubName> {
        match &self.meaning {
            Meaning::Path(name) => name.as_ref(),
            Meaning::Hub(name) => Some(name),
            Meaning::Ollama(_) => None,
        }
    }

    /// The model of Ollama that it names.
    pub fn ollama_name(&self) -> Option<&OllamaName> {
        match &self.meaning {
            Meaning::Ollama(name) => Some(name),
            Meaning::Path(_) | Meaning::Hub(_) => None,
        }
    }

    /// Whether it says that it is of the Hub.
    pub fn asks_the_hub(&self) -> bool {
        matches!(self.meaning, Meaning::Hub(_))
    }

    /// Where it lies on this machine, as what is `wanted` of it: a path is what it is; of a model of the Hub it is the
    /// snapshot's folder or a file in it; of a model of Ollama the blob.
    pub fn find(&self, inputs: &Inputs, places: &Places, wanted: Wanted) -> Result<PathBuf, SourceError> {
        let is_there = || self.typed.symlink_metadata().is_ok();
        match &self.meaning {
            Meaning::Path(None) => Ok(self.typed.clone()),
            Meaning::Path(Some(_)) if is_there() => Ok(self.typed.clone()),
            Meaning::Path(Some(name)) => match cache::find(inputs, places, name, wanted) {
                Err(SourceError::NotCached { cache, .. }) => Err(SourceError::NeitherPathNorModel {
                    typed: self.typed.clone(),
                    cache,
                }),
                found => found,
            },
            Meaning::Hub(name) => cache::find(inputs, places, name, wanted),
            Meaning::Ollama(name) => ollama::find(inputs, places, name, wanted),
        }
    }
}

/// A path, whatever it looks like.
impl From<PathBuf> for Source {
    fn from(typed: PathBuf) -> Source {
        let meaning = Meaning::Path(None);
        Source { typed, meaning }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_and_shapes_tell_what_is_meant() {
        let meaning = |text: &str| Source::parse(text).unwrap().meaning;
        assert!(matches!(meaning("ollama:gemma4:e4b"), Meaning::Ollama(_)));
        assert!(matches!(meaning("hf:google/gemma-4-E4B-it"), Meaning::Hub(_)));
        for address in [
            "https://huggingface.co/google/gemma-4-E4B-it",
            "hf.co/google/gemma-4-E4B-it",
        ] {
            assert!(matches!(meaning(address), Meaning::Hub(_)), "{address}");
        }
        for bare in ["google/gemma-4-E4B-it", "google/gemma-4-E4B-it@main"] {
            assert!(matches!(meaning(bare), Meaning::Path(Some(_))), "{bare}");
        }
        for path in [
            "drafter.gguf",
            "models/drafter.gguf",
            "models/model.safetensors",
            "./google/gemma",
            "/google/gemma",
            "../gemma",
            "~/gemma",
            "a/b/c",
            "a/",
            "C:\\models\\d.gguf",
            "./hf:google/gemma",
        ] {
            assert_eq!(meaning(path), Meaning::Path(None), "{path}");
        }
    }

    #[test]
    fn a_wrong_name_is_told() {
        for wrong in [
            "hf:",
            "hf:gemma",
            "hf:google/",
            "hf:../x",
            "hf:a/b/c",
            "hf:a/b:../../x",
            "hf:a/b:/etc/passwd",
            "hf:a/b:c\\d",
            "hf:a/b@../x",
            "hf:a/b@",
            "hf:a/b:",
            "ollama:",
            "ollama:../x",
            "ollama:a/../b",
            "ollama:a:b/c",
            "ollama:a b",
            "ollama:/a",
        ] {
            assert!(Source::parse(wrong).is_err(), "{wrong}");
        }
    }
}
