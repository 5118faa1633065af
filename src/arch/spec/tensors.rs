//! Tensors: their names and shapes on both sides, and what is done to them.

use crate::arch::{Formula, Match, Pattern};
use crate::quant::GgmlType;
use serde::Deserialize;

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

fn ggml_type<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<GgmlType>, D::Error> {
    let name = String::deserialize(deserializer)?;
    let unknown = || serde::de::Error::custom(format!("unknown tensor type {name:?}"));
    GgmlType::from_name(&name).map(Some).ok_or_else(unknown)
}

fn yes() -> bool {
    true
}
