//! The other byte order: which bytes of a block belong to numbers of several bytes.
//!
//! ggml on a big-endian machine writes blocks as its structs lie in memory, so scales are swapped and packed bytes are
//! not. Types whose packed bytes ggml reads as wider integers in some places and as bytes in others have no agreed
//! big-endian form and are left out.

use crate::quant::GgmlType;

/// A number within a block: where it starts and how many bytes it takes.
type Wide = (usize, usize);

/// The wide numbers of a block; `None` where the type has no agreed big-endian form.
fn wide_numbers(ty: GgmlType) -> Option<&'static [Wide]> {
    use GgmlType::*;
    Some(match ty {
        I8 | MXFP4 | NVFP4 => &[],
        F16 | BF16 | I16 | Q4_0 | Q8_0 | IQ4_NL => &[(0, 2)],
        F32 | I32 => &[(0, 4)],
        F64 | I64 => &[(0, 8)],
        Q4_1 | Q4_K | Q5_K | IQ4_XS => &[(0, 2), (2, 2)],
        Q2_K => &[(80, 2), (82, 2)],
        Q6_K => &[(208, 2)],
        _ => return None,
    })
}

/// Whether data of this type can be brought into the other byte order.
pub fn can_swap(ty: GgmlType) -> bool {
    wide_numbers(ty).is_some()
}

/// Brings whole blocks into the other byte order, in place. Does nothing where [`can_swap`] is false.
pub fn swap_blocks(ty: GgmlType, blocks: &mut [u8]) {
    let numbers = wide_numbers(ty).unwrap_or_default();
    if numbers.is_empty() {
        return;
    }
    for block in blocks.chunks_exact_mut(ty.block_bytes()) {
        for &(start, len) in numbers {
            block[start..start + len].reverse();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_numbers_lie_within_their_block_and_swap_back() {
        for ty in GgmlType::all().filter(|&ty| can_swap(ty)) {
            let original: Vec<u8> = (0..2 * ty.block_bytes()).map(|i| i as u8).collect();
            let mut blocks = original.clone();
            swap_blocks(ty, &mut blocks);
            let is_bytes = matches!(ty, GgmlType::I8 | GgmlType::MXFP4 | GgmlType::NVFP4);
            assert_eq!(blocks == original, is_bytes, "{ty}");
            swap_blocks(ty, &mut blocks);
            assert_eq!(blocks, original, "{ty}");
        }
    }

    #[test]
    fn only_the_scale_of_a_quantized_block_is_swapped() {
        let mut block: Vec<u8> = (0..34).collect();
        swap_blocks(GgmlType::Q8_0, &mut block);
        assert_eq!(block[..4], [1, 0, 2, 3]);
    }
}
