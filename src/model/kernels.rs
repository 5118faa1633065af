//! Products of rows of weights with rows of activations, both `f32`, compiled for every instruction set that a processor
//! may have (see [`Isa`]). Where it can fuse a multiplication with an addition they do, so the last bits differ from one
//! processor to another, never from one number of threads to another.
//!
//! Weights come as tiles: some columns of some rows, decoded once for all tokens and small enough to stay in the cache
//! while these go by.

use crate::quant::Isa;
use crate::quant::product::{CHUNK, Product};
use fearless_simd::{Simd, SimdBase, SimdFloat, dispatch};
use rayon::prelude::*;
use std::ops::{Deref, DerefMut};

/// Some columns of one row, the unused ones at the end.
pub type Strip<const DEPTH: usize> = [f32; DEPTH];

/// Columns of a tile for [`Panels`]: a panel as deep, 32 KiB at the most, stays in the first-level cache.
pub const PANEL_DEPTH: usize = 256;

/// The activations of many tokens, `[tokens, cols]`, laid out for products with many rows: panels of two vectors of
/// tokens, each `[cols, panel]`, the last one of a single vector where that is enough, and filled up with zeros.
#[derive(Debug)]
pub struct Panels {
    isa: Isa,
    tokens: usize,
    cols: usize,
    /// Tokens a vector.
    lanes: usize,
    data: Aligned,
}

/// Bytes a line of the cache, and numbers.
const LINE_BYTES: usize = 64;
const LINE: usize = LINE_BYTES / size_of::<f32>();

/// Numbers that start at a line of the cache, so that no vector of them lies in two.
#[derive(Debug)]
pub struct Aligned {
    data: Vec<f32>,
    start: usize,
}

impl Aligned {
    /// As many zeros.
    pub fn zeros(len: usize) -> Aligned {
        let data = vec![0.0; len + LINE];
        let start = data.as_ptr().align_offset(LINE_BYTES).min(LINE);
        Aligned { data, start }
    }

    /// A copy.
    pub fn of(numbers: &[f32]) -> Aligned {
        let mut copy = Aligned::zeros(numbers.len());
        copy.copy_from_slice(numbers);
        copy
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.data[self.start..][..self.data.len() - LINE]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        let len = self.data.len() - LINE;
        &mut self.data[self.start..][..len]
    }
}

impl Panels {
    /// Lays out `x`, rows of `cols` numbers.
    pub fn new(isa: Isa, x: &[f32], cols: usize) -> Panels {
        let tokens = x.len() / cols;
        let lanes = dispatch!(isa.level(), simd => lanes(simd));
        let mut data = Aligned::zeros(tokens.next_multiple_of(lanes) * cols);
        data.par_chunks_mut(2 * lanes * cols)
            .zip(x.par_chunks(2 * lanes * cols))
            .for_each(|(panel, x)| {
                let width = panel.len() / cols;
                // A few columns at a time, so that what is written stays in the cache until it is whole.
                for (first, columns) in (0..).step_by(LINE).zip(panel.chunks_mut(LINE * width)) {
                    for (token, row) in x.chunks_exact(cols).enumerate() {
                        for (column, v) in columns.chunks_exact_mut(width).zip(&row[first..]) {
                            column[token] = *v;
                        }
                    }
                }
            });
        Panels {
            isa,
            tokens,
            cols,
            lanes,
            data,
        }
    }

    /// Number of tokens with those that fill up the last panel.
    pub fn padded_tokens(&self) -> usize {
        self.data.len() / self.cols
    }

    /// Adds the products of a tile, whose first column is `first`, with every token to `sums`: panel behind panel, each
    /// `[rows, panel]`.
    pub fn add_products(&self, first: usize, tile: &[Strip<PANEL_DEPTH>], sums: &mut [f32]) {
        dispatch!(self.isa.level(), simd => self.add_products_on(simd, first, tile, sums));
    }

    #[inline(always)]
    fn add_products_on<S: Simd>(&self, simd: S, first: usize, tile: &[Strip<PANEL_DEPTH>], sums: &mut [f32]) {
        let (lanes, depth) = (S::f32s::LEN, PANEL_DEPTH.min(self.cols - first));
        let mut sums = sums;
        for panel in self.data.chunks(2 * lanes * self.cols) {
            let width = panel.len() / self.cols;
            let columns = &panel[first * width..][..depth * width];
            let (panel_sums, rest) = sums.split_at_mut(tile.len() * width);
            match width == lanes {
                true => panel_rows::<S, 1>(simd, tile, columns, panel_sums),
                false => panel_rows::<S, 2>(simd, tile, columns, panel_sums),
            }
            sums = rest;
        }
    }

