//! The architectures that are known, and which of them a file has.
//!
//! A GGUF tells by `general.architecture`, in upstream's spelling or a dialect's; a checkpoint by the class, settings or
//! `model_type` in its `config.json`; and each by its tensors where that leaves it open. Commands ask
//! [`Registry::of_gguf`] and [`Registry::of_checkpoint`], which always answer, so that what follows can say what was
//! expected.

use super::{Arch, ArchError, TensorSpec};
use crate::checkpoint::CheckpointHead;
use crate::gguf::Gguf;
use bstr::BStr;
use serde_json::Value as Json;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::path::Path;

/// The files that are compiled in, the drafter that is meant where nothing tells first.
pub(super) const BUILTIN: [(&str, &str); 6] = [
    (
        "arch/gemma4_assistant.toml",
        include_str!("../../arch/gemma4_assistant.toml"),
    ),
    ("arch/dflash.toml", include_str!("../../arch/dflash.toml")),
    ("arch/dspark.toml", include_str!("../../arch/dspark.toml")),
    (
        "arch/gemma4_dspark.toml",
        include_str!("../../arch/gemma4_dspark.toml"),
    ),
    ("arch/eagle3.toml", include_str!("../../arch/eagle3.toml")),
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

    /// The first whose own name in a GGUF, or whose name in a dialect, this is.
    pub fn by_name(&self, architecture: &BStr) -> Option<&Arch> {
        self.iter().find(|arch| arch.is_named(architecture))
    }

    /// The one of a `config.json`: by `architectures`, by settings that no other has, or by `model_type`.
    pub fn by_config(&self, config: &Json) -> Option<&Arch> {
        let by = |fits: fn(&Arch, &Json) -> bool| self.iter().find(|arch| fits(arch, config));
        by(Arch::has_class)
            .or_else(|| by(Arch::has_settings))
            .or_else(|| by(Arch::has_model_type))
    }

    /// The one of a checkpoint: as its config says, or where it has none, the one whose tensors it has. A config says what
    /// a drafter's target is where it was copied from there; the tensors tell.
    pub fn by_checkpoint(&self, checkpoint: &CheckpointHead, config: Option<&Json>) -> Option<&Arch> {
        let fit = |arch: &Arch| arch.fit_checkpoint(checkpoint);
        let fitting = || self.iter().filter(|arch| arch.fits_tensors(checkpoint));
        match config.map(|config| self.by_config(config)) {
            None => best(fitting(), fit),
            Some(Some(target)) if !target.is_drafter() => {
                let is_for_it = |arch: &&Arch| arch.is_drafter() && arch.target == target.architecture;
                best(fitting().filter(is_for_it), fit).or(Some(target))
            }
            Some(stated) => stated,
        }
    }

    /// The architecture to read a GGUF by: what was given, what the file says, or else what is usual. Of several that go
    /// by the same name, the one whose tensors the file has.
    pub fn of_gguf(&self, gguf: &Gguf) -> &Arch {
        let stated = || {
            let name = gguf.metadata().string("general.architecture").ok()?;
            let named = self.iter().filter(|arch| arch.is_named(name));
            best(named, |arch| {
                arch.fit(|spec| gguf.info(&spec.gguf.name(0)).is_some())
            })
        };
        let drafter = || stated().filter(|arch| arch.is_drafter());
        self.given.as_ref().or_else(drafter).unwrap_or(&self.usual)
    }

    /// The architecture to read a checkpoint by: what was given, what it says, or else what is usual.
    pub fn of_checkpoint(&self, checkpoint: &CheckpointHead, config: Option<&Json>) -> &Arch {
        let stated = || self.by_checkpoint(checkpoint, config);
        self.given.as_ref().or_else(stated).unwrap_or(&self.usual)
    }
}

/// How many of an architecture's tensors there are, and how many of those that it needs are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    found: usize,
    missing: Reverse<usize>,
}

/// The first of those that fit best.
fn best<'r>(among: impl Iterator<Item = &'r Arch>, fit: impl Fn(&Arch) -> Fit) -> Option<&'r Arch> {
    among.reduce(|best, other| if fit(other) > fit(best) { other } else { best })
}

impl Arch {
    /// Whether a GGUF that states this architecture is of this one.
    pub(crate) fn is_named(&self, architecture: &BStr) -> bool {
        self.architectures().any(|name| architecture == name)
    }

    /// Whether a config is of this architecture.
    pub(crate) fn fits_config(&self, config: &Json) -> bool {
        self.has_class(config) || self.has_settings(config) || self.has_model_type(config)
    }

