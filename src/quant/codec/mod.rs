//! One file a family of block formats.
//!
//! A block is an array of bytes and of the numbers they stand for; a format is a function from one to the other. All
//! multi-byte fields are little-endian.

mod number;
mod planes;
mod search;

pub(super) mod float;
pub(super) mod fp4;
pub(super) mod int;
pub(super) mod iq;
pub(super) mod iq4;
pub(super) mod legacy;
pub(super) mod q2_k;
pub(super) mod q3_k;
pub(super) mod q45_k;
pub(super) mod q6_k;
pub(super) mod q8;
pub(super) mod ternary;

use super::Path;

/// Decodes one block after another.
fn decode_each<const BYTES: usize, const LEN: usize>(
    path: Path,
    blocks: &[u8],
    out: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; LEN]),
) {
    path.run(
        #[inline(always)]
        || {
            for (block, numbers) in blocks.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
                decode(block, numbers);
            }
        },
    );
}

/// Encodes one block after another.
fn encode_each<const LEN: usize, const BYTES: usize>(
    path: Path,
    numbers: &[f32],
    blocks: &mut [u8],
    encode: impl Fn(&[f32; LEN], &mut [u8; BYTES]),
) {
    path.run(
        #[inline(always)]
        || {
            for (numbers, block) in numbers.as_chunks().0.iter().zip(blocks.as_chunks_mut().0) {
                encode(numbers, block);
            }
        },
    );
}
