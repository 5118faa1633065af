//! The drafter's numbers: from its `config.json`, or from its tensors and the target where there is none.

use super::ConvertError;
use crate::arch::{Arch, HparamSpec, LayerKind, Match, Numbers, Origin, UnknownNumber};
use crate::checkpoint::Checkpoint;
use crate::facts::{Derived, Target};
use serde_json::Value as Json;
use std::num::NonZeroUsize;

/// Where numbers can come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sources<'a> {
    pub arch: &'a Arch,
    pub checkpoint: &'a Checkpoint,
    pub config: Option<&'a Json>,
    pub target: Option<Target<'a>>,
}

/// The numbers of a drafter, and which of them no config stated.
#[derive(Debug)]
pub(super) struct Hparams {
    pub numbers: Numbers,
    pub derived: Vec<Derived>,
}

impl Hparams {
    /// Works every number of the architecture out.
    pub(super) fn resolve(sources: Sources) -> Result<Hparams, ConvertError> {
        let mut hparams = Hparams {
            numbers: Numbers::default(),
            derived: Vec::new(),
        };
        for spec in &sources.arch.hparams {
            match hparams.origin_of(spec, sources)? {
                Some((value, origin)) => {
                    hparams.numbers.set(&spec.name, value);
                    if let Some(from) = origin {
                        hparams.derived.push(Derived {
                            name: spec.name.clone(),
                            value: value.to_string(),
                            from,
                        });
                    }
                }
                None if spec.optional => {}
                None => return Err(missing(spec, sources)),
            }
            if spec.name == "layers" {
                hparams.resolve_layers(sources)?;
            }
        }
        Ok(hparams)
    }

    /// The first origin that has the number, with words for it where it is not the config or a formula.
    fn origin_of(
        &self,
        spec: &HparamSpec,
        sources: Sources,
    ) -> Result<Option<(f64, Option<String>)>, ConvertError> {
        for origin in &spec.from {
            if let Some(value) = self.value_at(origin, sources)? {
                return Ok(Some((value, derivation(origin, &self.numbers))));
            }
        }
        Ok(None)
    }

    fn value_at(&self, origin: &Origin, sources: Sources) -> Result<Option<f64>, ConvertError> {
        let Sources {
            checkpoint, target, ..
        } = sources;
        let is_off = |when: &Option<String>| {
            when.as_ref()
                .is_some_and(|name| self.numbers.get(name, None).is_none())
        };
        match origin {
            Origin::Config {
                config,
                times,
                floor,
                when,
            } => {
                let pointer = self.numbers.fill_layer(config);
                let value = sources.config.and_then(|json| json.pointer(&pointer));
                let Some(mut value) = (match value {
                    _ if is_off(when) => None,
                    None | Some(Json::Null | Json::Bool(false)) => None,
                    Some(Json::Bool(true)) => Some(1.0),
                    Some(value) => Some(value.as_f64().ok_or_else(|| ConvertError::ConfigValue {
                        path: checkpoint.folder().join("config.json"),
                        key: pointer.clone(),
                        found: value.to_string(),
                        expected: "a number".to_owned(),
                    })?),
                }) else {
                    return Ok(None);
                };
                if let Some(times) = times {
                    value *= self.numbers.eval(times, None)?;
                }
                Ok(Some(if *floor { value.floor() } else { value }))
            }
            Origin::Axis {
                axis_of,
                axis,
                divide,
            } => {
                let Some(tensor) = checkpoint.tensor(&self.numbers.fill_layer(axis_of)) else {
                    return Ok(None);
                };
                let Some(&len) = tensor.shape.get(*axis) else {
                    return Ok(None);
                };
                let divisor = divide
                    .as_ref()
                    .map_or(Ok(1.0), |formula| self.numbers.eval(formula, None))?;
                Ok(Some(len as f64 / divisor))
            }
            Origin::Layers { layers_of } => {
                let count = checkpoint
                    .tensors()
                    .filter(|tensor| layers_of.matches(&tensor.plain_name()).is_some())
                    .count();
                Ok((count > 0).then_some(count as f64))
            }
            Origin::Target { .. } | Origin::TargetLen { .. } | Origin::TargetOnes { .. } => {
                let number = target.map(|target| target.origin(origin)).transpose()?;
                Ok(number.flatten())
            }
            Origin::Formula { formula, when } => {
                if is_off(when) {
                    return Ok(None);
                }
                Ok(Some(self.numbers.eval(formula, None)?))
            }
        }
    }

