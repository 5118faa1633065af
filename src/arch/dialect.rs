//! How other programs spell a drafter: its architecture, keys and tensors.

use super::{Arch, Match, Pattern};
use bstr::{BStr, BString, ByteSlice};
use serde::Deserialize;
use std::collections::BTreeMap;

/// How another program spells a drafter of this architecture. What it does not list, it spells as upstream does, keys
/// with its own architecture in front.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dialect {
    /// Name on the command line.
    pub name: String,
    /// Whose it is, in words.
    pub of: String,
    /// Its `general.architecture`.
    pub architecture: String,
    /// Upstream's keys that it calls otherwise, both without the architecture in front.
    #[serde(default)]
    pub keys: BTreeMap<String, String>,
    /// Upstream's keys that it does not have, without the architecture in front.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// Keys that upstream does not have.
    #[serde(default)]
    pub extra: Vec<ExtraKey>,
    /// Groups of tensors that belong into its files.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Upstream's tensors that it calls otherwise.
    #[serde(default)]
    pub tensors: BTreeMap<String, Pattern>,
    /// Upstream's tensors that it does not have.
    #[serde(default)]
    pub lacks_tensors: Vec<String>,
}

/// A key that upstream does not have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtraKey {
    /// The key, without the architecture in front.
    pub key: String,
    /// The text that it holds, where that is always the same.
    pub value: Option<String>,
}

impl Dialect {
    /// Whether upstream's key of this name, without the architecture in front, has no place in this dialect.
    pub(crate) fn lacks_key(&self, name: &str) -> bool {
        self.lacks.iter().any(|lacked| lacked == name)
    }

    fn key(&self, name: &BStr) -> BString {
        let renamed = name.to_str().ok().and_then(|name| self.keys.get(name));
        let name = renamed.map_or(name, |renamed| BStr::new(renamed.as_str()));
        BString::from([self.architecture.as_bytes(), b".", name].concat())
    }
}

impl Arch {
    /// The architecture's own name and those of its dialects.
    pub(super) fn architectures(&self) -> impl Iterator<Item = &str> {
        let dialects = self.dialects.iter().map(|dialect| dialect.architecture.as_str());
        std::iter::once(self.architecture.as_str()).chain(dialects)
    }

    /// A key without the architecture in front, if it has this one's or a dialect's.
    fn bare_key<'k>(&self, key: &'k BStr) -> Option<&'k BStr> {
        self.architectures().find_map(|architecture| {
            let rest = key.strip_prefix(architecture.as_bytes())?;
            rest.strip_prefix(b".").map(BStr::new)
        })
    }

    /// Upstream's name of a key in any dialect; the key itself where no architecture stands in front. Files that were
    /// renamed by half are understood too.
    pub(crate) fn upstream_key(&self, key: &BStr) -> BString {
        let Some(bare) = self.bare_key(key) else {
            return key.to_owned();
        };
        let mut renamed = self.dialects.iter().flat_map(|dialect| &dialect.keys);
        let upstream = renamed
            .find(|(_, theirs)| bare == theirs.as_str())
            .map_or(bare, |(ours, _)| BStr::new(ours.as_str()));
        BString::from([self.architecture.as_bytes(), b".", upstream].concat())
    }

    /// The name of upstream's key in a dialect; `None` stands for upstream.
    pub(crate) fn spell_key(&self, upstream: &BStr, dialect: Option<&Dialect>) -> BString {
        match (dialect, self.bare_key(upstream)) {
            (Some(dialect), Some(bare)) => dialect.key(bare),
            _ => upstream.to_owned(),
        }
    }

    /// Whether a key, in upstream's words, is one that only a dialect has.
    pub(crate) fn extra_key(&self, upstream: &BStr) -> Option<(&Dialect, &ExtraKey)> {
        let bare = self.bare_key(upstream)?;
        self.dialects.iter().find_map(|dialect| {
            let extra = dialect.extra.iter().find(|extra| bare == extra.key.as_str())?;
            Some((dialect, extra))
        })
    }

    /// Upstream's name of a tensor in any dialect.
    pub(crate) fn upstream_tensor(&self, name: &BStr) -> BString {
        let Ok(text) = name.to_str() else {
            return name.to_owned();
        };
        let mut renamed = self.dialects.iter().flat_map(|dialect| &dialect.tensors);
        let upstream = renamed.find_map(|(ours, theirs)| {
            Some(match theirs.matches(text)? {
                Match::Whole => ours.clone(),
                Match::Layer(layer) => Pattern::new(ours).name(layer),
            })
        });
        upstream.map_or_else(|| name.to_owned(), BString::from)
    }

    /// The name of upstream's tensor in a dialect; `None` stands for upstream.
    pub(crate) fn spell_tensor(&self, upstream: &str, dialect: Option<&Dialect>) -> String {
        let mut renamed = dialect.into_iter().flat_map(|dialect| &dialect.tensors);
        renamed
            .find_map(|(ours, theirs)| {
                Some(match Pattern::new(ours).matches(upstream)? {
                    Match::Whole => theirs.name(0),
                    Match::Layer(layer) => theirs.name(layer),
                })
            })
            .unwrap_or_else(|| upstream.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_dialect_become_upstreams_and_back() {
        let arch = Arch::gemma4_assistant().unwrap();
        let upstream = |key: &str| arch.upstream_key(BStr::new(key)).to_string();
        let backbone = "gemma4-assistant.embedding_length_out";
        for key in [
            "gemma4_assistant.n_embd_backbone",
            "gemma4_mtp.backbone_embedding_length",
            "gemma4-assistant.n_embd_backbone",
            backbone,
        ] {
            assert_eq!(upstream(key), backbone);
        }
        assert_eq!(upstream("general.name"), "general.name");
        assert_eq!(upstream("gemma4.block_count"), "gemma4.block_count");
        let spell = |dialect| arch.spell_key(BStr::new(backbone), dialect).to_string();
        assert_eq!(spell(arch.dialects.first()), "gemma4_assistant.n_embd_backbone");
        assert_eq!(spell(None), backbone);
    }

    #[test]
    fn every_name_that_a_dialect_changes_is_one_of_the_architecture() {
        let arch = Arch::gemma4_assistant().unwrap();
        for dialect in &arch.dialects {
            let is_key = |name: &String| {
                let key = format!("{}.{name}", arch.architecture);
                arch.metadata.iter().any(|spec| spec.key == key)
            };
            assert!(dialect.keys.keys().chain(&dialect.lacks).all(is_key));
            let is_tensor = |name: &String| arch.tensors.iter().any(|spec| spec.gguf == Pattern::new(name));
            assert!(
                dialect
                    .tensors
                    .keys()
                    .chain(&dialect.lacks_tensors)
                    .all(is_tensor)
            );
            for (ours, theirs) in &dialect.tensors {
                let theirs = theirs.to_string();
                assert_eq!(arch.upstream_tensor(BStr::new(&theirs)), ours.as_str());
                assert_eq!(arch.spell_tensor(ours, Some(dialect)), theirs);
            }
        }
    }
}
