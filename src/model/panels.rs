//! Products of rows of weights with the many tokens of a prompt, both `f32`, compiled for every instruction set that a
//! processor may have (see [`Isa`]). Where it can fuse a multiplication with an addition they do, so the last bits differ
//! from one processor to another, never from one number of threads to another.
//!
//! Weights come as tiles: some columns of some rows, decoded once for all tokens and small enough to stay in the cache
//! while these go by.

use super::lines::{Aligned, LINE, Strip};
use super::prefetch::{Cache, prefetch_at};
use crate::quant::Isa;
use crate::quant::simd::has_many_registers;
use fearless_simd::{Simd, SimdBase, SimdFloat, dispatch};
use rayon::prelude::*;
use std::ops::Range;

/// Columns of a tile for [`Panels`]: whole blocks of every type.
pub const TILE_DEPTH: usize = 256;
/// Columns of a panel: one of 48 tokens, 24 KiB, stays in the first-level cache.
pub const PANEL_DEPTH: usize = 128;
/// Columns of a row for [`Panels`], and behind them a line of the cache that is not used: rows of which the same columns lay
/// a power of two apart would wait for the same bank of the cache, for half of the time on Zen 3.
pub type PanelStrip = Strip<{ TILE_DEPTH + LINE }>;
/// One of nothing.
pub const EMPTY_STRIP: PanelStrip = [0.0; TILE_DEPTH + LINE];

/// The activations of many tokens, `[tokens, cols]`, laid out for products with many rows: the columns of a panel behind
/// those of the one before, so that what a tile meets lies together and fills all of the cache's sets. Of as many columns,
/// zeros where there are none, panels of some vectors of tokens, each `[cols, panel]`, the last one of as few vectors as are
/// enough, and filled up with zeros too.
#[derive(Debug)]
pub struct Panels {
    isa: Isa,
    /// Tokens, with those that fill up the last vector.
    tokens: usize,
    data: Aligned,
}

impl Panels {
    /// Lays out `x`, rows of `cols` numbers.
    pub fn new(isa: Isa, x: &[f32], cols: usize) -> Panels {
        let width = panel_width(isa);
        Panels::filled(isa, x.len() / cols, cols, |range, block| {
            for (panel, x) in block.chunks_mut(PANEL_DEPTH * width).zip(x.chunks(width * cols)) {
                let width = panel.len() / PANEL_DEPTH;
                let first = range.clone().step_by(LINE);
                // A few columns at a time, so that what is written stays in the cache until it is whole.
                for (first, columns) in first.zip(panel.chunks_mut(LINE * width)) {
                    for (token, row) in x.chunks_exact(cols).enumerate() {
                        for (column, v) in columns.chunks_exact_mut(width).zip(&row[first..]) {
                            column[token] = *v;
                        }
                    }
                }
            }
        })
    }

    /// What `fill` makes, block by block: it is given the columns of a block, up to [`PANEL_DEPTH`], and their place, zeros:
    /// panel behind panel, each `[PANEL_DEPTH, panel]`.
    pub fn filled(
        isa: Isa,
        tokens: usize,
        cols: usize,
        fill: impl Fn(Range<usize>, &mut [f32]) + Sync,
    ) -> Panels {
        let tokens = tokens.next_multiple_of(panel_width(isa) / VECTORS);
        let mut data = Aligned::zeros(tokens * cols.next_multiple_of(PANEL_DEPTH));
        // One at a time, for some may take long.
        let blocks = data.par_chunks_mut(PANEL_DEPTH * tokens).with_max_len(1);
        blocks.enumerate().for_each(|(block, data)| {
            let first = block * PANEL_DEPTH;
            fill(first..cols.min(first + PANEL_DEPTH), data);
        });
        Panels { isa, tokens, data }
    }

    /// Number of tokens with those that fill up the last vector.
    pub fn padded_tokens(&self) -> usize {
        self.tokens
    }

    /// Adds the products of a tile, whose first column is `first`, with every token to `sums`: panel behind panel, each
    /// `[rows, panel]`.
    pub fn add_products(&self, first: usize, tile: &[PanelStrip], sums: &mut [f32]) {
        dispatch!(self.isa.level(), simd => self.add_products_on(simd, first, tile, sums));
    }

    #[inline(always)]
    fn add_products_on<S: Simd>(&self, simd: S, first: usize, tile: &[PanelStrip], sums: &mut [f32]) {
        let width = VECTORS * S::f32s::LEN;
        let blocks = self.data[first * self.tokens..].chunks_exact(PANEL_DEPTH * self.tokens);
        for (part, columns) in blocks.take(TILE_DEPTH / PANEL_DEPTH).enumerate() {
            let panels = columns.chunks(PANEL_DEPTH * width);
            for (panel, sums) in panels.zip(sums.chunks_mut(width * tile.len())) {
                match panel.len() / (PANEL_DEPTH * S::f32s::LEN) {
                    1 => panel_rows::<S, 1>(simd, tile, part, panel, sums),
                    2 => panel_rows::<S, 2>(simd, tile, part, panel, sums),
                    _ => panel_rows::<S, VECTORS>(simd, tile, part, panel, sums),
                }
            }
        }
    }

