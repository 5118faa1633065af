//! What is done in registers: blocks are decoded and multiplied, and partial sums added up.

use super::STRIP;
use super::strips::Strip;
use crate::quant::fused::{Fused, LANES, VECTORS};
use crate::quant::product::{CHUNK, transposed};
use fearless_simd::{Simd, SimdBase, SimdFloat, f32x4, f32x8, f32x16};

/// Columns of a token.
pub type Columns = [f32; CHUNK];
/// The partial sums of a row's products with some tokens.
pub type Sums<const T: usize> = [Columns; T];

/// The columns of some tokens that a block is multiplied with.
pub type Block<const UNITS: usize, const CHUNKS: usize, const T: usize> = [[[Columns; T]; CHUNKS]; UNITS];

/// Chunks of which scales and levels are made at once: those of one block, or blocks of one chunk.
pub const TILE: usize = 8;

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
    x: &[Block<UNITS, CHUNKS, T>],
    sums: &mut [Sums<T>; R],
) {
    if const { UNITS * CHUNKS == TILE } {
        add_tiles::<S, F, BYTES, UNITS, CHUNKS, T, R, 1>(simd, strips, x, sums);
        return;
    }
    add_tiles::<S, F, BYTES, UNITS, CHUNKS, T, R, TILE>(simd, strips, x, sums);
    let whole = x.len() / TILE * TILE;
    if whole < x.len() {
        let rest = strips.map(|strip| strip.after(whole));
        add_tiles::<S, F, BYTES, UNITS, CHUNKS, T, R, 1>(simd, rest, &x[whole..], sums);
    }
}

/// The same for tiles of `B` blocks, as many as there are whole ones.
#[inline(always)]
fn add_tiles<
    S: Simd,
    F: Fused<BYTES, UNITS, CHUNKS>,
    const BYTES: usize,
    const UNITS: usize,
    const CHUNKS: usize,
    const T: usize,
    const R: usize,
    const B: usize,
>(
    simd: S,
    strips: [Strip<BYTES>; R],
    x: &[Block<UNITS, CHUNKS, T>],
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
    let x = x.as_chunks::<B>().0;
    let mut tiles: [&[[[u8; BYTES]; B]]; R] = [&[]; R];
    for r in 0..R {
        tiles[r] = &strips[r].blocks.as_chunks::<B>().0[..x.len()];
    }
    // What is made of a tile ahead is made while the one before is multiplied: made and read at once, it would be waited for.
    let mut made = [[[(F::Scales::default(), F::Levels::default()); B]; R]; 2];
    prepare::<S, F, BYTES, UNITS, CHUNKS, R, B>(simd, &tiles, 0, &mut made[0]);
    for (i, x) in x.iter().enumerate() {
        for strip in &strips {
            strip.foresee(i * B, B);
        }
        prepare::<S, F, BYTES, UNITS, CHUNKS, R, B>(simd, &tiles, i + 1, &mut made[(i + 1) % 2]);
        let made = &made[i % 2];
        for b in 0..B {
            for unit in 0..UNITS {
                let mut weights = [[[f32x16::splat(simd, 0.0); 2]; CHUNKS]; R];
                for r in 0..R {
                    let (scales, levels) = &made[r][b];
                    weights[r] = F::numbers(simd, &tiles[r][i][b], scales, levels, unit);
                }
                for c in 0..CHUNKS {
                    for v in 0..2 {
                        for t in 0..T {
                            let x = f32x16::from_slice(simd, &x[b][unit][c][t][LANES * v..][..LANES]);
                            for r in 0..R {
                                held[r][t][v] = weights[r][c][v].mul_add(x, held[r][t][v]);
                            }
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

/// Makes the scales and the levels of a tile of each row, if there is such a tile.
#[inline(always)]
fn prepare<
    S: Simd,
    F: Fused<BYTES, UNITS, CHUNKS>,
    const BYTES: usize,
    const UNITS: usize,
    const CHUNKS: usize,
    const R: usize,
    const B: usize,
>(
    simd: S,
    tiles: &[&[[[u8; BYTES]; B]]; R],
    tile: usize,
    made: &mut [[(F::Scales, F::Levels); B]; R],
) {
    for r in 0..R {
        if let Some(tile) = tiles[r].get(tile) {
            for b in 0..B {
                made[r][b] = (F::scales(simd, &tile[b]), F::levels(simd, &tile[b]));
            }
        }
    }
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
        for (scales, block) in scales.iter_mut().zip(strip.blocks) {
            *scales = F::scales(simd, block);
        }
    }
    // One loop over the units of all blocks: those of one would be unrolled, and more be decoded ahead than there are registers
    // for.
    for (unit, x) in x.iter().enumerate() {
        let block = unit / UNITS;
        if FIRST == 0 {
            strip.foresee_bytes(unit * (BYTES / UNITS), BYTES / UNITS);
        }
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
