//! A drafter's GGUF in whatever dialect, seen in upstream's words: its keys and tensors by upstream's names, and its
//! numbers.

use super::{Derived, Target};
use crate::arch::{Arch, Dialect, HparamSpec, LayerKind, Match, Numbers, Origin};
use crate::gguf::{Array, Gguf, KeyError, Part, TensorInfo, Value};
use crate::io::kind::FileKind;
use bstr::{BStr, BString};
use std::collections::HashMap;

/// A GGUF that is a drafter, by its architecture.
#[derive(Debug)]
pub(crate) struct DrafterGguf<'a> {
    pub gguf: &'a Gguf,
    pub arch: &'a Arch,
    /// `None` for upstream's own spelling.
    pub dialect: Option<&'a Dialect>,
    /// In the order of the file.
    pub keys: Vec<Key<'a>>,
    /// In the order of the file.
    pub tensors: Vec<TensorEntry<'a>>,
    /// What is known of the drafter from its keys, the shapes of its tensors, and the target.
    pub numbers: Numbers,
    /// The numbers that no key states.
    pub derived: Vec<Derived>,
    key_index: HashMap<BString, usize>,
    tensor_index: HashMap<BString, usize>,
}

/// A metadata key.
#[derive(Debug, Clone)]
pub(crate) struct Key<'a> {
    /// As the file spells it.
    pub found: &'a BStr,
    /// As upstream spells it.
    pub upstream: BString,
    pub value: &'a Value,
}

/// A tensor.
#[derive(Debug, Clone)]
pub(crate) struct TensorEntry<'a> {
    /// As upstream names it.
    pub upstream: BString,
    pub info: &'a TensorInfo,
    /// The file that holds it.
    pub part: &'a Part,
}

/// Whose architecture a file has.
#[derive(Debug)]
pub(crate) enum Kind<'a> {
    /// A drafter's, in upstream's spelling or in a dialect.
    Drafter(Option<&'a Dialect>),
    /// A target's.
    Target,
    /// None of the two.
    Other(FileKind),
}

/// What a file is to drafters of this architecture.
pub(crate) fn kind_of<'a>(gguf: &Gguf, arch: &'a Arch) -> Result<Kind<'a>, KeyError> {
    let kind = gguf.kind();
    let found = match &kind {
        FileKind::Model(found) | FileKind::OllamaModel(found) => found,
        // No kind at all: the architecture is missing or no text.
        FileKind::Gguf => {
            return gguf
                .metadata()
                .string("general.architecture")
                .map(|_| Kind::Other(kind));
        }
        _ => return Ok(Kind::Other(kind)),
    };
    if *found == arch.architecture {
        return Ok(Kind::Drafter(None));
    }
    if *found == arch.target {
        return Ok(Kind::Target);
    }
    let dialect = arch
        .dialects
        .iter()
        .find(|dialect| dialect.architecture == *found);
    Ok(dialect.map_or(Kind::Other(kind), |dialect| Kind::Drafter(Some(dialect))))
}

