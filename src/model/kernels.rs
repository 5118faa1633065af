//! Products of rows of weights with rows of activations, both `f32`, compiled for every instruction set that a processor
//! may have (see [`Isa`]). Where it can fuse a multiplication with an addition they do, so the last bits differ from one
//! processor to another, never from one number of threads to another.
//!
//! Weights come as tiles: some columns of some rows, decoded once for all tokens and small enough to stay in the cache
//! while these go by.

use super::prefetch::{Cache, prefetch_at};
use crate::quant::Isa;
use crate::quant::product::{CHUNK, Product};
use crate::quant::simd::has_sixteen_lanes;
use fearless_simd::{Simd, SimdBase, SimdFloat, dispatch};
use rayon::prelude::*;
use std::ops::{Deref, DerefMut, Range};

/// Some columns of one row, the unused ones at the end.
pub type Strip<const DEPTH: usize> = [f32; DEPTH];

/// Columns of a tile for [`Panels`]: a panel as deep, 32 KiB at the most, stays in the first-level cache.
pub const PANEL_DEPTH: usize = 256;
/// Columns of a row for [`Panels`], and behind them a line of the cache that is not used: rows of which the same columns lay
/// a power of two apart would wait for the same bank of the cache, for half of the time on Zen 3.
pub type PanelStrip = Strip<{ PANEL_DEPTH + LINE }>;
/// One of nothing.
pub const EMPTY_STRIP: PanelStrip = [0.0; PANEL_DEPTH + LINE];

/// The activations of many tokens, `[tokens, cols]`, laid out for products with many rows: the columns of one tile behind
/// those of the other, so that what a tile meets lies together and fills all of the cache's sets. Of a tile's columns
/// panels of two vectors of tokens, each `[cols, panel]`, the last one of a single vector where that is enough, and filled
/// up with zeros.
#[derive(Debug)]
pub struct Panels {
    isa: Isa,
    cols: usize,
    /// Tokens a vector.
    lanes: usize,
    data: Aligned,
}

/// Bytes a line of the cache, and numbers.
const LINE_BYTES: usize = 64;
const LINE: usize = LINE_BYTES / size_of::<f32>();

/// What starts at a line of the cache, so that no vector of it lies in two.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub struct OnLines<T>(pub T);

/// As many numbers as are wanted, from a line of the cache on.
#[derive(Debug)]
pub struct Aligned {
    data: Vec<f32>,
    start: usize,
}

impl Aligned {
    /// As many zeros.
    pub fn zeros(len: usize) -> Aligned {
        let data = zeros(len + LINE);
        let start = data.as_ptr().align_offset(LINE_BYTES).min(LINE);
        Aligned { data, start }
    }
}

/// As many zeros, written by all threads where they are many.
pub fn zeros(len: usize) -> Vec<f32> {
    /// Lines that are worth a task of their own: 256 KiB.
    const PART: usize = 1 << 12;
    let lines = len.div_ceil(LINE);
    if lines < 2 * PART {
        return vec![0.0; len];
    }
    let lines = (0..lines).into_par_iter().with_min_len(PART);
    let mut zeros: Vec<f32> = lines.map(|_| [0.0; LINE]).collect::<Vec<_>>().into_flattened();
    zeros.truncate(len);
    zeros
}

