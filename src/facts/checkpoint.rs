//! A drafter's checkpoint as a source of numbers.

use super::{Facts, Target};
use crate::arch::{Arch, Pattern};
use crate::checkpoint::{CheckpointHead, TensorHead};
use serde_json::Value as Json;

/// A checkpoint, its config, and the target's GGUF.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CheckpointFacts<'a> {
    pub arch: &'a Arch,
    pub checkpoint: &'a CheckpointHead,
    pub config: Option<&'a Json>,
    /// `generation_config.json`.
    pub generation: Option<&'a Json>,
    pub target: Option<Target<'a>>,
}

impl<'a> Facts<'a> for CheckpointFacts<'a> {
    fn arch(&self) -> &'a Arch {
        self.arch
    }

    fn config(&self) -> Option<&Json> {
        self.config
    }

    fn generation(&self) -> Option<&Json> {
        self.generation
    }

    fn shape(&self, hf_name: &str) -> Option<Vec<u64>> {
        let tensor = self.checkpoint.tensor(hf_name)?;
        Some(tensor.shape.iter().map(|&n| n as u64).collect())
    }

    fn count(&self, hf_name: &Pattern) -> usize {
        let spec = self.arch.source_spec(hf_name);
        let instead = spec.iter().flat_map(|spec| &spec.instead);
        let names: Vec<&Pattern> = std::iter::once(hf_name).chain(instead).collect();
        let tensors = self.checkpoint.tensors();
        let is_one = |tensor: &TensorHead| {
            names
                .iter()
                .any(|name| tensor.is_called(|found| name.matches(found).is_some()))
        };
        tensors.filter(is_one).count()
    }

    fn target(&self) -> Option<Target<'a>> {
        self.target
    }
}