impl<'a> DrafterGguf<'a> {
    /// Reads a file of which [`kind_of`] said that it is a drafter of this dialect.
    pub(crate) fn read(
        gguf: &'a Gguf,
        arch: &'a Arch,
        dialect: Option<&'a Dialect>,
        target: Option<Target>,
    ) -> DrafterGguf<'a> {
        let key = |(found, value)| Key {
            found,
            upstream: arch.upstream_key(found),
            value,
        };
        let of_part = |part: &'a Part| {
            part.header.tensors.iter().map(move |info| TensorEntry {
                upstream: arch.upstream_tensor(BStr::new(&info.name)),
                info,
                part,
            })
        };
        let keys: Vec<Key> = gguf.metadata().iter().map(key).collect();
        let tensors: Vec<TensorEntry> = gguf.parts().iter().flat_map(of_part).collect();
        let mut drafter = DrafterGguf {
            gguf,
            arch,
            dialect,
            key_index: first_of_each(keys.iter().map(|key| &key.upstream)),
            tensor_index: first_of_each(tensors.iter().map(|tensor| &tensor.upstream)),
            keys,
            tensors,
            numbers: Numbers::default(),
            derived: Vec::new(),
        };
        drafter.read_layers();
        drafter.read_keys();
        for spec in &arch.hparams {
            drafter.derive(spec, target);
        }
        drafter
    }

    /// A key by upstream's name.
    pub(crate) fn key(&self, upstream: impl AsRef<[u8]>) -> Option<&Key<'a>> {
        let at = self.key_index.get(BStr::new(upstream.as_ref()))?;
        self.keys.get(*at)
    }

    /// A tensor by upstream's name.
    pub(crate) fn tensor(&self, upstream: &str) -> Option<&TensorEntry<'a>> {
        let at = self.tensor_index.get(BStr::new(upstream))?;
        self.tensors.get(*at)
    }

    /// Lengths of a tensor, by its name in the checkpoint, outermost first.
    fn shape_of(&self, hf_name: &str) -> Option<Vec<u64>> {
        let name = self.arch.tensors.iter().find_map(|spec| {
            Some(match spec.hf.as_ref()?.matches(hf_name)? {
                Match::Whole => spec.gguf.name(0),
                Match::Layer(layer) => spec.gguf.name(layer),
            })
        })?;
        Some(self.tensor(&name)?.info.dims.iter().rev().copied().collect())
    }

    /// The kind of each layer, where a key lists it.
    fn read_layers(&mut self) {
        let arch = self.arch;
        let list = arch.metadata.iter().find_map(|spec| {
            let by_layer = spec.by_layer.as_ref()?;
            let is_kinds = by_layer.value.as_name() == Some("is_sliding");
            is_kinds.then(|| self.key(&spec.key)?.value.as_array())?
        });
        if let Some(Array::Bool(sliding)) = list {
            let kind = |&sliding: &bool| {
                if sliding {
                    LayerKind::Sliding
                } else {
                    LayerKind::Full
                }
            };
            self.numbers.layers = sliding.iter().map(kind).collect();
        }
    }

    /// Every number that a key states by itself.
    fn read_keys(&mut self) {
        let arch = self.arch;
        for spec in &arch.metadata {
            let Some(value) = self.key(&spec.key).map(|key| key.value) else {
                continue;
            };
            let by_layer = spec.by_layer.as_ref().map(|by_layer| &by_layer.value);
            let single = spec.value.as_ref();
            if let (Value::Array(array), Some(name)) = (value, by_layer.and_then(|formula| formula.as_name()))
            {
                let numbers: Option<Vec<f64>> = (0..array.len()).map(|i| number(&array.get(i)?)).collect();
                if let Some(numbers) = numbers.filter(|_| name != "is_sliding") {
                    self.numbers.set_by_layer(name, numbers);
                }
            } else if let Some(name) = single.and_then(|formula| formula.as_name())
                && let Some(number) = number(value)
                && *value != Value::Bool(false)
                && !self.numbers.has(name)
            {
                self.numbers.set(name, number);
            }
        }
    }

    /// Works out a number that no key states, if it can be.
    fn derive(&mut self, spec: &HparamSpec, target: Option<Target>) {
        if !self.numbers.has(&spec.name) {
            let found = spec.from.iter().find_map(|origin| self.number_at(origin, target));
            if let Some((number, from)) = found {
                self.set_derived(&spec.name, number, from);
            } else if let Some(assumption) = self.arch.assumptions.iter().find(|a| a.number == spec.name)
                && let Ok(number) = self.numbers.eval(&assumption.formula, None)
            {
                let from = format!("assumed, as {}", assumption.because);
                self.set_derived(&spec.name, number, from);
            }
        }
        // As soon as the lengths of both kinds of heads are known, they tell the layers apart.
        if self.numbers.layers.is_empty() && self.numbers.has("head_dim.full") {
            self.derive_layers();
        }
    }

    fn set_derived(&mut self, name: &str, number: f64, from: String) {
        self.numbers.set(name, number);
        self.derived.push(Derived {
            name: name.to_owned(),
            value: number.to_string(),
            from,
        });
    }

    fn number_at(&self, origin: &Origin, target: Option<Target>) -> Option<(f64, String)> {
        match origin {
            Origin::Config { .. } => None,
            Origin::Axis {
                axis_of,
                axis,
                divide,
            } => {
                let name = self.numbers.fill_layer(axis_of);
                let len = *self.shape_of(&name)?.get(*axis)? as f64;
                let divisor = match divide {
                    None => 1.0,
                    Some(formula) => self.numbers.eval(formula, None).ok()?,
                };
                Some((len / divisor, format!("the shape of {name}")))
            }
            Origin::Layers { layers_of } => {
                let count = (0..)
                    .take_while(|&layer| self.shape_of(&layers_of.name(layer)).is_some())
                    .count();
                (count > 0).then(|| (count as f64, format!("the number of {layers_of}")))
            }
            Origin::Target { .. } | Origin::TargetLen { .. } | Origin::TargetOnes { .. } => {
                let number = target?.origin(origin).ok()??;
                Some((number, "the target".to_owned()))
            }
            Origin::Formula { formula, when } => {
                let is_off = when.as_ref().is_some_and(|name| !self.numbers.has(name));
                let number = (!is_off).then(|| self.numbers.eval(formula, None).ok())??;
                Some((number, formula.to_string()))
            }
        }
    }

    /// The kind of each layer by the length of its heads.
    fn derive_layers(&mut self) {
        let length = |name| self.numbers.get(name, None);
        let (Some(sliding), Some(full)) = (length("head_dim.sliding"), length("head_dim.full")) else {
            return;
        };
        let layers = self.numbers.count("layers").unwrap_or(0).min(self.tensors.len());
        let kinds: Option<Vec<LayerKind>> = (0..layers)
            .map(|layer| {
                let shape = self.shape_of(&self.arch.layer_types.head_dim_of.name(layer))?;
                match *shape.first()? as f64 {
                    length if length == sliding && sliding != full => Some(LayerKind::Sliding),
                    length if length == full && sliding != full => Some(LayerKind::Full),
                    _ => None,
                }
            })
            .collect();
        if let Some(kinds) = kinds.filter(|kinds| !kinds.is_empty()) {
            self.numbers.set_layers(kinds);
            self.derived.push(Derived {
                name: "is_sliding".to_owned(),
                value: String::new(),
                from: format!("the shapes of {}", self.arch.layer_types.head_dim_of),
            });
        }
    }

    /// What a formula's numbers were derived from, in words: the formula itself where keys state them.
    pub(crate) fn origin_of(&self, names: &[&str]) -> Option<String> {
        let derived = |name: &&str| {
            let is_it = |d: &&Derived| d.name == *name || d.name.split('.').next() == Some(name);
            self.derived.iter().find(is_it).map(|d| d.from.clone())
        };
        names.iter().find_map(derived)
    }
}

