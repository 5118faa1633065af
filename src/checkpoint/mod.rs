//! The Hugging Face side: a checkpoint's weights (one safetensors file or shards) and the files beside them.

mod error;
pub mod safetensors;
mod shards;
pub mod tokenizer;
mod tokenizer_json;

pub use error::{CheckpointError, CheckpointErrorKind};
pub use safetensors::{ElementType, SafetensorsFile, SourceTensor};
pub(crate) use tokenizer::SPECIAL_TYPES;

use crate::io::{Inputs, ReadError, TextLimit};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A checkpoint: its weights, and where the files beside them lie.
#[derive(Debug)]
pub struct Checkpoint {
    /// What the user gave.
    given: PathBuf,
    folder: PathBuf,
    inputs: Inputs,
    files: Vec<SafetensorsFile>,
    /// Tensor name to file and position.
    index: HashMap<String, (usize, usize)>,
    config: OnceLock<Option<Value>>,
}

impl Checkpoint {
    /// Opens a `.safetensors` file, a checkpoint folder, or a Hugging Face cache snapshot (whose files are symlinks).
    pub fn open(inputs: &Inputs, path: &Path) -> Result<Checkpoint, CheckpointError> {
        let is_folder = inputs
            .is_folder(path)
            .map_err(|e| CheckpointError::new(path, e))?;
        let folder = if is_folder { path } else { parent(path) };
        let files = if is_folder {
            shards::in_folder(inputs, path)?
        } else {
            shards::of_file(inputs, path)?
        };
        let mut index: HashMap<String, (usize, usize)> = HashMap::new();
        for (f, file) in files.iter().enumerate() {
            for (t, tensor) in file.tensors().enumerate() {
                if let Some((first, _)) = index.insert(tensor.name.to_owned(), (f, t)) {
                    let shown = |file: &SafetensorsFile| file_name(file.path());
                    return Err(CheckpointError::new(
                        path,
                        CheckpointErrorKind::ShardDuplicate {
                            name: tensor.name.to_owned(),
                            first: shown(&files[first]),
                            second: shown(file),
                        },
                    ));
                }
            }
        }
        for name in COMPANIONS {
            inputs.keep(&folder.join(name));
        }
        Ok(Checkpoint {
            given: path.to_owned(),
            folder: folder.to_owned(),
            inputs: inputs.clone(),
            files,
            index,
            config: OnceLock::new(),
        })
    }

    /// What the user gave: the folder or the file.
    pub fn path(&self) -> &Path {
        &self.given
    }

    /// The folder of the weights, where config and tokenizer files are looked for.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The weight files.
    pub fn files(&self) -> &[SafetensorsFile] {
        &self.files
    }

    /// All tensors: shard by shard, by name within each, the order in which upstream's converter writes them.
    pub fn tensors(&self) -> impl Iterator<Item = SourceTensor<'_>> {
        self.files.iter().flat_map(|file| {
            let mut tensors: Vec<SourceTensor> = file.tensors().collect();
            tensors.sort_by_key(|tensor| tensor.name);
            tensors
        })
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<SourceTensor<'_>> {
        let &(file, at) = self.index.get(name)?;
        self.files[file].tensors().nth(at)
    }

    /// Refuses a checkpoint whose weights were quantized by another program, or are of a type that nobody knows.
    pub fn refuse_quantized(&self) -> Result<(), CheckpointError> {
        for tensor in self.tensors() {
            if let ElementType::Unknown(_) = tensor.dtype {
                let (name, dtype) = (tensor.name.to_owned(), tensor.dtype.to_string());
                return Err(CheckpointError::new(
                    tensor.path,
                    CheckpointErrorKind::Dtype { name, dtype },
                ));
            }
            if let Some(what) = quantization_mark(&tensor) {
                let kind = CheckpointErrorKind::Quantized {
                    name: tensor.name.to_owned(),
                    what,
                };
                return Err(CheckpointError::new(tensor.path, kind));
            }
        }
        Ok(())
    }

    /// The checkpoint's `config.json`, if it has one. It is read once.
    pub fn config(&self) -> Result<Option<&Value>, CheckpointError> {
        if let Some(config) = self.config.get() {
            return Ok(config.as_ref());
        }
        let config = self.json("config.json")?;
        Ok(self.config.get_or_init(|| config).as_ref())
    }

    /// A JSON file beside the weights, if it is there.
    pub fn json(&self, name: &str) -> Result<Option<Value>, CheckpointError> {
        let path = self.folder.join(name);
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|e| CheckpointError::new(path, CheckpointErrorKind::Json(e.to_string())))
    }

    /// A text file beside the weights, if it is there.
    pub fn text(&self, name: &str) -> Result<Option<String>, CheckpointError> {
        let path = self.folder.join(name);
        match self.inputs.text(&path, TextLimit::SETTINGS) {
            Ok(text) => Ok(Some(text)),
            Err(ReadError::NotFound) => Ok(None),
            Err(e) => Err(CheckpointError::new(path, e)),
        }
    }

    /// What opens the files beside the weights.
    pub(crate) fn inputs(&self) -> &Inputs {
        &self.inputs
    }
}

/// The files beside the weights that say something of the model. No output replaces one, be it read or not.
const COMPANIONS: [&str; 8] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
    shards::INDEX,
    "README.md",
];

/// Suffixes of the tensors with which quantized checkpoints carry their scales: MLX and AWQ (`.scales`, `.biases`),
/// GPTQ (`.qweight`), FP8 and NVFP4 (`weight_scale`), compressed-tensors (`weight_packed`).
const QUANTIZATION_SUFFIXES: &[&str] = &[
    ".scales",
    ".biases",
    ".qweight",
    ".qzeros",
    ".weight_scale",
    ".weight_scale_inv",
    ".weight_scale_2",
    ".weight_packed",
    ".weight_global_scale",
    ".input_scale",
    ".absmax",
];

/// What shows that a tensor belongs to a quantized checkpoint, if anything does.
fn quantization_mark(tensor: &SourceTensor) -> Option<String> {
    if let Some(suffix) = QUANTIZATION_SUFFIXES
        .iter()
        .find(|suffix| tensor.name.ends_with(**suffix))
    {
        return Some(format!("a {suffix} tensor"));
    }
    let is_weight = tensor.name.ends_with(".weight") && tensor.ggml_type().is_none();
    is_weight.then(|| format!("dtype {}", tensor.dtype))
}

/// The folder of a file, `.` where the path has none.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}
