//! Products of the quantized weights with a prompt's activations in 8 bit, by integers where this processor has instructions
//! for that: AVX2, or AVX-512's VNNI. The sums of integers are exact, so these products are those of the rounded activations
//! (see [`super::arithmetic`]) but for the last bits of an `f32`. Steps multiply the rounded activations themselves: one token
//! is faster so, and some gain little by integers.

mod avx2;
mod avx2_factored;
mod avx512;
mod spans;

use super::arithmetic::Quantized;
use super::matrix::Matrix;
use super::panels::scatter;
use crate::quant::Isa;
use crate::quant::levels::{Levels, SPAN, Shape};
use fearless_simd::{Avx2, Avx512};
use rayon::prelude::*;
use spans::{PANEL, PANEL_ROWS, PanelSpan, TokenSpan};

/// The instructions that products are taken with.
#[derive(Clone, Copy)]
enum Kernels {
    Avx512(Avx512),
    Avx2(Avx2),
}

impl Kernels {
    fn of(isa: Isa) -> Option<Kernels> {
        let level = isa.level();
        match level.as_avx512() {
            Some(avx512) => Some(Kernels::Avx512(avx512)),
            None => level.as_avx2().map(Kernels::Avx2),
        }
    }

    /// Adds the products of rows of some shape with the same span of two panels to `sums`.
    fn panel_span(
        self,
        rows: &[Levels; PANEL_ROWS],
        shape: Shape,
        left: &PanelSpan,
        right: &PanelSpan,
        sums: &mut [PairSums; PANEL_ROWS],
    ) {
        match self {
            Kernels::Avx512(avx512) => avx512::panel_span(avx512, rows, shape.group, left, right, sums),
            Kernels::Avx2(avx2) => avx2::panel_span(avx2, rows, shape, left, right, sums),
        }
    }
}

/// A row's sums for the tokens of two panels.
type PairSums = [[f32; PANEL]; 2];

/// The activations of a prompt in 8 bit, as they go with matrices of one type.
pub(super) struct Tokens {
    kernels: Kernels,
    shape: Shape,
    /// Of so many tokens at a time, by span.
    panels: Vec<[Vec<PanelSpan>; 2]>,
}

impl Tokens {
    /// Of `x` (`[tokens, cols]`); `None` where the matrix's rows cannot be taken apart or the processor lacks the instructions.
    pub(super) fn new(matrix: &Matrix<'_>, x: &[f32]) -> Option<Tokens> {
        let kernels = Kernels::of(matrix.isa())?;
        let shape = matrix.ty().level_shape()?;
        let spans = matrix.cols().div_ceil(SPAN);
        let tokens: Vec<Vec<TokenSpan>> = x
            .par_chunks_exact(matrix.cols())
            .map(|row| TokenSpan::of(&Quantized::new(matrix.ty(), matrix.isa(), row)))
            .collect();
        let panels = tokens
            .par_chunks(2 * PANEL)
            .map(|tokens| {
                let (left, right) = tokens.split_at(PANEL.min(tokens.len()));
                [PanelSpan::of(left, spans), PanelSpan::of(right, spans)]
            })
            .collect();
        Some(Tokens {
            kernels,
            shape,
            panels,
        })
    }
}

impl Matrix<'_> {
    /// The products of all rows, by token: four rows at once with two panels of tokens.
    pub(super) fn multiply_integers(&self, x: &Tokens, out: &mut [&mut [f32]]) {
        // Pair of panels behind pair of panels, each `[rows, tokens]`, the rows filled up to whole groups.
        let count = self.rows().next_multiple_of(PANEL_ROWS);
        let mut sums: Vec<PairSums> = vec![[[0.0; PANEL]; 2]; count * x.panels.len()];
        let mut levels = vec![Levels::ZERO; count];
        for span in 0..self.cols().div_ceil(SPAN) {
            self.levels(span, &mut levels);
            self.foresee(self.rows(), &self.blocks((span + 1) * SPAN, SPAN));
            for (sums, [left, right]) in sums.chunks_exact_mut(count).zip(&x.panels) {
                let groups = levels.as_chunks().0.iter().zip(sums.as_chunks_mut().0);
                for (levels, sums) in groups {
                    x.kernels
                        .panel_span(levels, x.shape, &left[span], &right[span], sums);
                }
            }
        }
        scatter(sums.as_flattened().as_flattened(), (count, 2 * PANEL), out);
    }
}
