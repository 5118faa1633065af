//! The models on this machine, wherever programs keep them, and which drafter fits which target. Headers are read, no
//! tensor.

use crate::arch::Registry;
use crate::check;
use crate::checkpoint::Checkpoint;
use crate::gguf::{Gguf, GgufError};
use crate::inspect::{Role, Summary};
use crate::io::Inputs;
use crate::io::kind::FileKind;
use crate::source::{CachedModel, Manifest, Places, cached_models, stored_models};
use crate::storage::ModelFile;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// How deep models lie in the folders of LM Studio and llama.cpp.
const MAX_DEPTH: usize = 4;

/// Whose folder a model lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The cache of the Hugging Face Hub.
    Hub,
    /// The store of Ollama.
    Ollama,
    /// LM Studio's folder.
    LmStudio,
    /// llama.cpp's folder.
    LlamaCpp,
}

impl Place {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Place::Hub => "Hugging Face",
            Place::Ollama => "Ollama",
            Place::LmStudio => "LM Studio",
            Place::LlamaCpp => "llama.cpp",
        }
    }
}

/// A model on this machine.
#[derive(Debug)]
pub struct Listed {
    /// What every command takes it by: a name, or the path where it has none.
    pub name: String,
    /// Where it lies: a GGUF, of a split model its first part, or the folder of a checkpoint.
    pub path: PathBuf,
    /// Whose folder that is.
    pub place: Place,
    /// Bytes of all its files.
    pub bytes: u64,
    /// What it is, or why it cannot be read.
    pub content: Result<Content, String>,
}

/// What a model is.
#[derive(Debug, Clone)]
pub struct Content {
    /// Whether it is a checkpoint, and not a GGUF.
    pub is_checkpoint: bool,
    /// Its architecture.
    pub architecture: Option<String>,
    /// What it is, where it holds no model's weights or is none that llama.cpp loads.
    pub kind: Option<FileKind>,
    /// The type of most of its bytes.
    pub ty: Option<String>,
    /// What part it plays.
    pub role: Role,
    /// For a drafter in GGUF the names of the targets here that it fits; for a target the drafters that fit it.
    pub fits: Vec<String>,
}

/// Where something that may be a model lies, and what it is called.
struct Candidate {
    name: String,
    path: PathBuf,
    place: Place,
}

/// Lists the models, those of a place together, in order of name.
pub fn list(inputs: &Inputs, places: &Places, registry: &Registry) -> Vec<Listed> {
    let candidates = candidates(inputs, places);
    let mut models: Vec<Listed> = candidates
        .into_par_iter()
        .map(|candidate| look(inputs, candidate, registry))
        .collect();
    pair_up(inputs, &mut models, registry);
    models
}

fn candidates(inputs: &Inputs, places: &Places) -> Vec<Candidate> {
    let mut all = Vec::new();
    if let Some(cache) = &places.hub {
        for model in cached_models(inputs, cache) {
            of_hub(model, &mut all);
        }
    }
    for store in &places.ollama {
        for manifest in stored_models(store) {
            of_ollama(inputs, &manifest, &mut all);
        }
    }
    for (place, folders) in [
        (Place::LmStudio, &places.lm_studio),
        (Place::LlamaCpp, &places.llama_cpp),
    ] {
        for folder in folders {
            let mut files = Vec::new();
            collect(folder, 0, &mut files);
            files.sort();
            all.extend(files.into_iter().map(|path| Candidate {
                name: path.display().to_string(),
                path,
                place,
            }));
        }
    }
    all
}

fn of_hub(model: CachedModel, all: &mut Vec<Candidate>) {
    let CachedModel {
        repository,
        snapshot,
        files,
    } = model;
    let place = Place::Hub;
    if files.iter().any(|file| file.ends_with(".safetensors")) {
        all.push(Candidate {
            name: repository.clone(),
            path: snapshot.clone(),
            place,
        });
    }
    let ggufs = files
        .iter()
        .filter(|file| file.ends_with(".gguf") && !is_later_part(file));
    all.extend(ggufs.map(|file| Candidate {
        name: format!("hf:{repository}:{file}"),
        path: snapshot.join(file),
        place,
    }));
}

