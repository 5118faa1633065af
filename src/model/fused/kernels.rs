//! What is done in registers: blocks are decoded and multiplied, and partial sums added up.

use super::STRIP;
use crate::model::prefetch::{LINE, prefetch_at};
use crate::quant::fused::{Fused, LANES};
use crate::quant::product::CHUNK;
use fearless_simd::{Simd, SimdBase, SimdFloat, f32x4, f32x8, f32x16};

/// Columns of a token.
pub type Columns = [f32; CHUNK];
/// The partial sums of a row's products with some tokens.
pub type Sums<const T: usize> = [Columns; T];

/// Chunks whose scales are made at once, so that the processor makes them beside the products of those before, and whose
/// like are asked for: requests for a whole row at once would wait for each other.
const TILE: usize = 8;

/// Some columns of a row.
#[derive(Clone, Copy)]
pub struct Strip<'a, const BYTES: usize> {
    pub blocks: &'a [[u8; BYTES]],
    /// As many bytes that will be needed later, or none.
    pub later: &'a [u8],
}

impl<const BYTES: usize> Strip<'_, BYTES> {
    /// Makes the scales of some blocks from `first` on and asks for what will be needed.
    #[inline(always)]
    fn prepare<S: Simd, F: Fused<BYTES, UNITS, CHUNKS>, const UNITS: usize, const CHUNKS: usize>(
        &self,
        simd: S,
        first: usize,
        count: usize,
        scales: &mut [F::Scales],
    ) {
        let lines = const { (blocks_of_a_tile(UNITS * CHUNKS) * BYTES).div_ceil(LINE) };
        for line in 0..lines {
            prefetch_at(self.later.as_ptr().wrapping_add(first * BYTES + line * LINE));
        }
        let blocks = &self.blocks[first..first + count];
        for (scales, block) in scales[first..].iter_mut().zip(blocks) {
            *scales = F::scales(simd, block);
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
            strips[r].prepare::<S, F, UNITS, CHUNKS>(simd, first, x.len() / UNITS, &mut scales[r]);
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
    let tile = const { blocks_of_a_tile(UNITS * CHUNKS) };
    for (first, x) in (0..).step_by(tile).zip(x.chunks(tile * UNITS)) {
        // The other vectors find them made.
        if FIRST == 0 {
            strip.prepare::<S, F, UNITS, CHUNKS>(simd, first, x.len() / UNITS, scales);
        }
        for (unit, x) in x.iter().enumerate() {
            let block = first + unit / UNITS;
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
    }
    for t in 0..T {
        for v in 0..V {
            held[t][v].store_slice(&mut sums[t][LANES * (FIRST + v)..][..LANES]);
        }
    }
}

/// The totals of four times partial sums, in the order of [`Product::finish`](crate::quant::product::Product::finish).
#[inline(always)]
pub fn totals_in_order<S: Simd>(simd: S, sums: &[Columns; 4]) -> [f32; 4] {
    let mut totals = f32x4::splat(simd, -0.0);
    for first in (0..CHUNK / 2).step_by(4) {
        for column in transposed(simd, sums, first, first + CHUNK / 2) {
            totals += column;
        }
    }
    totals.into()
}

/// [`totals_in_order`] of sums that stand in strides.
#[inline(always)]
pub fn totals_in_strides<S: Simd>(simd: S, sums: &[Columns; 4]) -> [f32; 4] {
    // Vector `k` has the columns `k`, `k + 4`, and so on of all four.
    let vector = |k: usize| transposed(simd, sums, LANES * k, LANES * k + LANES / 2);
    let (first, second) = (
        vector(0).into_iter().zip(vector(1)),
        vector(2).into_iter().zip(vector(3)),
    );
    let mut totals = f32x4::splat(simd, -0.0);
    for ((a, b), (c, d)) in first.zip(second) {
        totals = totals + a + b + c + d;
    }
    totals.into()
}

/// The four sums from `low` on and those from `high` on, added, of four times sums: the first of all four, the second of all
/// four, and so on.
#[inline(always)]
fn transposed<S: Simd>(simd: S, sums: &[Columns; 4], low: usize, high: usize) -> [f32x4<S>; 4] {
    let added = |i: usize| {
        f32x4::from_slice(simd, &sums[i][low..low + 4]) + f32x4::from_slice(simd, &sums[i][high..high + 4])
    };
    let (a, b, c, d) = (added(0), added(1), added(2), added(3));
    let (ac, bd) = ((a.zip_low(c), a.zip_high(c)), (b.zip_low(d), b.zip_high(d)));
    [
        ac.0.zip_low(bd.0),
        ac.0.zip_high(bd.0),
        ac.1.zip_low(bd.1),
        ac.1.zip_high(bd.1),
    ]
}
