//! The keys of an architecture file.

use super::{At, Checked, File, distinct};
use crate::arch::Formula;
use crate::arch::number::{Kind, ScalarType};

impl File<'_> {
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
