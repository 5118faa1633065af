//! Where weights come from: one trait over GGUF files and safetensors checkpoints.

use super::config::{Config, RopeConfig};
use super::error::ModelError;
use super::matrix::Matrix;
use super::rope::Rope;
use super::tensor::Tensor;
use crate::arch::{Arch, LayerKind, Match, TensorSpec};
use crate::checkpoint::Checkpoint;
use crate::gguf::Gguf;
use std::path::Path;

/// Weights by their name in a GGUF file, whatever holds them.
pub trait Weights: Sync {
    /// The file or folder, for messages.
    fn path(&self) -> &Path;

    /// The tensor of this name, if there is one.
    fn tensor(&self, name: &str) -> Result<Option<Tensor<'_>>, ModelError>;

    /// A tensor of this shape (outermost first) whose rows can be decoded.
    fn shaped(&self, name: &str, shape: &[usize]) -> Result<Matrix<'_>, ModelError> {
        self.shaped_if_present(name, shape)?
            .ok_or_else(|| ModelError::MissingTensor {
                path: self.path().to_owned(),
                tensor: name.to_owned(),
            })
    }

    /// As [`Weights::shaped`], for tensors that a model can do without.
    fn shaped_if_present(&self, name: &str, shape: &[usize]) -> Result<Option<Matrix<'_>>, ModelError> {
        let Some(tensor) = self.tensor(name)? else {
            return Ok(None);
        };
        if tensor.shape != shape {
            return Err(ModelError::Shape {
                path: self.path().to_owned(),
                tensor: name.to_owned(),
                found: tensor.shape,
                expected: shape.to_owned(),
            });
        }
        let ty = tensor.ty;
        Matrix::new(tensor)
            .map(Some)
            .ok_or_else(|| ModelError::TensorType {
                path: self.path().to_owned(),
                tensor: name.to_owned(),
                ty: ty.to_string(),
            })
    }

    /// A vector, decoded.
    fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, ModelError> {
        Ok(self.shaped(name, &[len])?.decode())
    }
}

impl Weights for Gguf {
    fn path(&self) -> &Path {
        Gguf::path(self)
    }

    fn tensor(&self, name: &str) -> Result<Option<Tensor<'_>>, ModelError> {
        let Some(tensor) = Gguf::tensor(self, name)? else {
            return Ok(None);
        };
        // The reader bounds the product of the lengths by the size of the file, so each fits.
        let shape = tensor.info.dims.iter().rev().map(|&n| n as usize).collect();
        Ok(Some(Tensor {
            ty: tensor.ty,
            shape,
            data: tensor.data,
        }))
    }
}

/// A checkpoint's weights under the names that GGUF gives them.
#[derive(Debug)]
pub struct CheckpointWeights<'a> {
    checkpoint: &'a Checkpoint,
    arch: &'a Arch,
}

impl<'a> CheckpointWeights<'a> {
    /// `arch` says what the checkpoint calls a tensor.
    pub fn new(checkpoint: &'a Checkpoint, arch: &'a Arch) -> CheckpointWeights<'a> {
        CheckpointWeights { checkpoint, arch }
    }

    /// The tensors that it has, by their names in a GGUF, but for those that are left out of one unless asked for.
    pub fn held(&self) -> Vec<String> {
        let is_held = |spec: &TensorSpec, layer| {
            let mut names = spec.source_names(layer);
            names.any(|name| self.checkpoint.tensor(&name).is_some())
        };
        let (by_layer, single): (Vec<_>, Vec<_>) =
            self.arch.tensors.iter().partition(|spec| spec.gguf.is_by_layer());
        let single = single.into_iter().filter(|spec| is_held(spec, 0));
        let mut held: Vec<String> = single.map(|spec| spec.gguf.name(0)).collect();
        for layer in 0.. {
            let before = held.len();
            let there = by_layer.iter().filter(|spec| is_held(spec, layer));
            held.extend(there.map(|spec| spec.gguf.name(layer)));
            if held.len() == before {
                break;
            }
        }
        held.retain(|name| !self.arch.is_on_demand(name));
        held
    }

    /// The checkpoint's names for a tensor, the usual one first.
    fn names(&self, gguf_name: &str) -> Vec<String> {
        let fits = |spec: &'a TensorSpec| Some((spec, spec.gguf.matches(gguf_name)?));
        let Some((spec, fit)) = self.arch.tensors.iter().find_map(fits) else {
            return Vec::new();
        };
        let layer = match fit {
            Match::Whole => 0,
            Match::Layer(layer) => layer,
        };
        spec.source_names(layer).collect()
    }
}

impl Weights for CheckpointWeights<'_> {
    fn path(&self) -> &Path {
        self.checkpoint.path()
    }

    fn tensor(&self, name: &str) -> Result<Option<Tensor<'_>>, ModelError> {
        let names = self.names(name);
        let Some(found) = names.iter().find_map(|name| self.checkpoint.tensor(name)) else {
            return Ok(None);
        };
        let ty = found.ggml_type().ok_or_else(|| ModelError::TensorType {
            path: found.path.to_owned(),
            tensor: found.name.to_owned(),
            ty: found.dtype.to_string(),
        })?;
        let shape = match found.shape {
            [] => vec![1],
            shape => shape.to_owned(),
        };
        Ok(Some(Tensor {
            ty,
            shape,
            data: found.data,
        }))
    }
}

/// The rotary embeddings of full and sliding layers, empty for a kind that no layer is of. A GGUF stops pairs of full
/// layers by `rope_freqs.weight`, a checkpoint says how many turn. Called once the layers are loaded, whose norms bound
/// the lengths.
pub(super) fn ropes(weights: &dyn Weights, config: &Config) -> Result<(Rope, Rope), ModelError> {
    let dims = |kind, rope: &RopeConfig| match config.layers.iter().any(|layer| layer.kind == kind) {
        true => rope.dims,
        false => 0,
    };
    let (full, sliding) = (&config.rope_full, &config.rope_sliding);
    let pairs = dims(LayerKind::Full, full) / 2;
    let factors = match full.rotated_pairs {
        _ if pairs == 0 => Vec::new(),
        Some(rotated) => (0..pairs)
            .map(|i| if i < rotated { 1.0 } else { f32::INFINITY })
            .collect(),
        None => weights.vector("rope_freqs.weight", pairs)?,
    };
    Ok((
        Rope::new(full.base, 2 * pairs, Some(&factors)),
        Rope::new(sliding.base, dims(LayerKind::Sliding, sliding), None),
    ))
}
