//! What a model file is, in a few figures.

mod get;

pub use get::{GetError, Got, MOST_NUMBERS, get};

use crate::arch::{Arch, LayerKind, Numbers, Registry};
use crate::checkpoint::{CheckpointHead, kind_of_config};
use crate::convert;
use crate::facts::drafter::{DrafterGguf, Kind, kind_of};
use crate::gguf::{Array, Gguf, Value};
use crate::io::kind::FileKind;
use crate::storage::{ModelFile, ModelTensor};
use crate::text::escape;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// What part a model plays in speculative decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It drafts for a target.
    Drafter,
    /// It is one that the drafters known here draft for.
    Target,
    /// Neither, as far as can be told.
    Other,
}

/// What a model file is. Figures that the file does not give are absent.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// What part it plays.
    pub role: Role,
    /// What it is, where it holds no model's weights.
    pub kind: Option<FileKind>,
    /// `general.architecture`, or `model_type` of a checkpoint.
    pub architecture: Option<String>,
    /// For a drafter that is not spelled as upstream does: whose dialect it is, in words.
    pub dialect: Option<String>,
    /// Width of the target that a drafter is for.
    pub backbone: Option<u64>,
    /// Number of elements in all tensors.
    pub parameters: u64,
    /// Bytes of all tensors whose type is known.
    pub data_bytes: u64,
    /// Tensor types, the one with the most bytes first.
    pub types: Vec<TypeShare>,
    /// Longest context in tokens.
    pub context: Option<u64>,
    /// Tokens that a sliding layer sees.
    pub window: Option<u64>,
    /// Tokens in the vocabulary.
    pub vocabulary: Option<u64>,
    /// Width of the hidden state.
    pub width: Option<u64>,
    /// Number of layers.
    pub layers: Option<u64>,
    /// How many of them have a sliding window, where that is known.
    pub sliding_layers: Option<u64>,
    /// Attention heads a layer.
    pub heads: Option<u64>,
    /// Heads of keys and values, as they vary between layers, first to last.
    pub kv_heads: Vec<u64>,
    /// Lengths of the heads, as they vary between layers, first to last.
    pub head_dims: Vec<u64>,
}

/// What is stored in one tensor type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeShare {
    /// The type.
    pub name: String,
    /// Number of tensors.
    pub tensors: usize,
    /// Elements in them.
    pub parameters: u64,
    /// Bytes in them; 0 for unknown types.
    pub bytes: u64,
}

impl Summary {
    /// Looks at the metadata and the tensors' descriptions; data is not read.
    pub fn of(file: &ModelFile, registry: &Registry) -> Summary {
        let tensors = file.tensors();
        let types = shares(&tensors);
        let mut summary = Summary {
            role: Role::Other,
            kind: None,
            architecture: None,
            dialect: None,
            backbone: None,
            parameters: types
                .iter()
                .map(|share| share.parameters)
                .fold(0, u64::saturating_add),
            data_bytes: types.iter().map(|share| share.bytes).fold(0, u64::saturating_add),
            types,
            context: None,
            window: None,
            vocabulary: None,
            width: None,
            layers: None,
            sliding_layers: None,
            heads: None,
            kv_heads: Vec::new(),
            head_dims: Vec::new(),
        };
        match file {
            ModelFile::Gguf(gguf) => summary.read_gguf(gguf, registry),
            ModelFile::Safetensors(checkpoint) => summary.read_checkpoint(checkpoint, registry),
        }
        summary
    }

    /// Bits that a parameter takes on average.
    pub fn bits_per_weight(&self) -> f64 {
        self.data_bytes as f64 * 8.0 / self.parameters.max(1) as f64
    }

    fn read_gguf(&mut self, gguf: &Gguf, registry: &Registry) {
        let arch = registry.of_gguf(gguf);
        let meta = gguf.metadata();
        self.architecture = meta.string("general.architecture").ok().map(|name| escape(name));
        self.vocabulary = meta
            .array("tokenizer.ggml.tokens")
            .ok()
            .map(|list| list.len() as u64);
        match kind_of(gguf, arch) {
            Ok(Kind::Drafter(dialect)) => {
                self.role = Role::Drafter;
                self.kind = Some(gguf.kind()).filter(|kind| matches!(kind, FileKind::OtherDrafter(_)));
                self.dialect = dialect.map(|dialect| dialect.of.clone());
                let drafter = DrafterGguf::read(gguf, arch, dialect, None);
                self.read_numbers(arch, &drafter.numbers);
                return;
            }
            Ok(Kind::Target) => {
                self.role = Role::Target;
                self.kind = Some(gguf.kind()).filter(|kind| matches!(kind, FileKind::OllamaModel(_)));
            }
            Ok(Kind::Other(FileKind::Model(_))) | Err(_) => {}
            Ok(Kind::Other(kind)) => self.kind = Some(kind),
        }
        // The names that nearly all architectures share.
        let key = |name: &str| {
            let architecture = meta.string("general.architecture").ok()?;
            meta.get(&format!("{}.{name}", escape(architecture)))
        };
        let number = |name: &str| key(name).and_then(Value::as_u64);
        self.context = number("context_length");
        self.window = number("attention.sliding_window");
        self.width = number("embedding_length");
        self.layers = number("block_count");
        self.heads = number("attention.head_count");
        self.kv_heads = key("attention.head_count_kv").map(numbers).unwrap_or_default();
        self.head_dims = ["attention.key_length_swa", "attention.key_length"]
            .iter()
            .filter_map(|name| number(name))
            .collect();
        if let Some(Value::Array(Array::Bool(pattern))) = key("attention.sliding_window_pattern") {
            self.sliding_layers = Some(pattern.iter().filter(|sliding| **sliding).count() as u64);
        }
    }

