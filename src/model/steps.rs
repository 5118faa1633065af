//! Products of rows of weights with the few tokens of a step, both `f32`, compiled for every instruction set that a
//! processor may have (see [`Isa`]). Where it can fuse a multiplication with an addition they do, so the last bits differ
//! from one processor to another, never from one number of threads or of tokens to another.
//!
//! Weights come as tiles: some columns of some rows, decoded once for all tokens and small enough to stay in the cache
//! while these go by.

use super::lines::{Aligned, OnLines, Strip};
use crate::quant::Isa;
use crate::quant::product::{CHUNK, Product};
use crate::quant::simd::has_many_registers;
use fearless_simd::{Simd, SimdBase, SimdFloat, dispatch};
use std::ops::Range;

/// Columns of a tile for [`step`], in so many chunks.
pub const STEP_DEPTH: usize = CHUNK * STEP_CHUNKS;
const STEP_CHUNKS: usize = 16;
/// Rows of a tile for [`step`]: with the columns of four tokens, 20 KiB, it stays in the first-level cache.
pub const STEP_ROWS: usize = 6;

/// Columns of a row or a token for [`step`].
pub type StepStrip = [[f32; CHUNK]; STEP_CHUNKS];

/// So many columns of so many rows.
type StepTile = OnLines<[StepStrip; STEP_ROWS]>;

/// The partial sums of a tile's rows with one token.
type StepSums = OnLines<[[f32; CHUNK]; STEP_ROWS]>;

/// A few tokens, `[tokens, cols]`, laid out for [`step`]: each filled up with zeros to whole strips.
#[derive(Debug)]
pub struct StepTokens {
    cols: usize,
    strips: usize,
    data: Aligned,
}

impl StepTokens {
    /// Lays out `x`, rows of `cols` numbers.
    pub fn new(x: &[f32], cols: usize) -> StepTokens {
        let strips = cols.div_ceil(STEP_DEPTH);
        let mut data = Aligned::zeros(x.len() / cols * strips * STEP_DEPTH);
        for (row, x) in data
            .chunks_exact_mut(strips * STEP_DEPTH)
            .zip(x.chunks_exact(cols))
        {
            row[..cols].copy_from_slice(x);
        }
        StepTokens { cols, strips, data }
    }

    /// Number of tokens.
    pub fn count(&self) -> usize {
        self.data.len() / (self.strips * STEP_DEPTH)
    }

    /// A token's numbers.
    fn token(&self, token: usize) -> &[f32] {
        &self.data[token * self.strips * STEP_DEPTH..][..self.cols]
    }

    /// The same strip of `T` tokens from `token` on.
    fn strips<const T: usize>(&self, token: usize, strip: usize) -> [&StepStrip; T] {
        let strips = self.data.as_chunks().0.as_chunks().0;
        std::array::from_fn(|t| &strips[(token + t) * self.strips + strip])
    }
}

/// The products of some rows with a few tokens, into `out`, by token, each as [`dot`](crate::quant::product::dot) takes it,
/// however many tokens there are. `decode` fills a tile with up to [`STEP_ROWS`] rows from one on and their columns from
/// another on.
pub fn step(
    isa: Isa,
    rows: usize,
    x: &StepTokens,
    out: &mut [&mut [f32]],
    decode: impl Fn(usize, usize, &mut [Strip<STEP_DEPTH>]),
) {
    dispatch!(isa.level(), simd => step_on(simd, rows, x, out, &decode));
}

#[inline(always)]
fn step_on<S: Simd>(
    simd: S,
    rows: usize,
    x: &StepTokens,
    out: &mut [&mut [f32]],
    decode: &impl Fn(usize, usize, &mut [Strip<STEP_DEPTH>]),
) {
    let cols = x.cols;
    let mut tile = OnLines([[[0.0; CHUNK]; STEP_CHUNKS]; STEP_ROWS]);
    let mut sums = vec![OnLines([[0.0; CHUNK]; STEP_ROWS]); x.count()];
    for row in (0..rows).step_by(STEP_ROWS) {
        sums.fill(OnLines([[0.0; CHUNK]; STEP_ROWS]));
        for strip in 0..x.strips {
            let first = strip * STEP_DEPTH;
            decode(
                row,
                first,
                tile.0.as_flattened_mut().as_flattened_mut().as_chunks_mut().0,
            );
            let chunks = STEP_DEPTH.min(cols - first) / CHUNK;
            step_tokens(simd, &tile, x, strip, chunks, &mut sums);
        }
        // What no vector took, which the tile still holds.
        let left_over = cols % STEP_DEPTH / CHUNK * CHUNK..cols % STEP_DEPTH;
        for (t, (out, sums)) in out.iter_mut().zip(&sums).enumerate() {
            let x = &x.token(t)[cols - left_over.len()..];
            for ((out, sums), weights) in out[row..].iter_mut().zip(&sums.0).zip(&tile.0) {
                let weights = weights.as_flattened()[left_over.clone()].iter().copied();
                *out = Product::of(simd, sums).finish(weights, x.iter().copied());
            }
        }
    }
}

