//! Named numbers of a drafter, and what an architecture's formulas make of them.

use super::{Formula, Generator, LayerKind, MetadataSpec, ScalarType, TensorSpec};
use crate::gguf::{Array, Value};
use std::collections::HashMap;

/// Most elements of a tensor that is computed; a head of 512 has 256 pairs. Numbers come from files.
const MAX_GENERATED: u64 = 1 << 16;

/// A formula that needs a number which is not known, or comes to something that is no length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} in formula {formula:?} is not known")]
pub struct UnknownNumber {
    /// The number.
    pub name: String,
    /// The formula.
    pub formula: String,
}

/// The numbers of a drafter by name, and the kind of each layer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbers {
    values: HashMap<String, f64>,
    /// Numbers that a file lists layer by layer.
    by_layer: HashMap<String, Vec<f64>>,
    /// The kind of each layer, once it is known.
    pub layers: Vec<LayerKind>,
}

impl Numbers {
    /// A number by name; for a certain layer also by the part of a name in front of `.sliding` or `.full`.
    pub(crate) fn get(&self, name: &str, layer: Option<usize>) -> Option<f64> {
        let listed = layer.and_then(|layer| self.by_layer.get(name)?.get(layer));
        if let Some(value) = listed.or_else(|| self.values.get(name)) {
            return Some(*value);
        }
        let kind = self.layers.get(layer?)?;
        if name == "is_sliding" {
            return Some((*kind == LayerKind::Sliding).into());
        }
        self.values.get(&format!("{name}.{}", kind.name())).copied()
    }

    /// Whether the number is known.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Adds or replaces a number.
    pub(crate) fn set(&mut self, name: &str, value: f64) {
        self.values.insert(name.to_owned(), value);
    }

    /// Adds a number for each layer. For the kinds of layers that are known already, the first of a kind speaks for it.
    pub(crate) fn set_by_layer(&mut self, name: &str, values: Vec<f64>) {
        for kind in [LayerKind::Sliding, LayerKind::Full] {
            let first = self.layers.iter().position(|k| *k == kind);
            if let Some(&value) = first.and_then(|layer| values.get(layer)) {
                self.set(&format!("{name}.{}", kind.name()), value);
            }
        }
        self.by_layer.insert(name.to_owned(), values);
    }

    /// Sets the kind of each layer, once it is known.
    pub(crate) fn set_layers(&mut self, layers: Vec<LayerKind>) {
        self.layers = layers;
        for (name, values) in std::mem::take(&mut self.by_layer) {
            self.set_by_layer(&name, values);
        }
    }

    /// A name in which `{full}` and `{sliding}` stand for the first layer of their kind.
    pub(crate) fn fill_layer(&self, name: &str) -> String {
        let mut name = name.to_owned();
        for kind in [LayerKind::Full, LayerKind::Sliding] {
            if let Some(layer) = self.layers.iter().position(|k| *k == kind) {
                name = name.replace(&format!("{{{}}}", kind.name()), &layer.to_string());
            }
        }
        name
    }

    /// A number that counts something, if it is known and whole.
    pub(crate) fn count(&self, name: &str) -> Option<usize> {
        self.get(name, None).and_then(whole)
    }

    /// The value of a formula, `layer` being the one it is read for.
    pub(crate) fn eval(&self, formula: &Formula, layer: Option<usize>) -> Result<f64, UnknownNumber> {
        let unknown = |name| UnknownNumber {
            name,
            formula: formula.to_string(),
        };
        formula.eval(&|name| self.get(name, layer)).map_err(unknown)
    }

    /// What a key holds; `None` for an optional one whose numbers are not known.
    pub(crate) fn key(&self, spec: &MetadataSpec) -> Result<Option<Value>, UnknownNumber> {
        let applies = |when: &Option<String>| when.as_ref().is_none_or(|name| self.get(name, None).is_some());
        if let Some(by_layer) = spec.by_layer.as_ref().filter(|by_layer| applies(&by_layer.when)) {
            if self.layers.is_empty() {
                return Err(UnknownNumber {
                    name: "the kind of each layer".to_owned(),
                    formula: by_layer.value.to_string(),
                });
            }
            let values = (0..self.layers.len()).map(|layer| self.eval(&by_layer.value, Some(layer)));
            let values = values.collect::<Result<Vec<f64>, _>>()?;
            return Ok(Some(array(by_layer.ty, values).into()));
        }
        let (Some(ty), Some(formula)) = (spec.ty, &spec.value) else {
            return Ok(None);
        };
        match self.eval(formula, None) {
            Ok(value) => Ok(Some(ty.value(value))),
            Err(_) if spec.optional => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The lengths of a tensor, outermost first.
    pub(crate) fn shape(&self, spec: &TensorSpec, layer: Option<usize>) -> Result<Vec<u64>, UnknownNumber> {
        let length = |formula: &Formula| {
            let value = self.eval(formula, layer)?;
            whole(value).map(|n| n as u64).ok_or_else(|| UnknownNumber {
                name: format!("{value}, which is no length,"),
                formula: formula.to_string(),
            })
        };
        spec.shape.iter().map(length).collect()
    }

    /// The elements of a tensor that is computed; none for one that is not.
    pub(crate) fn generate(
        &self,
        spec: &TensorSpec,
        layer: Option<usize>,
    ) -> Result<Vec<f32>, UnknownNumber> {
        let Some(generator) = spec.generate else {
            return Ok(Vec::new());
        };
        let lengths = self.shape(spec, layer)?;
        let elements = lengths.iter().try_fold(1, |n: u64, len| n.checked_mul(*len));
        let elements = elements
            .filter(|&n| n <= MAX_GENERATED)
            .ok_or_else(|| UnknownNumber {
                name: format!("{lengths:?}, which is far too long,"),
                formula: spec.gguf.to_string(),
            })?;
        match generator {
            Generator::RopeFreqs => {
                let rotated = self.count("rotated_pairs").ok_or_else(|| UnknownNumber {
                    name: "rotated_pairs".to_owned(),
                    formula: spec.gguf.to_string(),
                })?;
                let factor = |pair| if pair < rotated as u64 { 1.0 } else { 1e30 };
                Ok((0..elements).map(factor).collect())
            }
        }
    }
}

/// A whole number that fits, or nothing.
pub(crate) fn whole(value: f64) -> Option<usize> {
    (value >= 0.0 && value.fract() == 0.0 && value < 2_f64.powi(53)).then_some(value as usize)
}

// Casts from f64 saturate; counts were read from files as whole numbers below 2^53.
fn array(ty: ScalarType, values: Vec<f64>) -> Array {
    match ty {
        ScalarType::U32 => Array::U32(values.into_iter().map(|v| v as u32).collect()),
        ScalarType::I32 => Array::I32(values.into_iter().map(|v| v as i32).collect()),
        ScalarType::F32 => Array::F32(values.into_iter().map(|v| v as f32).collect()),
        ScalarType::Bool => Array::Bool(values.into_iter().map(|v| v != 0.0).collect()),
    }
}
