//! Matrices in their stored form, and their products with rows of activations.
//!
//! Each weight is decoded once for all tokens of a prompt, into a tile that stays in the cache, and multiplied with tokens
//! that lie side by side in vectors. For single steps and the few tokens of a draft columns do, and the weights of most types
//! go from the decoder into the products without being written ([`super::fused`]); those of the others into a tile first.
//! No result depends on the number of threads, and that of a step not on how many tokens it has.

use super::arithmetic::{Arithmetic, Mode, Pass};
use super::lines::Strip;
use super::panels::{EMPTY_STRIP, Panels, TILE_DEPTH};
use super::prefetch::prefetch;
use super::steps::{self, STEP_DEPTH, STEP_ROWS, StepTokens};
use super::tasks::{self, Sizes};
use super::tensor::Tensor;
use crate::quant::levels::{Levels, SPAN};
use crate::quant::{Decoder, GgmlType, Isa};
use std::ops::Range;
use std::slice::ChunksExact;

/// Multiplications that a task of a step has: some tiles, for the first one comes unforeseen.
const STEP_TASK: usize = 1 << 19;

/// Rows of weights, all but the innermost dimension taken as one.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    rows: usize,
    cols: usize,
    row_bytes: usize,
    /// The rows, and behind them what follows in the tensor: where it goes on next is asked for ahead.
    data: &'a [u8],
    ty: GgmlType,
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
            ty,
            decoder: ty.decoder(),
        })
    }

    /// The same with the instructions of `isa`.
    #[cfg(test)]
    pub(super) fn on(self, isa: Isa) -> Matrix<'a> {
        Matrix {
            decoder: self.ty.decoder_on(isa),
            ..self
        }
    }

    /// Number of rows, the length of a product.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements a row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes a row.
    pub(super) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// `count` rows from row `first`: an expert's matrix out of all.
    pub fn slice(&self, first: usize, count: usize) -> Matrix<'a> {
        Matrix {
            rows: count,
            data: &self.data[first * self.row_bytes..],
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
        let bytes = self.rows * self.row_bytes;
        self.decoder.decode(&self.data[..bytes], &mut out);
        out
    }

    /// The products of all rows with each row of `x` (`[tokens, cols]`): `[tokens, rows]`.
    pub(super) fn mul(&self, x: &[f32], mode: Mode) -> Vec<f32> {
        #[cfg(target_arch = "x86_64")]
        if (mode.arithmetic, mode.pass) == (Arithmetic::LlamaCpp, Pass::Prompt)
            && let Some(product) = self.mul_integers(x)
        {
            return product;
        }
        let rounded = mode.arithmetic.rounded(self.ty, self.decoder.isa(), x);
        let x = rounded.as_deref().unwrap_or(x);
        let tokens = x.len() / self.cols;
        match mode.pass {
            Pass::Prompt => {
                let panels = Panels::new(self.decoder.isa(), x, self.cols);
                tasks::by_rows(self.rows, tokens, Sizes::PROMPT, |rows, out| {
                    let rows = self.slice(rows.start, rows.len());
                    let mut sums = vec![0.0; rows.rows * panels.padded_tokens()];
                    rows.add_to_panels(&panels, &mut sums);
                    panels.scatter(&sums, out);
                })
            }
            Pass::Step => {
                if let Some(product) = self.mul_fused(x) {
                    return product;
                }
                if tokens == 1 {
                    return self.by_step_tasks(1, STEP_ROWS, |rows, out| rows.dot(x, out[0]));
                }
                let x = StepTokens::new(x, self.cols);
                self.by_step_tasks(tokens, STEP_ROWS, |rows, out| rows.step(&x, out))
            }
        }
    }

    /// The products of a step, `[tokens, rows]`. Threads take some rows at a time, in groups, and of each token the place of
    /// its products with them.
    pub(super) fn by_step_tasks(
        &self,
        tokens: usize,
        group: usize,
        multiply: impl Fn(Matrix<'a>, &mut [&mut [f32]]) + Sync,
    ) -> Vec<f32> {
        let sizes = Sizes::new(STEP_TASK / (self.cols * tokens.max(1)), group);
        tasks::by_rows(self.rows, tokens, sizes, |rows, out| {
            multiply(self.slice(rows.start, rows.len()), out)
        })
    }

    /// Adds all products, tile by tile.
    fn add_to_panels(&self, panels: &Panels, sums: &mut [f32]) {
        self.foresee(self.rows, &self.blocks(0, TILE_DEPTH));
        let mut tile = vec![EMPTY_STRIP; self.rows];
        for first in (0..self.cols).step_by(TILE_DEPTH) {
            self.decode_columns(first, TILE_DEPTH, (0, first + TILE_DEPTH), &mut tile);
            panels.add_products(first, &tile, sums);
        }
    }

    /// Streams the rows once for one token.
    fn dot(&self, x: &[f32], out: &mut [f32]) {
        for (row, out) in self.each_row().zip(out) {
            *out = self.decoder.dot(row, x);
        }
    }

    /// Streams the rows once, whatever the number of tokens.
    fn step(&self, x: &StepTokens, out: &mut [&mut [f32]]) {
        steps::step(self.decoder.isa(), self.rows, x, out, |row, first, tile| {
            let count = tile.len().min(self.rows - row);
            let rows = self.slice(row, count);
            rows.decode_columns(first, STEP_DEPTH, (STEP_ROWS, first), tile);
        });
    }

    /// Asks for the same bytes of some rows, which will be needed next, as far as there are any.
    pub(super) fn foresee(&self, count: usize, bytes: &Range<usize>) {
        for row in self.rows_from(0).take(count) {
            prefetch(&row[bytes.clone()]);
        }
    }

    /// The type of the elements.
    pub(super) fn ty(&self) -> GgmlType {
        self.ty
    }

    /// The instructions that products are taken with.
    pub(super) fn isa(&self) -> Isa {
        self.decoder.isa()
    }

    /// Takes apart some columns of the rows, as many rows as there are.
    pub(super) fn levels(&self, span: usize, out: &mut [Levels]) {
        let first = span * SPAN;
        let count = SPAN.min(self.cols - first);
        let blocks = self.blocks(first, SPAN);
        for (row, out) in self.each_row().zip(out) {
            self.decoder.levels(&row[blocks.clone()], count == SPAN, out);
        }
    }

    /// The rows from `first` on, and behind them those that follow in the tensor.
    #[inline(always)]
    pub(super) fn rows_from(&self, first: usize) -> ChunksExact<'a, u8> {
        let rows = self.data.get(first * self.row_bytes..).unwrap_or_default();
        rows.chunks_exact(self.row_bytes)
    }

    pub(super) fn each_row(&self) -> impl Iterator<Item = &'a [u8]> {
        self.rows_from(0).take(self.rows)
    }

    /// The bytes of a row's columns from `first` on, whole blocks, `count` columns or as many as are left.
    pub(super) fn blocks(&self, first: usize, count: usize) -> Range<usize> {
        let bytes = |columns: usize| columns.min(self.cols) * self.row_bytes / self.cols;
        bytes(first)..bytes(first + count)
    }

    /// Decodes the columns from `first` on, a multiple of every block's length, `depth` of them or as many as are left.
    /// `next` is the row and the column where it goes on after that: each row asks for its like there, for of too many
    /// requests at once the last ones would wait.
    fn decode_columns<const N: usize>(
        &self,
        first: usize,
        depth: usize,
        next: (usize, usize),
        tile: &mut [Strip<N>],
    ) {
        let count = depth.min(self.cols - first);
        let blocks = self.blocks(first, depth);
        let ahead = self.blocks(next.1, depth);
        let mut next = self.rows_from(next.0);
        for (row, strip) in self.each_row().zip(tile) {
            if let Some(next) = next.next() {
                prefetch(&next[ahead.clone()]);
            }
            self.decoder.decode(&row[blocks.clone()], &mut strip[..count]);
            // What an earlier tile had there could be infinite, and is multiplied with zero.
            strip[count..depth].fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Mode = Mode {
        pass: Pass::Step,
        arithmetic: Arithmetic::F32,
    };
    const PROMPT: Mode = Mode {
        pass: Pass::Prompt,
        ..STEP
    };

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count)
            .map(|i| ((i * 7919 + seed) % 211) as f32 / 100.0 - 1.0)
            .collect()
    }

    /// A matrix's bytes: neither the rows nor, where blocks allow it, the columns fill the last vectors and tiles.
    fn encoded(ty: GgmlType, rows: usize, cols: usize) -> Vec<u8> {
        let mut data = vec![0; ty.bytes((rows * cols) as u64).unwrap() as usize];
        ty.encode(&numbers(rows * cols, 1), cols, None, &mut data)
            .unwrap();
        data
    }

    fn matrix(ty: GgmlType, rows: usize, cols: usize, data: &[u8], isa: Isa) -> Matrix<'_> {
        let shape = vec![rows, cols];
        Matrix::new(Tensor { ty, shape, data }).unwrap().on(isa)
    }

    #[test]
    fn kernels_of_every_instruction_set_agree_with_plain_sums_whatever_the_batch() {
        use GgmlType::{BF16, F32, Q4_0, Q4_K, Q5_K, Q6_K, Q8_0};
        // Of sixteen lanes a whole panel and most of one.
        let (rows, tokens) = (101, 101);
        let types = [
            (F32, 1101),
            (BF16, 1101),
            (Q8_0, 1120),
            (Q4_0, 1120),
            (Q4_K, 1280),
            (Q5_K, 256),
            (Q6_K, 2304),
        ];
        for (ty, cols) in types {
            let (data, x) = (encoded(ty, rows, cols), numbers(tokens * cols, 2));
            let weights = matrix(ty, rows, cols, &data, Isa::portable()).decode();
            let plain: Vec<f64> = x
                .chunks_exact(cols)
                .flat_map(|x| weights.chunks_exact(cols).map(move |row| (x, row)))
                .map(|(x, row)| {
                    x.iter()
                        .zip(row)
                        .map(|(x, w)| f64::from(*x) * f64::from(*w))
                        .sum()
                })
                .collect();
            for isa in Isa::available() {
                let matrix = matrix(ty, rows, cols, &data, isa);
                let (step, prompt) = (matrix.mul(&x, STEP), matrix.mul(&x, PROMPT));
                for product in [&step, &prompt] {
                    assert_eq!(product.len(), plain.len());
                    for (found, plain) in product.iter().zip(&plain) {
                        assert!((f64::from(*found) - plain).abs() < 1e-3, "{ty} {}", isa.name());
                    }
                }
                for (all, mode, counts) in [
                    (&step, STEP, [1, 2, 3, 5, 9]),
                    (&prompt, PROMPT, [1, 9, 17, 33, 64]),
                ] {
                    for count in counts {
                        let some = matrix.mul(&x[..count * cols], mode);
                        assert_eq!(some, all[..count * rows], "{ty} {} {count}", isa.name());
                    }
                }
            }
        }
    }

    /// So many that one row with all of them is more than a task.
    #[test]
    fn a_step_of_very_many_tokens_is_that_of_each() {
        let (rows, cols, tokens) = (9, 8192, 70);
        let x = numbers(tokens * cols, 2);
        for ty in [GgmlType::F16, GgmlType::Q4_0] {
            let data = encoded(ty, rows, cols);
            let matrix = matrix(ty, rows, cols, &data, Isa::best());
            let all = matrix.mul(&x, STEP);
            for (x, products) in x.chunks_exact(cols).zip(all.chunks_exact(rows)) {
                assert_eq!(matrix.mul(x, STEP), products, "{ty}");
            }
        }
    }

    /// Behind the last columns a tile has those of the one before.
    #[test]
    fn an_infinite_weight_is_multiplied_with_its_own_column_alone() {
        let (rows, cols, tokens) = (7, 300, 3);
        let mut weights = vec![1.0f32; rows * cols];
        weights[100] = f32::INFINITY;
        let data: Vec<u8> = weights.iter().flat_map(|v| v.to_le_bytes()).collect();
        for isa in Isa::available() {
            let matrix = matrix(GgmlType::F32, rows, cols, &data, isa);
            for mode in [STEP, PROMPT] {
                let products = matrix.mul(&vec![1.0; tokens * cols], mode);
                for products in products.chunks_exact(rows) {
                    assert_eq!(products[0], f32::INFINITY, "{}", isa.name());
                    assert_eq!(products[1..], [cols as f32; 6], "{}", isa.name());
                }
            }
        }
    }

    #[test]
    fn products_do_not_depend_on_the_number_of_threads() {
        let (rows, cols, tokens) = (517, 512, 19);
        let (data, x) = (encoded(GgmlType::Q6_K, rows, cols), numbers(tokens * cols, 2));
        let matrix = matrix(GgmlType::Q6_K, rows, cols, &data, Isa::best());
        let products = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| [matrix.mul(&x, STEP), matrix.mul(&x, PROMPT)])
        };
        let one = products(1);
        for threads in [2, 3, 8] {
            assert_eq!(products(threads), one);
        }
    }

    /// The highest levels on both sides: what instructions add in 16 bits must fit there.
    #[test]
    fn integers_of_the_highest_levels_do_not_overflow() {
        use GgmlType::{IQ4_NL, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0};
        let (rows, cols, tokens) = (8, 512, 17);
        let weight = |i: usize| if i.is_multiple_of(32) { -1.0 } else { 0.97 };
        let weights: Vec<f32> = (0..rows * cols).map(weight).collect();
        for x in [vec![1.0; tokens * cols], vec![-1.0; tokens * cols]] {
            for ty in [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, Q4_K, Q5_K, Q6_K] {
                let mut data = vec![0; ty.bytes((rows * cols) as u64).unwrap() as usize];
                ty.encode(&weights, cols, None, &mut data).unwrap();
                let rounded = Arithmetic::LlamaCpp.rounded(ty, Isa::portable(), &x).unwrap();
                let truth = matrix(ty, rows, cols, &data, Isa::portable()).mul(&rounded, PROMPT);
                for isa in Isa::available() {
                    for pass in [Pass::Step, Pass::Prompt] {
                        let mode = Mode {
                            pass,
                            arithmetic: Arithmetic::LlamaCpp,
                        };
                        let found = matrix(ty, rows, cols, &data, isa).mul(&x, mode);
                        assert_eq!(found.len(), truth.len());
                        for (found, truth) in found.iter().zip(&truth) {
                            assert!(
                                (found - truth).abs() < 0.1,
                                "{ty} {} {pass:?}: {found} {truth}",
                                isa.name()
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn integers_give_the_products_of_rounded_activations() {
        use GgmlType::{IQ4_NL, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0};
        let (rows, tokens) = (101, 37);
        let mode = |pass| Mode {
            pass,
            arithmetic: Arithmetic::LlamaCpp,
        };
        let types = [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL].map(|ty| (ty, 1120));
        for (ty, cols) in types.into_iter().chain([(Q4_K, 768), (Q5_K, 768), (Q6_K, 768)]) {
            let (data, x) = (encoded(ty, rows, cols), numbers(tokens * cols, 2));
            let rounded = Arithmetic::LlamaCpp.rounded(ty, Isa::portable(), &x).unwrap();
            let truth = matrix(ty, rows, cols, &data, Isa::portable()).mul(&rounded, PROMPT);
            for isa in Isa::available() {
                let matrix = matrix(ty, rows, cols, &data, isa);
                for pass in [Pass::Step, Pass::Prompt] {
                    let found = matrix.mul(&x, mode(pass));
                    assert_eq!(found.len(), truth.len());
                    for (found, truth) in found.iter().zip(&truth) {
                        assert!((found - truth).abs() < 1e-3, "{ty} {} {pass:?}", isa.name());
                    }
                }
                let step = matrix.mul(&x, mode(Pass::Step));
                let alone = matrix.mul(&x[..cols], mode(Pass::Step));
                assert_eq!(alone, step[..rows], "{ty} {}", isa.name());
            }
        }
    }
}
