//! DFlash2's convolutions: each element of a token is mixed with the same element of the tokens before it in the block.

use super::config::{Numbers, SelectorConfig};
use crate::model::arithmetic::Mode;
use crate::model::error::ModelError;
use crate::model::matrix::Matrix;
use crate::model::weights::Weights;

/// The convolutions before and after one part of a layer.
#[derive(Debug)]
pub struct ShortConv<'a> {
    width: usize,
    kernel: usize,
    group: usize,
    /// `[2, kernel, width]`: before and after.
    base: Vec<f32>,
    /// `[2 * kernel * width / group, width]`.
    projection: Matrix<'a>,
}

impl<'a> ShortConv<'a> {
    /// Those of a part, `attn` or `ffn`, of layer `l`.
    pub fn load(
        weights: &'a dyn Weights,
        numbers: &Numbers,
        config: SelectorConfig,
        l: usize,
        part: &str,
    ) -> Result<ShortConv<'a>, ModelError> {
        let (width, kernel, group) = (numbers.width, config.kernel, config.group);
        let base = weights.shaped(&format!("blk.{l}.{part}_conv_base"), &[2, kernel, width])?;
        let rows = 2 * kernel * (width / group);
        Ok(ShortConv {
            width,
            kernel,
            group,
            base: base.decode(),
            projection: weights.shaped(&format!("blk.{l}.{part}_conv_proj.weight"), &[rows, width])?,
        })
    }

    /// The coefficients for the tokens of a block with this input of the part, `[tokens, width]`.
    pub(super) fn at(&self, input: &[f32], mode: Mode) -> Coefficients<'_> {
        Coefficients {
            conv: self,
            dynamic: self.projection.mul(input, mode),
        }
    }
}

/// A convolution for the tokens of one block.
pub struct Coefficients<'a> {
    conv: &'a ShortConv<'a>,
    /// `[tokens, 2, kernel, width / group]`.
    dynamic: Vec<f32>,
}

impl Coefficients<'_> {
    /// What goes into the part.
    pub fn before(&self, x: &[f32]) -> Vec<f32> {
        self.mix(x, 0)
    }

    /// What comes out of it.
    pub fn after(&self, x: &[f32]) -> Vec<f32> {
        self.mix(x, 1)
    }

    /// `out[t] = Σ (base[tap] + dynamic[t][tap]) * x[t - tap]`, nothing before the block.
    fn mix(&self, x: &[f32], side: usize) -> Vec<f32> {
        let ShortConv {
            width, kernel, group, ..
        } = *self.conv;
        let groups = width / group;
        let mut out = vec![0.0; x.len()];
        let tokens = out
            .chunks_exact_mut(width)
            .zip(self.dynamic.chunks_exact(2 * kernel * groups));
        for (t, (out, dynamic)) in tokens.enumerate() {
            for tap in 0..kernel.min(t + 1) {
                let base = &self.conv.base[(side * kernel + tap) * width..][..width];
                let dynamic = &dynamic[(side * kernel + tap) * groups..][..groups];
                let x = &x[(t - tap) * width..][..width];
                for (e, ((out, base), x)) in out.iter_mut().zip(base).zip(x).enumerate() {
                    *out += (base + dynamic[e / group]) * x;
                }
            }
        }
        out
    }
}
