//! Finds a source for every tensor of the architecture, and a reason for every source tensor that is left out.

use super::error::ConvertError;
use super::hparams::{Hparams, layer_of};
use super::options::Options;
use crate::arch::{Arch, Formula, TensorSpec};
use crate::checkpoint::{Checkpoint, SourceTensor};
use crate::gguf::Gguf;
use crate::plan::{Data, PlannedTensor, Source};
use crate::quant::GgmlType;
use crate::text::escape;
use std::collections::{HashMap, HashSet};

/// A source tensor that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// Its name in the checkpoint.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// A tensor with the line of the architecture file that asks for it. Its type is still the source's.
pub(super) type Sourced<'s, 'a> = (&'s TensorSpec, PlannedTensor<'a>);

/// Finds a source for every tensor of the architecture and a reason for every source tensor that is left over.
pub(super) fn source_tensors<'s, 'a>(
    arch: &'s Arch,
    checkpoint: &'a Checkpoint,
    target: Option<&'a Gguf>,
    hparams: &Hparams,
    options: Options,
    warnings: &mut Vec<String>,
) -> Result<(Vec<Sourced<'s, 'a>>, Vec<Ignored>), ConvertError> {
    let mut front = Vec::new();
    let mut wanted: HashMap<&str, (&TensorSpec, Option<usize>)> = HashMap::new();
    let mut dropped: HashSet<&str> = HashSet::new();
    for spec in &arch.tensors {
        let layers = if spec.gguf.is_by_layer() {
            hparams.numbers.layers.len()
        } else {
            1
        };
        for layer in 0..layers {
            let at = spec.gguf.is_by_layer().then_some(layer);
            let Some(hf) = &spec.hf else {
                front.push((spec, generate(spec, at, checkpoint, hparams)?));
                continue;
            };
            let name = hf.name(layer);
            let found = std::iter::once(&name)
                .chain(&spec.instead)
                .find_map(|name| checkpoint.tensor(name));
            if spec.group.is_some() && !options.keep_centroids {
                dropped.extend(found.map(|tensor| tensor.name));
                continue;
            }
            if let Some(found) = found {
                wanted.insert(found.name, (spec, at));
            } else if let Some(tensor) = from_target(spec, at, target, hparams, &name)? {
                warnings.push(format!(
                    "the drafter has no {name}; its rows are taken from the target"
                ));
                front.push((spec, tensor));
            } else if !spec.optional {
                let hint = match (prefix_hint(checkpoint, &name), &spec.from_target, target) {
                    (Some(hint), ..) => hint,
                    (None, Some(_), None) => "; pass --target to take the target's".to_owned(),
                    _ => "; download the checkpoint again, or give the one of a Gemma 4 drafter".to_owned(),
                };
                return Err(ConvertError::MissingTensor {
                    path: checkpoint.path().to_owned(),
                    name,
                    hint,
                });
            }
        }
    }

    let mut ignored = Vec::new();
    let mut unexpected = Vec::new();
    for tensor in checkpoint.tensors() {
        if let Some(&(spec, layer)) = wanted.get(tensor.name) {
            front.push((spec, from_checkpoint(spec, layer, tensor, hparams)?));
        } else if dropped.contains(tensor.name) {
            let reason =
                "centroid head: llama.cpp scores the whole vocabulary and loads no file that holds it";
            ignored.push(Ignored {
                name: tensor.name.to_owned(),
                reason: reason.to_owned(),
            });
        } else if let Some(reason) = reason_to_ignore(arch, checkpoint, &tensor)? {
            ignored.push(Ignored {
                name: tensor.name.to_owned(),
                reason,
            });
        } else {
            unexpected.push(tensor.name);
        }
    }
    if !unexpected.is_empty() {
        const SHOWN: usize = 5;
        let mut names = unexpected
            .iter()
            .take(SHOWN)
            .copied()
            .collect::<Vec<_>>()
            .join(", ");
        if unexpected.len() > SHOWN {
            names.push_str(", …");
        }
        return Err(ConvertError::UnexpectedTensors {
            path: checkpoint.path().to_owned(),
            architecture: arch.architecture.clone(),
            count: unexpected.len(),
            names,
        });
    }
    Ok((front, ignored))
}

/// What to do where a tensor stands under a prefix that is not known.
fn prefix_hint(checkpoint: &Checkpoint, name: &str) -> Option<String> {
    let prefix = |tensor: &SourceTensor| {
        let prefix = tensor.name.strip_suffix(name)?;
        prefix.ends_with('.').then(|| escape(prefix.as_bytes()))
    };
    let prefix = checkpoint.tensors().find_map(|tensor| prefix(&tensor))?;
    Some(format!(
        "; it has {prefix}{name}: save the weights without {prefix} in front"
    ))
}

