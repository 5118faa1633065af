//! An architecture file as it is written. The format is described in `arch/README.md`.

use super::dialect::Dialect;
use super::number::{Bounds, Kind, Number, ScalarType};
use super::{Formula, Match, Pattern};
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

/// A named number and where it comes from.
///
/// A name that ends in `.sliding` or `.full` speaks for the layers of that kind; formulas that are read for a certain
/// layer may leave the ending off. Null counts as absent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HparamSpec {
    /// Name.
    pub name: String,
    /// Its type; of a list, that of the elements.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Whether it is a list.
    #[serde(default)]
    pub list: bool,
    /// The least that it may be.
    pub min: Option<Number>,
    /// What it must be greater than.
    pub above: Option<Number>,
    /// The most that it may be.
    pub max: Option<Number>,
    /// All that it may be.
    #[serde(default)]
    pub one_of: Vec<Number>,
    /// Name of a number that it must be below.
    pub below: Option<String>,
    /// Name of a number that it must not exceed.
    pub within: Option<String>,
    /// Whether it may stay unknown.
    #[serde(default)]
    pub optional: bool,
    /// What it is in the last layers instead.
    pub in_last: Option<InLast>,
    /// Origins, the first that has the number wins.
    pub from: Vec<Origin>,
}

/// What a number is in the last layers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InLast {
    /// Name of the number of these layers.
    pub layers: String,
    /// What it is in each of them.
    pub value: Formula,
    /// Name of a number; where it is unknown or false, all layers have the same.
    pub when: Option<String>,
}

impl HparamSpec {
    /// What the number must be, wherever it comes from.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            kind: Some(self.kind),
            list: self.list,
            min: self.min.clone(),
            above: self.above.clone(),
            max: self.max.clone(),
            one_of: self.one_of.clone(),
        }
    }
}

/// Where a number comes from.
#[derive(Debug, Deserialize)]
#[serde(try_from = "super::origin::OriginKeys")]
pub enum Origin {
    /// `config.json`, by JSON pointer; `{full}` and `{sliding}` stand for the first layer of that kind.
    Config {
        /// JSON pointer.
        config: String,
        /// The number is whether the config says this.
        is: Option<serde_json::Value>,
        /// The number is whether the config says anything.
        #[serde(default)]
        is_there: bool,
        /// The least that the config may say, before it is multiplied.
        min: Option<Number>,
        /// The most that it may say.
        max: Option<Number>,
        /// What to multiply it by.
        times: Option<Formula>,
        /// Whether to cut off what is behind the point.
        floor: bool,
        /// Name of a number; where it is unknown or false, this origin is passed over.
        when: Option<String>,
    },
    /// `generation_config.json`, by JSON pointer.
    Generation {
        /// JSON pointer.
        generation: String,
        /// Name of a number; where it is unknown or false, this origin is passed over.
        when: Option<String>,
    },
    /// Length of an axis (outermost is 0) of a source tensor.
    Axis {
        /// The tensor.
        axis_of: String,
        /// The axis.
        axis: usize,
        /// What to divide it by.
        divide: Option<Formula>,
    },
    /// Whether there is this source tensor.
    Has {
        /// Its name.
        has: Pattern,
    },
    /// Whether this source tensor is missing.
    Lacks {
        /// Its name.
        lacks: Pattern,
    },
    /// Length of a list.
    Len {
        /// Its name.
        len_of: String,
    },
    /// Whether two numbers differ.
    Differ {
        /// Their names.
        differ: [String; 2],
    },
    /// A list of these numbers.
    List {
        /// The numbers.
        list: Vec<Formula>,
    },
    /// Number of layers that have this source tensor.
    Layers {
        /// Name with `{l}`.
        layers_of: Pattern,
    },
    /// A key of the target's metadata.
    Target {
        /// The key.
        target: String,
        /// Where the value is an array: take the entry of the layer whose keys and values the drafter reads.
        of_layer: Option<LayerKind>,
        /// Pass over a value that is no array.
        array_only: bool,
    },
    /// Length of an array in the target's metadata.
    TargetLen {
        /// The key.
        target_len: String,
    },
    /// Number of elements that are 1 in a tensor of the target.
    TargetOnes {
        /// The tensor.
        target_ones: String,
    },
    /// A formula over numbers known already.
    Formula {
        /// The formula.
        formula: Formula,
        /// Name of a number; where it is unknown or false, this origin is passed over.
        when: Option<String>,
    },
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

/// A tensor.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    /// Name in the checkpoint; absent for tensors that are computed.
    pub hf: Option<Pattern>,
    /// Name in the GGUF.
    pub gguf: Pattern,
    /// Lengths, outermost first.
    pub shape: Vec<Formula>,
    /// Names of source tensors that serve where the first is missing.
    #[serde(default)]
    pub instead: Vec<Pattern>,
    /// Name of the target's tensor that serves where the checkpoint has none.
    pub from_target: Option<String>,
    /// How it is computed.
    pub generate: Option<Generator>,
    /// A fixed type.
    #[serde(default, rename = "type", deserialize_with = "ggml_type")]
    pub ty: Option<GgmlType>,
    /// Whether it takes the output type; `false` keeps it in F32.
    #[serde(default = "yes")]
    pub quantize: bool,
    /// Whether it may be missing.
    #[serde(default)]
    pub optional: bool,
    /// Name of a number; where it is set, the tensor may not be missing.
    pub required_when: Option<String>,
    /// The group that it is part of.
    pub group: Option<String>,
    /// Name of a number; where it is unknown or false, the tensor is left out.
    pub when: Option<String>,
    /// Why it is left out then.
    pub left_out: Option<String>,
    /// In which order its rows are written.
    pub rows: Option<RowOrder>,
    /// Whether each number is written as its distance from its own index, to which the index is added.
    #[serde(default)]
    pub add_index: bool,
    /// Name of a number; the elements are distinct, and each is below it.
    pub ids_below: Option<String>,
    /// Whether the target's tensor of the same name must hold the same.
    #[serde(default)]
    pub same_in_target: bool,
    /// Whether it is written behind all others.
    #[serde(default)]
    pub last: bool,
}

