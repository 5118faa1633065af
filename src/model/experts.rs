//! The mixture of experts beside a layer's dense feed-forward.

use super::arithmetic::{Activation, Mode};
use super::config::{Config, ExpertConfig};
use super::error::ModelError;
use super::feed_forward::FeedForward;
use super::matrix::Matrix;
use super::ops::{add, add_scaled, rms_norm, softmax, top, weighted_rms_norm};
use super::weights::Weights;

/// A layer's experts and their router.
#[derive(Debug)]
pub struct Experts<'a> {
    width: usize,
    eps: f32,
    used: usize,
    /// `[experts, width]`.
    gate_inp: Matrix<'a>,
    gate_inp_scale: Vec<f32>,
    experts: Vec<FeedForward<'a>>,
    /// A factor for each expert's output.
    down_scale: Vec<f32>,
    pre_ffw_norm_2: Vec<f32>,
    post_ffw_norm_1: Vec<f32>,
    post_ffw_norm_2: Vec<f32>,
}

impl<'a> Experts<'a> {
    /// The experts of layer `l`.
    pub fn load(
        weights: &'a dyn Weights,
        config: &Config,
        experts: ExpertConfig,
        l: usize,
    ) -> Result<Experts<'a>, ModelError> {
        let (width, ffn, count) = (config.width, experts.ffn, experts.count);
        let name = |part: &str| format!("blk.{l}.{part}");
        let fused = weights.shaped_if_present(&name("ffn_gate_up_exps.weight"), &[count, 2 * ffn, width])?;
        // Gate and up of all experts: in one tensor, gate first, or in two.
        let split: Box<dyn Fn(usize) -> (Matrix<'a>, Matrix<'a>)> = match fused {
            Some(fused) => Box::new(move |e| {
                let gate = fused.slice(2 * e * ffn, ffn);
                (gate, fused.slice((2 * e + 1) * ffn, ffn))
            }),
            None => {
                let gate = weights.shaped(&name("ffn_gate_exps.weight"), &[count, ffn, width])?;
                let up = weights.shaped(&name("ffn_up_exps.weight"), &[count, ffn, width])?;
                Box::new(move |e| (gate.slice(e * ffn, ffn), up.slice(e * ffn, ffn)))
            }
        };
        let down = weights.shaped(&name("ffn_down_exps.weight"), &[count, width, ffn])?;
        let down_scale = weights.shaped_if_present(&name("ffn_down_exps.scale"), &[count])?;
        Ok(Experts {
            width,
            eps: config.eps,
            used: experts.used,
            gate_inp: weights.shaped(&name("ffn_gate_inp.weight"), &[count, width])?,
            gate_inp_scale: weights.vector(&name("ffn_gate_inp.scale"), width)?,
            experts: (0..count)
                .map(|e| {
                    let (gate, up) = split(e);
                    let down = down.slice(e * width, width);
                    FeedForward {
                        activation: Activation::Gelu,
                        gate,
                        up,
                        down,
                    }
                })
                .collect(),
            down_scale: down_scale.map_or(vec![1.0; count], |scale| scale.decode()),
            pre_ffw_norm_2: weights.vector(&name("pre_ffw_norm_2.weight"), width)?,
            post_ffw_norm_1: weights.vector(&name("post_ffw_norm_1.weight"), width)?,
            post_ffw_norm_2: weights.vector(&name("post_ffw_norm_2.weight"), width)?,
        })
    }

    /// Turns `out`, what the dense feed-forward made of `y`, into the sum of both branches, each normed.
    pub(super) fn mix_in(&self, out: &mut [f32], y: &[f32], mode: Mode) {
        let mut input = y.to_vec();
        weighted_rms_norm(&mut input, &self.pre_ffw_norm_2, self.eps);
        let mut mixed = vec![0.0; y.len()];
        for (e, tokens) in self.route(y, mode).into_iter().enumerate() {
            // Gather the expert's tokens, so that its weights are read once.
            let rows: Vec<f32> = tokens
                .iter()
                .flat_map(|&(t, _)| &input[t * self.width..][..self.width])
                .copied()
                .collect();
            if rows.is_empty() {
                continue;
            }
            let made = self.experts[e].forward(&rows, mode);
            for ((t, share), made) in tokens.into_iter().zip(made.chunks_exact(self.width)) {
                add_scaled(&mut mixed[t * self.width..][..self.width], share, made);
            }
        }
        weighted_rms_norm(out, &self.post_ffw_norm_1, self.eps);
        weighted_rms_norm(&mut mixed, &self.post_ffw_norm_2, self.eps);
        add(out, &mixed);
    }

    /// For each expert, the tokens that use it and its share in them.
    fn route(&self, y: &[f32], mode: Mode) -> Vec<Vec<(usize, f32)>> {
        let mut input = y.to_vec();
        rms_norm(&mut input, self.width, self.eps);
        let root = (1.0 / (self.width as f64).sqrt()) as f32;
        for row in input.chunks_exact_mut(self.width) {
            row.iter_mut()
                .zip(&self.gate_inp_scale)
                .for_each(|(v, scale)| *v *= scale * root);
        }
        let mut probabilities = self.gate_inp.mul(&input, mode);
        let mut by_expert = vec![Vec::new(); self.experts.len()];
        for (t, row) in probabilities.chunks_exact_mut(self.experts.len()).enumerate() {
            softmax(row);
            let chosen = top(row, self.used);
            let sum: f32 = chosen.iter().map(|&e| row[e]).sum();
            for e in chosen {
                by_expert[e].push((t, row[e] / sum * self.down_scale[e]));
            }
        }
        by_expert
    }
}