    /// What [`Panels::add_products`] made of some rows at a time, `task_rows` but for the last, as `[tokens, rows]`.
    pub fn gather(&self, sums: &[f32], rows: usize, task_rows: usize) -> Vec<f32> {
        let (panel, padded) = (2 * self.lanes, self.padded_tokens());
        let mut out = vec![0.0; self.tokens * rows];
        out.par_chunks_mut(panel * rows).enumerate().for_each(|(p, out)| {
            let width = panel.min(padded - p * panel);
            for (first, sums) in (0..).step_by(task_rows).zip(sums.chunks(task_rows * padded)) {
                let count = sums.len() / padded;
                let sums = &sums[p * panel * count..][..width * count];
                // Whole lines of what is written.
                for (first, sums) in (first..).step_by(LINE).zip(sums.chunks(LINE * width)) {
                    for (token, out) in out.chunks_exact_mut(rows).enumerate() {
                        for (out, sums) in out[first..].iter_mut().zip(sums.chunks_exact(width)) {
                            *out = sums[token];
                        }
                    }
                }
            }
        });
        out
    }
}

/// Lanes of the widest vector.
#[inline(always)]
fn lanes<S: Simd>(_simd: S) -> usize {
    S::f32s::LEN
}

/// All rows of a tile with a panel of `V` vectors of tokens. So many rows at once that the sums fill the registers with
/// what is multiplied: of 32 or of 16.
#[inline(always)]
fn panel_rows<S: Simd, const V: usize>(
    simd: S,
    tile: &[Strip<PANEL_DEPTH>],
    columns: &[f32],
    sums: &mut [f32],
) {
    let rest = match S::f32s::LEN {
        16 => panel_groups::<S, 12, V>(simd, tile, columns, sums),
        _ if cfg!(target_arch = "aarch64") => panel_groups::<S, 8, V>(simd, tile, columns, sums),
        _ => panel_groups::<S, 6, V>(simd, tile, columns, sums),
    };
    let done = tile.len() - rest.len();
    panel_groups::<S, 1, V>(simd, rest, columns, &mut sums[done * V * S::f32s::LEN..]);
}

/// `R` rows after the other; gives those that are left over.
#[inline(always)]
fn panel_groups<'t, S: Simd, const R: usize, const V: usize>(
    simd: S,
    tile: &'t [Strip<PANEL_DEPTH>],
    columns: &[f32],
    sums: &mut [f32],
) -> &'t [Strip<PANEL_DEPTH>] {
    let (groups, rest) = tile.as_chunks::<R>();
    for (rows, sums) in groups.iter().zip(sums.chunks_exact_mut(R * V * S::f32s::LEN)) {
        panel_block::<S, R, V>(simd, rows, columns, sums);
    }
    rest
}

/// `R` rows with a panel of `V` vectors of tokens.
#[inline(always)]
fn panel_block<S: Simd, const R: usize, const V: usize>(
    simd: S,
    rows: &[Strip<PANEL_DEPTH>; R],
    columns: &[f32],
    sums: &mut [f32],
) {
    let lanes = S::f32s::LEN;
    let load = |from: &[f32], at: usize| S::f32s::from_slice(simd, &from[at * lanes..][..lanes]);
    let mut held = [[S::f32s::splat(simd, 0.0); V]; R];
    for (k, column) in columns.chunks_exact(V * lanes).enumerate().take(PANEL_DEPTH) {
        let tokens: [S::f32s; V] = std::array::from_fn(|v| load(column, v));
        for (held, row) in held.iter_mut().zip(rows) {
            let weight = S::f32s::splat(simd, row[k]);
            *held = std::array::from_fn(|v| tokens[v].mul_add(weight, held[v]));
        }
    }
    for (held, sums) in held.into_iter().zip(sums.chunks_exact_mut(V * lanes)) {
        for (held, sums) in held.into_iter().zip(sums.chunks_exact_mut(lanes)) {
            (held + load(sums, 0)).store_slice(sums);
        }
    }
}

