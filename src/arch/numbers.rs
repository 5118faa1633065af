//! Named numbers of a drafter, and what an architecture's formulas make of them.

use super::validate::IS_SLIDING;
use super::{Formula, Generator, LayerKind, MetadataSpec, Misfit, Number, Pattern, TensorSpec};
use crate::gguf::Value;
use std::collections::HashMap;

/// Most elements of a tensor that is computed; a head of 512 has 256 pairs. Numbers come from files.
const MAX_GENERATED: u64 = 1 << 16;

/// A formula that needs a number which is not known, or comes to something that is no length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("formula {formula:?} has no value: {why}")]
pub struct UnknownNumber {
    /// The formula.
    pub formula: String,
    /// Why, in words.
    pub why: String,
    /// Where the formula stands in its file, in bytes.
    pub(super) start: usize,
}

impl UnknownNumber {
    fn new(formula: &Formula, why: String) -> UnknownNumber {
        UnknownNumber {
            formula: formula.to_string(),
            why,
            start: formula.start(),
        }
    }
}

/// Why a metadata key has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum ValueError {
    #[error(transparent)]
    Unknown(#[from] UnknownNumber),
    #[error(transparent)]
    Misfit(#[from] Misfit),
}

/// The numbers of a drafter by name, and the kind of each layer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbers {
    values: HashMap<String, Number>,
    /// Numbers that a file lists layer by layer.
    by_layer: HashMap<String, Vec<Number>>,
    /// The kind of each layer, once it is known.
    pub layers: Vec<LayerKind>,
}

impl Numbers {
    /// A number by name; for a certain layer also by the part of a name in front of `.sliding` or `.full`.
    pub(crate) fn get(&self, name: &str, layer: Option<usize>) -> Option<Number> {
        let listed = layer.and_then(|layer| self.by_layer.get(name)?.get(layer));
        if let Some(value) = listed.or_else(|| self.values.get(name)) {
            return Some(value.clone());
        }
        let kind = self.layers.get(layer?)?;
        if name == IS_SLIDING {
            return Some(Number::Bool(*kind == LayerKind::Sliding));
        }
        self.values.get(&format!("{name}.{}", kind.name())).cloned()
    }

    /// Whether the number is known.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Whether the number is known, and neither `false` nor zero nor an empty list.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        let is_nothing = |value: &Number| match value {
            Number::List(items) => items.is_empty(),
            value => *value == Number::Bool(false) || value.as_f64() == Some(0.0),
        };
        self.values.get(name).is_some_and(|value| !is_nothing(value))
    }

    /// Whether something applies: always, or where the number of this name is set.
    pub(crate) fn applies(&self, when: Option<&str>) -> bool {
        when.is_none_or(|name| self.is_set(name))
    }

    /// The layers that a name speaks of, one after the other; `None` for a name that speaks of none.
    pub(crate) fn layers_of(&self, name: &Pattern) -> impl Iterator<Item = Option<usize>> + use<> {
        let is_by_layer = name.is_by_layer();
        let count = if is_by_layer { self.layers.len() } else { 1 };
        (0..count).map(move |layer| is_by_layer.then_some(layer))
    }

    /// Adds or replaces a number.
    pub(crate) fn set(&mut self, name: &str, value: Number) {
        self.values.insert(name.to_owned(), value);
    }

    /// Adds a number for each layer. For the kinds of layers that are known already, the first of a kind speaks for it.
    pub(crate) fn set_by_layer(&mut self, name: &str, values: Vec<Number>) {
        for kind in LayerKind::ALL {
            let first = self.layers.iter().position(|k| *k == kind);
            if let Some(value) = first.and_then(|layer| values.get(layer)) {
                self.set(&format!("{name}.{}", kind.name()), value.clone());
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

    /// A number that counts something, if it is known.
    pub(crate) fn count(&self, name: &str) -> Option<usize> {
        self.get(name, None)?.as_count()
    }

    /// The value of a formula, `layer` being the one it is read for.
    pub(crate) fn eval(&self, formula: &Formula, layer: Option<usize>) -> Result<Number, UnknownNumber> {
        let unknown = |name| UnknownNumber::new(formula, format!("{name} is not known"));
        formula.eval(&|name| self.get(name, layer)).map_err(unknown)
    }

    /// What a key holds; `None` for an optional one whose numbers are not known.
    pub(crate) fn key(&self, spec: &MetadataSpec) -> Result<Option<Value>, ValueError> {
        if !self.applies(spec.when.as_deref()) {
            return Ok(None);
        }
        if let Some(by_layer) = spec
            .by_layer
            .as_ref()
            .filter(|by_layer| self.applies(by_layer.when.as_deref()))
        {
            if self.layers.is_empty() {
                return Err(UnknownNumber::new(
                    &by_layer.value,
                    "the kind of each layer is not known".to_owned(),
                )
                .into());
            }
            let values = (0..self.layers.len()).map(|layer| self.eval(&by_layer.value, Some(layer)));
            let values = values.collect::<Result<Vec<Number>, _>>()?;
            return Ok(Some(by_layer.ty.array(&values)?.into()));
        }
        let (Some(ty), Some(formula)) = (spec.ty, &spec.value) else {
            return Ok(None);
        };
        match self.eval(formula, None) {
            Ok(Number::List(items)) => Ok(Some(ty.array(&items)?.into())),
            Ok(value) => Ok(Some(ty.value(&value)?)),
            Err(_) if spec.optional => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The lengths of a tensor, outermost first.
    pub(crate) fn shape(&self, spec: &TensorSpec, layer: Option<usize>) -> Result<Vec<u64>, UnknownNumber> {
        let length = |formula: &Formula| {
            let value = self.eval(formula, layer)?;
            let no_length = || UnknownNumber::new(formula, format!("{value} is no length"));
            value.as_count().map(|n| n as u64).ok_or_else(no_length)
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
        let Some(formula) = spec.shape.first() else {
            return Ok(Vec::new());
        };
        let elements = lengths.iter().try_fold(1, |n: u64, len| n.checked_mul(*len));
        let elements = elements
            .filter(|&n| n <= MAX_GENERATED)
            .ok_or_else(|| UnknownNumber::new(formula, format!("a length of {lengths:?} is far too much")))?;
        match generator {
            Generator::RopeFreqs => {
                let name = generator.number();
                let unknown = || UnknownNumber::new(formula, format!("{name} is not known"));
                let rotated = self.count(name).ok_or_else(unknown)?;
                let factor = |pair| if pair < rotated as u64 { 1.0 } else { 1e30 };
                Ok((0..elements).map(factor).collect())
            }
        }
    }
}