fn from_checkpoint<'a>(
    spec: &TensorSpec,
    layer: Option<usize>,
    tensor: SourceTensor<'a>,
    hparams: &Hparams,
) -> Result<PlannedTensor<'a>, ConvertError> {
    let expected = hparams.shape(spec, layer)?;
    let found: Vec<u64> = tensor.shape.iter().map(|&n| n as u64).collect();
    let is_scalar = found.is_empty() && expected == [1];
    if found != expected && !is_scalar {
        let formula = spec
            .shape
            .iter()
            .map(Formula::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        return Err(ConvertError::TensorShape {
            path: tensor.path.to_owned(),
            name: tensor.name.to_owned(),
            found,
            expected,
            formula,
        });
    }
    let is_integer = |ty| matches!(ty, GgmlType::I32 | GgmlType::I64);
    let is_float = |ty| matches!(ty, GgmlType::F32 | GgmlType::F16 | GgmlType::BF16 | GgmlType::F64);
    let wants_integer = spec.ty.is_some_and(is_integer);
    let ty = tensor.ggml_type().filter(|&ty| {
        if wants_integer {
            is_integer(ty)
        } else {
            is_float(ty)
        }
    });
    let ty = ty.ok_or_else(|| ConvertError::TensorDtype {
        path: tensor.path.to_owned(),
        name: tensor.name.to_owned(),
        dtype: tensor.dtype.to_string(),
        wanted: if wants_integer {
            "i32"
        } else {
            "a tensor of numbers"
        }
        .to_owned(),
    })?;
    Ok(PlannedTensor::new(
        spec.gguf.name(layer.unwrap_or(0)),
        expected.into_iter().rev().collect(),
        ty,
        Source {
            origin: tensor.name.to_owned(),
            path: tensor.path,
            ty,
            data: Data::Mapped {
                file: tensor.file,
                bytes: tensor.data,
            },
            swap: false,
        },
    ))
}

fn from_target<'a>(
    spec: &TensorSpec,
    layer: Option<usize>,
    target: Option<&'a Gguf>,
    hparams: &Hparams,
    hf_name: &str,
) -> Result<Option<PlannedTensor<'a>>, ConvertError> {
    let (Some(name), Some(target)) = (&spec.from_target, target) else {
        return Ok(None);
    };
    let Some(tensor) = target.tensor(name)? else {
        return Ok(None);
    };
    let expected: Vec<u64> = hparams.shape(spec, layer)?.into_iter().rev().collect();
    if tensor.info.dims != expected {
        return Err(ConvertError::TargetDims {
            path: target.path().to_owned(),
            name: name.clone(),
            for_tensor: hf_name.to_owned(),
            found_and_expected: format!("{:?} instead of {expected:?}", tensor.info.dims),
        });
    }
    Ok(Some(PlannedTensor::new(
        spec.gguf.name(layer.unwrap_or(0)),
        tensor.info.dims.clone(),
        tensor.ty,
        Source::of_gguf(format!("{name} of the target"), target.path(), tensor),
    )))
}

fn generate<'a>(
    spec: &TensorSpec,
    layer: Option<usize>,
    checkpoint: &'a Checkpoint,
    hparams: &Hparams,
) -> Result<PlannedTensor<'a>, ConvertError> {
    let expected = hparams.shape(spec, layer)?;
    let values = hparams.generate(spec, layer)?;
    Ok(PlannedTensor::new(
        spec.gguf.name(layer.unwrap_or(0)),
        expected.into_iter().rev().collect(),
        GgmlType::F32,
        Source::computed(checkpoint.path(), &values),
    ))
}

/// Why a source tensor that no rule wants may be left out.
fn reason_to_ignore(
    arch: &Arch,
    checkpoint: &Checkpoint,
    tensor: &SourceTensor,
) -> Result<Option<String>, ConvertError> {
    for rule in &arch.ignored {
        if rule.hf.matches(&tensor.plain_name()).map(layer_of).is_none() {
            continue;
        }
        if let Some(same_as) = &rule.same_as {
            let twin = checkpoint.tensor(same_as);
            if twin.is_none_or(|twin| {
                (twin.dtype, twin.shape, twin.data) != (tensor.dtype, tensor.shape, tensor.data)
            }) {
                return Err(ConvertError::NotTied {
                    path: tensor.path.to_owned(),
                    name: tensor.name.to_owned(),
                    same_as: same_as.clone(),
                });
            }
        }
        return Ok(Some(rule.reason.clone()));
    }
    Ok(None)
}
