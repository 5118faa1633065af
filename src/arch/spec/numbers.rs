//! Numbers: what they may be and where they come from.

use super::LayerKind;
use crate::arch::number::{Bounds, Kind, Number};
use crate::arch::{Formula, Pattern};
use serde::Deserialize;

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
#[serde(try_from = "crate::arch::origin::OriginKeys")]
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