impl TensorSpec {
    /// What checkpoints call it, the usual name first.
    pub(crate) fn source_names(&self, layer: usize) -> impl Iterator<Item = String> {
        self.hf
            .iter()
            .chain(&self.instead)
            .map(move |name| name.name(layer))
    }

    /// The layer of the tensor that a checkpoint calls so, if it is this one.
    pub(crate) fn matches_source(&self, name: &str) -> Option<Match> {
        let mut names = self.hf.iter().chain(&self.instead);
        names.find_map(|known| known.matches(name))
    }

    /// Its name in a GGUF for what a name was found to fit.
    pub(crate) fn gguf_name(&self, found: Match) -> String {
        match found {
            Match::Whole => self.gguf.name(0),
            Match::Layer(layer) => self.gguf.name(layer),
        }
    }
}

/// In which order the rows of a tensor are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowOrder {
    /// What becomes of the rows of each head.
    pub order: crate::plan::Order,
    /// Number of heads.
    pub heads: Formula,
    /// Name of a number; where it is unknown or false, rows stay as they are.
    pub when: Option<String>,
}

/// Tensors that no checkpoint holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Generator {
    /// Divisors of the rotary frequencies of full layers: `rotated_pairs` ones, then 1e30, which stops the rest.
    RopeFreqs,
}

impl Generator {
    /// The number that it needs.
    pub(crate) fn number(self) -> &'static str {
        match self {
            Generator::RopeFreqs => "rotated_pairs",
        }
    }
}

/// A source tensor that is left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IgnoreSpec {
    /// Name in the checkpoint.
    pub hf: Option<Pattern>,
    /// Words of which a name in the checkpoint holds one, instead.
    #[serde(default)]
    pub holding: Vec<String>,
    /// Why.
    pub reason: String,
    /// A source tensor whose data it must repeat.
    pub same_as: Option<String>,
}

/// A number that a drafter and its target must share.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairSpec {
    /// What it is, in words.
    pub what: String,
    /// The drafter's number.
    pub hparam: String,
    /// The drafter's number where the first is unknown.
    pub or: Option<String>,
    /// Name of a number; where it is unknown or false, nothing is compared.
    pub when: Option<String>,
    /// The target's key.
    pub target: String,
    /// Where the key holds an array: the entry of the layer whose keys and values the drafter reads.
    pub of_layer: Option<LayerKind>,
    /// How the drafter's must relate to the target's; of a list each element.
    #[serde(default)]
    pub must: PairRelation,
    /// What is so where it does not, in words.
    pub refused: Option<String>,
    /// Whether only `check` compares it, and conversion does not.
    #[serde(default)]
    pub check_only: bool,
}

/// How a drafter's number relates to its target's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PairRelation {
    /// It is the same.
    #[default]
    Agree,
    /// It is less.
    Below,
    /// It is not greater.
    Within,
}

/// Tensors that are there together or not at all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSpec {
    /// Name.
    pub name: String,
    /// What it is, in words.
    pub what: String,
    /// Whether it is written only where the user asks for it.
    #[serde(default)]
    pub on_demand: bool,
    /// Why it is not written unasked.
    pub left_out: Option<String>,
    /// Why the runtime refuses a file that holds it; absent where it does not.
    pub refused: Option<String>,
}

/// What the runtime demands of two values.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The keys.
    pub keys: [String; 2],
    /// How their values must relate.
    pub must: Relation,
    /// What the runtime refuses where they do not, in words.
    pub refused: String,
}

/// How two values relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    /// They are the same.
    Agree,
    /// They are not the same.
    Differ,
}

impl Relation {
    /// `agree` or `differ`, as in the file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Relation::Agree => "agree",
            Relation::Differ => "differ",
        }
    }
}

/// A number that may be assumed where nothing gives it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assumption {
    /// The number.
    pub number: String,
    /// Its value.
    pub formula: Formula,
    /// Why it may be assumed, in words.
    pub because: String,
}

fn ggml_type<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<GgmlType>, D::Error> {
    let name = String::deserialize(deserializer)?;
    let unknown = || serde::de::Error::custom(format!("unknown tensor type {name:?}"));
    GgmlType::from_name(&name).map(Some).ok_or_else(unknown)
}

fn ggml_types<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<GgmlType>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let unknown = |name| serde::de::Error::custom(format!("unknown tensor type {name:?}"));
    names
        .iter()
        .map(|name| GgmlType::from_name(name).ok_or_else(|| unknown(name)))
        .collect()
}

fn yes() -> bool {
    true
}
