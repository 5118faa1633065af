//! The target's GGUF as a source: its numbers, and which of its layers a drafter reads.

use super::error::ConvertError;
use crate::arch::{Arch, LayerKind};
use crate::gguf::{Array, FormatError, Gguf, GgufError, KeyError, Value, escape};

/// A GGUF that is a target for drafters of a given architecture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) gguf: &'a Gguf,
    architecture: &'a str,
}

impl<'a> Target<'a> {
    /// Takes a file as target: it has the right architecture, and no tensor of a type that nobody knows.
    pub(super) fn accept(gguf: &'a Gguf, arch: &'a Arch) -> Result<Target<'a>, ConvertError> {
        let found = gguf.key(gguf.metadata().string("general.architecture"))?;
        if found != arch.target.as_str() {
            return Err(ConvertError::TargetArchitecture {
                path: gguf.path().to_owned(),
                found: escape(found),
                expected: arch.target.clone(),
            });
        }
        if let Some(info) = gguf.tensors().find(|info| info.ty.known().is_none()) {
            let (name, id) = (escape(&info.name), info.ty.0);
            return Err(gguf.error(FormatError::TensorType { name, id }).into());
        }
        Ok(Target {
            gguf,
            architecture: &arch.target,
        })
    }

    /// A number; of an array, the entry of the layer of this kind whose keys and values a drafter reads.
    /// `None` where the key is absent.
    pub(super) fn number(&self, key: &str, of_layer: Option<LayerKind>) -> Result<Option<f64>, GgufError> {
        let Some(value) = self.gguf.metadata().get(key) else {
            return Ok(None);
        };
        let scalar = match (value, of_layer) {
            (Value::Array(array), Some(kind)) => {
                let layer = self.shared_layer(kind)?;
                array.get(layer)
            }
            (value, _) => Some(value.clone()),
        };
        let number = scalar
            .as_ref()
            .and_then(|v| v.as_f64().or_else(|| v.as_u64().map(|n| n as f64)));
        let wrong_type = || KeyError::Type {
            key: key.to_owned(),
            expected: "a number, or an array with one for each layer",
            found: value.type_name(),
        };
        number.map(Some).ok_or_else(|| self.gguf.error(wrong_type()))
    }

    /// The last layer of this kind that has keys and values of its own: what a drafter's layers of the kind read.
    fn shared_layer(&self, kind: LayerKind) -> Result<usize, GgufError> {
        let meta = self.gguf.metadata();
        let key = |name: &str| format!("{}.{name}", self.architecture);
        let layers = self.gguf.key(meta.uint(&key("block_count")))?;
        let shared = meta.uint(&key("attention.shared_kv_layers")).unwrap_or(0);
        let pattern_key = key("attention.sliding_window_pattern");
        let pattern = match self.gguf.key(meta.array(&pattern_key))? {
            Array::Bool(pattern) => pattern,
            other => {
                return Err(self.gguf.error(KeyError::Type {
                    key: pattern_key,
                    expected: "an array of bools",
                    found: format!("{}[]", other.element_type().name()),
                }));
            }
        };
        let own = usize::try_from(layers.saturating_sub(shared)).unwrap_or(usize::MAX);
        let is_sliding = kind == LayerKind::Sliding;
        pattern
            .iter()
            .take(own)
            .rposition(|&sliding| sliding == is_sliding)
            .ok_or_else(|| {
                self.gguf.error(KeyError::Missing(format!(
                    "{pattern_key} for a {} layer with its own keys",
                    kind.name()
                )))
            })
    }
}
