//! The sections of an architecture file that need little said of them.

use super::{At, Checked, File, among, distinct, pointer};
use crate::arch::Pattern;
use crate::arch::dialect::Dialect;
use crate::arch::spec::*;

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
