//! Whether an architecture file is sound: every name that it uses exists, and nothing is said twice.

use super::dialect::Dialect;
use super::number::{Kind, Number, ScalarType};
use super::places::Step;
use super::spec::*;
use super::{Formula, Pattern};
use crate::text::nearest;
use std::collections::HashMap;

/// What `tokenizer.ggml.model` may be in llama.cpp (`llama-vocab.cpp`, October 2026).
const TOKENIZERS: [&str; 7] = ["llama", "gemma4", "gpt2", "bert", "t5", "rwkv", "plamo2"];

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
    let file = File { spec };
    file.layer_types(root.key("layer_types"))?;
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
            let names = names.chain(spec.instead.iter().map(String::as_str));
            names.map(|name| (name, Some(spec.shape.len())))
        };
        let ignored = self.spec.ignored.iter().map(|spec| (spec.hf.as_str(), None));
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
                _ => Kind::Real,
            }),
        })
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

    fn layer_types(&self, at: At) -> Checked {
        let types = &self.spec.layer_types;
        pointer(at.key("config"), &types.config)?;
        if types.sliding == types.full {
            return at.key("full").fault("both kinds of layers have the same word");
        }
        let head_dim = types.head_dim_of.as_str();
        self.source(at.key("head_dim_of"), head_dim, Some(0))?;
        self.target_key(at.key("target_sliding"), &types.target_sliding)?;
        self.target_key(at.key("target_full"), &types.target_full)
    }

    fn expectations(&self) -> Checked {
        let list = &self.spec.expectations;
        for (i, expectation) in list.iter().enumerate() {
            pointer(At::item("expect", i).key("config"), &expectation.config)?;
            if expectation.one_of.is_empty() {
                return At::item("expect", i).fault("nothing is expected");
            }
        }
        distinct("setting", list.iter().map(|one| one.config.as_str()), |i| {
            At::item("expect", i).key("config")
        })
    }

    fn groups(&self) -> Checked {
        distinct("group", self.group_names(), |i| At::item("group", i).key("name"))
    }

    fn hparams(&self) -> Checked {
        distinct("number", self.hparam_names(), |i| {
            At::item("hparam", i).key("name")
        })?;
        for (i, spec) in self.spec.hparams.iter().enumerate() {
            let at = At::item("hparam", i);
            if [FILE_TYPE, IS_SLIDING].contains(&spec.name.as_str()) {
                return at.key("name").fault(format!("{} is defined already", spec.name));
            }
            bounds(&at, spec)?;
            if spec.from.is_empty() {
                return at.key("from").fault(format!("{} comes from nowhere", spec.name));
            }
            let known = &self.spec.hparams[..i];
            for (j, origin) in spec.from.iter().enumerate() {
                self.origin(at.key("from").nth(j), origin, spec, known)?;
            }
        }
        Ok(())
    }

    fn origin(&self, at: At, origin: &Origin, spec: &HparamSpec, known: &[HparamSpec]) -> Checked {
        let scaled = |at: At, formula: &Option<Formula>| match formula {
            Some(formula) => self.formula(at, formula, known, false).map(drop),
            None => Ok(()),
        };
        match origin {
            Origin::Config {
                config,
                min,
                max,
                times,
                when,
                ..
            } => {
                pointer(at.key("config"), config)?;
                if let (Some(min), Some(max)) = (min, max)
                    && min.as_f64() > max.as_f64()
                {
                    return at
                        .key("min")
                        .fault(format!("nothing lies between {min} and {max}"));
                }
                scaled(at.key("times"), times)?;
                self.when(at.key("when"), when, known)
            }
            Origin::Axis {
                axis_of,
                axis,
                divide,
            } => {
                self.source(at.key("axis_of"), axis_of, Some(*axis))?;
                scaled(at.key("divide"), divide)
            }
            Origin::Layers { layers_of } => {
                if !layers_of.is_by_layer() {
                    return at
                        .key("layers_of")
                        .fault(format!("{layers_of} has no place {{l}} for a layer"));
                }
                self.source(at.key("layers_of"), layers_of.as_str(), None)
            }
            Origin::Target { target, .. } => self.target_key(at.key("target"), target),
            Origin::TargetLen { target_len } => self.target_key(at.key("target_len"), target_len),
            Origin::TargetOnes { .. } => Ok(()),
            Origin::Formula { formula, when } => {
                let kind = self.formula(at.key("formula"), formula, known, false)?;
                let is_number = |kind| matches!(kind, Kind::Integer | Kind::Real);
                if let Some(kind) = kind
                    && kind != spec.kind
                    && !(is_number(kind) && is_number(spec.kind))
                {
                    return at.key("formula").fault(format!(
                        "{formula} is of another type than {}, which is {}",
                        spec.name,
                        spec.bounds()
                    ));
                }
                self.when(at.key("when"), when, known)
            }
        }
    }

    fn metadata(&self) -> Checked {
        distinct("key", self.keys(), |i| At::item("metadata", i).key("key"))?;
        let hparams = &self.spec.hparams;
        for (i, spec) in self.spec.metadata.iter().enumerate() {
            let at = At::item("metadata", i);
            let own = spec.key.strip_prefix(&self.spec.architecture);
            if own.is_none_or(|rest| !rest.starts_with('.')) && !spec.key.starts_with("general.") {
                return at.key("key").fault(format!(
                    "key {} begins neither with {}. nor with general.",
                    spec.key, self.spec.architecture
                ));
            }
            match (spec.ty, &spec.value) {
                (Some(ty), Some(value)) => {
                    let kind = self.formula(at.key("value"), value, hparams, false)?;
                    fits(at.key("value"), ty, kind, value)?;
                }
                (None, None) if spec.by_layer.as_ref().is_some_and(|list| list.when.is_none()) => {}
                (Some(_), None) => return at.fault(format!("key {} has no value", spec.key)),
                (None, Some(_)) => return at.fault(format!("key {} has no type", spec.key)),
                (None, None) => return at.fault(format!("key {} has neither type nor value", spec.key)),
            }
            if let Some(by_layer) = &spec.by_layer {
                let at = at.key("by_layer");
                let kind = self.formula(at.key("value"), &by_layer.value, hparams, true)?;
                fits(at.key("value"), by_layer.ty, kind, &by_layer.value)?;
                self.when(at.key("when"), &by_layer.when, hparams)?;
            }
            self.when(at.key("when"), &spec.when, hparams)?;
            self.group(at.key("group"), &spec.group)?;
        }
        Ok(())
    }

    fn tensors(&self) -> Checked {
        let tensors = &self.spec.tensors;
        let mut outputs = HashMap::new();
        let mut sources = HashMap::new();
        for (i, spec) in tensors.iter().enumerate() {
            let at = At::item("tensor", i);
            let name = spec.gguf.as_str();
            if outputs.insert(name, i).is_some() {
                return at.key("gguf").fault(format!("two tensors are called {name}"));
            }
            let own = spec.hf.iter().map(|hf| (at.key("hf"), hf.as_str()));
            let instead = spec.instead.iter().enumerate();
            let instead = instead.map(|(j, name)| (at.key("instead").nth(j), name.as_str()));
            for (at, source) in own.chain(instead) {
                if let Some(other) = sources.insert(source, name) {
                    return at.fault(format!(
                        "{source} is the source of {other} already, so not of {name}"
                    ));
                }
            }
            match (&spec.hf, spec.generate, &spec.from_target) {
                (None, None, None) => {
                    return at.fault(format!(
                        "tensor {name} comes from nowhere: it has neither hf nor generate nor from_target"
                    ));
                }
                (Some(_), Some(_), _) => {
                    return at
                        .key("generate")
                        .fault(format!("tensor {name} has a source, so it cannot be generated"));
                }
                (Some(hf), None, _) if hf.is_by_layer() != spec.gguf.is_by_layer() => {
                    return at.key("gguf").fault(format!(
                        "only one of {hf} and {name} has a place {{l}} for a layer"
                    ));
                }
                _ => {}
            }
            if let Some(generator) = spec.generate {
                let needed = generator.number();
                among(at.key("generate"), "number", needed, self.hparam_names())?;
            }
            if spec.shape.is_empty() {
                return at.key("shape").fault(format!("tensor {name} has no axes"));
            }
            for (j, formula) in spec.shape.iter().enumerate() {
                let at = at.key("shape").nth(j);
                let kind = self.formula(at.clone(), formula, &self.spec.hparams, spec.gguf.is_by_layer())?;
                if kind.is_some_and(|kind| kind != Kind::Integer) {
                    return at.fault(format!("{formula} is no integer, so no length"));
                }
            }
            self.group(at.key("group"), &spec.group)?;
        }
        Ok(())
    }

    fn ignored(&self) -> Checked {
        let ignored = &self.spec.ignored;
        distinct("tensor", ignored.iter().map(|spec| spec.hf.as_str()), |i| {
            At::item("ignore", i).key("hf")
        })?;
        let tensors = self.spec.tensors.iter();
        let hf = tensors.filter_map(|spec| spec.hf.as_ref().map(Pattern::as_str));
        for (i, spec) in ignored.iter().enumerate() {
            let at = At::item("ignore", i);
            if hf.clone().any(|known| known == spec.hf.as_str()) {
                return at.key("hf").fault(format!(
                    "{} is the source of a tensor, so it is not left out",
                    spec.hf
                ));
            }
            if let Some(same_as) = &spec.same_as {
                among(at.key("same_as"), "source tensor", same_as, hf.clone())?;
            }
        }
        Ok(())
    }

    fn pairs(&self) -> Checked {
        for (i, spec) in self.spec.pairs.iter().enumerate() {
            let at = At::item("pair", i);
            among(at.key("hparam"), "number", &spec.hparam, self.hparam_names())?;
            self.when(at.key("or"), &spec.or, &self.spec.hparams)?;
            self.target_key(at.key("target"), &spec.target)?;
        }
        distinct(
            "pair",
            self.spec.pairs.iter().map(|spec| spec.what.as_str()),
            |i| At::item("pair", i).key("what"),
        )
    }

    fn rules(&self) -> Checked {
        for (i, rule) in self.spec.rules.iter().enumerate() {
            let at = At::item("rule", i).key("keys");
            for (j, key) in rule.keys.iter().enumerate() {
                among(at.nth(j), "key", key, self.keys())?;
            }
            distinct("key", rule.keys.iter().map(String::as_str), |j| at.nth(j))?;
        }
        Ok(())
    }

    fn assumptions(&self) -> Checked {
        let list = &self.spec.assumptions;
        for (i, assumption) in list.iter().enumerate() {
            let at = At::item("assume", i);
            among(
                at.key("number"),
                "number",
                &assumption.number,
                self.hparam_names(),
            )?;
            self.formula(at.key("formula"), &assumption.formula, &self.spec.hparams, false)?;
        }
        distinct("assumption of", list.iter().map(|one| one.number.as_str()), |i| {
            At::item("assume", i).key("number")
        })
    }

    fn dialects(&self) -> Checked {
        let dialects = &self.spec.dialects;
        distinct(
            "dialect",
            dialects.iter().map(|dialect| dialect.name.as_str()),
            |i| At::item("dialect", i).key("name"),
        )?;
        let own = [self.spec.architecture.as_str(), &self.spec.target];
        for (i, dialect) in dialects.iter().enumerate() {
            let at = At::item("dialect", i);
            if own.contains(&dialect.architecture.as_str()) {
                return at
                    .key("architecture")
                    .fault(format!("{} is no dialect's name", dialect.architecture));
            }
            self.dialect(at, dialect)?;
        }
        distinct(
            "architecture",
            dialects.iter().map(|dialect| dialect.architecture.as_str()),
            |i| At::item("dialect", i).key("architecture"),
        )
    }

    fn dialect(&self, at: At, dialect: &Dialect) -> Checked {
        let keys = dialect.keys.keys();
        let renamed = keys.map(|key| (at.key("keys").key(key), key));
        let lacked = dialect.lacks.iter().enumerate();
        let lacked = lacked.map(|(i, key)| (at.key("lacks").nth(i), key));
        for (at, key) in renamed.chain(lacked) {
            among(at, "key", key, self.bare_keys())?;
        }
        let theirs: Vec<(&String, &String)> = dialect.keys.iter().collect();
        distinct("key", theirs.iter().map(|(_, theirs)| theirs.as_str()), |i| {
            at.key("keys").key(theirs[i].0)
        })?;
        for (i, extra) in dialect.extra.iter().enumerate() {
            if self.bare_keys().any(|key| key == extra.key) {
                let at = at.key("extra").nth(i).key("key");
                return at.fault(format!("{} is a key of upstream, so no extra one", extra.key));
            }
        }
        for (i, group) in dialect.groups.iter().enumerate() {
            among(at.key("groups").nth(i), "group", group, self.group_names())?;
        }
        let tensors = self.spec.tensors.iter().map(|spec| spec.gguf.as_str());
        for ours in dialect.tensors.keys() {
            among(at.key("tensors").key(ours), "tensor", ours, tensors.clone())?;
        }
        let theirs: Vec<(&String, &Pattern)> = dialect.tensors.iter().collect();
        distinct("tensor", theirs.iter().map(|(_, theirs)| theirs.as_str()), |i| {
            at.key("tensors").key(theirs[i].0)
        })?;
        for (i, name) in dialect.lacks_tensors.iter().enumerate() {
            among(at.key("lacks_tensors").nth(i), "tensor", name, tensors.clone())?;
        }
        Ok(())
    }
}

