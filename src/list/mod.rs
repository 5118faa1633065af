//! The models on this machine, wherever programs keep them, and which drafter fits which target. Headers are read, no
//! tensor. A checkpoint fits as the GGUF does that a conversion would make of it.

use crate::arch::Registry;
use crate::check;
use crate::checkpoint::CheckpointHead;
use crate::convert;
use crate::gguf::{Gguf, Value};
use crate::inspect::{Role, Summary};
use crate::io::Inputs;
use crate::io::kind::FileKind;
use crate::source::{CachedModel, Manifest, Places, cached_models, stored_models};
use crate::storage::{ModelFile, gguf_tensors};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
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
    /// Of a GGUF: see [`fingerprint`]. Of a checkpoint, which is like no other: its place.
    fingerprint: Option<u64>,
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
    /// For a drafter the names of the targets here that it fits; for a target the drafters that fit it.
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
    list_of(inputs, candidates(inputs, places), registry)
}

fn list_of(inputs: &Inputs, candidates: Vec<Candidate>, registry: &Registry) -> Vec<Listed> {
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
    let opened = match inputs.is_folder(&path).unwrap_or(false) {
        true => CheckpointHead::look_at_part(inputs, &path)
            .map(|head| ModelFile::Safetensors(head.without_data()))
            .map_err(|error| error.kind.to_string()),
        false => Gguf::skim(inputs, &path)
            .map(ModelFile::Gguf)
            .map_err(|error| error.kind.to_string()),
    };
    let bytes = match &opened {
        Ok(file) => file.files().iter().map(|file| file.len).sum(),
        Err(_) => path.metadata().map_or(0, |meta| meta.len()),
    };
    let fingerprint = match &opened {
        Ok(ModelFile::Gguf(gguf)) => fingerprint(gguf, registry),
        Ok(ModelFile::Safetensors(checkpoint)) => Some(hashed(&checkpoint.path())),
        Err(_) => None,
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
        fingerprint,
    }
}

/// Finds which drafter fits which target. Many files differ in what does not matter for that, such as the types of their
/// tensors and their names: of those alike one is read with its vocabulary, and speaks for the others.
fn pair_up(inputs: &Inputs, models: &mut [Listed], registry: &Registry) {
    let (drafters, targets) = (alike(models, Role::Drafter), alike(models, Role::Target));
    if drafters.is_empty() || targets.is_empty() {
        return;
    }
    let open = |group: &Vec<usize>| Header::open(inputs, models.get(*group.first()?)?);
    let drafters: Vec<(Vec<usize>, Header)> = drafters
        .into_par_iter()
        .filter_map(|group| Some((open(&group)?, group)))
        .map(|(header, group)| (group, header))
        .collect();
    // Targets are opened one by one: a vocabulary takes some 20 MB.
    let pairs: Vec<(&Vec<usize>, &Vec<usize>)> = targets
        .par_iter()
        .filter_map(|group| Some((group, open(group)?.into_target(registry)?)))
        .flat_map_iter(|(targets, target)| {
            let fits = |drafter: &&(_, Header)| drafter.1.fits(&target, registry);
            let fitting: Vec<_> = drafters.iter().filter(fits).collect();
            fitting.into_iter().map(move |(drafters, _)| (drafters, targets))
        })
        .collect();
    let mut pairs: Vec<(usize, usize)> = pairs
        .into_iter()
        .flat_map(|(drafters, targets)| {
            let with = |&drafter: &usize| targets.iter().map(move |&target| (drafter, target));
            drafters.iter().flat_map(with)
        })
        .collect();
    pairs.sort_unstable();
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

/// What is read of one of a pair.
enum Header {
    Gguf(Gguf),
    Checkpoint(CheckpointHead),
}

impl Header {
    fn open(inputs: &Inputs, model: &Listed) -> Option<Header> {
        match model.content.as_ref().ok()?.is_checkpoint {
            true => {
                let head = CheckpointHead::open(inputs, &model.path).ok()?;
                Some(Header::Checkpoint(head.without_data()))
            }
            false => Gguf::look(inputs, &model.path).ok().map(Header::Gguf),
        }
    }

    /// Of a target the GGUF that it is or would become.
    fn into_target(self, registry: &Registry) -> Option<Gguf> {
        match self {
            Header::Gguf(gguf) => Some(gguf),
            Header::Checkpoint(checkpoint) => converted(&checkpoint, None, registry),
        }
    }

    /// Whether it is a drafter for this target.
    fn fits(&self, target: &Gguf, registry: &Registry) -> bool {
        let fits = |drafter: &Gguf| check::fits(registry.of_gguf(drafter), drafter, target);
        match self {
            Header::Gguf(drafter) => fits(drafter),
            Header::Checkpoint(checkpoint) => {
                let drafter = converted(checkpoint, Some(target), registry);
                drafter.is_some_and(|drafter| fits(&drafter))
            }
        }
    }
}

/// The GGUF that a conversion would make of a checkpoint beside this target, if it can be one.
fn converted(checkpoint: &CheckpointHead, target: Option<&Gguf>, registry: &Registry) -> Option<Gguf> {
    let arch = registry.of_checkpoint(checkpoint, checkpoint.config().ok()?);
    let conversion = convert::plan(arch, checkpoint, target, convert::Options::default()).ok()?;
    conversion.plan.outline(checkpoint.path()).ok()
}

/// The models of a role, those together that fit the same others.
fn alike(models: &[Listed], role: Role) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, model) in models.iter().enumerate() {
        if let (Some(fingerprint), Ok(content)) = (model.fingerprint, &model.content)
            && content.role == role
        {
            groups.entry(fingerprint).or_default().push(at);
        }
    }
    groups.into_values().collect()
}

/// A number that is the same for two models that fit the same others: of all that their headers say but names in
/// `general.*`, order, places and types of tensors, and of the tensors that a pair must share.
fn fingerprint(gguf: &Gguf, registry: &Registry) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    gguf.parts().first()?.fingerprint()?.hash(&mut hasher);
    let architecture = gguf.metadata().get("general.architecture");
    architecture.and_then(Value::as_bytes).hash(&mut hasher);
    gguf.kind().to_string().hash(&mut hasher);
    let specs = registry.iter().flat_map(|arch| &arch.tensors);
    let shared = specs.filter(|spec| spec.same_in_target);
    let shared: Vec<String> = shared.map(|spec| spec.gguf.name(0)).collect();
    let mut tensors = gguf_tensors(gguf);
    // llama-quantize orders them anew.
    tensors.sort_by_key(|tensor| tensor.name);
    for tensor in tensors {
        (tensor.name, &tensor.dims, tensor.ggml_type().is_some()).hash(&mut hasher);
        if shared.iter().any(|name| tensor.name == name.as_str()) {
            tensor.bytes().ok().hash(&mut hasher);
        }
    }
    Some(hasher.finish())
}

fn hashed(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
