//! Products of quantized weights with activations in 8 bit, by integers where this processor has instructions for that.

use super::arithmetic::{Pass, Quantized};
use super::matrix::{Matrix, transpose};
use super::vnni::{self, PANEL, PANEL_ROWS, PanelSpan, StepSpan};
use crate::quant::levels::{Levels, SPAN};
use fearless_simd::Avx512;
use rayon::prelude::*;

/// Rows that a task takes: their levels are 36 KiB, beside which a panel's stay in the cache.
const ROWS: usize = 96;
/// Rows that a step asks for ahead.
const AHEAD: usize = 2 * PANEL_ROWS;

impl Matrix<'_> {
    /// The products of all rows with each row of `x`, `[tokens, rows]`; `None` where the type's rows cannot be taken apart
    /// or the processor lacks the instructions.
    pub(super) fn mul_integers(&self, x: &[f32], pass: Pass) -> Option<Vec<f32>> {
        let avx512 = self.isa().level().as_avx512()?;
        let group = self.ty().level_group()?;
        let tokens: Vec<Vec<StepSpan>> = x
            .par_chunks_exact(self.cols())
            .map(|row| StepSpan::of(&Quantized::new(self.ty(), self.isa(), row)))
            .collect();
        Some(match pass {
            Pass::Step => self.step_integers(avx512, &tokens),
            Pass::Prompt => self.prompt_integers(avx512, group, &tokens),
        })
    }

    /// Rows one after the other, each with all tokens.
    fn step_integers(&self, avx512: Avx512, tokens: &[Vec<StepSpan>]) -> Vec<f32> {
        let spans = self.cols().div_ceil(SPAN);
        let count = tokens.len();
        // Span by span, so that the tokens of one lie together.
        let by_span: Vec<Vec<StepSpan>> = (0..spans)
            .map(|span| tokens.iter().map(|token| token[span].clone()).collect())
            .collect();
        let mut sums = vec![0.0; self.rows() * count];
        sums.par_chunks_mut((ROWS * count).max(1))
            .enumerate()
            .for_each(|(task, sums)| {
                let mut levels = [Levels::ZERO; PANEL_ROWS];
                for (i, sums) in sums.chunks_mut(PANEL_ROWS * count).enumerate() {
                    let first = task * ROWS + i * PANEL_ROWS;
                    let rows = self.slice(first, sums.len() / count);
                    let mut lanes = vec![[0.0f32; 16]; sums.len()];
                    for (span, x) in by_span.iter().enumerate() {
                        self.foresee(first + AHEAD, PANEL_ROWS, span * SPAN, SPAN);
                        rows.levels(span, &mut levels);
                        vnni::step_span(avx512, &levels[..rows.rows()], x, &mut lanes);
                    }
                    for (sum, lanes) in sums.iter_mut().zip(lanes) {
                        *sum = lanes.iter().sum();
                    }
                }
            });
        transpose(&sums, count)
    }

    /// Four rows at once with two panels of tokens.
    fn prompt_integers(&self, avx512: Avx512, group: usize, tokens: &[Vec<StepSpan>]) -> Vec<f32> {
        type Sums = [[f32; PANEL]; 2];
        let (rows, spans) = (self.rows(), self.cols().div_ceil(SPAN));
        let panels: Vec<[Vec<PanelSpan>; 2]> = tokens
            .par_chunks(2 * PANEL)
            .map(|tokens| {
                let (left, right) = tokens.split_at(PANEL.min(tokens.len()));
                [PanelSpan::of(left, spans), PanelSpan::of(right, spans)]
            })
            .collect();
        // By task: pair of panels behind pair of panels, each `[rows, tokens]`, the rows filled up to whole groups.
        let padded = rows.next_multiple_of(PANEL_ROWS);
        let mut sums: Vec<Sums> = vec![[[0.0; PANEL]; 2]; padded * panels.len()];
        sums.par_chunks_mut((ROWS * panels.len()).max(1))
            .enumerate()
            .for_each(|(task, sums)| {
                let taken = self.slice(task * ROWS, ROWS.min(rows - task * ROWS));
                let count = sums.len() / panels.len();
                let mut levels = vec![Levels::ZERO; count];
                for span in 0..spans {
                    taken.levels(span, &mut levels);
                    taken.foresee(0, count, (span + 1) * SPAN, SPAN);
                    for (sums, [left, right]) in sums.chunks_exact_mut(count).zip(&panels) {
                        let groups = levels.as_chunks().0.iter().zip(sums.as_chunks_mut().0);
                        for (levels, sums) in groups {
                            vnni::panel_span(avx512, levels, group, &left[span], &right[span], sums);
                        }
                    }
                }
            });
        let mut out = vec![0.0; rows * tokens.len()];
        out.par_chunks_mut((2 * PANEL * rows).max(1))
            .enumerate()
            .for_each(|(pair, out)| {
                for (task, sums) in sums.chunks(ROWS * panels.len()).enumerate() {
                    let count = sums.len() / panels.len();
                    for (row, sums) in (task * ROWS..rows).zip(&sums[pair * count..][..count]) {
                        for (out, sum) in out.chunks_exact_mut(rows).zip(sums.as_flattened()) {
                            out[row] = *sum;
                        }
                    }
                }
            });
        out
    }
}
