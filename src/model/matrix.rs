//! Matrices in their stored form, and their products with rows of activations.
//!
//! Two ways: for prompts, rows are decoded some at a time and multiplied as matrices; for single steps, which wait for
//! memory, each row is multiplied as it is decoded, block by block. Neither result depends on the number of threads, and
//! that of a step not on how many tokens it has.

use super::kernels::Panels;
use super::tensor::Tensor;
use crate::quant::Decoder;
use crate::quant::product::dot;
use fearless_simd::dispatch;
use rayon::prelude::*;

/// Multiplications below which a step's work is not split further.
const STEP_TASK: usize = 1 << 17;
/// Elements that a prompt's task decodes: 512 KiB, half of a usual second-level cache.
const PROMPT_TASK: usize = 1 << 17;

/// Which way a product is taken.
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
    data: &'a [u8],
    decoder: Decoder,
}

impl<'a> Matrix<'a> {
    /// The tensor's rows; `None` where its type holds no weights or a row is no whole number of its blocks.
    pub fn new(tensor: Tensor<'a>) -> Option<Matrix<'a>> {
        let ty = tensor.ty;
        if ty.is_integer() {
            return None;
        }
        let cols = tensor.shape.last().copied().unwrap_or(1);
        Some(Matrix {
            rows: tensor.shape.iter().rev().skip(1).product(),
            cols,
            row_bytes: ty.bytes(cols as u64)? as usize,
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
        let product = match pass {
            Pass::Prompt => {
                let panels = Panels::new(self.decoder.isa(), x, self.cols);
                self.by_tasks(tokens, PROMPT_TASK / self.cols, |rows, out| {
                    panels.multiply(&rows.decode(), out);
                })
            }
            Pass::Step => self.by_tasks(tokens, STEP_TASK / (self.cols * tokens.max(1)), |rows, out| {
                rows.step(x, out);
            }),
        };
        if tokens == 1 {
            product
        } else {
            transpose(&product, tokens)
        }
    }

    /// Lets threads take some rows at a time, and gives the products, `[rows, tokens]`.
    fn by_tasks(
        &self,
        tokens: usize,
        task_rows: usize,
        multiply: impl Fn(Matrix<'a>, &mut [f32]) + Sync,
    ) -> Vec<f32> {
        let mut product = vec![0.0; self.rows * tokens];
        let task_rows = task_rows.max(1);
        let tasks = product.par_chunks_mut((task_rows * tokens).max(1));
        tasks.enumerate().for_each(|(task, out)| {
            multiply(self.slice(task * task_rows, out.len() / tokens), out);
        });
        product
    }

    /// Streams the rows once, whatever the number of tokens.
    fn step(&self, x: &[f32], out: &mut [f32]) {
        let rows = self.data.chunks_exact(self.row_bytes);
        if x.len() == self.cols {
            for (row, out) in rows.zip(out) {
                *out = self.decoder.dot(row, x);
            }
            return;
        }
        let mut weights = vec![0.0; self.cols];
        let tokens = x.len() / self.cols;
        for (row, out) in rows.zip(out.chunks_exact_mut(tokens)) {
            self.decoder.decode(row, &mut weights);
            dispatch!(self.decoder.isa().level(), simd => {
                for (x, out) in x.chunks_exact(self.cols).zip(out) {
                    *out = dot(simd, &weights, x);
                }
            });
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
        use GgmlType::{BF16, F32, Q4_0, Q6_K, Q8_0};
        // Neither the rows nor the tokens, nor where blocks allow it the columns, fill the last vectors.
        for (ty, cols) in [
            (F32, 1101),
            (BF16, 1101),
            (Q8_0, 1120),
            (Q4_0, 1120),
            (Q6_K, 1280),
        ] {
            let (rows, tokens) = (37, 35);
            let mut data = vec![0; ty.bytes((rows * cols) as u64).unwrap() as usize];
            ty.encode(&numbers(rows * cols, 1), cols, None, &mut data)
                .unwrap();
            let tensor = Tensor {
                ty,
                shape: vec![rows, cols],
                data: &data,
            };
            let matrix = Matrix::new(tensor).unwrap();
            let (weights, x) = (matrix.decode(), numbers(tokens * cols, 2));
            let step = matrix.mul(&x, Pass::Step);
            let prompt = matrix.mul(&x, Pass::Prompt);
            assert_eq!(prompt.len(), tokens * rows);
            for t in 0..tokens {
                let alone = matrix.mul(&x[t * cols..][..cols], Pass::Step);
                assert_eq!(alone, step[t * rows..][..rows], "{ty}");
                for r in 0..rows {
                    let sum: f64 = (0..cols)
                        .map(|c| f64::from(weights[r * cols + c]) * f64::from(x[t * cols + c]))
                        .sum();
                    for product in [&step, &prompt] {
                        assert!((f64::from(product[t * rows + r]) - sum).abs() < 1e-3, "{ty}");
                    }
                }
            }
        }
    }
}
