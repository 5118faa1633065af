//! The sections of an architecture file, each in turn.

use super::{At, Checked, FILE_TYPE, File, IS_SLIDING, among, distinct, pointer};
use crate::arch::dialect::Dialect;
use crate::arch::number::{Kind, Number, ScalarType};
use crate::arch::spec::*;
use crate::arch::{Formula, Pattern};
use crate::quant::GgmlType;
use std::collections::HashMap;

impl File<'_> {
    pub(super) fn layer_types(&self, at: At, types: &LayerTypes) -> Checked {
        pointer(at.key("config"), &types.config)?;
        if types.sliding == types.full {
            return at.key("full").fault("both kinds of layers have the same word");
        }
        // Kinds are found as soon as the layers are counted.
        let counted = self.hparam_names().position(|name| name == "layers");
        let before = self.spec.hparams.get(..counted.unwrap_or(0)).unwrap_or_default();
        self.when(at.key("sliding_when"), &types.sliding_when, before)?;
        let Some(heads) = &types.by_heads else {
            return Ok(());
        };
        let at = at.key("by_heads");
        let head_dim = heads.head_dim_of.as_str();
        self.source(at.key("head_dim_of"), head_dim, Some(0))?;
        self.target_key(at.key("target_sliding"), &heads.target_sliding)?;
        self.target_key(at.key("target_full"), &heads.target_full)
    }

    pub(super) fn runs(&self) -> Checked {
        let tensors = self.spec.tensors.iter().map(|spec| spec.gguf.as_str());
        for (i, run) in self.spec.runs.iter().enumerate() {
            if let Some(with) = &run.with {
                among(At::item("run", i).key("with"), "tensor", with, tensors.clone())?;
            }
        }
        let types = self.spec.runs.iter().map(|run| run.spec_type.as_str());
        distinct("way to run", types, |i| At::item("run", i).key("spec_type"))
    }

    pub(super) fn expectations(&self) -> Checked {
        let list = &self.spec.expectations;
        for (i, expectation) in list.iter().enumerate() {
            pointer(At::item("expect", i).key("config"), &expectation.config)?;
            if expectation.one_of.is_empty() {
                return At::item("expect", i).fault("nothing is expected");
            }
            if expectation.refused.is_some() && expectation.warn.is_some() {
                let at = At::item("expect", i).key("warn");
                return at.fault("what is refused is not warned of");
            }
        }
        distinct("setting", list.iter().map(|one| one.config.as_str()), |i| {
            At::item("expect", i).key("config")
        })
    }

    pub(super) fn groups(&self) -> Checked {
        for (i, group) in self.spec.groups.iter().enumerate() {
            if group.on_demand != group.left_out.is_some() {
                let at = At::item("group", i);
                return at.fault(format!(
                    "group {:?} needs both or none of on_demand and left_out",
                    group.name
                ));
            }
        }
        distinct("group", self.group_names(), |i| At::item("group", i).key("name"))
    }

    pub(super) fn hparams(&self) -> Checked {
        distinct("number", self.hparam_names(), |i| {
            At::item("hparam", i).key("name")
        })?;
        for (i, spec) in self.spec.hparams.iter().enumerate() {
            let at = At::item("hparam", i);
            if [FILE_TYPE, IS_SLIDING].contains(&spec.name.as_str()) {
                return at.key("name").fault(format!("{} is defined already", spec.name));
            }
            bounds(&at, spec)?;
            let known = &self.spec.hparams[..i];
            self.when(at.key("below"), &spec.below, known)?;
            self.when(at.key("within"), &spec.within, known)?;
            if spec.from.is_empty() {
                return at.key("from").fault(format!("{} comes from nowhere", spec.name));
            }
            if let Some(last) = &spec.in_last {
                let at = at.key("in_last");
                let names = known.iter().map(|spec| spec.name.as_str());
                among(at.key("layers"), "number", &last.layers, names)?;
                self.single(at.key("value"), &last.value, &self.spec.hparams[..=i], false)?;
                self.when(at.key("when"), &last.when, known)?;
            }
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
                is,
                is_there,
                min,
                max,
                times,
                when,
                ..
            } => {
                pointer(at.key("config"), config)?;
                if is.is_some() || *is_there {
                    self.truth(at.key("is"), spec)?;
                }
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
            Origin::Generation { generation, when } => {
                pointer(at.key("generation"), generation)?;
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
            Origin::Has { has } => {
                self.source(at.key("has"), has.as_str(), None)?;
                self.truth(at.key("has"), spec)
            }
            Origin::Lacks { lacks } => {
                self.source(at.key("lacks"), lacks.as_str(), None)?;
                self.truth(at.key("lacks"), spec)
            }
            Origin::Len { len_of } => {
                let lists = known.iter().filter(|spec| spec.list);
                among(
                    at.key("len_of"),
                    "list",
                    len_of,
                    lists.map(|spec| spec.name.as_str()),
                )
            }
            Origin::Differ { differ } => {
                for (i, name) in differ.iter().enumerate() {
                    let known = known.iter().map(|spec| spec.name.as_str());
                    among(at.key("differ").nth(i), "number", name, known)?;
                }
                self.truth(at.key("differ"), spec)
            }
            Origin::List { list } => {
                if !spec.list {
                    return at.key("list").fault(format!("{} is no list", spec.name));
                }
                for (i, item) in list.iter().enumerate() {
                    self.single(at.key("list").nth(i), item, known, false)?;
                }
                Ok(())
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
            Origin::TargetOnes { target_ones } => self.target_tensor(at.key("target_ones"), target_ones),
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

    /// What is either so or not makes a number that is true or false.
    fn truth(&self, at: At, spec: &HparamSpec) -> Checked {
        match spec.kind {
            Kind::Bool => Ok(()),
            _ => at.fault(format!("{} is {}, not true or false", spec.name, spec.bounds())),
        }
    }

    pub(super) fn metadata(&self) -> Checked {
        // Upstream writes some keys at another place where they come from elsewhere.
        let always = self.spec.metadata.iter().map(|spec| match &spec.when {
            Some(when) => format!("{} when {when}", spec.key),
            None => spec.key.clone(),
        });
        let always: Vec<String> = always.collect();
        distinct("key", always.iter().map(String::as_str), |i| {
            At::item("metadata", i).key("key")
        })?;
        let hparams = &self.spec.hparams;
        for (i, spec) in self.spec.metadata.iter().enumerate() {
            let at = At::item("metadata", i);
            let own = spec.key.strip_prefix(&self.spec.architecture);
            let is_shared = ["general.", "tokenizer."]
                .iter()
                .any(|front| spec.key.starts_with(front));
            if own.is_none_or(|rest| !rest.starts_with('.')) && !is_shared {
                return at.key("key").fault(format!(
                    "key {} begins with none of {}., general., tokenizer.",
                    spec.key, self.spec.architecture
                ));
            }
            match (spec.ty, &spec.value) {
                (Some(ty), Some(value)) => {
                    let kind = self.formula(at.key("value"), value, hparams, false)?;
                    fits(at.key("value"), ty, kind, value)?;
                    if !spec.optional {
                        self.is_known(at.key("value"), value, &spec.when)?;
                    }
                }
                (None, None) if spec.by_layer.as_ref().is_some_and(|list| list.when.is_none()) => {}
                (Some(_), None) => return at.fault(format!("key {} has no value", spec.key)),
                (None, Some(_)) => return at.fault(format!("key {} has no type", spec.key)),
                (None, None) => return at.fault(format!("key {} has neither type nor value", spec.key)),
            }
            if let Some(by_layer) = &spec.by_layer {
                let at = at.key("by_layer");
                self.single(at.key("value"), &by_layer.value, hparams, true)?;
                let kind = self.formula(at.key("value"), &by_layer.value, hparams, true)?;
                fits(at.key("value"), by_layer.ty, kind, &by_layer.value)?;
                self.when(at.key("when"), &by_layer.when, hparams)?;
            }
            self.when(at.key("when"), &spec.when, hparams)?;
            self.group(at.key("group"), &spec.group)?;
        }
        Ok(())
    }

    pub(super) fn tensors(&self) -> Checked {
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
            let instead = instead.map(|(j, name)| (at.key("instead").nth(j), name));
            if let Some((at, name)) = instead
                .clone()
                .find(|(_, name)| name.is_by_layer() != spec.gguf.is_by_layer())
            {
                return at.fault(format!(
                    "only one of {name} and {} has a place {{l}} for a layer",
                    spec.gguf
                ));
            }
            let instead = instead.map(|(at, name)| (at, name.as_str()));
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
            if let Some(name) = &spec.from_target {
                self.target_tensor(at.key("from_target"), name)?;
            }
            if let Some(generator) = spec.generate {
                let needed = generator.number();
                among(at.key("generate"), "number", needed, self.hparam_names())?;
            }
            if spec.shape.is_empty() {
                return at.key("shape").fault(format!("tensor {name} has no axes"));
            }
            // A group that the checkpoint lacks needs no numbers.
            let mut groups = self.spec.groups.iter().filter(|group| !group.on_demand);
            let is_grouped = groups.any(|group| spec.group.as_ref() == Some(&group.name));
            for (j, formula) in spec.shape.iter().enumerate() {
                let at = at.key("shape").nth(j);
                self.single(at.clone(), formula, &self.spec.hparams, spec.gguf.is_by_layer())?;
                let kind = self.formula(at.clone(), formula, &self.spec.hparams, spec.gguf.is_by_layer())?;
                if !spec.optional && !is_grouped {
                    self.is_known(at.clone(), formula, &None)?;
                }
                if kind.is_some_and(|kind| kind != Kind::Integer) {
                    return at.fault(format!("{formula} is no integer, so no length"));
                }
            }
            self.group(at.key("group"), &spec.group)?;
            self.changes(at, spec)?;
        }
        Ok(())
    }

    /// When a tensor is there, and what becomes of its numbers.
    fn changes(&self, at: At, spec: &TensorSpec) -> Checked {
        let hparams = &self.spec.hparams;
        self.when(at.key("when"), &spec.when, hparams)?;
        self.when(at.key("required_when"), &spec.required_when, hparams)?;
        self.when(at.key("ids_below"), &spec.ids_below, hparams)?;
        if let Some(rows) = &spec.rows {
            let at = at.key("rows");
            self.single(at.key("heads"), &rows.heads, hparams, spec.gguf.is_by_layer())?;
            self.when(at.key("when"), &rows.when, hparams)?;
        }
        let is_read = spec.hf.is_some();
        if spec.left_out.is_some() != (spec.when.is_some() && is_read) {
            let name = &spec.gguf;
            return at.fault(format!("tensor {name} needs both or none of when and left_out"));
        }
        let is_integer = matches!(spec.ty, Some(GgmlType::I32 | GgmlType::I64));
        if (spec.add_index || spec.ids_below.is_some()) && !(is_integer && is_read) {
            return at.fault(format!(
                "tensor {} holds no integers of the checkpoint",
                spec.gguf
            ));
        }
        Ok(())
    }

    pub(super) fn ignored(&self) -> Checked {
        let ignored = &self.spec.ignored;
        let names = ignored
            .iter()
            .filter_map(|spec| spec.hf.as_ref().map(Pattern::as_str));
        distinct("tensor", names, |i| At::item("ignore", i).key("hf"))?;
        let tensors = self.spec.tensors.iter();
        let hf = tensors.filter_map(|spec| spec.hf.as_ref().map(Pattern::as_str));
        for (i, spec) in ignored.iter().enumerate() {
            let at = At::item("ignore", i);
            if spec.hf.is_some() != spec.holding.is_empty() || spec.holding.iter().any(String::is_empty) {
                return at.fault("what is left out is said by hf, or by words in holding");
            }
            if let Some(name) = &spec.hf
                && hf.clone().any(|known| known == name.as_str())
            {
                return at
                    .key("hf")
                    .fault(format!("{name} is the source of a tensor, so it is not left out"));
            }
            if let Some(same_as) = &spec.same_as {
                among(at.key("same_as"), "source tensor", same_as, hf.clone())?;
            }
        }
        Ok(())
    }

    pub(super) fn pairs(&self) -> Checked {
        for (i, spec) in self.spec.pairs.iter().enumerate() {
            let at = At::item("pair", i);
            among(at.key("hparam"), "number", &spec.hparam, self.hparam_names())?;
            self.when(at.key("or"), &spec.or, &self.spec.hparams)?;
            self.when(at.key("when"), &spec.when, &self.spec.hparams)?;
            self.target_key(at.key("target"), &spec.target)?;
        }
        distinct(
            "pair",
            self.spec.pairs.iter().map(|spec| spec.what.as_str()),
            |i| At::item("pair", i).key("what"),
        )
    }

    pub(super) fn rules(&self) -> Checked {
        for (i, rule) in self.spec.rules.iter().enumerate() {
            let at = At::item("rule", i).key("keys");
            for (j, key) in rule.keys.iter().enumerate() {
                among(at.nth(j), "key", key, self.keys())?;
            }
            distinct("key", rule.keys.iter().map(String::as_str), |j| at.nth(j))?;
        }
        Ok(())
    }

    pub(super) fn assumptions(&self) -> Checked {
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

    pub(super) fn dialects(&self) -> Checked {
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
