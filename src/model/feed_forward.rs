//! The gated feed-forward of a layer.

use super::arithmetic::{Activation, Arithmetic, Mode};
use super::error::ModelError;
use super::matrix::Matrix;
use super::panels::{PANEL_DEPTH, Panels};
use super::products::Layout;
use super::weights::Weights;

/// Blocks of inner columns for each thread, from which on the activations stay in panels.
const BLOCKS_A_THREAD: usize = 8;

/// `down · (activation(gate · x) * (up · x))`.
#[derive(Debug)]
pub struct FeedForward<'a> {
    /// Of the gate.
    pub activation: Activation,
    /// `[ffn, width]`.
    pub gate: Matrix<'a>,
    /// `[ffn, width]`.
    pub up: Matrix<'a>,
    /// `[width, ffn]`.
    pub down: Matrix<'a>,
}

impl<'a> FeedForward<'a> {
    /// That of layer `l`.
    pub fn load(
        weights: &'a dyn Weights,
        l: usize,
        (width, ffn): (usize, usize),
        activation: Activation,
    ) -> Result<FeedForward<'a>, ModelError> {
        let name = |part: &str| format!("blk.{l}.ffn_{part}.weight");
        Ok(FeedForward {
            activation,
            gate: weights.shaped(&name("gate"), &[ffn, width])?,
            up: weights.shaped(&name("up"), &[ffn, width])?,
            down: weights.shaped(&name("down"), &[width, ffn])?,
        })
    }

    /// For each row of `x` (`[tokens, width]`), the same shape.
    pub(super) fn forward(&self, x: &[f32], mode: Mode) -> Vec<f32> {
        let (layout, tokens) = (self.gate.lay_out(x, mode), x.len() / self.gate.cols());
        // Fewer blocks would leave threads waiting for the last ones.
        let blocks = BLOCKS_A_THREAD * rayon::current_num_threads();
        let in_blocks = mode.arithmetic == Arithmetic::F32 && self.gate.rows() / PANEL_DEPTH >= blocks;
        match layout {
            Layout::Panels(x) if in_blocks => {
                let gated = self.gated_panels(&x, tokens);
                self.down.mul_laid_out(&Layout::Panels(gated), tokens)
            }
            layout => {
                let mut gated = self.gate.mul_laid_out(&layout, tokens);
                let up = match self.up.ty() == self.gate.ty() {
                    true => self.up.mul_laid_out(&layout, tokens),
                    false => self.up.mul(x, mode),
                };
                self.activation.gate_all(&mut gated, &up, mode.arithmetic);
                self.down.mul(&gated, mode)
            }
        }
    }

    /// What `down` is multiplied with. Sums lie in panels as activations do, so that they become a block of these in place.
    fn gated_panels(&self, x: &Panels, tokens: usize) -> Panels {
        Panels::filled(self.gate.isa(), tokens, self.gate.rows(), |rows, gated| {
            let add = |matrix: &Matrix<'_>, sums: &mut [f32]| {
                matrix.slice(rows.start, rows.len()).add_to_panels(x, sums);
            };
            let mut up = vec![0.0; gated.len()];
            add(&self.gate, gated);
            add(&self.up, &mut up);
            self.activation.gate(gated, &up, Arithmetic::F32);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::arithmetic::Pass;
    use crate::model::products::tests::{encoded, matrix, numbers};
    use crate::quant::{GgmlType, Isa};

    #[test]
    fn it_is_made_of_its_products() {
        use GgmlType::{F16, Q4_K, Q6_K};
        // So many blocks of inner columns that one thread leaves them in panels and two do not, and some columns.
        let (width, ffn, tokens) = (256, BLOCKS_A_THREAD * PANEL_DEPTH + 60, 53);
        let x = numbers(tokens * width, 2);
        let [half, short, long] = [F16, Q4_K, Q6_K].map(|ty| (ty, encoded(ty, ffn, width)));
        for [gate, up] in [[&short, &short], [&short, &long], [&half, &long]] {
            for (isa, activation) in Isa::available()
                .into_iter()
                .flat_map(|isa| [(isa, Activation::Gelu), (isa, Activation::Silu)])
            {
                let layer = FeedForward {
                    activation,
                    gate: matrix(gate.0, ffn, width, &gate.1, isa),
                    up: matrix(up.0, ffn, width, &up.1, isa),
                    down: matrix(half.0, width, ffn, &half.1, isa),
                };
                for arithmetic in [Arithmetic::F32, Arithmetic::LlamaCpp] {
                    for (pass, count) in [(Pass::Step, 1), (Pass::Step, 5), (Pass::Prompt, tokens)] {
                        let (x, mode) = (&x[..count * width], Mode { pass, arithmetic });
                        let mut gated = layer.gate.mul(x, mode);
                        activation.gate(&mut gated, &layer.up.mul(x, mode), arithmetic);
                        let expected = layer.down.mul(&gated, mode);
                        for threads in [1, 2] {
                            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                            let found = pool.build().unwrap().install(|| layer.forward(x, mode));
                            assert_eq!(found, expected, "{} {} {mode:?} {}", gate.0, up.0, isa.name());
                        }
                    }
                }
            }
        }
    }
}
