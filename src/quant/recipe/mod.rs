//! Which type each tensor gets when a model is quantized: `llama-quantize`'s choice, as a pure function.
//!
//! A file type is more than one tensor type. Some weights get more bits than the rest, by their role and layer; some
//! are not quantized at all; and where a row does not divide into a type's blocks another takes its place.
//! The rules are data, in `mixture.rs`. Left out are those that llama.cpp has for single architectures which no Gemma
//! model is concerned by (Falcon, GLM-5, the 70-billion Llama).

mod file_type;
mod mixture;
mod overrides;

pub use file_type::FileType;
pub use overrides::{NamePattern, Override, Reading};

use super::GgmlType;
use mixture::{Importance, Place, Role};
use std::collections::HashMap;

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
    /// Types by name; the first that fits counts.
    pub overrides: &'a [Override],
    /// Type of the token embeddings, tied to the output or not.
    pub token_embedding: Option<GgmlType>,
    /// Type of the output, or of the token embeddings that are tied to it.
    pub output: Option<GgmlType>,
    /// `output.weight` keeps its type.
    pub leave_output: bool,
}

/// What was chosen for a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Its type.
    pub ty: GgmlType,
    /// The type that it would have, did its rows divide into blocks of it.
    pub wanted: GgmlType,
}

/// The type of each tensor, in the order given.
///
/// A type for embeddings or output wins over overrides, these over the mixture and over `pure`; none reaches tensors
/// that are never quantized. Unlike `llama-quantize`, overrides also count for file types that are not quantized.
pub fn choose(
    file_type: FileType,
    model: &Model,
    tensors: &[Tensor<'_>],
    options: &Options<'_>,
) -> Vec<Choice> {
    let mut choices: Vec<Choice> = tensors.iter().map(keep).collect();
    let names = || tensors.iter().map(|tensor| tensor.name);
    let overrides: Vec<(Reading, GgmlType)> = options
        .overrides
        .iter()
        .map(|given| (given.pattern.among(names()), given.ty))
        .collect();
    let tied = !names().any(|name| Role::of(name) == Role::Output);
    let values = names()
        .filter(|name| Role::of(name) == Role::AttentionValue)
        .count();
    let mut seen = HashMap::new();

    // Rules that count tensors count in llama.cpp's order.
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by_key(|i| order_key(tensors[*i].name));
    for i in order {
        let Tensor { name, dims, .. } = tensors[i];
        let role = Role::of(name);
        if !may_change(&tensors[i]) || (options.leave_output && role == Role::Output) {
            continue;
        }
        let row_len = dims.first().copied().unwrap_or(0);
        let named = overrides
            .iter()
            .find(|(reading, _)| reading.matches(name))
            .map(|(_, ty)| *ty);
        let given = match role {
            Role::Output => options.output,
            // A large table by itself, which an override may name.
            Role::TokenEmbedding if name == "per_layer_token_embd.weight" => {
                named.or(options.token_embedding)
            }
            Role::TokenEmbedding => options.token_embedding,
            _ => None,
        };
        let ty = match given.or(named) {
            Some(ty) => ty,
            None if options.pure || !file_type.tensor_type().is_quantized() => file_type.tensor_type(),
            None if role == Role::Output || (tied && role == Role::TokenEmbedding) => {
                let usual = || mixture::output_type(file_type, row_len);
                options.output.unwrap_or_else(usual)
            }
            None => {
                let index = post_increment(seen.entry(role).or_default());
                let (layer, layers) = match role {
                    Role::AttentionValue => (index, values),
                    // Where the experts of a layer are tensors of their own, only the name tells the layer.
                    _ if model.experts > 1 => (layer(name).unwrap_or(index), model.layers),
                    _ => (index, model.layers),
                };
                let place = Place {
                    index,
                    layer,
                    layers,
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
                    matrices: dims.iter().skip(2).any(|dim| *dim > 1),
                };
                mixture::mixed(file_type, role, &place)
            }
        };
        choices[i] = Choice {
            ty: mixture::fitting(ty, row_len),
            wanted: ty,
        };
    }
    choices
}

/// The type that a tensor has.
pub fn keep(tensor: &Tensor<'_>) -> Choice {
    Choice {
        ty: tensor.ty,
        wanted: tensor.ty,
    }
}

/// Whether a tensor may get another type than its own: it is a matrix of weights, and neither small nor sensitive.
pub fn may_change(tensor: &Tensor) -> bool {
    // Trailing dimensions of 1 are none.
    let is_vector = tensor.dims.iter().skip(1).all(|dim| *dim == 1);
    !is_vector && mixture::is_weight(tensor.name)
}

/// The type of a matrix as `convert_hf_to_gguf.py` writes it: the file's own where it can write that, else BF16, from which
/// `llama-quantize` goes on.
pub fn converted(file_type: FileType, tensor: &Tensor) -> Choice {
    let wanted = match file_type.tensor_type() {
        ty @ (GgmlType::F32 | GgmlType::F16 | GgmlType::BF16 | GgmlType::Q8_0) => ty,
        _ => GgmlType::BF16,
    };
    let row_len = tensor.dims.first().copied().unwrap_or(0);
    Choice {
        ty: mixture::fitting(wanted, row_len),
        wanted,
    }
}

/// Whether this is a table of embeddings, by token.
pub fn is_token_embedding(name: &str) -> bool {
    Role::of(name) == Role::TokenEmbedding
}

/// Whether `llama-quantize` refuses to give the tensor of this name this type without weights from an importance matrix: the
/// type has so few bits that nothing of use would be left. Tensors that keep their type are not asked about.
pub fn needs_importance(file_type: FileType, name: &str, ty: GgmlType) -> bool {
    mixture::needs_importance(file_type, name, ty)
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
        let overrides = [("blk.*", GgmlType::Q5_0), ("*", GgmlType::Q8_0)].map(|(pattern, ty)| Override {
            pattern: NamePattern::new(pattern),
            ty,
        });
        let options = Options {
            overrides: &overrides,
            ..Options::default()
        };
        let chosen = choose(FileType::Q4_0, &Model::default(), &tensors, &options);
        assert_eq!(
            chosen.iter().map(|choice| choice.ty).collect::<Vec<_>>(),
            [GgmlType::Q8_0, GgmlType::BF16, GgmlType::Q5_0]
        );
    }
}
