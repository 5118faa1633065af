//! Whether an architecture file is sound: every name that it uses exists, and nothing is said twice.

mod metadata;
mod numbers;
mod sections;
mod tensors;
#[cfg(test)]
mod tests;

use super::number::{Kind, Number};
use super::places::Step;
use super::spec::*;
use super::{Formula, Pattern};
use crate::text::nearest;
use std::collections::HashMap;

/// What `tokenizer.ggml.model` may be in llama.cpp (`llama-vocab.cpp`, October 2026).
const TOKENIZERS: [&str; 7] = ["llama", "gemma4", "gpt2", "bert", "t5", "rwkv", "plamo2"];

/// Tensors that models have but once, as llama.cpp calls them (`llama-arch.cpp`, October 2026).
const TARGET_TENSORS: [&str; 12] = [
    "token_embd.weight",
    "token_embd_norm.weight",
    "token_types.weight",
    "position_embd.weight",
    "output.weight",
    "output_norm.weight",
    "rope_freqs.weight",
    "rope_factors_long.weight",
    "rope_factors_short.weight",
    "per_layer_token_embd.weight",
    "per_layer_model_proj.weight",
    "per_layer_proj_norm.weight",
];

/// Numbers that no file has to define: the type of the output, and for a certain layer whether its window slides.
pub(crate) const FILE_TYPE: &str = "file_type";
pub(crate) const IS_SLIDING: &str = "is_sliding";

/// Something that is wrong, and where.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: Vec<Step>,
    pub(super) message: String,
}

type Checked = Result<(), Fault>;

/// A place in the file, as it is written down on the way.
#[derive(Clone)]
struct At(Vec<Step>);

impl At {
    fn item(list: &str, at: usize) -> At {
        At(vec![Step::Key(list.to_owned()), Step::Item(at)])
    }

    fn key(&self, key: &str) -> At {
        At([&self.0[..], &[Step::Key(key.to_owned())]].concat())
    }

    fn nth(&self, at: usize) -> At {
        At([&self.0[..], &[Step::Item(at)]].concat())
    }

    fn fault<T>(self, message: impl Into<String>) -> Result<T, Fault> {
        Err(Fault {
            at: self.0,
            message: message.into(),
        })
    }
}

/// The first thing that is wrong with a file, if anything is.
pub(super) fn validate(spec: &ArchSpec) -> Checked {
    let root = At(Vec::new());
    among(root.key("tokenizer"), "tokenizer", &spec.tokenizer, TOKENIZERS)?;
    distinct("model type", spec.model_types.iter().map(String::as_str), |i| {
        root.key("model_types").nth(i)
    })?;
    distinct("class", spec.classes.iter().map(String::as_str), |i| {
        root.key("architectures").nth(i)
    })?;
    for (i, setting) in spec.settings.iter().enumerate() {
        pointer(root.key("settings").nth(i), setting)?;
    }
    let file = File { spec };
    if let Some(types) = &spec.layer_types {
        file.layer_types(root.key("layer_types"), types)?;
    }
    file.runs()?;
    file.expectations()?;
    file.groups()?;
    file.hparams()?;
    file.metadata()?;
    file.tensors()?;
    file.ignored()?;
    file.pairs()?;
    file.rules()?;
    file.assumptions()?;
    file.dialects()
}

/// An error for a name that is not one of those that exist.
fn among<'n>(at: At, what: &str, name: &str, known: impl IntoIterator<Item = &'n str> + Clone) -> Checked {
    if known.clone().into_iter().any(|known| known == name) {
        return Ok(());
    }
    at.fault(format!(
        "there is no {what} {name:?}; the nearest are {}",
        nearest(name, known)
    ))
}

/// An error for a name that stands twice.
fn distinct<'n>(what: &str, names: impl Iterator<Item = &'n str>, at: impl Fn(usize) -> At) -> Checked {
    let mut seen = HashMap::new();
    for (i, name) in names.enumerate() {
        if seen.insert(name, i).is_some() {
            return at(i).fault(format!("{what} {name:?} stands twice"));
        }
    }
    Ok(())
}

fn pointer(at: At, pointer: &str) -> Checked {
    match pointer.starts_with('/') {
        true => Ok(()),
        false => at.fault(format!("{pointer:?} is no JSON pointer; one begins with a slash")),
    }
}

struct File<'a> {
    spec: &'a ArchSpec,
}