    fn read_checkpoint(&mut self, checkpoint: &CheckpointHead, registry: &Registry) {
        let config = checkpoint.config().ok().flatten();
        let arch = registry.of_checkpoint(checkpoint, config);
        let model_type = config.and_then(|json| json.get("model_type")?.as_str());
        self.architecture = model_type.map(|name| escape(name.as_bytes()));
        let is_known = registry.by_checkpoint(checkpoint, config).is_some();
        if arch.is_drafter() && is_known {
            self.role = Role::Drafter;
            let merged = config.map(|config| arch.merged(config));
            let config = merged.as_deref();
            let numbers = convert::known_numbers(arch, checkpoint, config);
            self.kind = config
                .and_then(kind_of_config)
                .filter(|kind| matches!(kind, FileKind::OtherDrafter(_)));
            self.read_numbers(arch, &numbers);
            return;
        }
        if is_known {
            self.role = Role::Target;
        }
        self.kind = config
            .and_then(kind_of_config)
            .filter(|kind| matches!(kind, FileKind::OtherDrafter(_)));
        let number = |name: &str| {
            let text = config.and_then(|json| json.pointer(&format!("/text_config/{name}")));
            text.or_else(|| config?.get(name)).and_then(Json::as_u64)
        };
        self.context = number("max_position_embeddings");
        self.window = number("sliding_window");
        self.vocabulary = number("vocab_size");
        self.width = number("hidden_size");
        self.layers = number("num_hidden_layers");
        self.heads = number("num_attention_heads");
        self.kv_heads = number("num_key_value_heads").into_iter().collect();
        self.head_dims = number("head_dim").into_iter().collect();
    }

    fn read_numbers(&mut self, arch: &Arch, numbers: &Numbers) {
        let number = |name: &str| numbers.count(name).map(|n| n as u64);
        let by_kind = |name: &str| {
            let by_kind = ["sliding", "full"]
                .iter()
                .filter_map(|kind| number(&format!("{name}.{kind}")));
            let mut values: Vec<u64> = number(name).into_iter().chain(by_kind).collect();
            values.dedup();
            values
        };
        self.backbone = arch.target_width(numbers).map(|width| width as u64);
        self.context = number("context");
        self.window = number("window");
        self.vocabulary = self.vocabulary.or_else(|| number("vocab"));
        self.width = number("hidden");
        self.layers = number("layers");
        self.heads = number("heads");
        self.kv_heads = by_kind("kv_heads");
        self.head_dims = by_kind("head_dim");
        let sliding = |kind: &&LayerKind| **kind == LayerKind::Sliding;
        let kinds = &numbers.layers;
        self.sliding_layers = (!kinds.is_empty()).then(|| kinds.iter().filter(sliding).count() as u64);
    }
}

fn shares(tensors: &[ModelTensor]) -> Vec<TypeShare> {
    let mut by_name: BTreeMap<&str, TypeShare> = BTreeMap::new();
    for tensor in tensors {
        let share = by_name.entry(&tensor.type_name).or_insert_with(|| TypeShare {
            name: tensor.type_name.clone(),
            tensors: 0,
            parameters: 0,
            bytes: 0,
        });
        share.tensors += 1;
        share.parameters = share.parameters.saturating_add(tensor.elements());
        share.bytes = share.bytes.saturating_add(tensor.size.unwrap_or(0));
    }
    let mut shares: Vec<TypeShare> = by_name.into_values().collect();
    shares.sort_by_key(|share| std::cmp::Reverse(share.bytes));
    shares
}

/// A number, or those of a list without repetitions in a row.
fn numbers(value: &Value) -> Vec<u64> {
    let mut numbers: Vec<u64> = match value {
        Value::Array(array) => (0..array.len()).filter_map(|i| array.get(i)?.as_u64()).collect(),
        single => single.as_u64().into_iter().collect(),
    };
    numbers.dedup();
    numbers.truncate(8);
    numbers
}
