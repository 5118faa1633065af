//! One file a family of block formats.
//!
//! A block is an array of bytes and of the numbers they stand for; a format is a function from one to the other. All
//! multi-byte fields are little-endian.

mod block32;
mod number;
mod planes;
mod scales;
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

/// A decoder from a function that decodes one block, `fn(simd, &[u8; BYTES], &mut [f32; LEN])`. The function must be marked
/// `#[inline(always)]`, as must what it calls: only then is it compiled for the instruction set in use.
macro_rules! decode_blocks {
    ($decode:expr) => {
        |path, blocks, out| {
            fearless_simd::dispatch!(path.level(), simd => {
                for (block, numbers) in blocks.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
                    $decode(simd, block, numbers);
                }
            });
        }
    };
}
use decode_blocks;

/// Decodes one element after another. For a closure, which is only inlined for `path` where it is small.
fn decode_each<const BYTES: usize>(
    path: Path,
    bytes: &[u8],
    out: &mut [f32],
    decode: impl Fn([u8; BYTES]) -> f32,
) {
    path.run(
        #[inline(always)]
        || {
            for (bytes, v) in bytes.as_chunks().0.iter().zip(out) {
                *v = decode(*bytes);
            }
        },
    );
}

/// Encodes one element after another, as [`decode_each`] decodes.
fn encode_each<const BYTES: usize>(
    path: Path,
    row: &[f32],
    bytes: &mut [u8],
    encode: impl Fn(f32) -> [u8; BYTES],
) {
    path.run(
        #[inline(always)]
        || {
            for (v, bytes) in row.iter().zip(bytes.as_chunks_mut().0) {
                *bytes = encode(*v);
            }
        },
    );
}
