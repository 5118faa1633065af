//! The numbers of an architecture file.

use super::{At, Checked, FILE_TYPE, File, IS_SLIDING, among, distinct, pointer};
use crate::arch::Formula;
use crate::arch::number::{Kind, Number};
use crate::arch::spec::*;

impl File<'_> {
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