/// The limits of a number are of its type and leave something.
fn bounds(at: &At, spec: &HparamSpec) -> Checked {
    let limits = [("min", &spec.min), ("above", &spec.above), ("max", &spec.max)];
    for (key, limit) in limits {
        let Some(limit) = limit else { continue };
        let is_right = match spec.kind {
            Kind::Integer => matches!(limit, Number::Integer(_)),
            Kind::Real => limit.as_f64().is_some_and(f64::is_finite),
            Kind::Bool | Kind::Text => false,
        };
        if !is_right {
            return at
                .key(key)
                .fault(format!("{limit} is no limit for {}", spec.name));
        }
    }
    let [min, above, max] = limits.map(|(_, limit)| limit.as_ref().and_then(Number::as_f64));
    if let Some(max) = max
        && (min.is_some_and(|min| min > max) || above.is_some_and(|above| above >= max))
    {
        return at
            .key("max")
            .fault(format!("{} can be nothing at all", spec.name));
    }
    let bounds = HparamSpec::bounds(spec);
    for (i, word) in spec.one_of.iter().enumerate() {
        let word = match spec.list {
            true => Number::List(vec![word.clone()]),
            false => word.clone(),
        };
        if bounds.admit(word.clone()).is_none() {
            return at
                .key("one_of")
                .nth(i)
                .fault(format!("{word} is not allowed by the rest: {bounds}"));
        }
    }
    Ok(())
}

