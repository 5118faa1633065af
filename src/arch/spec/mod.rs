//! An architecture file as it is written. The format is described in `arch/README.md`.

mod numbers;
mod pairs;
mod tensors;

pub use numbers::*;
pub use pairs::*;
pub use tensors::*;

use super::dialect::Dialect;
use super::number::ScalarType;
use super::{Formula, Pattern};
use crate::quant::GgmlType;
use serde::Deserialize;

/// An architecture as its file has it. [`super::Arch`] is one that was found to be sound.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ArchSpec {
    /// What people call it.
    pub name: String,
    /// `general.architecture` of the files it describes.
    pub architecture: String,
    /// `general.architecture` of the targets that a drafter of this kind drafts for.
    pub target: String,
    /// `model_type` in `config.json`. Where none is listed, the class alone tells.
    #[serde(default)]
    pub model_types: Vec<String>,
    /// `architectures` in `config.json`, by which one without `model_type` is known.
    #[serde(default, rename = "architectures")]
    pub classes: Vec<String>,
    /// Settings that only such models have (JSON pointers), by which one of another class is known.
    #[serde(default)]
    pub settings: Vec<String>,
    /// `tokenizer.ggml.model` of the files it describes.
    pub tokenizer: String,
    /// Whose tokenizer it is.
    #[serde(default)]
    pub tokenizer_of: TokenizerOf,
    /// Objects within `config.json` whose settings stand for those of the same name around them.
    #[serde(default)]
    pub merge: Vec<String>,
    /// Files beside the weights without which the model is another one, and that cannot be converted.
    #[serde(default, rename = "beside")]
    pub beside: Vec<Beside>,
    /// How a runtime drafts with the files; the first that fits counts.
    #[serde(default, rename = "run")]
    pub runs: Vec<Run>,
    /// How the kinds of layers are known; absent where all layers see everything.
    pub layer_types: Option<LayerTypes>,
    /// Settings that `config.json` must not change.
    #[serde(default, rename = "expect")]
    pub expectations: Vec<Expectation>,
    /// Named numbers, each after those its formulas use.
    #[serde(default, rename = "hparam")]
    pub hparams: Vec<HparamSpec>,
    /// Metadata in the order of the file.
    #[serde(default)]
    pub metadata: Vec<MetadataSpec>,
    /// Tensors.
    #[serde(default, rename = "tensor")]
    pub tensors: Vec<TensorSpec>,
    /// Source tensors that are left out.
    #[serde(default, rename = "ignore")]
    pub ignored: Vec<IgnoreSpec>,
    /// Numbers that a drafter and its target must share.
    #[serde(default, rename = "pair")]
    pub pairs: Vec<PairSpec>,
    /// Groups of tensors.
    #[serde(default, rename = "group")]
    pub groups: Vec<GroupSpec>,
    /// What the runtime demands of the metadata's values.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
    /// Tensor types that no weight may have.
    #[serde(default, deserialize_with = "ggml_types")]
    pub unusable: Vec<GgmlType>,
    /// How other programs spell all this.
    #[serde(default, rename = "dialect")]
    pub dialects: Vec<Dialect>,
    /// Numbers that may be assumed where nothing gives them.
    #[serde(default, rename = "assume")]
    pub assumptions: Vec<Assumption>,
}

/// How the kinds of layers are known.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerTypes {
    /// JSON pointer.
    pub config: String,
    /// Word for a layer with a sliding window.
    pub sliding: String,
    /// Word for a layer that sees everything.
    pub full: String,
    /// With a config that lists none: each layer of this number is full, as transformers has it.
    pub full_every: Option<std::num::NonZeroUsize>,
    /// Whether the last layer sees everything whatever the config lists, as transformers has it.
    #[serde(default)]
    pub full_last: bool,
    /// Name of a number; where it is set, all layers have a sliding window whatever else is listed.
    pub sliding_when: Option<String>,
    /// What a layer is where nothing tells.
    pub otherwise: Option<LayerKind>,
    /// Without a config: what tells the kinds by the lengths of their heads.
    pub by_heads: Option<HeadLengths>,
}

/// What tells kinds of layers by the lengths of their heads.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadLengths {
    /// The source tensor whose first axis is as long as a head of its layer.
    pub head_dim_of: Pattern,
    /// The target's key for the length of a sliding layer's heads.
    pub target_sliding: String,
    /// The target's key for the length of a full layer's heads.
    pub target_full: String,
}

/// Whose tokenizer a file holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenizerOf {
    /// The checkpoint's own, or the target's where it has none.
    #[default]
    Checkpoint,
    /// The target's always.
    Target,
}

/// A file beside the weights that cannot be converted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    /// Its name.
    pub file: String,
    /// Why.
    pub refused: String,
}

/// How a runtime drafts with a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// What follows `--spec-type`.
    pub spec_type: String,
    /// How a file's name begins that runtimes find by themselves.
    pub prefix: String,
    /// The tensor by which a file is of this kind.
    pub with: Option<String>,
}

/// A setting of `config.json` that must be absent, null, or one of the given values.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// JSON pointer.
    pub config: String,
    /// Values that are understood.
    pub one_of: Vec<serde_json::Value>,
    /// Whether it is a list, of which each element must be one of them.
    #[serde(default)]
    pub each: bool,
    /// Whether it must be there.
    #[serde(default)]
    pub required: bool,
    /// What cannot be done with another value, in words.
    pub refused: Option<String>,
    /// What is lost with another value, in words: it is told, and nothing refused.
    pub warn: Option<String>,
}

/// A kind of layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerKind {
    /// With a sliding window.
    Sliding,
    /// Seeing everything.
    Full,
}

impl LayerKind {
    /// Both.
    pub(crate) const ALL: [LayerKind; 2] = [LayerKind::Sliding, LayerKind::Full];

    /// `sliding` or `full`, as in names and patterns.
    pub fn name(self) -> &'static str {
        match self {
            LayerKind::Sliding => "sliding",
            LayerKind::Full => "full",
        }
    }
}

/// A metadata key and its value.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataSpec {
    /// The key.
    pub key: String,
    /// Type of a single value.
    #[serde(rename = "type")]
    pub ty: Option<ScalarType>,
    /// A single value.
    pub value: Option<Formula>,
    /// An array by layer instead.
    pub by_layer: Option<ByLayer>,
    /// Whether the key is left out when its value is unknown.
    #[serde(default)]
    pub optional: bool,
    /// Name of a number; where it is unknown or false, the key is left out.
    pub when: Option<String>,
    /// Written only when this group of tensors is.
    pub group: Option<String>,
    /// Whether it stands in front of what the model is called.
    #[serde(default)]
    pub first: bool,
    /// What the runtime does without the key; where this and `may_lack` are absent, it refuses the file.
    pub without: Option<String>,
    /// Whether nothing is lost without the key.
    #[serde(default)]
    pub may_lack: bool,
}

/// An array with an entry for each layer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByLayer {
    /// Name of a number; where it is unknown or false, the single value is written.
    pub when: Option<String>,
    /// Type of the elements.
    #[serde(rename = "type")]
    pub ty: ScalarType,
    /// Value of an element.
    pub value: Formula,
}

fn ggml_types<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<GgmlType>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let unknown = |name| serde::de::Error::custom(format!("unknown tensor type {name:?}"));
    names
        .iter()
        .map(|name| GgmlType::from_name(name).ok_or_else(|| unknown(name)))
        .collect()
}
