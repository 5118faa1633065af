//! The tensors of an architecture file.

use super::{At, Checked, File, among, distinct};
use crate::arch::Pattern;
use crate::arch::number::Kind;
use crate::arch::spec::*;
use crate::quant::GgmlType;
use std::collections::HashMap;

impl File<'_> {
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
}
