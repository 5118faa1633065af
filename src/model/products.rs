//! Products of matrices with rows of activations.
//!
//! Each weight is decoded once for all tokens of a prompt, into a tile that stays in the cache, and multiplied with tokens
//! that lie side by side in vectors. For single steps and the few tokens of a draft columns do, and the weights of most types
//! go from the decoder into the products without being written ([`crate::quant::fused`]); those of the others into a tile
//! first. No result depends on the number of threads, and that of a step not on how many tokens it has.

use super::arithmetic::{Mode, Pass};
use super::fused;
use super::matrix::Matrix;
use super::panels::{EMPTY_STRIP, Panels, TILE_DEPTH};
use super::steps::{self, STEP_DEPTH, STEP_ROWS, StepTokens};
use super::tasks::{self, Sizes};
#[cfg(target_arch = "x86_64")]
use super::{arithmetic::Arithmetic, integers};
use std::borrow::Cow;

/// Multiplications that a task of a step has: some tiles, for the first one comes unforeseen.
const STEP_TASK: usize = 1 << 19;

/// Activations, `[tokens, cols]`, as the products of matrices of one type take them.
pub(super) enum Layout<'a> {
    #[cfg(target_arch = "x86_64")]
    Integers(integers::Tokens),
    Panels(Panels),
    Fused(fused::Tokens),
    Step(StepTokens),
    Token(Cow<'a, [f32]>),
}

impl Layout<'_> {
    /// The rows of tasks, each of which takes so many multiplications.
    fn sizes(&self, multiplications: usize) -> Sizes {
        let group = match self {
            #[cfg(target_arch = "x86_64")]
            Layout::Integers(_) => return Sizes::PROMPT,
            Layout::Panels(_) => return Sizes::PROMPT,
            Layout::Fused(_) => fused::GROUP,
            Layout::Step(_) | Layout::Token(_) => STEP_ROWS,
        };
        Sizes::new(STEP_TASK / multiplications.max(1), group)
    }
}

impl Matrix<'_> {
    /// The products of all rows with each row of `x` (`[tokens, cols]`): `[tokens, rows]`.
    pub(super) fn mul(&self, x: &[f32], mode: Mode) -> Vec<f32> {
        self.mul_laid_out(&self.lay_out(x, mode), x.len() / self.cols())
    }

    /// The same of activations that are laid out.
    pub(super) fn mul_laid_out(&self, x: &Layout<'_>, tokens: usize) -> Vec<f32> {
        let sizes = x.sizes(tokens * self.cols());
        tasks::by_rows(self.rows(), tokens, sizes, |rows, out| {
            self.slice(rows.start, rows.len()).multiply(x, out);
        })
    }

    /// The activations as this matrix takes them.
    pub(super) fn lay_out<'a>(&self, x: &'a [f32], mode: Mode) -> Layout<'a> {
        #[cfg(target_arch = "x86_64")]
        if (mode.arithmetic, mode.pass) == (Arithmetic::LlamaCpp, Pass::Prompt)
            && let Some(tokens) = integers::Tokens::new(self, x)
        {
            return Layout::Integers(tokens);
        }
        let rounded = mode.arithmetic.rounded(self.ty(), self.isa(), x);
        let x = rounded.map_or(Cow::Borrowed(x), Cow::Owned);
        match mode.pass {
            Pass::Prompt => Layout::Panels(Panels::new(self.isa(), &x, self.cols())),
            Pass::Step if self.is_fused() => Layout::Fused(fused::Tokens::new(self.isa(), &x, self.cols())),
            Pass::Step if x.len() == self.cols() => Layout::Token(x),
            Pass::Step => Layout::Step(StepTokens::new(&x, self.cols())),
        }
    }

    /// The products of all rows, by token, by one thread.
    fn multiply(&self, layout: &Layout<'_>, out: &mut [&mut [f32]]) {
        match layout {
            #[cfg(target_arch = "x86_64")]
            Layout::Integers(x) => self.multiply_integers(x, out),
            Layout::Panels(x) => {
                let mut sums = vec![0.0; self.rows() * x.padded_tokens()];
                self.add_to_panels(x, &mut sums);
                x.scatter(&sums, out);
            }
            Layout::Fused(x) => self.multiply_fused(x, out),
            Layout::Step(x) => self.step(x, out),
            Layout::Token(x) => {
                for (row, out) in self.each_row().zip(out.iter_mut().flat_map(|out| out.iter_mut())) {
                    *out = self.dot(row, x);
                }
            }
        }
    }

    /// Adds all products, tile by tile, to those of as many rows as there are sums for.
    pub(super) fn add_to_panels(&self, panels: &Panels, sums: &mut [f32]) {
        self.foresee(self.rows(), &self.blocks(0, TILE_DEPTH));
        let mut tile = vec![EMPTY_STRIP; sums.len() / panels.padded_tokens()];
        for first in (0..self.cols()).step_by(TILE_DEPTH) {
            self.decode_columns(first, TILE_DEPTH, (0, first + TILE_DEPTH), &mut tile);
            panels.add_products(first, &tile, sums);
        }
    }

    /// Streams the rows once, whatever the number of tokens.
    fn step(&self, x: &StepTokens, out: &mut [&mut [f32]]) {
        steps::step(self.isa(), self.rows(), x, out, |row, first, tile| {
            let count = tile.len().min(self.rows() - row);
            let rows = self.slice(row, count);
            rows.decode_columns(first, STEP_DEPTH, (STEP_ROWS, first), tile);
        });
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::arithmetic::Arithmetic;
    use crate::model::tensor::Tensor;
    use crate::quant::{GgmlType, Isa};

    const STEP: Mode = Mode {
        pass: Pass::Step,
        arithmetic: Arithmetic::F32,
    };
    const PROMPT: Mode = Mode {
        pass: Pass::Prompt,
        ..STEP
    };

    pub fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count)
            .map(|i| ((i * 7919 + seed) % 211) as f32 / 100.0 - 1.0)
            .collect()
    }

    /// A matrix's bytes: neither the rows nor, where blocks allow it, the columns fill the last vectors and tiles.
    pub fn encoded(ty: GgmlType, rows: usize, cols: usize) -> Vec<u8> {
        let mut data = vec![0; ty.bytes((rows * cols) as u64).unwrap() as usize];
        ty.encode(&numbers(rows * cols, 1), cols, None, &mut data)
            .unwrap();
        data
    }

    pub fn matrix(ty: GgmlType, rows: usize, cols: usize, data: &[u8], isa: Isa) -> Matrix<'_> {
        let shape = vec![rows, cols];
        Matrix::new(Tensor { ty, shape, data }).unwrap().on(isa)
    }

    #[test]
    fn kernels_of_every_instruction_set_agree_with_plain_sums_whatever_the_batch() {
        use GgmlType::{BF16, F32, Q4_0, Q4_K, Q5_K, Q6_K, Q8_0};
        // Of sixteen lanes two whole panels and some of one.
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