/// A key's type can hold what the formula gives.
fn fits(at: At, ty: ScalarType, kind: Option<Kind>, formula: &Formula) -> Checked {
    let is_right = match kind {
        None => matches!(ty, ScalarType::U32 | ScalarType::I32 | ScalarType::F32),
        Some(Kind::Integer) => !matches!(ty, ScalarType::Bool | ScalarType::String),
        Some(Kind::Real) => ty == ScalarType::F32,
        Some(Kind::Bool) => ty == ScalarType::Bool,
        Some(Kind::Text) => ty == ScalarType::String,
    };
    match is_right {
        true => Ok(()),
        false => at.fault(format!("{formula} does not go into a key of this type")),
    }
}

#[cfg(test)]
mod tests {
    use crate::arch::registry::BUILTIN;
    use crate::arch::{Arch, ArchError};
    use std::ops::Range;
    use std::path::Path;
    use toml::Spanned;
    use toml::de::{DeTable, DeValue};

    fn parse(text: &str) -> Result<Arch, ArchError> {
        Arch::parse(text, Path::new("a.toml"))
    }

    /// Keys whose texts name something in the same file, or a word that the program knows.
    const REFERENCES: [&str; 33] = [
        "tokenizer",
        "unusable",
        "head_dim_of",
        "target_sliding",
        "target_full",
        "type",
        "axis_of",
        "divide",
        "layers_of",
        "target",
        "target_len",
        "of_layer",
        "formula",
        "when",
        "times",
        "value",
        "group",
        "shape",
        "generate",
        "same_as",
        "hparam",
        "or",
        "keys",
        "must",
        "lacks",
        "groups",
        "number",
        "lacks_tensors",
        "key",
        "extra",
        "tensors",
        "from",
        "by_layer",
    ];

