//! How the origin of a number is written: one key says what kind it is, and some go with it.

use super::{Formula, LayerKind, Number, Origin, Pattern};
use serde::Deserialize;

/// All keys that an origin may have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OriginKeys {
    config: Option<String>,
    is: Option<serde_json::Value>,
    is_there: Option<bool>,
    min: Option<Number>,
    max: Option<Number>,
    times: Option<Formula>,
    floor: Option<bool>,
    when: Option<String>,
    generation: Option<String>,
    axis_of: Option<String>,
    axis: Option<usize>,
    divide: Option<Formula>,
    layers_of: Option<Pattern>,
    has: Option<Pattern>,
    lacks: Option<Pattern>,
    len_of: Option<String>,
    differ: Option<[String; 2]>,
    list: Option<Vec<Formula>>,
    target: Option<String>,
    of_layer: Option<LayerKind>,
    array_only: Option<bool>,
    target_len: Option<String>,
    target_ones: Option<String>,
    formula: Option<Formula>,
}

impl TryFrom<OriginKeys> for Origin {
    type Error = String;

    fn try_from(mut keys: OriginKeys) -> Result<Origin, String> {
        let origin = keys.origin()?;
        match keys.left_over() {
            Some(key) => Err(format!("{key} does not belong to an origin of this kind")),
            None => Ok(origin),
        }
    }
}

impl OriginKeys {
    /// The origin that the first key of those that say the kind makes, with the keys that go with it.
    fn origin(&mut self) -> Result<Origin, String> {
        if let Some(config) = self.config.take() {
            return Ok(Origin::Config {
                config,
                is: self.is.take(),
                is_there: self.is_there.take().unwrap_or_default(),
                min: self.min.take(),
                max: self.max.take(),
                times: self.times.take(),
                floor: self.floor.take().unwrap_or_default(),
                when: self.when.take(),
            });
        }
        if let Some(generation) = self.generation.take() {
            return Ok(Origin::Generation {
                generation,
                when: self.when.take(),
            });
        }
        if let Some(axis_of) = self.axis_of.take() {
            return Ok(Origin::Axis {
                axis: self
                    .axis
                    .take()
                    .ok_or_else(|| format!("which axis of {axis_of} is not said"))?,
                axis_of,
                divide: self.divide.take(),
            });
        }
        if let Some(layers_of) = self.layers_of.take() {
            return Ok(Origin::Layers { layers_of });
        }
        if let Some(has) = self.has.take() {
            return Ok(Origin::Has { has });
        }
        if let Some(lacks) = self.lacks.take() {
            return Ok(Origin::Lacks { lacks });
        }
        if let Some(len_of) = self.len_of.take() {
            return Ok(Origin::Len { len_of });
        }
        if let Some(differ) = self.differ.take() {
            return Ok(Origin::Differ { differ });
        }
        if let Some(list) = self.list.take() {
            return Ok(Origin::List { list });
        }
        if let Some(target) = self.target.take() {
            return Ok(Origin::Target {
                target,
                of_layer: self.of_layer.take(),
                array_only: self.array_only.take().unwrap_or_default(),
            });
        }
        if let Some(target_len) = self.target_len.take() {
            return Ok(Origin::TargetLen { target_len });
        }
        if let Some(target_ones) = self.target_ones.take() {
            return Ok(Origin::TargetOnes { target_ones });
        }
        if let Some(formula) = self.formula.take() {
            return Ok(Origin::Formula {
                formula,
                when: self.when.take(),
            });
        }
        Err(
            "an origin has one of config, generation, axis_of, layers_of, has, lacks, len_of, differ, list, target, \
             target_len, target_ones and formula"
                .to_owned(),
        )
    }

    /// A key that is still there.
    fn left_over(&self) -> Option<&'static str> {
        let keys = [
            ("config", self.config.is_some()),
            ("is", self.is.is_some()),
            ("is_there", self.is_there.is_some()),
            ("min", self.min.is_some()),
            ("max", self.max.is_some()),
            ("times", self.times.is_some()),
            ("floor", self.floor.is_some()),
            ("when", self.when.is_some()),
            ("generation", self.generation.is_some()),
            ("axis_of", self.axis_of.is_some()),
            ("axis", self.axis.is_some()),
            ("divide", self.divide.is_some()),
            ("layers_of", self.layers_of.is_some()),
            ("has", self.has.is_some()),
            ("lacks", self.lacks.is_some()),
            ("len_of", self.len_of.is_some()),
            ("differ", self.differ.is_some()),
            ("list", self.list.is_some()),
            ("target", self.target.is_some()),
            ("of_layer", self.of_layer.is_some()),
            ("array_only", self.array_only.is_some()),
            ("target_len", self.target_len.is_some()),
            ("target_ones", self.target_ones.is_some()),
            ("formula", self.formula.is_some()),
        ];
        keys.into_iter()
            .find_map(|(key, is_there)| is_there.then_some(key))
    }
}