    /// Whether a config states one of its classes, and no type that goes against it.
    fn has_class(&self, config: &Json) -> bool {
        let classes = config.get("architectures").and_then(Json::as_array);
        let is_one = |class: &Json| self.classes.iter().any(|known| class == known.as_str());
        let is_other = |model_type: &str| !self.model_types.iter().any(|known| known == model_type);
        let is_against = !self.model_types.is_empty() && model_type(config).is_some_and(is_other);
        classes.is_some_and(|classes| classes.iter().any(is_one)) && !is_against
    }

    fn has_settings(&self, config: &Json) -> bool {
        let is_there = |pointer: &String| config.pointer(pointer).is_some_and(|value| !value.is_null());
        !self.settings.is_empty() && self.settings.iter().all(is_there)
    }

    fn has_model_type(&self, config: &Json) -> bool {
        model_type(config).is_some_and(|name| self.model_types.iter().any(|known| known == name))
    }

    /// Whether a checkpoint has every tensor that this architecture needs.
    pub(crate) fn fits_tensors(&self, checkpoint: &CheckpointHead) -> bool {
        self.fit_checkpoint(checkpoint).missing == Reverse(0)
    }

    fn fit_checkpoint(&self, checkpoint: &CheckpointHead) -> Fit {
        self.fit(|spec| {
            let mut names = spec.source_names(0);
            names.any(|name| checkpoint.tensor(&name).is_some())
        })
    }

    fn fit(&self, has: impl Fn(&TensorSpec) -> bool) -> Fit {
        let is_needed = |spec: &&TensorSpec| {
            let may_lack =
                spec.optional || spec.when.is_some() || spec.group.is_some() || spec.from_target.is_some();
            spec.hf.is_some() && !may_lack
        };
        let missing = self.tensors.iter().filter(is_needed).filter(|spec| !has(spec));
        Fit {
            found: self.tensors.iter().filter(|spec| has(spec)).count(),
            missing: Reverse(missing.count()),
        }
    }

    /// A config in which settings stand where the architecture file looks for them: those of nested objects in place of
    /// those around them.
    pub(crate) fn merged<'c>(&self, config: &'c Json) -> Cow<'c, Json> {
        let mut merged = Cow::Borrowed(config);
        for name in &self.merge {
            let Some(Json::Object(nested)) = config.get(name) else {
                continue;
            };
            if let Json::Object(settings) = merged.to_mut() {
                settings.extend(nested.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
        }
        merged
    }
}

fn model_type(config: &Json) -> Option<&str> {
    config.get("model_type").and_then(Json::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Inputs;
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
    fn a_config_of_a_drafter_is_known_whatever_model_it_is_built_on() {
        let registry = Registry::builtin().unwrap();
        let name = |config| registry.by_config(&config).map(|arch| arch.name.clone());
        let of = |class: &str, model_type: &str| {
            name(json!({ "architectures": [class], "model_type": model_type })).unwrap_or_default()
        };
        assert_eq!(of("LlamaForCausalLMEagle3", "llama"), "EAGLE-3");
        assert_eq!(of("DFlashDraftModel", "qwen3"), "DFlash");
        assert_eq!(of("DSparkSpeculator", "qwen3"), "DSpark");
        assert_eq!(of("Gemma4DSparkModel", "gemma4_text"), "Gemma 4 DSpark");
        assert_eq!(of("Gemma4ForConditionalGeneration", "gemma4"), "Gemma 4");
        let by_settings = json!({ "architectures": ["LlamaForCausalLM"], "draft_vocab_size": 32000 });
        assert_eq!(name(by_settings).as_deref(), Some("EAGLE-3"));
        let nested = json!({ "speculators_model_type": "eagle3", "architectures": ["Eagle3Speculator"] });
        assert_eq!(name(nested).as_deref(), Some("EAGLE-3"));
    }

    #[test]
    fn nested_settings_stand_for_those_around_them() {
        let registry = Registry::builtin().unwrap();
        let config = json!({
            "architectures": ["Eagle3Speculator"],
            "hidden_size": 1,
            "transformer_layer_config": { "hidden_size": 2, "head_dim": 3 },
        });
        let arch = registry.by_config(&config).unwrap();
        let merged = arch.merged(&config);
        assert_eq!(
            (&merged["hidden_size"], &merged["head_dim"]),
            (&json!(2), &json!(3))
        );
    }

    #[test]
    fn what_was_given_is_taken_for_every_drafter() {
        let text = BUILTIN[0].1.replace("gemma4_mtp", "mine");
        let given = Arch::parse(&text, Path::new("mine.toml")).unwrap();
        let registry = Registry::with(given).unwrap();
        let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mini-dense/target-bf16.gguf");
        let other = Gguf::open(&Inputs::new(), &other).unwrap();
        let chosen = registry.of_gguf(&other);
        assert!(chosen.architectures().any(|name| name == "mine"));
    }
}