    /// The places of all texts that name something, and of keys of tables that do.
    fn references(table: &DeTable, is_top: bool, found: &mut Vec<Range<usize>>) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            // The architecture's own target, texts of a dialect's extra keys, and names that are given, not used.
            let is_given = is_top && name == "target";
            match value.get_ref() {
                DeValue::Table(inner) if name == "keys" || name == "tensors" => {
                    found.extend(inner.keys().map(Spanned::span));
                }
                _ if is_given || (!REFERENCES.contains(&name) && !has_tables(value)) => {}
                DeValue::Table(inner) => references(inner, false, found),
                DeValue::Array(list) => {
                    for item in list.iter() {
                        match item.get_ref() {
                            DeValue::Table(inner) if name != "extra" => references(inner, false, found),
                            DeValue::String(_) => found.push(item.span()),
                            _ => {}
                        }
                    }
                }
                DeValue::String(_) => found.push(value.span()),
                _ => {}
            }
        }
    }

    fn has_tables(value: &Spanned<DeValue>) -> bool {
        match value.get_ref() {
            DeValue::Table(_) => true,
            DeValue::Array(list) => list
                .iter()
                .any(|item| matches!(item.get_ref(), DeValue::Table(_))),
            _ => false,
        }
    }

    #[test]
    fn every_shipped_file_is_sound() {
        for (path, text) in BUILTIN {
            Arch::parse(text, Path::new(path)).unwrap();
        }
    }

    #[test]
    fn a_reference_that_is_misspelt_is_told_with_its_line() {
        for (path, text) in BUILTIN {
            let root = DeTable::parse(text).unwrap();
            let mut found = Vec::new();
            references(root.get_ref(), true, &mut found);
            assert!(found.len() > 80, "{path}: {} references", found.len());
            for span in found {
                // Behind the quote, where there is one.
                let at = span.start + usize::from(text.as_bytes()[span.start] == b'"');
                let misspelt = format!("{}x{}", &text[..at], &text[at..]);
                let line = text[..at].matches('\n').count() + 1;
                match parse(&misspelt) {
                    Err(error) => assert!(error.line.is_some(), "{path}:{line}: {error}"),
                    Ok(_) => panic!("{path}:{line}: {:?} misspelt is taken", &text[span]),
                }
            }
        }
    }

    /// Replaces a text of the drafter's file and wants an error that holds the words.
    #[track_caller]
    fn refuse(from: &str, to: &str, words: &[&str]) {
        let text = BUILTIN[0].1;
        assert!(text.contains(from), "{from}");
        let error = parse(&text.replacen(from, to, 1)).unwrap_err();
        assert!(error.line.is_some(), "{error}");
        let told = error.to_string();
        assert!(!told.contains('\n'), "{told}");
        for word in words {
            assert!(told.contains(word), "{told}");
        }
    }

    #[test]
    fn what_is_said_twice_or_by_half_is_refused() {
        let again = |text: &str| format!("{text}\n{text}");
        let norm =
            "[[tensor]]\nhf = \"model.norm.weight\"\ngguf = \"output_norm.weight\"\nshape = [\"hidden\"]\n";
        refuse(norm, &again(norm), &["two tensors", "output_norm.weight"]);
        let other = norm.replace("output_norm", "other_norm");
        refuse(
            norm,
            &format!("{norm}\n{other}"),
            &["model.norm.weight", "the source of output_norm.weight already"],
        );
        refuse(
            "hf = \"model.layers.{l}.layer_scalar\"\n",
            "",
            &["a.toml:", "comes from nowhere"],
        );
        refuse("value = \"context\"\n", "", &["context_length has no value"]);
        refuse(
            "type = \"u32\"\nvalue = \"context\"",
            "value = \"context\"",
            &["has no type"],
        );
        refuse(
            "type = \"u32\"\nvalue = \"hidden\"",
            "type = \"bool\"\nvalue = \"hidden\"",
            &["hidden"],
        );
        refuse(
            "name = \"hidden\"",
            "name = \"layers\"",
            &["\"layers\" stands twice"],
        );
        refuse(
            "key = \"gemma4-assistant.context_length\"",
            "key = \"gemma4-assistant.block_count\"",
            &["stands twice"],
        );
        refuse(
            "formula = \"layers\"",
            "formula = \"context\"",
            &["\"context\" is used before it is defined"],
        );
        refuse(
            "min = 1\nmax = 512",
            "min = 513\nmax = 512",
            &["layers can be nothing at all"],
        );
        refuse(
            "min = 1\nmax = 512",
            "min = 1.5\nmax = 512",
            &["no limit for layers"],
        );
        refuse(
            "one_of = [0]\nfrom",
            "one_of = [\"none\"]\nfrom",
            &["is not allowed"],
        );
        refuse(
            "value = \"hidden\"",
            "value = \"hiden\"",
            &["\"hiden\"", "nearest are hidden"],
        );
        refuse("axis = 1", "axis = 2", &["pre_projection.weight has 2 axes"]);
        refuse(
            "name = \"ik\"",
            "name = \"atomic\"",
            &["dialect \"atomic\" stands twice"],
        );
        refuse("optional = true", "optinal = true", &["optinal"]);
        refuse(
            "tokenizer = \"gemma4\"",
            "tokenizer = \"gemma\"",
            &["nearest are gemma4"],
        );
    }
}