impl Default for Aligned {
    fn default() -> Aligned {
        Aligned::zeros(0)
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
        let padded = tokens.next_multiple_of(lanes);
        let mut data = Aligned::zeros(padded * cols);
        let blocks = data.par_chunks_mut(PANEL_DEPTH * padded).enumerate();
        blocks.for_each(|(block, data)| {
            let (first, depth) = (block * PANEL_DEPTH, data.len() / padded);
            let panels = data.chunks_mut(2 * lanes * depth);
            for (panel, x) in panels.zip(x.chunks(2 * lanes * cols)) {
                let width = panel.len() / depth;
                // A few columns at a time, so that what is written stays in the cache until it is whole.
                for (first, columns) in (first..).step_by(LINE).zip(panel.chunks_mut(LINE * width)) {
                    for (token, row) in x.chunks_exact(cols).enumerate() {
                        for (column, v) in columns.chunks_exact_mut(width).zip(&row[first..]) {
                            column[token] = *v;
                        }
                    }
                }
            }
        });
        Panels {
            isa,
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
    pub fn add_products(&self, first: usize, tile: &[PanelStrip], sums: &mut [f32]) {
        dispatch!(self.isa.level(), simd => self.add_products_on(simd, first, tile, sums));
    }

    #[inline(always)]
    fn add_products_on<S: Simd>(&self, simd: S, first: usize, tile: &[PanelStrip], sums: &mut [f32]) {
        let (lanes, depth) = (S::f32s::LEN, PANEL_DEPTH.min(self.cols - first));
        let padded = self.padded_tokens();
        let columns = &self.data[first * padded..][..depth * padded];
        let panels = columns.chunks(2 * lanes * depth);
        for (panel, sums) in panels.zip(sums.chunks_mut(2 * lanes * tile.len())) {
            match panel.len() / depth == lanes {
                true => panel_rows::<S, 1>(simd, tile, panel, sums),
                false => panel_rows::<S, 2>(simd, tile, panel, sums),
            }
        }
    }

    /// Puts what [`Panels::add_products`] made of some rows where each token's products with them belong.
    pub fn scatter(&self, sums: &[f32], out: &mut [&mut [f32]]) {
        let rows = sums.len() / self.padded_tokens();
        scatter(sums, (rows, 2 * self.lanes), out);
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

/// Whether there are 32 registers of vectors and not 16.
#[inline(always)]
fn has_many_registers<S: Simd>(simd: S) -> bool {
    has_sixteen_lanes(simd) || cfg!(target_arch = "aarch64")
}

/// All rows of a tile with a panel of `V` vectors of tokens, so many at once that the sums fill the registers with what is
/// multiplied: of 32 or of 16.
#[inline(always)]
fn panel_rows<S: Simd, const V: usize>(simd: S, tile: &[PanelStrip], columns: &[f32], sums: &mut [f32]) {
    let rest = match S::f32s::LEN {
        16 => panel_groups::<S, 12, V>(simd, tile, columns, sums),
        _ if has_many_registers(simd) => panel_groups::<S, 8, V>(simd, tile, columns, sums),
        _ => panel_groups::<S, 6, V>(simd, tile, columns, sums),
    };
    let panel = V * S::f32s::LEN;
    let sums = &mut sums[(tile.len() - rest.len()) * panel..];
    let last = panel_groups::<S, 4, V>(simd, rest, columns, sums);
    panel_groups::<S, 1, V>(
        simd,
        last,
        columns,
        &mut sums[(rest.len() - last.len()) * panel..],
    );
}

/// `R` rows after the other; gives those that are left over.
#[inline(always)]
fn panel_groups<'t, S: Simd, const R: usize, const V: usize>(
    simd: S,
    tile: &'t [PanelStrip],
    columns: &[f32],
    sums: &mut [f32],
) -> &'t [PanelStrip] {
    let (groups, rest) = tile.as_chunks::<R>();
    let share = columns.len() / groups.len().max(1);
    for (g, (rows, sums)) in groups
        .iter()
        .zip(sums.chunks_exact_mut(R * V * S::f32s::LEN))
        .enumerate()
    {
        let ahead = columns.as_ptr_range().end.wrapping_add(g * share);
        panel_block::<S, R, V>(simd, rows, columns, (ahead, share), sums);
    }
    rest
}

/// `R` rows with a panel of `V` vectors of tokens. Meanwhile asks for a share of the next one, which from the third-level
/// cache would come too late.
#[inline(always)]
fn panel_block<S: Simd, const R: usize, const V: usize>(
    simd: S,
    rows: &[PanelStrip; R],
    columns: &[f32],
    (ahead, share): (*const f32, usize),
    sums: &mut [f32],
) {
    let lanes = S::f32s::LEN;
    let load = |from: &[f32], at: usize| S::f32s::from_slice(simd, &from[at * lanes..][..lanes]);
    let mut held = [[S::f32s::splat(simd, 0.0); V]; R];
    for (k, column) in columns.chunks_exact(V * lanes).enumerate().take(PANEL_DEPTH) {
        prefetch_at(ahead.wrapping_add(k * share / PANEL_DEPTH).cast(), Cache::First);
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

/// The products of rows with a few tokens, into `out`, `[rows, tokens]`, each as [`dot`](crate::quant::product::dot) takes
/// it, however many tokens there are. `decode` fills a tile with up to [`STEP_ROWS`] rows from one on and their columns from
/// another on.
pub fn step(
    isa: Isa,
    x: &StepTokens,
    out: &mut [f32],
    decode: impl Fn(usize, usize, &mut [Strip<STEP_DEPTH>]),
) {
    dispatch!(isa.level(), simd => step_on(simd, x, out, &decode));
}

#[inline(always)]
fn step_on<S: Simd>(
    simd: S,
    x: &StepTokens,
    out: &mut [f32],
    decode: &impl Fn(usize, usize, &mut [Strip<STEP_DEPTH>]),
) {
    let (tokens, cols) = (x.count(), x.cols);
    let mut tile = OnLines([[[0.0; CHUNK]; STEP_CHUNKS]; STEP_ROWS]);
    let mut sums = vec![OnLines([[0.0; CHUNK]; STEP_ROWS]); tokens];
    for (group, out) in out.chunks_mut(STEP_ROWS * tokens).enumerate() {
        sums.fill(OnLines([[0.0; CHUNK]; STEP_ROWS]));
        for strip in 0..x.strips {
            let first = strip * STEP_DEPTH;
            decode(
                group * STEP_ROWS,
                first,
                tile.0.as_flattened_mut().as_flattened_mut().as_chunks_mut().0,
            );
            let chunks = STEP_DEPTH.min(cols - first) / CHUNK;
            step_tokens(simd, &tile, x, strip, chunks, &mut sums);
        }
        // What no vector took, which the tile still holds.
        let left_over = cols % STEP_DEPTH / CHUNK * CHUNK..cols % STEP_DEPTH;
        for (r, out) in out.chunks_exact_mut(tokens).enumerate() {
            let row = tile.0[r].as_flattened();
            for (t, (out, sums)) in out.iter_mut().zip(&sums).enumerate() {
                let weights = row[left_over.clone()].iter().copied();
                let x = x.token(t)[cols - left_over.len()..].iter().copied();
                *out = Product::of(simd, &sums.0[r]).finish(weights, x);
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
