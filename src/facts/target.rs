//! The target's GGUF as a source: its numbers, and which of its layers a drafter reads.

use crate::arch::{Arch, LayerKind, Number, Origin};
use crate::gguf::{Array, FormatError, Gguf, GgufError, KeyError, Tensor, Value};
use crate::io::kind::{FileKind, Wanted};
use crate::text::escape;
use std::path::{Path, PathBuf};

/// Why a GGUF file cannot serve as target.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum TargetError {
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error("{}: architecture is {found}; a target for this drafter has {expected}", path.display())]
    Architecture {
        path: PathBuf,
        found: String,
        expected: String,
    },
}

impl TargetError {
    /// The file that it is about, where it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            TargetError::Gguf(error) => Some(&error.path),
            TargetError::Architecture { path, .. } => Some(path),
        }
    }
}

/// A GGUF that is a target for drafters of a given architecture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) gguf: &'a Gguf,
    architecture: &'a str,
}

impl<'a> Target<'a> {
    /// Takes a file as target: it has the right architecture, and no tensor of a type that nobody knows.
    pub(crate) fn accept(gguf: &'a Gguf, arch: &'a Arch) -> Result<Target<'a>, TargetError> {
        match gguf.kind() {
            FileKind::Model(found) | FileKind::OllamaModel(found) if found == arch.target => {}
            FileKind::Model(found) => {
                return Err(TargetError::Architecture {
                    path: gguf.path().to_owned(),
                    found,
                    expected: arch.target.clone(),
                });
            }
            // Nothing tells what it is; the key is missing, or no text.
            FileKind::Gguf => {
                gguf.key(gguf.metadata().string("general.architecture"))?;
            }
            _ => return Err(gguf.wrong_kind(Wanted::Target).into()),
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
    pub(crate) fn number(&self, key: &str, of_layer: Option<LayerKind>) -> Result<Option<Number>, GgufError> {
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
            .and_then(Number::from_value)
            .filter(|number| !matches!(number, Number::List(_)));
        let wrong_type = || KeyError::Type {
            key: key.to_owned(),
            expected: "a number, or an array with one for each layer",
            found: value.type_name(),
        };
        number.map(Some).ok_or_else(|| self.gguf.error(wrong_type()))
    }

    /// The number that an origin finds in the target; `None` where the target lacks it, and for origins elsewhere.
    pub(crate) fn origin(&self, origin: &Origin) -> Result<Option<Number>, GgufError> {
        match origin {
            Origin::Target {
                target: key,
                of_layer,
                array_only,
            } => {
                let is_array = self.gguf.metadata().array(key).is_ok();
                if *array_only && !is_array {
                    return Ok(None);
                }
                self.number(key, *of_layer)
            }
            Origin::TargetLen { target_len } => {
                let array = self.gguf.metadata().get(target_len).and_then(Value::as_array);
                Ok(array.map(|array| Number::from(array.len() as u64)))
            }
            Origin::TargetOnes { target_ones } => {
                let tensor = self.gguf.tensor(target_ones)?;
                Ok(tensor
                    .and_then(|tensor| ones(&tensor))
                    .map(|count| Number::from(count as u64)))
            }
            Origin::Config { .. }
            | Origin::Generation { .. }
            | Origin::Axis { .. }
            | Origin::Layers { .. }
            | Origin::Has { .. }
            | Origin::Lacks { .. }
            | Origin::Len { .. }
            | Origin::Differ { .. }
            | Origin::List { .. }
            | Origin::Formula { .. } => Ok(None),
        }
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

/// How many elements of a tensor are 1; `None` for tensors that are far too long to be factors of rotary frequencies.
fn ones(tensor: &Tensor) -> Option<usize> {
    const MOST_PAIRS: u64 = 1 << 16;
    let elements = tensor.info.elements();
    if elements > MOST_PAIRS {
        return None;
    }
    let mut values = vec![0.0; elements as usize];
    tensor.ty.decode(tensor.data, &mut values).ok()?;
    Some(values.iter().filter(|v| **v == 1.0).count())
}