/// Columns of a tile for [`step`]: with those of four tokens, 32 KiB, it stays in the first-level cache.
pub const STEP_DEPTH: usize = 512;
/// Rows of a tile for [`step`]: the more, the less often the tokens' columns come by.
pub const STEP_ROWS: usize = 12;
/// Rows whose sums fill the registers, with those of four tokens.
const STEP_HELD: usize = 3;

/// So many columns of so many rows, from a line of the cache on.
#[repr(C, align(64))]
struct StepTile([Strip<STEP_DEPTH>; STEP_ROWS]);

/// The products of rows with a few tokens `x` (`[tokens, cols]`), into `out`, `[rows, tokens]`, each as
/// [`dot`](crate::quant::product::dot) takes it, however many tokens there are. `decode` fills a tile with up to
/// [`STEP_ROWS`] rows from one on and their columns from another on.
pub fn step(
    isa: Isa,
    cols: usize,
    x: &[f32],
    out: &mut [f32],
    decode: impl Fn(usize, usize, &mut [Strip<STEP_DEPTH>]),
) {
    dispatch!(isa.level(), simd => step_on(simd, cols, x, out, &decode));
}

#[inline(always)]
fn step_on<S: Simd>(
    simd: S,
    cols: usize,
    x: &[f32],
    out: &mut [f32],
    decode: &impl Fn(usize, usize, &mut [Strip<STEP_DEPTH>]),
) {
    let tokens = x.len() / cols;
    let StepTile(tile) = &mut StepTile([[0.0; STEP_DEPTH]; STEP_ROWS]);
    let nothing = [Product::new(simd); STEP_ROWS];
    let mut sums = vec![nothing; tokens];
    for (group, out) in out.chunks_mut(STEP_ROWS * tokens).enumerate() {
        sums.fill(nothing);
        for first in (0..cols).step_by(STEP_DEPTH) {
            decode(group * STEP_ROWS, first, tile);
            let depth = STEP_DEPTH.min(cols - first);
            let columns = |token: usize| &x[token * cols + first..][..depth];
            let mut token = 0;
            while token < tokens {
                // As many sums as there are registers for, with what is multiplied.
                token += match (S::f32s::LEN, tokens - token) {
                    (16, 4..) => step_block::<S, 4, STEP_HELD>(tile, columns, token, &mut sums),
                    (16, 2..) => step_block::<S, 2, STEP_HELD>(tile, columns, token, &mut sums),
                    (16, _) => step_block::<S, 1, STEP_HELD>(tile, columns, token, &mut sums),
                    (_, 2..) => step_block::<S, 2, 1>(tile, columns, token, &mut sums),
                    _ => step_block::<S, 1, 1>(tile, columns, token, &mut sums),
                };
            }
        }
        // What no vector took, which the tile still holds.
        let left_over = cols % STEP_DEPTH / CHUNK * CHUNK..cols % STEP_DEPTH;
        for (r, out) in out.chunks_exact_mut(tokens).enumerate() {
            for ((out, sums), x) in out.iter_mut().zip(&sums).zip(x.chunks_exact(cols)) {
                let weights = tile[r][left_over.clone()].iter().copied();
                let x = x[cols - left_over.len()..].iter().copied();
                *out = sums[r].finish(weights, x);
            }
        }
    }
}

/// `T` tokens from `token` on with the rows of a tile, `R` at a time; gives `T`. `columns` are a token's, as many as are
/// multiplied.
#[inline(always)]
fn step_block<'x, S: Simd, const T: usize, const R: usize>(
    tile: &[Strip<STEP_DEPTH>; STEP_ROWS],
    columns: impl Fn(usize) -> &'x [f32],
    token: usize,
    sums: &mut [[Product<S>; STEP_ROWS]],
) -> usize {
    use std::array::from_fn;
    let x: [&[[f32; CHUNK]]; T] = from_fn(|t| columns(token + t).as_chunks().0);
    let count = x[0].len();
    for first in (0..STEP_ROWS).step_by(R) {
        let rows: [&[[f32; CHUNK]]; R] = from_fn(|r| &tile[first + r].as_chunks().0[..count]);
        let mut held: [[Product<S>; R]; T] = from_fn(|t| from_fn(|r| sums[token + t][first + r]));
        for c in 0..count {
            for (held, x) in held.iter_mut().zip(&x) {
                for (held, row) in held.iter_mut().zip(&rows) {
                    held.add(&row[c], &x[c]);
                }
            }
        }
        for (sums, held) in sums[token..].iter_mut().zip(held) {
            sums[first..first + R].copy_from_slice(&held);
        }
    }
    T
}
