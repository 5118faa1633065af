//! The `general.*` keys: what the model is called and where it comes from, worked out from the folder's name, the model
//! card and `generation_config.json` as llama.cpp's converter does (gguf-py `metadata.py`, October 2026).

use super::card::Card;
use super::fields::{SAMPLING, whole};
use super::model_id::{ModelId, size_label_of, title};
use crate::checkpoint::{CheckpointError, CheckpointHead};
use crate::gguf::{Array, Metadata, Value};
use crate::plan::PlannedTensor;
use serde_json::Value as Json;
use std::path::{Component, Path};
use std::sync::Arc;

/// Keys that a model card can fill: `general.` key, the card's names for it.
const FROM_CARD: [(&str, &[&str]); 15] = [
    ("name", &["name", "model_name"]),
    ("author", &["author", "model_author", "model_creator"]),
    ("version", &["version", "model_version"]),
    ("organization", &["organization", "model_organization"]),
    ("finetune", &["finetune", "model_finetune"]),
    ("basename", &["basename", "model_basename", "model_type"]),
    ("description", &["description", "model_description"]),
    ("size_label", &["size_label", "model_size_label"]),
    ("license", &[]),
    ("license.name", &["license_name"]),
    ("license.link", &["license_link"]),
    ("source.url", &["url", "model_url"]),
    ("source.doi", &["doi", "model_doi"]),
    ("source.uuid", &["uuid", "model_uuid"]),
    ("source.repo_url", &["repo_url", "model_repo_url"]),
];

/// What the folder, the model card and the configs say of a model.
#[derive(Debug)]
pub(super) struct General {
    card: Card,
    generation: Option<Arc<Json>>,
    /// `_name_or_path` of `config.json`, where it is a name.
    config_name: Option<String>,
    folder_name: String,
}

impl General {
    /// Reads the files beside the weights.
    pub(super) fn read(checkpoint: &CheckpointHead) -> Result<General, CheckpointError> {
        let card = checkpoint
            .text("README.md")?
            .map(|text| Card::parse(&text))
            .unwrap_or_default();
        let config_name = checkpoint
            .config()?
            .and_then(|config| config.get("_name_or_path")?.as_str().map(str::to_owned))
            .filter(|name| !name.is_empty() && name.matches('/').count() <= 1);
        let generation = checkpoint.json("generation_config.json")?;
        Ok(General {
            card,
            generation,
            config_name,
            folder_name: model_name(checkpoint.path()),
        })
    }

    /// `generation_config.json`, where it was there.
    pub(super) fn generation(&self) -> Option<&Json> {
        self.generation.as_deref()
    }

    /// The folder's name (of the file, where it has one of its own), as it is.
    pub(super) fn folder_name(&self) -> &str {
        &self.folder_name
    }

    /// Writes the keys for a model of these tensors.
    pub(super) fn write(&self, metadata: &mut Metadata, tensors: &[PlannedTensor]) {
        let parameters = tensors.iter().map(PlannedTensor::elements).sum();
        self.write_sampling(metadata);

        let mut fields: Vec<(&str, Option<String>)> = FROM_CARD
            .iter()
            .map(|(key, names)| (*key, names.iter().find_map(|name| self.card.text(name))))
            .collect();
        let mut fill = |key: &str, value: Option<String>| {
            if let Some((_, slot @ None)) = fields.iter_mut().find(|(known, _)| *known == key) {
                *slot = value.filter(|text| !text.is_empty());
            }
        };
        fill("license", self.card.list("license").map(|names| names.join(",")));
        for name in self.config_name.iter().chain([&self.folder_name]) {
            let id = ModelId::parse(name, parameters);
            fill("name", Some(title(&id.name)));
            fill("organization", id.organization);
            fill("basename", id.basename);
            fill("finetune", id.finetune);
            fill("version", id.version);
            fill("size_label", id.size_label);
        }
        fill("size_label", Some(size_label_of(tensors)));
        for (key, value) in fields {
            if let Some(value) = value {
                metadata.set(format!("general.{key}"), value.as_str());
            }
        }

        self.write_origins(
            metadata,
            "base_model",
            &["base_model", "base_models", "base_model_sources"],
            parameters,
        );
        self.write_origins(
            metadata,
            "dataset",
            &["datasets", "dataset", "dataset_sources"],
            parameters,
        );
        self.write_list(metadata, "tags", &["tags", "pipeline_tag"]);
        self.write_list(metadata, "languages", &["languages", "language"]);
    }

