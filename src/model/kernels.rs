//! Products of rows of `f32`, compiled for every instruction set that a processor may have (see [`Path`]). Where it can
//! fuse a multiplication with an addition they do, so the last bits differ from one processor to another, never from one
//! number of threads to another.

use crate::quant::Isa;
use fearless_simd::{Simd, SimdBase, SimdFloat, dispatch};
use rayon::prelude::*;

/// Rows of weights that [`Panels::multiply`] takes at once. With two vectors of tokens that makes 12 sums, which fit 16
/// registers with what is multiplied.
const ROWS: usize = 6;

/// The activations of many tokens, `[tokens, cols]`, laid out for products with many rows: panels of two vectors of
/// tokens, each `[cols, panel]`, the last one filled up with zeros.
#[derive(Debug)]
pub struct Panels {
    isa: Isa,
    tokens: usize,
    cols: usize,
    /// Tokens a panel.
    width: usize,
    data: Vec<f32>,
}

impl Panels {
    /// Lays out `x`, rows of `cols` numbers.
    pub fn new(isa: Isa, x: &[f32], cols: usize) -> Panels {
        let tokens = x.len() / cols;
        let width = 2 * dispatch!(isa.level(), simd => lanes(simd));
        let mut data = vec![0.0; tokens.div_ceil(width) * width * cols];
        data.par_chunks_mut(width * cols)
            .zip(x.par_chunks(width * cols))
            .for_each(|(panel, x)| {
                for (token, row) in x.chunks_exact(cols).enumerate() {
                    for (column, v) in panel.chunks_exact_mut(width).zip(row) {
                        column[token] = *v;
                    }
                }
            });
        Panels {
            isa,
            tokens,
            cols,
            width,
            data,
        }
    }

    /// The products of `weights`, rows of `cols` numbers, with each token: `[rows, tokens]`.
    pub fn multiply(&self, weights: &[f32], out: &mut [f32]) {
        dispatch!(self.isa.level(), simd => self.multiply_on(simd, weights, out));
    }

    #[inline(always)]
    fn multiply_on<S: Simd>(&self, simd: S, weights: &[f32], out: &mut [f32]) {
        for (i, panel) in self.data.chunks_exact(self.width * self.cols).enumerate() {
            let tokens = i * self.width..self.tokens.min((i + 1) * self.width);
            let mut blocks = weights.chunks_exact(ROWS * self.cols);
            let mut outs = out.chunks_exact_mut(ROWS * self.tokens);
            for (weights, out) in (&mut blocks).zip(&mut outs) {
                let out = out
                    .chunks_exact_mut(self.tokens)
                    .map(|out| &mut out[tokens.clone()]);
                block::<S, ROWS>(simd, weights, panel, out);
            }
            let rest = blocks.remainder().chunks_exact(self.cols);
            for (weights, out) in rest.zip(outs.into_remainder().chunks_exact_mut(self.tokens)) {
                block::<S, 1>(simd, weights, panel, [&mut out[tokens.clone()]].into_iter());
            }
        }
    }
}

/// Lanes of the widest vector.
#[inline(always)]
fn lanes<S: Simd>(_simd: S) -> usize {
    S::f32s::LEN
}

/// The products of `R` rows of weights with a panel, into a row of `out` each.
#[inline(always)]
fn block<'o, S: Simd, const R: usize>(
    simd: S,
    weights: &[f32],
    panel: &[f32],
    out: impl Iterator<Item = &'o mut [f32]>,
) {
    let (lanes, cols) = (S::f32s::LEN, weights.len() / R);
    let rows: [&[f32]; R] = std::array::from_fn(|r| &weights[r * cols..][..cols]);
    let mut sums = [[S::f32s::splat(simd, 0.0); 2]; R];
    for (k, tokens) in panel.chunks_exact(2 * lanes).enumerate().take(cols) {
        let (left, right) = tokens.split_at(lanes);
        let (left, right) = (S::f32s::from_slice(simd, left), S::f32s::from_slice(simd, right));
        for (sum, row) in sums.iter_mut().zip(&rows) {
            let weight = S::f32s::splat(simd, row[k]);
            *sum = [left.mul_add(weight, sum[0]), right.mul_add(weight, sum[1])];
        }
    }
    for (sum, out) in sums.iter().zip(out) {
        for (out, sum) in out.chunks_mut(lanes).zip(sum) {
            out.copy_from_slice(&sum.as_slice()[..out.len()]);
        }
    }
}