    /// Puts what [`Panels::add_products`] made of some rows where each token's products with them belong.
    pub fn scatter(&self, sums: &[f32], out: &mut [&mut [f32]]) {
        let rows = sums.len() / self.tokens;
        scatter(sums, (rows, panel_width(self.isa)), out);
    }
}

/// Puts sums, of each panel of tokens behind the other, `[rows, panel]`, where each token's products belong. There may be
/// more rows than there are products, and more tokens.
pub fn scatter(sums: &[f32], (rows, panel): (usize, usize), out: &mut [&mut [f32]]) {
    for (sums, out) in sums.chunks(panel * rows).zip(out.chunks_mut(panel)) {
        let width = sums.len() / rows;
        // Whole lines of what is written: those of all tokens may lie in the same set of the cache.
        for (first, sums) in (0..).step_by(LINE).zip(sums.chunks(LINE * width)) {
            for (token, out) in out.iter_mut().enumerate() {
                let out = out.get_mut(first..).unwrap_or_default();
                for (out, sums) in out.iter_mut().zip(sums.chunks_exact(width)) {
                    *out = sums[token];
                }
            }
        }
    }
}

/// Lanes of the widest vector.
#[inline(always)]
fn lanes<S: Simd>(_simd: S) -> usize {
    S::f32s::LEN
}

/// Vectors of tokens that a panel has at the most. With eight rows, or four, their sums fill the 32 or 16 registers together
/// with what is multiplied, and the rows that become a block of columns are whole groups.
const VECTORS: usize = 3;

/// Tokens that a panel has at the most.
fn panel_width(isa: Isa) -> usize {
    VECTORS * dispatch!(isa.level(), simd => lanes(simd))
}

/// All rows of a part of a tile with a panel of `V` vectors of tokens.
#[inline(always)]
fn panel_rows<S: Simd, const V: usize>(
    simd: S,
    tile: &[PanelStrip],
    part: usize,
    columns: &[f32],
    sums: &mut [f32],
) {
    let mut rest = (tile, sums);
    if has_many_registers(simd) {
        rest = panel_groups::<S, 8, V>(simd, rest, part, columns);
    }
    rest = panel_groups::<S, 4, V>(simd, rest, part, columns);
    rest = panel_groups::<S, 2, V>(simd, rest, part, columns);
    panel_groups::<S, 1, V>(simd, rest, part, columns);
}

/// `R` rows after the other; gives those that are left over, and their sums. Each `R` ask for a share of the next panel.
#[inline(always)]
fn panel_groups<'a, S: Simd, const R: usize, const V: usize>(
    simd: S,
    (tile, sums): (&'a [PanelStrip], &'a mut [f32]),
    part: usize,
    columns: &[f32],
) -> (&'a [PanelStrip], &'a mut [f32]) {
    let len = R * V * S::f32s::LEN;
    let (groups, rest) = tile.as_chunks::<R>();
    let (sums, rest_sums) = sums.split_at_mut(groups.len() * len);
    let share = columns.len() / groups.len().max(1);
    for (g, (rows, sums)) in groups.iter().zip(sums.chunks_exact_mut(len)).enumerate() {
        let ahead = columns.as_ptr_range().end.wrapping_add(g * share);
        panel_block::<S, R, V>(simd, rows, part, columns, (ahead, share), sums);
    }
    (rest, rest_sums)
}

/// `R` rows with a panel of `V` vectors of tokens. Meanwhile asks for a share of the next one, which from the third-level
/// cache would come too late.
#[inline(always)]
fn panel_block<S: Simd, const R: usize, const V: usize>(
    simd: S,
    rows: &[PanelStrip; R],
    part: usize,
    columns: &[f32],
    (ahead, share): (*const f32, usize),
    sums: &mut [f32],
) {
    let lanes = S::f32s::LEN;
    let rows: [&Strip<PANEL_DEPTH>; R] = std::array::from_fn(|r| &rows[r].as_chunks().0[part]);
    let mut held = [[S::f32s::splat(simd, 0.0); V]; R];
    // Of a length that is known: the loop has a single counter.
    let columns = columns[..PANEL_DEPTH * V * lanes].chunks_exact(V * lanes);
    for (k, column) in columns.enumerate() {
        prefetch_at(ahead.wrapping_add(k * (share / PANEL_DEPTH)).cast(), Cache::First);
        let tokens: [S::f32s; V] =
            std::array::from_fn(|v| S::f32s::from_slice(simd, &column[v * lanes..][..lanes]));
        for (held, row) in held.iter_mut().zip(rows) {
            let weight = S::f32s::splat(simd, row[k]);
            *held = std::array::from_fn(|v| tokens[v].mul_add(weight, held[v]));
        }
    }
    for (held, sums) in held.into_iter().zip(sums.chunks_exact_mut(V * lanes)) {
        for (held, sums) in held.into_iter().zip(sums.chunks_exact_mut(lanes)) {
            (held + S::f32s::from_slice(simd, sums)).store_slice(sums);
        }
    }
}
