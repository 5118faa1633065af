//! The store of Ollama: `manifests/HOST/NAMESPACE/MODEL/TAG`, JSON whose layers lie in `blobs/sha256-DIGEST`.
//!
//! Format and names: Ollama's `types/model`, `manifest` and its documentation of the registry.

use super::error::{NameError, SourceError};
use super::places::Places;
use crate::io::kind::Wanted;
use crate::io::{Inputs, TextLimit};
use crate::text::nearest;
use serde::Deserialize;
use std::fmt;
use std::path::{Path, PathBuf};

const HOST: &str = "registry.ollama.ai";
const NAMESPACE: &str = "library";
const TAG: &str = "latest";
/// What stands in front of the kind of a layer.
const MEDIA_TYPE: &str = "application/vnd.ollama.image.";

/// The name of a model: `[[HOST/]NAMESPACE/]MODEL[:TAG]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OllamaName {
    host: String,
    namespace: String,
    model: String,
    tag: String,
}

impl OllamaName {
    /// Reads a name; what is not named is `registry.ollama.ai`, `library` and `latest`.
    pub(super) fn parse(text: &str) -> Result<OllamaName, NameError> {
        let wrong = || NameError::Ollama(text.to_owned());
        // A host may have a port, so that the tag is what follows the last slash.
        let (path, tag) = match text.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, tag),
            _ => (text, TAG),
        };
        let parts: Vec<&str> = path.split('/').collect();
        let (host, namespace, model) = match parts.as_slice() {
            [model] => (HOST, NAMESPACE, *model),
            [namespace, model] => (HOST, *namespace, *model),
            [host, namespace, model] => (*host, *namespace, *model),
            _ => return Err(wrong()),
        };
        let name = OllamaName {
            host: host.to_owned(),
            namespace: namespace.to_owned(),
            model: model.to_owned(),
            tag: tag.to_owned(),
        };
        // Only a host has a port.
        let is_name = |text: &str| is_part(text) && !text.contains(':');
        match is_part(host) && [namespace, model, tag].into_iter().all(is_name) {
            true => Ok(name),
            false => Err(wrong()),
        }
    }

    /// What a file made of the model may be called.
    pub(super) fn file_name(&self) -> String {
        format!("{}-{}.gguf", self.model, self.tag)
    }

    /// Ollama takes names for the same that differ in case only.
    pub(crate) fn is(&self, other: &OllamaName) -> bool {
        let parts = |name: &OllamaName| {
            [&name.host, &name.namespace, &name.model, &name.tag].map(|part| part.to_lowercase())
        };
        parts(self) == parts(other)
    }
}

/// The shortest form that means the same, as `ollama list` shows it.
impl fmt::Display for OllamaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host != HOST {
            write!(f, "{}/", self.host)?;
        }
        if self.host != HOST || self.namespace != NAMESPACE {
            write!(f, "{}/", self.namespace)?;
        }
        write!(f, "{}:{}", self.model, self.tag)
    }
}

/// Whether this can be a part of a name, none of which leads out of a folder.
fn is_part(text: &str) -> bool {
    (1..=350).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ['-', '_', '.', ':'].contains(&c))
}

/// A model in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its name.
    pub name: OllamaName,
    /// Where its manifest lies.
    path: PathBuf,
    store: PathBuf,
}

#[derive(Deserialize)]
struct Layers {
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    #[serde(rename = "mediaType")]
    media_type: String,
    digest: String,
}

impl Manifest {
    /// The blobs of all layers of a kind (`model`, `draft`, `projector`, `adapter`).
    pub fn blobs(&self, inputs: &Inputs, kind: &str) -> Result<Vec<PathBuf>, SourceError> {
        let layers = self.layers(inputs)?;
        let of_kind = layers.iter().filter(|layer| layer.kind() == Some(kind));
        of_kind.map(|layer| self.blob(layer)).collect()
    }

    fn layers(&self, inputs: &Inputs) -> Result<Vec<Layer>, SourceError> {
        let text = inputs.text(&self.path, TextLimit::SETTINGS);
        let text = text.map_err(|source| SourceError::Read {
            path: self.path.clone(),
            source,
        })?;
        let layers: Result<Layers, _> = serde_json::from_str(&text);
        layers
            .map(|manifest| manifest.layers)
            .map_err(|error| self.wrong(format!("no manifest of Ollama: {error}")))
    }

