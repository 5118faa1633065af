//! What is done in registers: blocks are decoded and multiplied, and partial sums added up.

use super::STRIP;
use crate::model::prefetch::{LINE, prefetch, prefetch_at};
use crate::quant::fused::{Fused, LANES, VECTORS};
use crate::quant::product::{CHUNK, transposed};
use fearless_simd::{Simd, SimdBase, SimdFloat, f32x4, f32x8, f32x16};
use std::ops::Range;

/// Columns of a token.
pub type Columns = [f32; CHUNK];
/// The partial sums of a row's products with some tokens.
pub type Sums<const T: usize> = [Columns; T];

/// Chunks of which the scales are made at once, so that the processor makes them beside the products of those before. Their
/// like are asked for then: requests for a whole row at once would wait for each other.
const TILE: usize = 8;

/// Some columns of a row.
#[derive(Clone, Copy)]
pub struct Strip<'a, const BYTES: usize> {
    pub blocks: &'a [[u8; BYTES]],
    /// As many bytes that will be needed later, or none.
    pub later: &'a [u8],
}

impl<const BYTES: usize> Strip<'_, BYTES> {
    /// Makes the scales of some blocks.
    #[inline(always)]
    fn prepare<S: Simd, F: Fused<BYTES, UNITS, CHUNKS>, const UNITS: usize, const CHUNKS: usize>(
        &self,
        simd: S,
        blocks: Range<usize>,
        scales: &mut [F::Scales],
    ) {
        for (scales, block) in scales[blocks.start..].iter_mut().zip(&self.blocks[blocks]) {
            *scales = F::scales(simd, block);
        }
    }

    /// Asks for what lies where a tile does that begins with block `first`.
    #[inline(always)]
    fn foresee_tile<const UNITS: usize, const CHUNKS: usize>(&self, first: usize) {
        let bytes = const { blocks_of_a_tile(UNITS * CHUNKS) * BYTES };
        for line in (0..bytes).step_by(LINE) {
            prefetch_at(self.later.as_ptr().wrapping_add(first * BYTES + line));
        }
    }
}

/// Adds the products of `R` rows' blocks with `T` tokens to their sums, on vectors of sixteen lanes.
#[inline(always)]
pub fn add_in_order<
    S: Simd,
    F: Fused<BYTES, UNITS, CHUNKS>,
    const BYTES: usize,
    const UNITS: usize,
    const CHUNKS: usize,
    const T: usize,
    const R: usize,
>(
    simd: S,
    strips: [Strip<BYTES>; R],
    scales: &mut [[F::Scales; STRIP]; R],
    x: &[[[Columns; T]; CHUNKS]],
    sums: &mut [Sums<T>; R],
) {
    const LANES: usize = 16;
    let mut held = [[[f32x16::splat(simd, 0.0); 2]; T]; R];
    for r in 0..R {
        for t in 0..T {
            for v in 0..2 {
                held[r][t][v] = f32x16::from_slice(simd, &sums[r][t][LANES * v..][..LANES]);
            }
        }
    }
    let tile = const { blocks_of_a_tile(UNITS * CHUNKS) };
    for (first, x) in (0..).step_by(tile).zip(x.chunks(tile * UNITS)) {
        for r in 0..R {
            let blocks = first..first + x.len() / UNITS;
            strips[r].foresee_tile::<UNITS, CHUNKS>(first);
            strips[r].prepare::<S, F, UNITS, CHUNKS>(simd, blocks, &mut scales[r]);
        }
        for (unit, x) in x.iter().enumerate() {
            let block = first + unit / UNITS;
            for r in 0..R {
                let weights = F::numbers(simd, &strips[r].blocks[block], &scales[r][block], unit % UNITS);
                for c in 0..CHUNKS {
                    for v in 0..2 {
                        for t in 0..T {
                            let x = f32x16::from_slice(simd, &x[c][t][LANES * v..][..LANES]);
                            held[r][t][v] = weights[c][v].mul_add(x, held[r][t][v]);
                        }
                    }
                }
            }
        }
    }
    for r in 0..R {
        for t in 0..T {
            for v in 0..2 {
                held[r][t][v].store_slice(&mut sums[r][t][LANES * v..][..LANES]);
            }
        }
    }
}

/// Blocks of so many chunks that a tile has.
const fn blocks_of_a_tile(chunks: usize) -> usize {
    if chunks < TILE { TILE / chunks } else { 1 }
}

/// Adds the products of a row's blocks with `T` tokens to their sums, on vectors of eight lanes and in strides: `V` vectors of
/// each chunk, from `FIRST` on. The inner loops count, and all that they hold stays in registers.
#[inline(always)]
pub fn add_in_strides<
    S: Simd,
    F: Fused<BYTES, UNITS, CHUNKS>,
    const BYTES: usize,
    const UNITS: usize,
    const CHUNKS: usize,
    const T: usize,
    const V: usize,
    const FIRST: usize,
>(
    simd: S,
    strip: Strip<BYTES>,
    scales: &mut [F::Scales; STRIP],
    x: &[[[Columns; T]; CHUNKS]],
    sums: &mut Sums<T>,
) {
    let mut held = [[f32x8::splat(simd, 0.0); V]; T];
    for t in 0..T {
        for v in 0..V {
            held[t][v] = f32x8::from_slice(simd, &sums[t][LANES * (FIRST + v)..][..LANES]);
        }
    }
    // The other vectors find them made.
    if FIRST == 0 {
        prefetch(strip.later);
        strip.prepare::<S, F, UNITS, CHUNKS>(simd, 0..x.len() / UNITS, scales);
    }
    // One loop over the units of all blocks: those of one would be unrolled, and more be decoded ahead than there are registers
    // for.
    for (unit, x) in x.iter().enumerate() {
        let block = unit / UNITS;
        let chunks = F::unit(simd, &strip.blocks[block], &scales[block], unit % UNITS);
        for c in 0..CHUNKS {
            for v in 0..V {
                let weights = chunks[c].numbers(FIRST + v);
                for t in 0..T {
                    let x = f32x8::from_slice(simd, &x[c][t][LANES * (FIRST + v)..][..LANES]);
                    held[t][v] = weights.mul_add(x, held[t][v]);
                }
            }
        }
    }
    for t in 0..T {
        for v in 0..V {
            held[t][v].store_slice(&mut sums[t][LANES * (FIRST + v)..][..LANES]);
        }
    }
}

/// The [`totals`](crate::quant::product::totals) of sums that stand in strides.
#[inline(always)]
pub fn totals_in_strides<S: Simd>(simd: S, sums: &[Columns; 4]) -> [f32; 4] {
    // Vector `k` has the columns `k`, `k + 4`, and so on of all four.
    let mut columns = [[f32x4::splat(simd, 0.0); 4]; VECTORS];
    for (k, columns) in columns.iter_mut().enumerate() {
        *columns = transposed(simd, sums, LANES * k, LANES * k + LANES / 2);
    }
    let mut totals = f32x4::splat(simd, -0.0);
    for j in 0..4 {
        for columns in &columns {
            totals += columns[j];
        }
    }
    totals.into()
}
