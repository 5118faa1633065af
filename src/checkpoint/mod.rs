//! The Hugging Face side: a checkpoint's weights (one safetensors file or shards) and the files beside them.

mod error;
mod hub;
mod kind;
pub mod safetensors;
mod shards;
pub mod tokenizer;
mod tokenizer_json;
mod whole;

pub use error::{CheckpointError, CheckpointErrorKind};
pub use kind::kind_of_config;
pub use safetensors::{ElementType, SafetensorsFile, TensorHead, plain_name};
pub(crate) use tokenizer::SPECIAL_TYPES;
pub use whole::{Checkpoint, SourceTensor};

use crate::io::{Inputs, ReadError, TextLimit, folder_of};
use serde_json::Value;
use shards::{Absent, Shards};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What is known of a checkpoint by the headers of its weights, and where the files beside them lie. The weights may lie
/// elsewhere; of a [`Checkpoint`] they are here.
#[derive(Debug)]
pub struct CheckpointHead {
    /// What the user gave; of a model in a cache its snapshot.
    given: PathBuf,
    folder: PathBuf,
    inputs: Inputs,
    files: Vec<SafetensorsFile>,
    /// Tensor name to file and position.
    index: HashMap<String, (usize, usize)>,
    /// Names without their prefixes, and with them.
    plain: HashMap<String, String>,
    missing: Vec<PathBuf>,
    config: OnceLock<Option<Value>>,
    /// The other files of settings, once they were read.
    jsons: Box<Mutex<HashMap<String, Option<Arc<Value>>>>>,
}

impl CheckpointHead {
    /// Opens a `.safetensors` file, a checkpoint folder, a snapshot in the cache of Hugging Face (whose files are
    /// symlinks), or a model's folder there, which stands for its newest snapshot.
    pub fn open(inputs: &Inputs, path: &Path) -> Result<CheckpointHead, CheckpointError> {
        CheckpointHead::open_with(inputs, path, Absent::Refused)
    }

    /// [`CheckpointHead::open`], but of shards no more than those that are there; [`CheckpointHead::missing`] names the others.
    pub fn look_at_part(inputs: &Inputs, path: &Path) -> Result<CheckpointHead, CheckpointError> {
        CheckpointHead::open_with(inputs, path, Absent::PassedOver)
    }

    /// The same without the weights: whoever asks for them is refused.
    #[must_use]
    pub fn without_data(mut self) -> CheckpointHead {
        let files = self.files.into_iter();
        self.files = files.map(SafetensorsFile::without_data).collect();
        self
    }

    /// Whether weights of it are not here.
    pub fn is_distant(&self) -> bool {
        self.files.iter().any(SafetensorsFile::is_distant)
    }

    fn open_with(inputs: &Inputs, path: &Path, absent: Absent) -> Result<CheckpointHead, CheckpointError> {
        let is_folder = inputs
            .is_folder(path)
            .map_err(|e| CheckpointError::new(path, e))?;
        let snapshot = match is_folder {
            true => hub::snapshot(inputs, path)?,
            false => None,
        };
        let path = snapshot.as_deref().unwrap_or(path);
        let folder = if is_folder { path } else { folder_of(path) };
        let Shards { files, missing } = match is_folder {
            true => shards::in_folder(inputs, path, absent)?,
            false => shards::of_file(inputs, path, absent)?,
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
        let mut plain = HashMap::new();
        for tensor in files.iter().flat_map(SafetensorsFile::tensors) {
            let name = tensor.plain_name();
            if name != tensor.name {
                let name = name.into_owned();
                plain.entry(name).or_insert_with(|| tensor.name.to_owned());
            }
        }
        for name in COMPANIONS {
            inputs.keep(&folder.join(name));
        }
        Ok(CheckpointHead {
            given: path.to_owned(),
            folder: folder.to_owned(),
            inputs: inputs.clone(),
            files,
            missing,
            config: OnceLock::new(),
            jsons: Box::default(),
            index,
            plain,
        })
    }

    /// What the user gave: the folder (the snapshot of a model in a cache) or the file.
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
    pub fn tensors(&self) -> impl Iterator<Item = TensorHead<'_>> {
        self.files.iter().flat_map(|file| {
            let mut tensors: Vec<TensorHead> = file.tensors().collect();
            tensors.sort_by_key(|tensor| tensor.name);
            tensors
        })
    }

    /// Shards that are not there; see [`CheckpointHead::look_at_part`].
    pub fn missing(&self) -> &[PathBuf] {
        &self.missing
    }

    /// The tensor of this name, or of this name with a prefix as other programs put it in front (see [`plain_name`]), or
    /// with `model.` in front.
    pub fn tensor(&self, name: &str) -> Option<TensorHead<'_>> {
        let place = |name: &str| {
            let place = self.index.get(name);
            place.or_else(|| self.index.get(self.plain.get(name)?))
        };
        let within = || place(&format!("{}{name}", safetensors::MODEL));
        let &(file, at) = place(name).or_else(within)?;
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

    /// The checkpoint's `config.json`, if it has one. It is read once. The settings of a text model that was saved alone
    /// stand at the top; they are found under `text_config` too.
    pub fn config(&self) -> Result<Option<&Value>, CheckpointError> {
        if let Some(config) = self.config.get() {
            return Ok(config.as_ref());
        }
        let config = self.parsed("config.json")?.map(with_text_config);
        Ok(self.config.get_or_init(|| config).as_ref())
    }

    /// A JSON file beside the weights, if it is there. It is read once.
    pub fn json(&self, name: &str) -> Result<Option<Arc<Value>>, CheckpointError> {
        let known = || self.jsons.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(json) = known().get(name) {
            return Ok(json.clone());
        }
        let json = self.parsed(name)?.map(Arc::new);
        known().insert(name.to_owned(), json.clone());
        Ok(json)
    }

    fn parsed(&self, name: &str) -> Result<Option<Value>, CheckpointError> {
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

    /// Whether a file of this name is beside the weights.
    pub fn has(&self, name: &str) -> bool {
        self.inputs.is_there(&self.folder.join(name))
    }

    /// What opens the files beside the weights.
    pub(crate) fn inputs(&self) -> &Inputs {
        &self.inputs
    }
}

/// A config whose settings of the text model stand under `text_config`, wherever they stood.
fn with_text_config(mut config: Value) -> Value {
    const KEY: &str = "text_config";
    if let Value::Object(settings) = &mut config
        && settings.contains_key("num_hidden_layers")
        && !settings.get(KEY).is_some_and(Value::is_object)
    {
        let text = settings.clone();
        settings.insert(KEY.to_owned(), Value::Object(text));
    }
    config
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
fn quantization_mark(tensor: &TensorHead) -> Option<String> {
    if let Some(suffix) = QUANTIZATION_SUFFIXES
        .iter()
        .find(|suffix| tensor.name.ends_with(**suffix))
    {
        return Some(format!("a {suffix} tensor"));
    }
    let is_weight = tensor.name.ends_with(".weight") && tensor.ggml_type().is_none();
    is_weight.then(|| format!("dtype {}", tensor.dtype))
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}