    /// The kind of each layer: as the config lists them, else by the length of the heads in drafter and target.
    fn resolve_layers(&mut self, sources: Sources) -> Result<(), ConvertError> {
        let Sources {
            arch,
            checkpoint,
            config,
            target,
        } = sources;
        let types = &arch.layer_types;
        let count = self.numbers.count("layers").ok_or_else(|| UnknownNumber {
            name: "layers".to_owned(),
            formula: types.config.clone(),
        })?;
        if let Some(list) = config
            .and_then(|json| json.pointer(&types.config))
            .filter(|v| !v.is_null())
        {
            let bad = || ConvertError::ConfigValue {
                path: checkpoint.folder().join("config.json"),
                key: types.config.clone(),
                found: list.to_string(),
                expected: format!("a list of {count} of {:?} and {:?}", types.sliding, types.full),
            };
            let list = list
                .as_array()
                .filter(|list| list.len() == count)
                .ok_or_else(bad)?;
            for word in list {
                self.numbers.layers.push(match word.as_str() {
                    Some(word) if word == types.sliding => LayerKind::Sliding,
                    Some(word) if word == types.full => LayerKind::Full,
                    _ => return Err(bad()),
                });
            }
            return Ok(());
        }
        let undecided = |why: &str| ConvertError::LayerKinds {
            path: checkpoint.path().to_owned(),
            why: why.to_owned(),
        };
        let lengths = match target {
            Some(target) => {
                let length = |key: &str| target.number(key, None);
                Some((length(&types.target_sliding)?, length(&types.target_full)?))
            }
            None => None,
        };
        let Some((sliding, full)) = lengths.filter(|(sliding, full)| sliding != full) else {
            // What transformers takes where a config lists none.
            if let Some(every) = types.full_every.filter(|_| config.is_some()) {
                self.alternate_layers(count, every);
                return Ok(());
            }
            return Err(undecided(match (config, target) {
                (_, Some(_)) => "the target's sliding and full layers have heads of the same length",
                (Some(_), None) => "config.json does not list them and there is no --target",
                (None, None) => "there is no config.json and no --target",
            }));
        };
        for layer in 0..count {
            let name = types.head_dim_of.name(layer);
            let head_dim = checkpoint
                .tensor(&name)
                .and_then(|tensor| tensor.shape.first().map(|&n| n as f64));
            self.numbers.layers.push(match head_dim {
                None => return Err(undecided(&format!("tensor {name} is missing"))),
                length if length == sliding => LayerKind::Sliding,
                length if length == full => LayerKind::Full,
                Some(length) => {
                    let why = format!("{name} is {length} long, which is no head length of the target");
                    return Err(undecided(&why));
                }
            });
        }
        self.tell_layers(format!("{} against the target's head lengths", types.head_dim_of));
        Ok(())
    }

    /// Each `every`th layer is full, and the last.
    fn alternate_layers(&mut self, count: usize, every: NonZeroUsize) {
        let kind = |layer: usize| match layer.is_multiple_of(every.get()) || layer == count {
            true => LayerKind::Full,
            false => LayerKind::Sliding,
        };
        self.numbers.layers = (1..=count).map(kind).collect();
        self.tell_layers(format!(
            "transformers, as config.json lists none: each {every}th is full, and the last"
        ));
    }

    fn tell_layers(&mut self, from: String) {
        let kinds: Vec<&str> = self.numbers.layers.iter().map(|kind| kind.name()).collect();
        self.derived.push(Derived {
            name: "layer kinds".to_owned(),
            value: kinds.join(", "),
            from,
        });
    }
}

/// Words for an origin that is neither the config nor a formula.
fn derivation(origin: &Origin, numbers: &Numbers) -> Option<String> {
    match origin {
        Origin::Config { .. } | Origin::Formula { .. } => None,
        Origin::Axis { axis_of, .. } => Some(format!("shape of {}", numbers.fill_layer(axis_of))),
        Origin::Layers { layers_of } => Some(format!("number of {layers_of}")),
        Origin::Target { target: key, .. } | Origin::TargetLen { target_len: key } => {
            Some(format!("{key} of the target"))
        }
        Origin::TargetOnes { target_ones } => Some(format!("{target_ones} of the target")),
    }
}

/// The error for a number that no origin has: which places were looked at.
fn missing(spec: &HparamSpec, sources: Sources) -> ConvertError {
    let places: Vec<String> = spec
        .from
        .iter()
        .filter_map(|origin| match origin {
            Origin::Config { config, .. } => Some(format!("{config} of config.json")),
            other => derivation(other, &Numbers::default()),
        })
        .collect();
    ConvertError::MissingNumber {
        path: sources.checkpoint.path().to_owned(),
        name: spec.name.clone(),
        places: places.join(", "),
        has_config: sources.config.is_some(),
        has_target: sources.target.is_some(),
    }
}

/// As many numbers of a checkpoint as can be worked out, for a look at it.
pub(crate) fn known_numbers(arch: &Arch, checkpoint: &Checkpoint, config: Option<&Json>) -> Numbers {
    let sources = Sources {
        arch,
        checkpoint,
        config,
        target: None,
    };
    let mut hparams = Hparams {
        numbers: Numbers::default(),
        derived: Vec::new(),
    };
    for spec in &arch.hparams {
        if let Ok(Some((value, _))) = hparams.origin_of(spec, sources) {
            hparams.numbers.set(&spec.name, value);
        }
        if spec.name == "layers" && hparams.resolve_layers(sources).is_err() {
            hparams.numbers.layers.clear();
        }
    }
    hparams.numbers
}

/// The layer that a match speaks of.
pub(super) fn layer_of(found: Match) -> Option<usize> {
    match found {
        Match::Whole => None,
        Match::Layer(layer) => Some(layer),
    }
}
