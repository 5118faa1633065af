//! The drafter's numbers: from its `config.json`, or from its tensors and the target where there is none.

use super::ConvertError;
use crate::arch::{Arch, IS_SLIDING, Numbers, TensorSpec};
use crate::checkpoint::CheckpointHead;
use crate::facts::{CheckpointFacts, Derived, Fault, Provenance, file_of, resolve};
use serde_json::Value as Json;

/// The numbers of a drafter, and which of them no config stated.
#[derive(Debug)]
pub(super) struct Hparams<'a> {
    pub arch: &'a Arch,
    pub numbers: Numbers,
    pub derived: Vec<Derived>,
}

impl<'a> Hparams<'a> {
    /// Works every number of the architecture out.
    pub(super) fn resolve(facts: CheckpointFacts<'a>) -> Result<Hparams<'a>, ConvertError> {
        let found = resolve(&facts);
        if let Some(fault) = found.faults.into_iter().next() {
            return Err(error(fault, facts));
        }
        // What formulas make of stated numbers is no news.
        let derived = found.derived.into_iter();
        let derived = derived.filter(|number| !matches!(number.from, Provenance::Formula(_)));
        Ok(Hparams {
            arch: facts.arch,
            numbers: found.numbers,
            derived: derived
                .map(|number| Derived {
                    // What people call it.
                    name: match number.name.as_str() {
                        IS_SLIDING => "layer kinds".to_owned(),
                        _ => number.name,
                    },
                    value: number.value,
                    from: number.from.to_string(),
                })
                .collect(),
        })
    }

    /// The lengths of a tensor, outermost first.
    pub(super) fn shape(&self, spec: &TensorSpec, layer: Option<usize>) -> Result<Vec<u64>, ConvertError> {
        let shape = self.numbers.shape(spec, layer);
        Ok(shape.map_err(|error| self.arch.unknown(&error))?)
    }

    /// The elements of a tensor that is computed.
    pub(super) fn generate(&self, spec: &TensorSpec, layer: Option<usize>) -> Result<Vec<f32>, ConvertError> {
        let values = self.numbers.generate(spec, layer);
        Ok(values.map_err(|error| self.arch.unknown(&error))?)
    }
}

fn error(fault: Fault, facts: CheckpointFacts) -> ConvertError {
    let checkpoint = facts.checkpoint;
    match fault {
        Fault::Value {
            from,
            found,
            allowed: expected,
        } => {
            let config = checkpoint.folder().join("config.json");
            let (drafter, key) = match from {
                Provenance::Config(pointer) => {
                    return ConvertError::ConfigValue {
                        path: config,
                        key: pointer,
                        found,
                        expected,
                    };
                }
                Provenance::Target(ref key) => (checkpoint.path(), key.clone()),
                ref from => (checkpoint.path(), from.to_string()),
            };
            ConvertError::ConfigValue {
                path: file_of(&from, drafter, facts.target).to_owned(),
                key,
                found,
                expected,
            }
        }
        Fault::Target(error) => error.into(),
        Fault::Missing { name, places } => ConvertError::MissingNumber {
            path: checkpoint.path().to_owned(),
            name,
            places,
            is_drafter: facts.arch.is_drafter(),
            has_config: facts.config.is_some(),
            has_target: facts.target.is_some(),
        },
        Fault::LayerKinds { why } => ConvertError::LayerKinds {
            path: checkpoint.path().to_owned(),
            why,
        },
    }
}

/// As many numbers of a checkpoint as can be worked out, for a look at it.
pub(crate) fn known_numbers(arch: &Arch, checkpoint: &CheckpointHead, config: Option<&Json>) -> Numbers {
    let facts = CheckpointFacts {
        arch,
        checkpoint,
        config,
        generation: None,
        target: None,
    };
    resolve(&facts).numbers
}
