//! What every layer of target and drafter has in common: queries, the two residual branches, the closing scale.

use super::arithmetic::{Activation, Mode};
use super::config::{Config, LayerConfig};
use super::error::ModelError;
use super::feed_forward::FeedForward;
use super::matrix::Matrix;
use super::ops::{add, weighted_rms_norm};
use super::rope::Angles;
use super::weights::Weights;

/// A layer without its keys, values and experts. `y` below is the residual stream, `[tokens, width]`.
#[derive(Debug)]
pub struct Block<'a> {
    /// The layer's numbers.
    pub config: LayerConfig,
    eps: f32,
    attn_norm: Vec<f32>,
    attn_q: Matrix<'a>,
    attn_q_norm: Vec<f32>,
    attn_output: Matrix<'a>,
    post_attention_norm: Vec<f32>,
    ffn_norm: Vec<f32>,
    ffn: FeedForward<'a>,
    post_ffw_norm: Vec<f32>,
    layer_output_scale: f32,
}

impl<'a> Block<'a> {
    /// Layer `l` of a model.
    pub fn load(weights: &'a dyn Weights, config: &Config, l: usize) -> Result<Block<'a>, ModelError> {
        let layer = config.layers[l];
        let (width, heads) = (config.width, layer.heads * layer.head_dim);
        let name = |part: &str| format!("blk.{l}.{part}.weight");
        let scale = weights.shaped_if_present(&name("layer_output_scale"), &[1])?;
        Ok(Block {
            config: layer,
            eps: config.eps,
            attn_norm: weights.vector(&name("attn_norm"), width)?,
            attn_q: weights.shaped(&name("attn_q"), &[heads, width])?,
            attn_q_norm: weights.vector(&name("attn_q_norm"), layer.head_dim)?,
            attn_output: weights.shaped(&name("attn_output"), &[width, heads])?,
            post_attention_norm: weights.vector(&name("post_attention_norm"), width)?,
            ffn_norm: weights.vector(&name("ffn_norm"), width)?,
            ffn: FeedForward::load(weights, l, (width, layer.ffn), Activation::Gelu)?,
            post_ffw_norm: weights.vector(&name("post_ffw_norm"), width)?,
            layer_output_scale: scale.map_or(1.0, |scale| scale.decode().iter().product()),
        })
    }

    /// The input of the attention: `rms(y) * w`.
    pub fn attention_input(&self, y: &[f32]) -> Vec<f32> {
        self.normed(y, &self.attn_norm)
    }

    /// Queries `[tokens, heads, head_dim]` for the attention's input, normed by head and turned.
    pub(super) fn queries(&self, input: &[f32], angles: &Angles, mode: Mode) -> Vec<f32> {
        let mut queries = self.attn_q.mul(input, mode);
        weighted_rms_norm(&mut queries, &self.attn_q_norm, self.eps);
        angles.rotate(&mut queries, self.config.heads, self.config.head_dim);
        queries
    }

    /// Adds what the attention found (`[tokens, heads, head_dim]`), projected and normed.
    pub(super) fn add_attention(&self, y: &mut [f32], attended: &[f32], mode: Mode) {
        let mut out = self.attn_output.mul(attended, mode);
        weighted_rms_norm(&mut out, &self.post_attention_norm, self.eps);
        add(y, &out);
    }

    /// What the dense feed-forward makes of `y`, before its closing norm.
    pub(super) fn feed_forward(&self, y: &[f32], mode: Mode) -> Vec<f32> {
        self.ffn.forward(&self.normed(y, &self.ffn_norm), mode)
    }

    /// Adds what a feed-forward made, normed.
    pub fn add_feed_forward(&self, y: &mut [f32], mut out: Vec<f32>) {
        weighted_rms_norm(&mut out, &self.post_ffw_norm, self.eps);
        add(y, &out);
    }

    /// The end of the layer: `y *= layer_output_scale`.
    pub fn scale_output(&self, y: &mut [f32]) {
        y.iter_mut().for_each(|y| *y *= self.layer_output_scale);
    }

    /// `rms(y) * weight`, as a copy.
    pub fn normed(&self, y: &[f32], weight: &[f32]) -> Vec<f32> {
        let mut out = y.to_vec();
        weighted_rms_norm(&mut out, weight, self.eps);
        out
    }
}
