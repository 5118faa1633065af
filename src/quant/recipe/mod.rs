//! Which type each tensor gets when a model is quantized: `llama-quantize`'s choice, as a pure function.
//!
//! A file type is more than one tensor type. Some weights get more bits than the rest, by their role and layer; some
//! are not quantized at all; and where a row does not divide into a type's blocks another takes its place.
//! The rules are data, in `mixture.rs`. Left out are those that llama.cpp has for single architectures which no Gemma
//! model is concerned by (Falcon, GLM-5, the 70-billion Llama).

mod file_type;
mod mixture;

pub use file_type::FileType;

use super::GgmlType;
use crate::text::Glob;
use bstr::BStr;
use mixture::{Importance, Place, Role};

/// What the mixtures ask about a model.
#[derive(Debug, Clone, Copy, Default)]
pub struct Model {
    /// `block_count`.
    pub layers: usize,
    /// `expert_count`, 0 without experts.
    pub experts: usize,
    /// `attention.head_count` of the first layer.
    pub heads: usize,
    /// `attention.head_count_kv` of the first layer.
    pub kv_heads: usize,
}

/// A tensor as it stands in the source file.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a> {
    /// Its name in GGUF.
    pub name: &'a str,
    /// Its dimensions, the row length first.
    pub dims: &'a [u64],
    /// Its type, which it keeps where it is not to be quantized.
    pub ty: GgmlType,
}

/// What a user may ask for besides the file type.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// Every weight in the file's own type.
    pub pure: bool,
    /// An importance matrix is given.
    pub importance: bool,
    /// Types by name pattern (`*` for any text, `?` for one character); the first that matches counts.
    pub overrides: &'a [(Glob, GgmlType)],
}

/// The type of each tensor, in the order given.
///
/// An override wins over the mixture and over `pure`; it does not reach tensors that are never quantized. Unlike
/// `llama-quantize`, overrides also count for file types that are not quantized.
pub fn choose(
    file_type: FileType,
    model: &Model,
    tensors: &[Tensor<'_>],
    options: &Options<'_>,
) -> Vec<GgmlType> {
    let mut types: Vec<GgmlType> = tensors.iter().map(|tensor| tensor.ty).collect();
    let tied = !tensors.iter().any(|tensor| Role::of(tensor.name) == Role::Output);
    let values = tensors
        .iter()
        .filter(|tensor| Role::of(tensor.name) == Role::AttentionValue)
        .count();
    let (mut values_seen, mut downs_seen) = (0, 0);

    // Rules that count tensors count in llama.cpp's order.
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by_key(|i| order_key(tensors[*i].name));
    for i in order {
        let Tensor { name, dims, .. } = tensors[i];
        // Trailing dimensions of 1 are none.
        let is_vector = dims.iter().skip(1).all(|dim| *dim == 1);
        if is_vector || !mixture::is_weight(name) {
            continue;
        }
        let row_len = dims.first().copied().unwrap_or(0);
        let named = options
            .overrides
            .iter()
            .find(|(glob, _)| glob.matches(BStr::new(name)));
        let role = Role::of(name);
        let ty = match named {
            Some((_, ty)) => *ty,
            None if options.pure || !file_type.tensor_type().is_quantized() => file_type.tensor_type(),
            None if role == Role::Output || (tied && role == Role::TokenEmbedding) => {
                output_type(file_type, row_len)
            }
            None => {
                let (index, count) = match role {
                    Role::AttentionValue => (post_increment(&mut values_seen), values),
                    Role::FfnDown => {
                        let seen = post_increment(&mut downs_seen);
                        // Where the experts of a layer are tensors of their own, only the name tells the layer.
                        let layer = layer(name).filter(|_| model.experts > 1);
                        (layer.unwrap_or(seen), model.layers)
                    }
                    _ => (0, 0),
                };
                let place = Place {
                    index,
                    count,
                    shared_heads: model
                        .heads
                        .checked_div(model.kv_heads)
                        .is_some_and(|shared| shared >= 4),
                    experts: model.experts,
                    importance: if options.importance {
                        Importance::Given
                    } else {
                        Importance::Absent
                    },
                };
                mixture::mixed(file_type, role, &place)
            }
        };
        types[i] = mixture::fitting(ty, row_len);
    }
    types
}

/// The type of the output, which tied token embeddings share.
fn output_type(file_type: FileType, row_len: u64) -> GgmlType {
    let ty = file_type.tensor_type();
    if ty == GgmlType::Q8_0 || !ty.fits_row(row_len) {
        GgmlType::Q8_0
    } else {
        GgmlType::Q6_K
    }
}

/// The key that sorts tensors as llama.cpp does when it writes a file: by layer, those of none first, then by name.
pub fn order_key(name: &str) -> (Option<usize>, &str) {
    (layer(name), name)
}

/// The layer that a name like `blk.12.ffn_down.weight` belongs to.
fn layer(name: &str) -> Option<usize> {
    let (number, _) = name.strip_prefix("blk.")?.split_once('.')?;
    number.parse().ok()
}

fn post_increment(counter: &mut usize) -> usize {
    *counter += 1;
    *counter - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_wins_but_not_over_what_is_never_quantized() {
        let tensors = [
            "token_embd.weight",
            "blk.0.attn_norm.weight",
            "blk.0.attn_q.weight",
        ]
        .map(|name| Tensor {
            name,
            dims: &[256, 8],
            ty: GgmlType::BF16,
        });
        let overrides =
            [("blk.*", GgmlType::Q5_0), ("*", GgmlType::Q8_0)].map(|(pattern, ty)| (Glob::new(pattern), ty));
        let options = Options {
            overrides: &overrides,
            ..Options::default()
        };
        assert_eq!(
            choose(FileType::Q4_0, &Model::default(), &tensors, &options),
            [GgmlType::Q8_0, GgmlType::BF16, GgmlType::Q5_0]
        );
    }
}
