//! The architectures that are known, and which of them a file has.
//!
//! A GGUF tells by `general.architecture`, in upstream's spelling or a dialect's; a checkpoint by `model_type` in its
//! `config.json`, or by `architectures` where that is missing. Commands ask [`Registry::of_gguf`] and
//! [`Registry::of_config`], which always answer, so that what follows can say what was expected.

use super::{Arch, ArchError};
use crate::gguf::Gguf;
use bstr::BStr;
use serde_json::Value as Json;
use std::path::Path;

/// The files that are compiled in, the drafter that is meant where nothing tells first.
pub(super) const BUILTIN: [(&str, &str); 2] = [
    (
        "arch/gemma4_assistant.toml",
        include_str!("../../arch/gemma4_assistant.toml"),
    ),
    ("arch/gemma4.toml", include_str!("../../arch/gemma4.toml")),
];

/// The architectures that are known.
#[derive(Debug)]
pub struct Registry {
    /// What the user gave with `--arch`: taken for every drafter.
    given: Option<Arch>,
    /// What is meant where nothing tells.
    usual: Arch,
    others: Vec<Arch>,
}

impl Registry {
    /// The architectures that are compiled in.
    pub fn builtin() -> Result<Registry, ArchError> {
        let [usual, others @ ..] = BUILTIN;
        let parse = |(path, text): (&str, &str)| Arch::parse(text, Path::new(path));
        Ok(Registry {
            given: None,
            usual: parse(usual)?,
            others: others.into_iter().map(parse).collect::<Result<_, _>>()?,
        })
    }

    /// The architectures that are compiled in, and one that is taken for every drafter whatever its file says.
    pub fn with(given: Arch) -> Result<Registry, ArchError> {
        Ok(Registry {
            given: Some(given),
            ..Registry::builtin()?
        })
    }

    /// All architectures.
    pub fn iter(&self) -> impl Iterator<Item = &Arch> {
        self.given.iter().chain([&self.usual]).chain(&self.others)
    }

    /// The one whose own name in a GGUF, or whose name in a dialect, this is.
    pub fn by_name(&self, architecture: &BStr) -> Option<&Arch> {
        self.iter()
            .find(|arch| arch.architectures().any(|name| architecture == name))
    }

    /// The one of a `config.json`: by `model_type`, else by `architectures`.
    pub fn by_config(&self, config: &Json) -> Option<&Arch> {
        if let Some(model_type) = config.get("model_type").and_then(Json::as_str) {
            let is_one = |arch: &&Arch| arch.model_types.iter().any(|known| known == model_type);
            return self.iter().find(is_one);
        }
        let classes = config.get("architectures").and_then(Json::as_array)?;
        let is_one = |arch: &&Arch| {
            let named = |known: &String| classes.iter().any(|class| class == known.as_str());
            arch.classes.iter().any(named)
        };
        self.iter().find(is_one)
    }

    /// The architecture to read a GGUF by: what was given, what the file says, or else what is usual.
    pub fn of_gguf(&self, gguf: &Gguf) -> &Arch {
        let stated = || self.by_name(gguf.metadata().string("general.architecture").ok()?);
        self.choose(stated)
    }

    /// The architecture to read a checkpoint by, likewise; `None` for one without `config.json`.
    pub fn of_config(&self, config: Option<&Json>) -> &Arch {
        self.choose(|| self.by_config(config?))
    }

    fn choose<'r>(&'r self, stated: impl FnOnce() -> Option<&'r Arch>) -> &'r Arch {
        let given = self.given.as_ref();
        given
            .or_else(|| stated().filter(|arch| arch.is_drafter()))
            .unwrap_or(&self.usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_of_every_kind_lead_to_the_architecture() {
        let registry = Registry::builtin().unwrap();
        let by_name = |name: &str| {
            let arch = registry.by_name(BStr::new(name));
            arch.map(|arch| arch.architecture.as_str())
        };
        let by_config = |config| {
            let arch = registry.by_config(&config);
            arch.map(|arch| arch.architecture.as_str())
        };
        assert_eq!(by_name("gemma4-assistant"), Some("gemma4-assistant"));
        assert_eq!(by_name("gemma4_mtp"), Some("gemma4-assistant"));
        assert_eq!(by_name("gemma4"), Some("gemma4"));
        assert_eq!(by_name("llama"), None);
        let unified = json!({ "architectures": ["Gemma4UnifiedAssistantForCausalLM"] });
        assert_eq!(by_config(unified), Some("gemma4-assistant"));
        assert_eq!(by_config(json!({ "model_type": "gemma4_text" })), Some("gemma4"));
        // What states its type is of that type.
        let odd = json!({ "model_type": "llama", "architectures": ["Gemma4AssistantForCausalLM"] });
        assert_eq!(by_config(odd), None);
        assert_eq!(by_config(json!({})), None);
    }

    #[test]
    fn what_was_given_is_taken_for_every_drafter() {
        let text = BUILTIN[0].1.replace("gemma4_mtp", "mine");
        let given = Arch::parse(&text, Path::new("mine.toml")).unwrap();
        let registry = Registry::with(given).unwrap();
        let other = json!({ "model_type": "gemma4" });
        let chosen = registry.of_config(Some(&other));
        assert!(chosen.architectures().any(|name| name == "mine"));
    }
}