impl<'a> File<'a> {
    fn hparam_names(&self) -> impl Iterator<Item = &'a str> + Clone {
        self.spec.hparams.iter().map(|spec| spec.name.as_str())
    }

    fn keys(&self) -> impl Iterator<Item = &'a str> + Clone {
        self.spec.metadata.iter().map(|spec| spec.key.as_str())
    }

    /// Keys without the architecture in front.
    fn bare_keys(&self) -> impl Iterator<Item = &'a str> + Clone {
        let architecture = self.spec.architecture.as_str();
        self.keys()
            .filter_map(move |key| key.strip_prefix(architecture)?.strip_prefix('.'))
    }

    fn group_names(&self) -> impl Iterator<Item = &'a str> + Clone {
        self.spec.groups.iter().map(|group| group.name.as_str())
    }

    /// Names of tensors in a checkpoint, and the number of their axes where it is known.
    fn sources(&self) -> impl Iterator<Item = (&'a str, Option<usize>)> + Clone {
        let of_tensor = |spec: &'a TensorSpec| {
            let names = spec.hf.iter().map(Pattern::as_str);
            let names = names.chain(spec.instead.iter().map(Pattern::as_str));
            names.map(|name| (name, Some(spec.shape.len())))
        };
        let ignored = self.spec.ignored.iter().filter_map(|spec| spec.hf.as_ref());
        let ignored = ignored.map(|hf| (hf.as_str(), None));
        self.spec.tensors.iter().flat_map(of_tensor).chain(ignored)
    }

    /// A tensor of the checkpoint, `{l}`, `{full}` or `{sliding}` standing for a layer.
    fn source(&self, at: At, name: &str, axis: Option<usize>) -> Checked {
        let by_layer = name.replace("{full}", "{l}").replace("{sliding}", "{l}");
        among(
            at.clone(),
            "source tensor",
            &by_layer,
            self.sources().map(|(name, _)| name),
        )?;
        let axes = self.sources().find(|(known, _)| *known == by_layer);
        match (axis, axes.and_then(|(_, axes)| axes)) {
            (Some(axis), Some(axes)) if axis >= axes => {
                at.fault(format!("{name} has {axes} axes, so none of number {axis}"))
            }
            _ => Ok(()),
        }
    }

    /// A key of the target.
    fn target_key(&self, at: At, key: &str) -> Checked {
        let prefixes = [&self.spec.target, "tokenizer", "general"];
        let is_one = prefixes.iter().any(|prefix| {
            let rest = key.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.'));
            rest.is_some_and(|rest| !rest.is_empty())
        });
        match is_one {
            true => Ok(()),
            false => at.fault(format!(
                "{key:?} is no key of the target; one begins with {}.",
                prefixes.join("., ")
            )),
        }
    }

    /// A tensor of the target.
    fn target_tensor(&self, at: At, name: &str) -> Checked {
        among(at, "tensor of a target", name, TARGET_TENSORS)
    }

    /// The type of a number by name, those of `hparams` being known. For a certain layer the ending may be left off.
    fn kind_of(&self, name: &str, hparams: &[HparamSpec], by_layer: bool) -> Option<Kind> {
        let find = |name: &str| {
            hparams
                .iter()
                .find(|spec| spec.name == name)
                .map(|spec| spec.kind)
        };
        match name {
            FILE_TYPE => Some(Kind::Integer),
            IS_SLIDING => by_layer.then_some(Kind::Bool),
            name => find(name).or_else(|| {
                let kinds =
                    by_layer.then(|| LayerKind::ALL.map(|kind| find(&format!("{name}.{}", kind.name()))));
                kinds?.into_iter().flatten().next()
            }),
        }
    }

    /// The names of a formula are known, and it gives a number; what type it is, where it is but a name.
    fn formula(
        &self,
        at: At,
        formula: &Formula,
        hparams: &[HparamSpec],
        by_layer: bool,
    ) -> Result<Option<Kind>, Fault> {
        for name in formula.names() {
            let Some(kind) = self.kind_of(name, hparams, by_layer) else {
                let defined_later = self.hparam_names().any(|known| known == name);
                return at.fault(match defined_later {
                    true => format!("number {name:?} is used before it is defined"),
                    false => {
                        let known = hparams.iter().map(|spec| spec.name.as_str());
                        let bare = known.clone().filter_map(|name| Some(name.rsplit_once('.')?.0));
                        let known: Vec<&str> = known.chain(bare.filter(|_| by_layer)).collect();
                        let nearest = nearest(name, known);
                        format!("there is no number {name:?}; the nearest are {nearest}")
                    }
                });
            };
            if formula.as_name().is_none() && !matches!(kind, Kind::Integer | Kind::Real) {
                return at.fault(format!("{name} is no number that can be multiplied or divided"));
            }
        }
        Ok(match formula.as_name() {
            Some(name) => self.kind_of(name, hparams, by_layer),
            None => formula.as_number().map(|number| match number {
                Number::Bool(_) => Kind::Bool,
                Number::Integer(_) => Kind::Integer,
                Number::Text(_) => Kind::Text,
                _ => Kind::Real,
            }),
        })
    }

    /// A formula that must have a value uses no number that may stay unknown, unless it is asked for `when` that is known.
    fn is_known(&self, at: At, formula: &Formula, when: &Option<String>) -> Checked {
        let numbers = self.spec.hparams.iter();
        let mut unsure = numbers.filter(|spec| spec.optional && Some(&spec.name) != when.as_ref());
        match unsure.find(|spec| formula.names().any(|name| name == spec.name)) {
            Some(spec) => at.fault(format!(
                "{} may stay unknown, so what needs it must be optional",
                spec.name
            )),
            None => Ok(()),
        }
    }

    /// A formula for one number: no name in it is that of a list.
    fn single(&self, at: At, formula: &Formula, hparams: &[HparamSpec], by_layer: bool) -> Checked {
        self.formula(at.clone(), formula, hparams, by_layer)?;
        let is_list = |name: &&str| hparams.iter().any(|spec| spec.name == **name && spec.list);
        match formula.names().find(is_list) {
            Some(name) => at.fault(format!("{name} is a list, and one number is needed")),
            None => Ok(()),
        }
    }

    fn when(&self, at: At, when: &Option<String>, hparams: &[HparamSpec]) -> Checked {
        match when {
            Some(name) => among(at, "number", name, hparams.iter().map(|spec| spec.name.as_str())),
            None => Ok(()),
        }
    }

    fn group(&self, at: At, group: &Option<String>) -> Checked {
        match group {
            Some(name) => among(at, "group", name, self.group_names()),
            None => Ok(()),
        }
    }
}