fn of_ollama(inputs: &Inputs, manifest: &Manifest, all: &mut Vec<Candidate>) {
    for (kind, suffix) in [("model", ""), ("draft", " (DRAFT)")] {
        // A manifest that cannot be read is told by the command that is given its name.
        for path in manifest.blobs(inputs, kind).unwrap_or_default() {
            all.push(Candidate {
                name: format!("ollama:{}{suffix}", manifest.name),
                path,
                place: Place::Ollama,
            });
        }
    }
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            // The Hub's cache may be kept there too, and is listed as such.
            if depth < MAX_DEPTH && !name.starts_with("models--") {
                collect(&path, depth + 1, files);
            }
        } else if name.ends_with(".gguf") && !is_later_part(&name) {
            files.push(path);
        }
    }
}

/// Whether a name is that of a part of a split model behind the first.
fn is_later_part(name: &str) -> bool {
    let Some((front, _)) = name.rsplit_once("-of-") else {
        return false;
    };
    let number = front.rsplit('-').next().unwrap_or_default();
    number.len() == 5 && number.bytes().all(|b| b.is_ascii_digit()) && number != "00001"
}

fn look(inputs: &Inputs, candidate: Candidate, registry: &Registry) -> Listed {
    let Candidate { name, path, place } = candidate;
    let opened = match path.is_dir() {
        true => Checkpoint::look_at_part(inputs, &path)
            .map(ModelFile::Safetensors)
            .map_err(|error| error.kind.to_string()),
        false => Gguf::skim(inputs, &path)
            .map(ModelFile::Gguf)
            .map_err(|error| error.kind.to_string()),
    };
    let bytes = match &opened {
        Ok(file) => file.files().iter().map(|(_, bytes)| bytes.len() as u64).sum(),
        Err(_) => path.metadata().map_or(0, |meta| meta.len()),
    };
    let content = opened.map(|file| {
        let summary = Summary::of(&file, registry);
        Content {
            is_checkpoint: matches!(file, ModelFile::Safetensors(_)),
            architecture: summary.architecture,
            kind: summary.kind,
            ty: summary.types.first().map(|share| share.name.clone()),
            role: summary.role,
            fits: Vec::new(),
        }
    });
    Listed {
        name,
        path,
        place,
        bytes,
        content,
    }
}

/// Finds which drafter fits which target, reading vocabularies of those only.
fn pair_up(inputs: &Inputs, models: &mut [Listed], registry: &Registry) {
    let of_role = |role| -> Vec<usize> {
        let is_one = |model: &Listed| {
            let content = model.content.as_ref();
            content.is_ok_and(|content| content.role == role && !content.is_checkpoint)
        };
        (0..models.len()).filter(|&at| is_one(&models[at])).collect()
    };
    let (drafters, targets) = (of_role(Role::Drafter), of_role(Role::Target));
    let open = |at: &usize| -> Result<Gguf, GgufError> { Gguf::look(inputs, &models[*at].path) };
    let drafters: Vec<(usize, Gguf)> = drafters
        .iter()
        .filter_map(|at| Some((*at, open(at).ok()?)))
        .collect();
    if drafters.is_empty() {
        return;
    }
    // Targets are opened one by one: a vocabulary takes some 20 MB.
    let pairs: Vec<(usize, usize)> = targets
        .par_iter()
        .filter_map(|target| Some((*target, open(target).ok()?)))
        .flat_map_iter(|(target, gguf)| {
            let fitting = |(drafter, file): &&(usize, Gguf)| {
                let _ = drafter;
                check::fits(registry.of_gguf(file), file, &gguf)
            };
            let fitting: Vec<(usize, usize)> = drafters
                .iter()
                .filter(fitting)
                .map(|(drafter, _)| (*drafter, target))
                .collect();
            fitting
        })
        .collect();
    for (drafter, target) in pairs {
        let names = [models[drafter].name.clone(), models[target].name.clone()];
        let [of_drafter, of_target] = names;
        for (at, other) in [(drafter, of_target), (target, of_drafter)] {
            if let Ok(content) = &mut models[at].content {
                content.fits.push(other);
            }
        }
    }
}
