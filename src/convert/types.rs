//! Which type each tensor gets: the architecture file says what stays F32, `llama-quantize`'s recipe the rest.

use super::error::ConvertError;
use super::hparams::Hparams;
use super::options::Options;
use super::tensors::Sourced;
use crate::plan::{Fit, PlannedTensor};
use crate::quant::GgmlType;
use crate::quant::recipe::{self, FileType, Model};

/// The file type asked for, or the one that keeps the first matrix as it is.
pub(super) fn settle(options: Options, sourced: &[Sourced]) -> FileType {
    let is_matrix = |(spec, tensor): &&Sourced| spec.quantize && tensor.dims.len() >= 2;
    let first = || sourced.iter().find(is_matrix).map(|(_, tensor)| tensor.source.ty);
    options.outtype.unwrap_or_else(|| match first() {
        Some(GgmlType::BF16) => FileType::BF16,
        _ => FileType::F16,
    })
}

/// Gives every tensor its type.
pub(super) fn assign_types<'a>(
    sourced: Vec<Sourced<'_, 'a>>,
    file_type: FileType,
    options: Options,
    hparams: &Hparams,
) -> Result<Vec<PlannedTensor<'a>>, ConvertError> {
    let described: Vec<recipe::Tensor> = sourced
        .iter()
        .map(|(spec, tensor)| recipe::Tensor {
            name: &tensor.name,
            dims: &tensor.dims,
            ty: spec.ty.unwrap_or(GgmlType::F32),
        })
        .collect();
    let first = |name| hparams.numbers.get(name, Some(0))?.as_count();
    let model = Model {
        layers: hparams.numbers.layers.len(),
        experts: hparams.numbers.count("experts").unwrap_or(0),
        heads: hparams.numbers.count("heads").unwrap_or(0),
        kv_heads: first("kv_heads").unwrap_or(0),
    };
    let recipe = recipe::Options {
        pure: options.pure,
        ..recipe::Options::default()
    };
    let mut chosen = recipe::choose(file_type, &model, &described, &recipe);
    for (choice, tensor) in chosen.iter_mut().zip(&described) {
        // What `llama-quantize` leaves alone has the type that the converter gave it.
        if tensor.dims.len() >= 2 && !recipe::may_change(tensor) {
            *choice = recipe::converted(file_type, tensor);
        }
    }

    let typed = sourced
        .into_iter()
        .zip(chosen)
        .map(|((spec, mut tensor), chosen)| {
            tensor.ty = match spec.ty {
                Some(ty) => ty,
                None if spec.quantize => chosen.ty,
                None => GgmlType::F32,
            };
            tensor.wanted = if tensor.ty == chosen.ty {
                chosen.wanted
            } else {
                tensor.ty
            };
            if options.qat && tensor.is_quantized_anew() && tensor.ty == GgmlType::Q4_0 {
                tensor.fit = Fit::Grid;
            }
            if tensor.is_quantized_anew() && recipe::needs_importance(file_type, &tensor.name, tensor.ty) {
                return Err(ConvertError::NoImportance {
                    name: tensor.name,
                    ty: tensor.ty,
                });
            }
            Ok(tensor)
        });
    typed.collect()
}
