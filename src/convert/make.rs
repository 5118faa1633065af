//! Makes a planned tensor of what the checkpoint, the target or a formula has for it.

use super::error::ConvertError;
use super::hparams::Hparams;
use crate::arch::{Formula, TensorSpec};
use crate::checkpoint::{CheckpointHead, TensorHead};
use crate::facts::vocabulary;
use crate::gguf::Gguf;
use crate::plan::{Data, PlannedTensor, Rows, Source};
use crate::quant::GgmlType;

/// A tensor of the checkpoint, of the shape and with the changes that the architecture asks for.
pub(super) fn from_checkpoint<'a>(
    spec: &TensorSpec,
    layer: Option<usize>,
    tensor: TensorHead<'a>,
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
            "ids"
        } else {
            "a tensor of numbers"
        }
        .to_owned(),
    })?;
    let rows = row_order(spec, layer, &tensor, hparams)?;
    let is_ids = spec.ids_below.is_some() || spec.add_index;
    let data = match tensor.here() {
        None => Data::Elsewhere,
        Some((_, data)) if is_ids => Data::Computed(ids(spec, &tensor, data, ty, hparams)?),
        Some((file, bytes)) => Data::Mapped { file, bytes },
    };
    let ty = if is_ids { GgmlType::I64 } else { ty };
    Ok(PlannedTensor::new(
        spec.gguf.name(layer.unwrap_or(0)),
        expected.into_iter().rev().collect(),
        ty,
        Source {
            origin: tensor.name.to_owned(),
            path: tensor.path,
            ty,
            data,
            swap: false,
            rows,
        },
    ))
}

/// The order that the architecture asks for.
fn row_order(
    spec: &TensorSpec,
    layer: Option<usize>,
    tensor: &TensorHead,
    hparams: &Hparams,
) -> Result<Option<Rows>, ConvertError> {
    let Some(rule) = &spec.rows else { return Ok(None) };
    if !hparams.numbers.applies(rule.when.as_deref()) {
        return Ok(None);
    }
    let heads = hparams
        .numbers
        .eval(&rule.heads, layer)
        .map_err(|error| hparams.arch.unknown(&error))?;
    let count = tensor.shape.first().copied().unwrap_or(0);
    let rows = heads
        .as_count()
        .and_then(|heads| Rows::new(rule.order, count, heads));
    rows.map(Some).ok_or_else(|| ConvertError::Rows {
        path: tensor.path.to_owned(),
        name: tensor.name.to_owned(),
        count,
        heads: format!("{} = {heads}", rule.heads),
    })
}

/// The numbers of a tensor of ids, as I64.
fn ids(
    spec: &TensorSpec,
    tensor: &TensorHead,
    data: &[u8],
    ty: GgmlType,
    hparams: &Hparams,
) -> Result<Vec<u8>, ConvertError> {
    let stored: Vec<i64> = match ty {
        GgmlType::I64 => {
            let wide = data.as_chunks().0.iter().copied();
            wide.map(i64::from_le_bytes).collect()
        }
        _ => {
            let narrow = data.as_chunks().0.iter().copied().map(i32::from_le_bytes);
            narrow.map(i64::from).collect()
        }
    };
    let at = |(index, id): (i64, i64)| {
        if spec.add_index {
            id.saturating_add(index)
        } else {
            id
        }
    };
    let ids: Vec<i64> = (0..).zip(stored).map(at).collect();
    let limit = spec
        .ids_below
        .as_ref()
        .and_then(|name| hparams.numbers.count(name));
    match limit.and_then(|limit| vocabulary::fault_of_ids(&ids, limit)) {
        Some(fault) => Err(ConvertError::Ids {
            path: tensor.path.to_owned(),
            name: tensor.name.to_owned(),
            fault,
        }),
        None => Ok(ids.into_iter().flat_map(i64::to_le_bytes).collect()),
    }
}

/// A tensor of the target that stands in for one that the checkpoint lacks, if the architecture allows it.
pub(super) fn from_target<'a>(
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

/// A tensor that no checkpoint holds.
pub(super) fn generated<'a>(
    spec: &TensorSpec,
    layer: Option<usize>,
    checkpoint: &'a CheckpointHead,
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