    fn blob(&self, layer: &Layer) -> Result<PathBuf, SourceError> {
        let digest = layer
            .digest
            .strip_prefix("sha256:")
            .filter(|digest| digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(digest) = digest else {
            return Err(self.wrong(format!("{:?} is no digest", layer.digest)));
        };
        Ok(self.store.join("blobs").join(format!("sha256-{digest}")))
    }

    fn wrong(&self, what: String) -> SourceError {
        let path = self.path.clone();
        SourceError::Manifest { path, what }
    }
}

impl Layer {
    /// The last word of its media type, without parameters.
    fn kind(&self) -> Option<&str> {
        self.media_type.strip_prefix(MEDIA_TYPE)?.split(';').next()
    }
}

/// What is wanted of a model, in the first store that has it.
pub(super) fn find(
    inputs: &Inputs,
    places: &Places,
    name: &OllamaName,
    wanted: Wanted,
) -> Result<PathBuf, SourceError> {
    if places.ollama.is_empty() {
        return Err(SourceError::NoHome("models of Ollama"));
    }
    let models: Vec<Manifest> = places
        .ollama
        .iter()
        .flat_map(|store| stored_models(store))
        .collect();
    // As it is spelled first: a file system may tell apart what Ollama does not.
    let spelled = models.iter().find(|model| model.name == *name);
    let Some(model) = spelled.or_else(|| models.iter().find(|model| model.name.is(name))) else {
        return Err(SourceError::NotStored {
            name: name.to_string(),
            stores: places.ollama.clone(),
            hint: hint(name, &models),
        });
    };
    let (kind, what) = match wanted {
        Wanted::Drafter => ("draft", "drafter"),
        Wanted::Checkpoint => ("checkpoint", "checkpoint"),
        Wanted::Target | Wanted::Gguf | Wanted::Weights => ("model", "GGUF"),
    };
    if let [blob] = model.blobs(inputs, kind)?.as_slice() {
        return Ok(blob.clone());
    }
    let kinds: Vec<String> = model
        .layers(inputs)?
        .iter()
        .filter_map(|layer| layer.kind().map(str::to_owned))
        .collect();
    let has = |kind: &str| kinds.iter().any(|known| known == kind);
    let what_instead = match wanted {
        Wanted::Drafter => "its Modelfile names no DRAFT; give the drafter's own GGUF",
        Wanted::Checkpoint => "Ollama keeps GGUF; give the checkpoint of the drafter",
        _ if has("tensor") => "its tensors are stored one by one (MLX); pull the model in GGUF",
        _ if has("model") => "it has several; name the file itself in its store",
        _ => "it runs elsewhere; pull a model that runs here",
    };
    Err(SourceError::NoLayer {
        name: format!("ollama:{}", model.name),
        wanted: what,
        what: what_instead.to_owned(),
    })
}

fn hint(name: &OllamaName, models: &[Manifest]) -> String {
    let names: Vec<String> = models.iter().map(|model| model.name.to_string()).collect();
    let same_model: Vec<&str> = models
        .iter()
        .zip(&names)
        .filter(|(model, _)| model.name.model == name.model)
        .map(|(_, name)| name.as_str())
        .collect();
    if !same_model.is_empty() {
        return format!("there are {}", same_model.join(", "));
    }
    let near = nearest(&name.to_string(), names.iter().map(String::as_str));
    format!("get it with `ollama pull {name}`; there are: {near}")
}

/// The models of a store, in order of name. What is no manifest by its place is passed over.
pub fn stored_models(store: &Path) -> Vec<Manifest> {
    let manifests = store.join("manifests");
    let mut models = Vec::new();
    for (host, folder) in entries(&manifests) {
        for (namespace, folder) in entries(&folder) {
            for (model, folder) in entries(&folder) {
                for (tag, path) in entries(&folder) {
                    let name = OllamaName {
                        host: host.clone(),
                        namespace: namespace.clone(),
                        model: model.clone(),
                        tag,
                    };
                    let store = store.to_owned();
                    models.push(Manifest { name, path, store });
                }
            }
        }
    }
    models.sort_by(|a, b| a.name.cmp(&b.name));
    models
}

/// What is in a folder and can be a part of a name.
fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let named = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        is_part(&name).then(|| (name, entry.path()))
    };
    entries.filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_is_as_ollama_has_it() {
        let full = |text: &str| {
            let name = OllamaName::parse(text).unwrap();
            [name.host, name.namespace, name.model, name.tag].join("|")
        };
        assert_eq!(full("gemma4"), "registry.ollama.ai|library|gemma4|latest");
        assert_eq!(full("gemma4:e4b"), "registry.ollama.ai|library|gemma4|e4b");
        assert_eq!(full("me/gemma4"), "registry.ollama.ai|me|gemma4|latest");
        assert_eq!(full("hf.co/a/b:Q4_K_M"), "hf.co|a|b|Q4_K_M");
        assert_eq!(full("localhost:5000/a/b"), "localhost:5000|a|b|latest");
        let shown = |text: &str| OllamaName::parse(text).unwrap().to_string();
        assert_eq!(shown("gemma4"), "gemma4:latest");
        assert_eq!(shown("hf.co/a/b:Q4_K_M"), "hf.co/a/b:Q4_K_M");
    }
}
