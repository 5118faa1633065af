//! One file a family of block formats.
//!
//! A block is an array of bytes and of the numbers they stand for; a format is a function from one to the other. All
//! multi-byte fields are little-endian.

mod block32;
mod lookup;
mod number;
mod planes;
mod scales;
mod search;

pub(super) mod float;
pub(super) mod fp4;
pub(super) mod grid;
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

use super::Isa;

/// A decoder from a function that decodes one block, `fn(simd, &[u8; BYTES], &mut [f32; LEN])`. The function must be marked
/// `#[inline(always)]`, as must what it calls: only then is it compiled for the instruction set in use. For the same
/// reason this is no function that takes another.
macro_rules! decode_blocks {
    ($decode:expr) => {
        $crate::quant::codec::decode_blocks!(@ $decode, None)
    };
    // And the function that takes the block at some place of a span apart,
    // `fn(simd, &[u8; BYTES], place: usize, &mut Levels)`, with the columns that share a scale and the bits of a level.
    ($decode:expr, $levels:expr, $group:literal, $bits:expr) => {
        $crate::quant::codec::decode_blocks!($decode, $levels, $group, $bits, factored = false)
    };
    ($decode:expr, $levels:expr, $group:literal, $bits:expr, factored = $factored:literal) => {
        $crate::quant::codec::decode_blocks!(@ $decode, Some($crate::quant::levels::Unpack {
            shape: $crate::quant::levels::Shape {
                is_factored: $factored,
                group: $group,
                bits: $bits,
            },
            unpack: |isa, blocks, out| {
                fearless_simd::dispatch!(isa.level(), simd => {
                    for (place, block) in blocks.as_chunks().0.iter().enumerate() {
                        $levels(simd, block, place, out);
                    }
                });
            },
        }))
    };
    (@ $decode:expr, $levels:expr) => {
        $crate::quant::Decode {
            numbers: |isa, blocks, out| {
                fearless_simd::dispatch!(isa.level(), simd => {
                    for (block, numbers) in blocks.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
                        $decode(simd, block, numbers);
                    }
                });
            },
            dot: |isa, blocks, x| {
                fearless_simd::dispatch!(isa.level(), simd => {
                    let mut product = $crate::quant::product::Product::new(simd);
                    let x = x.as_chunks().0;
                    let mut numbers = $crate::quant::product::block_like(x);
                    for (block, x) in blocks.as_chunks().0.iter().zip(x) {
                        $decode(simd, block, &mut numbers);
                        product.add_all(&numbers, x);
                    }
                    product.finish([], [])
                })
            },
            levels: $levels,
        }
    };
}
use decode_blocks;

/// A decoder from a function that decodes one element, `fn([u8; BYTES]) -> f32`, inlined as above; a closure only is where
/// it is small.
macro_rules! decode_elements {
    ($decode:expr) => {
        $crate::quant::Decode {
            numbers: |isa, bytes, out| {
                fearless_simd::dispatch!(isa.level(), _simd => {
                    for (bytes, v) in bytes.as_chunks().0.iter().zip(out) {
                        *v = $decode(*bytes);
                    }
                });
            },
            dot: |isa, bytes, x| {
                fearless_simd::dispatch!(isa.level(), simd => {
                    let mut product = $crate::quant::product::Product::new(simd);
                    let (chunks, rest) = bytes.as_chunks().0.as_chunks::<{ $crate::quant::product::CHUNK }>();
                    let (x_chunks, x_rest) = x.as_chunks();
                    for (chunk, x) in chunks.iter().zip(x_chunks) {
                        let mut numbers = *x;
                        for (bytes, v) in chunk.iter().zip(&mut numbers) {
                            *v = $decode(*bytes);
                        }
                        product.add(&numbers, x);
                    }
                    product.finish(rest.iter().map(|bytes| $decode(*bytes)), x_rest.iter().copied())
                })
            },
            levels: None,
        }
    };
}
use decode_elements;

/// Encodes one element after another, as `decode_elements` decodes.
fn encode_each<const BYTES: usize>(
    isa: Isa,
    row: &[f32],
    bytes: &mut [u8],
    encode: impl Fn(f32) -> [u8; BYTES],
) {
    isa.run(
        #[inline(always)]
        || {
            for (v, bytes) in row.iter().zip(bytes.as_chunks_mut().0) {
                *bytes = encode(*v);
            }
        },
    );
}
