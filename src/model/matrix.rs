//! Matrices in their stored form, and their products with rows of activations.
//!
//! Two kernels: for prompts, rows are decoded some at a time and multiplied as matrices; for single steps, which wait
//! for memory, each row is decoded in pieces that stay in the first-level cache and multiplied there. Neither result
//! depends on the number of threads, and that of a step not on how many tokens it has.

use super::ops::dot;
use super::weights::Tensor;
use crate::quant::Decoder;
use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};
use rayon::prelude::*;

/// Elements that a step decodes at a time: 2 KiB, a multiple of every type's block.
const PIECE: usize = 512;
/// Multiplications below which a step's work is not split further.
const STEP_TASK: usize = 1 << 17;
/// Elements that a prompt's task decodes: 512 KiB, half of a usual second-level cache.
const PROMPT_TASK: usize = 1 << 17;

/// Which kernel multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Many tokens at once.
    Prompt,
    /// A few tokens; the result for one does not depend on the others.
    Step,
}

/// Rows of weights, all but the innermost dimension taken as one.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    rows: usize,
    cols: usize,
    row_bytes: usize,
    piece_bytes: usize,
    data: &'a [u8],
    decoder: Decoder,
}

impl<'a> Matrix<'a> {
    /// The tensor's rows; `None` where its type cannot be decoded.
    pub fn new(tensor: Tensor<'a>) -> Option<Matrix<'a>> {
        let ty = tensor.ty;
        let cols = tensor.shape.last().copied().unwrap_or(1);
        Some(Matrix {
            rows: tensor.shape.iter().rev().skip(1).product(),
            cols,
            row_bytes: ty.bytes(cols as u64)? as usize,
            piece_bytes: ty.bytes(PIECE as u64)? as usize,
            data: tensor.data,
            decoder: ty.decoder(),
        })
    }

    /// Number of rows, the length of a product.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements a row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// `count` rows from row `first`: an expert's matrix out of all.
    pub fn slice(&self, first: usize, count: usize) -> Matrix<'a> {
        Matrix {
            rows: count,
            data: &self.data[first * self.row_bytes..][..count * self.row_bytes],
            ..*self
        }
    }

    /// Decodes one row.
    pub fn row(&self, row: usize) -> Vec<f32> {
        self.slice(row, 1).decode()
    }

    /// Decodes all rows.
    pub fn decode(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.rows * self.cols];
        self.decoder.decode(self.data, &mut out);
        out
    }

    /// The products of all rows with each row of `x` (`[tokens, cols]`): `[tokens, rows]`.
    pub fn mul(&self, x: &[f32], pass: Pass) -> Vec<f32> {
        let tokens = x.len() / self.cols;
        // Tasks take rows of weights, so the product comes out transposed: [rows, tokens].
        let mut product = vec![0.0; self.rows * tokens];
        let task_rows = match pass {
            Pass::Prompt => PROMPT_TASK / self.cols,
            Pass::Step => STEP_TASK / (self.cols * tokens.max(1)),
        };
        let task_rows = task_rows.max(1);
        product
            .par_chunks_mut((task_rows * tokens).max(1))
            .enumerate()
            .for_each(|(task, out)| {
                let rows = self.slice(task * task_rows, out.len() / tokens);
                match pass {
                    Pass::Prompt => rows.mul_prompt(x, out),
                    Pass::Step => rows.mul_step(x, out),
                }
            });
        if tokens == 1 {
            product
        } else {
            transpose(&product, tokens)
        }
    }

    /// Decodes the rows and multiplies matrices.
    fn mul_prompt(&self, x: &[f32], out: &mut [f32]) {
        let tokens = x.len() / self.cols;
        let weights = self.decode();
        #[allow(clippy::expect_used, reason = "the lengths follow from the fields")]
        let view = |rows, slice| ArrayView2::from_shape((rows, self.cols), slice).expect("whole rows");
        #[allow(clippy::expect_used, reason = "the lengths follow from the fields")]
        let mut out = ArrayViewMut2::from_shape((self.rows, tokens), out).expect("one row a row of weights");
        general_mat_mul(
            1.0,
            &view(self.rows, &weights),
            &view(tokens, x).t(),
            0.0,
            &mut out,
        );
    }

    /// Streams the rows once, whatever the number of tokens.
    fn mul_step(&self, x: &[f32], out: &mut [f32]) {
        let tokens = x.len() / self.cols;
        let mut piece = [0.0; PIECE];
        for (row, out) in self
            .data
            .chunks_exact(self.row_bytes)
            .zip(out.chunks_exact_mut(tokens))
        {
            for (i, blocks) in row.chunks(self.piece_bytes).enumerate() {
                let start = i * PIECE;
                let weights = &mut piece[..PIECE.min(self.cols - start)];
                self.decoder.decode(blocks, weights);
                for (x, out) in x.chunks_exact(self.cols).zip(out.iter_mut()) {
                    *out += dot(weights, &x[start..start + weights.len()]);
                }
            }
        }
    }
}

/// `[rows, cols]` to `[cols, rows]`.
fn transpose(matrix: &[f32], cols: usize) -> Vec<f32> {
    let rows = matrix.len() / cols.max(1);
    let mut out = vec![0.0; matrix.len()];
    out.par_chunks_mut(rows.max(1))
        .enumerate()
        .for_each(|(col, out)| {
            for (row, v) in out.iter_mut().enumerate() {
                *v = matrix[row * cols + col];
            }
        });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::GgmlType;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count)
            .map(|i| ((i * 7919 + seed) % 211) as f32 / 100.0 - 1.0)
            .collect()
    }

    #[test]
    fn kernels_agree_with_plain_sums_and_steps_do_not_depend_on_the_batch() {
        let (rows, cols, tokens) = (37, 1100, 3);
        let (weights, x) = (numbers(rows * cols, 1), numbers(tokens * cols, 2));
        let mut data = vec![0; rows * cols * 4];
        GgmlType::F32.encode(&weights, cols, None, &mut data).unwrap();
        let matrix = Matrix::new(Tensor {
            ty: GgmlType::F32,
            shape: vec![rows, cols],
            data: &data,
        })
        .unwrap();
        let step = matrix.mul(&x, Pass::Step);
        let prompt = matrix.mul(&x, Pass::Prompt);
        for t in 0..tokens {
            let alone = matrix.mul(&x[t * cols..][..cols], Pass::Step);
            assert_eq!(alone, step[t * rows..][..rows]);
            for r in 0..rows {
                let sum: f64 = (0..cols)
                    .map(|c| f64::from(weights[r * cols + c]) * f64::from(x[t * cols + c]))
                    .sum();
                for product in [&step, &prompt] {
                    assert!((f64::from(product[t * rows + r]) - sum).abs() < 1e-3);
                }
            }
        }
    }
}