/// Where each name stands first.
fn first_of_each<'n>(names: impl Iterator<Item = &'n BString>) -> HashMap<BString, usize> {
    let mut index = HashMap::new();
    for (at, name) in names.enumerate() {
        index.entry(name.clone()).or_insert(at);
    }
    index
}

/// A value as a number, if it is one; truth values count as 1 and 0.
pub(crate) fn number(value: &Value) -> Option<f64> {
    let whole = || value.as_u64().map(|n| n as f64);
    let truth = || value.as_bool().map(f64::from);
    value.as_f64().or_else(whole).or_else(truth)
}

/// Most elements of a list that [`in_words`] shows.
const SHOWN: usize = 8;

/// A number or a list of them in a line; a long list is cut.
pub(crate) fn in_words(value: &Value) -> String {
    match value {
        Value::Array(Array::Array(_)) => value.type_name(),
        Value::Array(array) => {
            let items = (0..array.len().min(SHOWN)).filter_map(|i| array.get(i));
            let mut items: Vec<String> = items.map(|item| in_words(&item)).collect();
            if array.len() > SHOWN {
                items.push("…".to_owned());
            }
            format!("[{}]", items.join(", "))
        }
        Value::Bool(truth) => truth.to_string(),
        value => number(value).map_or_else(|| value.type_name(), |number| number.to_string()),
    }
}
