//! Drafters of every kind, by the architecture that a GGUF states.

use super::Drafter;
use super::assistant::{Assistant, Window};
use super::config::{DFlashConfig, Eagle3Config};
use super::dflash::DFlash;
use super::eagle3::Eagle3;
use crate::gguf::Gguf;
use crate::model::arithmetic::Compute;
use crate::model::config::Config;
use crate::model::error::ModelError;
use crate::model::head::Head;
use crate::model::target::Target;
use crate::model::weights::Weights;

/// The numbers of a drafter of some kind.
#[derive(Debug, Clone, PartialEq)]
pub enum DrafterConfig {
    /// Gemma 4's assistant.
    Assistant(Config),
    /// EAGLE-3.
    Eagle3(Eagle3Config),
    /// DFlash, DFlash2 or DSpark.
    DFlash(DFlashConfig),
}

/// How a drafter is read and run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Which keys sliding layers of an assistant see.
    pub window: Window,
    /// How an assistant scores the vocabulary.
    pub head: Head,
    /// Most tokens a draft.
    pub draft_max: usize,
}

impl DrafterConfig {
    /// The numbers of a GGUF file; one that is neither EAGLE-3 nor DFlash is read as an assistant of architecture
    /// `assistant`.
    pub fn from_gguf(gguf: &Gguf, assistant: &str) -> Result<DrafterConfig, ModelError> {
        Ok(match Kind::of(gguf) {
            Some(Kind::Eagle3) => DrafterConfig::Eagle3(Eagle3Config::from_gguf(gguf)?),
            Some(Kind::DFlash) => DrafterConfig::DFlash(DFlashConfig::from_gguf(gguf)?),
            None => DrafterConfig::Assistant(Config::from_gguf(gguf, assistant)?),
        })
    }

    /// Whether a GGUF file is a drafter that keeps keys and values of its own.
    pub fn has_own_keys(gguf: &Gguf) -> bool {
        Kind::of(gguf).is_some()
    }

    /// Those of an assistant.
    pub fn assistant(&self) -> Option<&Config> {
        match self {
            DrafterConfig::Assistant(config) => Some(config),
            DrafterConfig::Eagle3(_) | DrafterConfig::DFlash(_) => None,
        }
    }

    /// Number of layers.
    pub fn layers(&self) -> usize {
        match self {
            DrafterConfig::Assistant(config) => config.layers.len(),
            DrafterConfig::Eagle3(config) => config.numbers.layers,
            DrafterConfig::DFlash(config) => config.numbers.layers,
        }
    }

    /// Sets how it is computed.
    pub fn set_compute(&mut self, compute: Compute) {
        match self {
            DrafterConfig::Assistant(config) => config.compute = compute,
            DrafterConfig::Eagle3(config) => config.numbers.compute = compute,
            DrafterConfig::DFlash(config) => config.numbers.compute = compute,
        }
    }

    /// Loads the drafter for a target. All shapes are checked here; nothing is copied but vectors.
    pub fn load<'a>(
        &self,
        weights: &'a dyn Weights,
        target: &Target,
        settings: Settings,
    ) -> Result<Box<dyn Drafter + 'a>, ModelError> {
        Ok(match self.clone() {
            DrafterConfig::Assistant(config) => {
                let Settings { head, window, .. } = settings;
                Box::new(Assistant::load(weights, config, target.vocab(), head, window)?)
            }
            DrafterConfig::Eagle3(config) => Box::new(Eagle3::load(weights, config, target)?),
            DrafterConfig::DFlash(config) => {
                Box::new(DFlash::load(weights, config, target, settings.draft_max)?)
            }
        })
    }
}

/// Drafters with keys and values of their own.
enum Kind {
    Eagle3,
    DFlash,
}

impl Kind {
    fn of(gguf: &Gguf) -> Option<Kind> {
        let architecture = gguf.metadata().string("general.architecture").ok()?;
        if architecture == "eagle3" {
            Some(Kind::Eagle3)
        } else if architecture == "dflash" {
            Some(Kind::DFlash)
        } else {
            None
        }
    }
}