/// All tokens with a tile, so many at once that the sums fill the registers with what is multiplied: of 32 or of 16.
#[inline(always)]
fn step_tokens<S: Simd>(
    simd: S,
    tile: &StepTile,
    x: &StepTokens,
    strip: usize,
    chunks: usize,
    sums: &mut [StepSums],
) {
    let mut rest = sums;
    if has_many_registers(simd) {
        rest = step_groups::<S, 4, 6>(simd, tile, x, strip, chunks, rest);
    }
    rest = step_groups::<S, 4, 3>(simd, tile, x, strip, chunks, rest);
    rest = step_groups::<S, 2, 6>(simd, tile, x, strip, chunks, rest);
    step_groups::<S, 1, 6>(simd, tile, x, strip, chunks, rest);
}

/// The last tokens, of which these are the sums, `T` after the other; gives the sums of those that are left over.
#[inline(always)]
fn step_groups<'s, S: Simd, const T: usize, const R: usize>(
    simd: S,
    tile: &StepTile,
    x: &StepTokens,
    strip: usize,
    chunks: usize,
    sums: &'s mut [StepSums],
) -> &'s mut [StepSums] {
    let first = x.count() - sums.len();
    let (groups, rest) = sums.as_chunks_mut::<T>();
    for (token, sums) in (first..).step_by(T).zip(groups) {
        step_block::<S, T, R>(simd, tile, x.strips(token, strip), chunks, sums);
    }
    rest
}

/// `T` tokens with the rows of a tile, `R` at a time, one vector of the partial sums after the other; `chunks` are the
/// columns that are multiplied, by [`CHUNK`].
#[inline(always)]
fn step_block<S: Simd, const T: usize, const R: usize>(
    simd: S,
    tile: &StepTile,
    x: [&StepStrip; T],
    chunks: usize,
    sums: &mut [StepSums; T],
) {
    for (first, rows) in (0..).step_by(R).zip(tile.0.as_chunks::<R>().0) {
        for part in (0..CHUNK).step_by(S::f32s::LEN) {
            step_part(simd, rows, x, chunks, sums, first, part);
        }
    }
}

/// `R` rows, of which the first is row `first` of a tile, with `T` tokens: of the partial sums those from `part` on that fill
/// a vector.
#[inline(always)]
fn step_part<S: Simd, const T: usize, const R: usize>(
    simd: S,
    rows: &[StepStrip; R],
    x: [&StepStrip; T],
    chunks: usize,
    sums: &mut [StepSums; T],
    first: usize,
    part: usize,
) {
    // As it always is: what is known is not checked in the loop.
    let part = part.min(CHUNK - S::f32s::LEN);
    let part = part..part + S::f32s::LEN;
    let mut held = [[S::f32s::splat(simd, 0.0); T]; R];
    for (r, held) in held.iter_mut().enumerate() {
        for (held, sums) in held.iter_mut().zip(&*sums) {
            *held = some(simd, &sums.0[first + r], &part);
        }
    }
    for c in 0..chunks.min(STEP_CHUNKS) {
        // The fewer ones stay in registers while the others come by.
        if R < T {
            let mut columns = [S::f32s::splat(simd, 0.0); R];
            for (column, row) in columns.iter_mut().zip(rows) {
                *column = some(simd, &row[c], &part);
            }
            for (t, x) in x.iter().enumerate() {
                let token = some(simd, &x[c], &part);
                for (held, column) in held.iter_mut().zip(columns) {
                    held[t] = column.mul_add(token, held[t]);
                }
            }
        } else {
            let mut tokens = [S::f32s::splat(simd, 0.0); T];
            for (token, x) in tokens.iter_mut().zip(x) {
                *token = some(simd, &x[c], &part);
            }
            for (held, row) in held.iter_mut().zip(rows) {
                let column = some(simd, &row[c], &part);
                for (held, token) in held.iter_mut().zip(tokens) {
                    *held = column.mul_add(token, *held);
                }
            }
        }
    }
    for (r, held) in held.iter().enumerate() {
        for (held, sums) in held.iter().zip(&mut *sums) {
            held.store_slice(&mut sums.0[first + r][part.clone()]);
        }
    }
}

/// A vector of some of a chunk's columns.
#[inline(always)]
fn some<S: Simd>(simd: S, chunk: &[f32; CHUNK], part: &Range<usize>) -> S::f32s {
    S::f32s::from_slice(simd, &chunk[part.clone()])
}