    fn write_sampling(&self, metadata: &mut Metadata) {
        let Some(generation) = &self.generation else {
            return;
        };
        if let Some(sequence) = generation.get("sequence").and_then(Json::as_str) {
            metadata.set("general.sampling.sequence", sequence);
        }
        for (key, names, is_whole) in SAMPLING {
            let value = |name: &&str| {
                let number = generation.get(*name)?;
                match is_whole {
                    true => whole(number).map(Value::I32),
                    false => number.as_f64().map(|number| Value::F32(number as f32)),
                }
            };
            if let Some(value) = names.iter().find_map(value) {
                metadata.set(format!("general.sampling.{key}"), value);
            }
        }
    }

    /// The models or data sets that the card says this model was made from.
    fn write_origins(&self, metadata: &mut Metadata, kind: &str, names: &[&str], parameters: u64) {
        let Some(origins) = names.iter().find_map(|name| self.card.list(name)) else {
            return;
        };
        metadata.set(format!("general.{kind}.count"), origins.len() as u32);
        for (i, origin) in origins.iter().enumerate() {
            let mut set = |key: &str, value: Option<String>| {
                if let Some(value) = value {
                    metadata.set(format!("general.{kind}.{i}.{key}"), value.as_str());
                }
            };
            let is_url = ["http://", "https://", "ssh://"]
                .iter()
                .any(|scheme| origin.starts_with(scheme));
            let on_hub = origin
                .strip_prefix("https://huggingface.co/")
                .or_else(|| origin.strip_prefix("http://huggingface.co/"))
                .filter(|id| {
                    id.split('/').filter(|part| !part.is_empty()).count() == 2 && id.matches('/').count() == 1
                });
            let id = match (is_url, on_hub) {
                (true, None) => None,
                (true, Some(id)) => Some(ModelId::parse(id, parameters)),
                (false, _) => Some(ModelId::parse(origin, parameters)),
            };
            let url = match &id {
                _ if is_url => Some(origin.clone()),
                Some(ModelId {
                    name,
                    organization: Some(organization),
                    ..
                }) => Some(format!("https://huggingface.co/{organization}/{name}")),
                _ => None,
            };
            let id = id.unwrap_or_default();
            set("name", Some(title(&id.name)).filter(|name| !name.is_empty()));
            set("version", id.version);
            set(
                "organization",
                id.organization.map(|organization| title(&organization)),
            );
            set("repo_url", url);
        }
    }

    fn write_list(&self, metadata: &mut Metadata, key: &str, names: &[&str]) {
        let items: Vec<String> = names
            .iter()
            .filter_map(|name| self.card.list(name))
            .flatten()
            .collect();
        if !items.is_empty() {
            metadata.set(
                format!("general.{key}"),
                Array::String(items.into_iter().collect()),
            );
        }
    }
}

/// What a checkpoint is called: its folder's name, the repository's name in a Hugging Face cache, or the name of a file
/// that does not go by one of the common names.
fn model_name(given: &Path) -> String {
    // `.` and `..` have names too, once resolved; symlinks keep the name they are known by.
    let absolute = match given.components().next_back() {
        Some(Component::Normal(_)) => std::path::absolute(given),
        _ => given.canonicalize(),
    };
    let path = absolute.unwrap_or_else(|_| given.to_owned());
    let mut path = path.as_path();
    if path.extension().is_some_and(|ext| ext == "safetensors") || path.is_file() {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if !stem.starts_with("model") {
            return stem.into_owned();
        }
        path = path.parent().unwrap_or(path);
    }
    let name = |path: Option<&Path>| {
        path.and_then(Path::file_name)
            .map(|n| n.to_string_lossy().into_owned())
    };
    let is_snapshot = name(path.parent()).as_deref() == Some("snapshots");
    let repository = name(path.parent().and_then(Path::parent));
    match repository
        .as_deref()
        .and_then(|name| name.strip_prefix("models--"))
    {
        Some(repository) if is_snapshot => repository
            .rsplit_once("--")
            .map_or(repository, |(_, name)| name)
            .to_owned(),
        _ => name(Some(path)).unwrap_or_else(|| "drafter".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_called_by_its_repository() {
        let name = |path: &str| model_name(Path::new(path));
        assert_eq!(
            name("/c/models--google--gemma-4-E2B-it-assistant/snapshots/0a1b"),
            "gemma-4-E2B-it-assistant"
        );
        assert_eq!(
            name("/c/models--google--gemma/snapshots/0a1b/model.safetensors"),
            "gemma"
        );
        assert_eq!(name("/x/my-drafter/model.safetensors"), "my-drafter");
        assert_eq!(name("/x/my-drafter.safetensors"), "my-drafter");
        assert_eq!(name("/x/y/"), "y");
        assert_eq!(name("/"), "drafter");
    }
}
