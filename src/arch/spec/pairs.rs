//! What must hold between a drafter and its target, and between the keys of one file.

use super::LayerKind;
use serde::Deserialize;

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
