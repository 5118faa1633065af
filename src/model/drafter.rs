//! The drafter: four layers that read the target's hidden state, keys and values, and guess its next tokens.

use super::arithmetic::Pass;
use super::attention::{KvCache, attend};
use super::block::Block;
use super::config::Config;
use super::error::ModelError;
use super::finite::{Place, Watch};
use super::head::{Centroids, Head};
use super::matrix::Matrix;
use super::ops::{argmax, weighted_rms_norm};
use super::rope::Rope;
use super::weights::{Weights, ropes};
use crate::arch::LayerKind;
use std::ops::Range;

/// Which keys a sliding layer of the drafter sees. The next token stands at position `n`, the newest key at `n - 1`,
/// the window is `W`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Window {
    /// Keys `k` with `n - k < W`: the last `W - 1`.
    #[default]
    LlamaCpp,
    /// Keys `k` with `n - 1 - k <= W`: the last `W + 1`.
    Transformers,
}

impl Window {
    /// What the reading is called: by the program that has it.
    pub fn name(self) -> &'static str {
        match self {
            Window::LlamaCpp => "llama.cpp",
            Window::Transformers => "transformers",
        }
    }

    /// The keys that are seen from position `n`.
    pub fn visible(self, n: usize, window: usize) -> Range<usize> {
        let count = match self {
            Window::LlamaCpp => window - 1,
            Window::Transformers => window + 1,
        };
        n.saturating_sub(count)..n
    }
}

/// The target's keys and values that a drafter reads.
#[derive(Debug, Clone, Copy)]
pub struct SharedKv<'a> {
    /// Of the last full layer that has its own.
    pub full: &'a KvCache,
    /// Of the last sliding layer that has its own.
    pub sliding: &'a KvCache,
}

impl<'a> SharedKv<'a> {
    /// Those for a layer of this kind.
    pub fn of(self, kind: LayerKind) -> &'a KvCache {
        match kind {
            LayerKind::Full => self.full,
            LayerKind::Sliding => self.sliding,
        }
    }
}

/// What one draft step yields.
#[derive(Debug, Clone)]
pub struct DraftStep {
    /// The input: the scaled embedding of the last token, then the hidden state. `[2 * backbone]`.
    pub input: Vec<f32>,
    /// Scores of the next token, `[vocab]`.
    pub logits: Vec<f32>,
    /// The hidden state for the next step, `[backbone]`.
    pub state: Vec<f32>,
}

impl DraftStep {
    /// The drafted token.
    pub fn token(&self) -> u32 {
        argmax(&self.logits) as u32
    }
}

/// What a drafter makes of its inputs.
#[derive(Debug)]
pub struct Outputs {
    /// Scores of the next token, `[rows, vocab]`.
    pub logits: Vec<f32>,
    /// Hidden states for the next step, `[rows, backbone]`.
    pub states: Vec<f32>,
}

/// A drafter.
#[derive(Debug)]
pub struct Drafter<'a> {
    config: Config,
    backbone: usize,
    token_embd: Matrix<'a>,
    pre_projection: Matrix<'a>,
    post_projection: Matrix<'a>,
    output_norm: Vec<f32>,
    blocks: Vec<Block<'a>>,
    rope_full: Rope,
    rope_sliding: Rope,
    centroids: Option<Centroids<'a>>,
    window: Window,
    watch: Watch,
}

impl<'a> Drafter<'a> {
    /// Loads a drafter with `vocab` tokens. All shapes are checked here; nothing is copied but vectors.
    pub fn load(
        weights: &'a dyn Weights,
        config: Config,
        vocab: usize,
        head: Head,
        window: Window,
    ) -> Result<Drafter<'a>, ModelError> {
        let width = config.width;
        let backbone = config
            .backbone
            .filter(|&n| n > 0)
            .ok_or_else(|| config.error("the width of the target (embedding_length_out) is not given"))?;
        let blocks = (0..config.layers.len())
            .map(|l| Block::load(weights, &config, l))
            .collect::<Result<_, _>>()?;
        let (rope_full, rope_sliding) = ropes(weights, &config)?;
        Ok(Drafter {
            backbone,
            token_embd: weights.shaped("token_embd.weight", &[vocab, width])?,
            pre_projection: weights.shaped("nextn.pre_projection.weight", &[width, 2 * backbone])?,
            post_projection: weights.shaped("nextn.post_projection.weight", &[backbone, width])?,
            output_norm: weights.vector("output_norm.weight", width)?,
            blocks,
            rope_full,
            rope_sliding,
            centroids: match head {
                Head::Dense => None,
                Head::Centroid => Some(Centroids::load(weights, &config, vocab)?),
            },
            window,
            watch: Watch::default(),
            config,
        })
    }

    /// Its numbers.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where a draft first gave a NaN or an infinity, if any did; then nothing drafted since means anything.
    pub fn non_finite(&self) -> Option<Place> {
        self.watch.first()
    }

    /// Width of the target's hidden state.
    pub fn backbone(&self) -> usize {
        self.backbone
    }

    /// Whether the keys and values have the shape that the layers need.
    pub fn check_shared(&self, kv: SharedKv) -> Result<(), ModelError> {
        for (l, layer) in self.config.layers.iter().enumerate() {
            let cache = kv.of(layer.kind);
            if cache.head_dim() != layer.head_dim || !layer.heads.is_multiple_of(cache.kv_heads()) {
                return Err(self.config.error(format!(
                    "layer {l} has {} heads of {}, the target's keys have {} heads of {}",
                    layer.heads,
                    layer.head_dim,
                    cache.kv_heads(),
                    cache.head_dim()
                )));
            }
        }
        Ok(())
    }

    /// The layers for some inputs that do not depend on each other. A row of `inputs` (`[rows, 2 * backbone]`) is the
    /// last token's embedding, scaled, and the hidden state before it; its position is where that token will stand,
    /// the number of keys that it sees.
    pub fn forward(&self, inputs: &[f32], positions: &[usize], kv: SharedKv, pass: Pass) -> Outputs {
        let mode = self.config.compute.mode(pass);
        let full = self.rope_full.angles(positions.iter().copied());
        let sliding = self.rope_sliding.angles(positions.iter().copied());
        let mut y = self.pre_projection.mul(inputs, mode);
        self.watch.look(&y, Place::Input);
        for (l, block) in self.blocks.iter().enumerate() {
            let kind = block.config.kind;
            let angles = match kind {
                LayerKind::Full => &full,
                LayerKind::Sliding => &sliding,
            };
            let queries = block.queries(&block.attention_input(&y), angles, mode);
            let attended = attend(&queries, block.config.heads, kv.of(kind), |row| match kind {
                LayerKind::Full => 0..positions[row],
                LayerKind::Sliding => self.window.visible(positions[row], self.config.window),
            });
            block.add_attention(&mut y, &attended, mode);
            let ffn = block.feed_forward(&y, mode);
            block.add_feed_forward(&mut y, ffn);
            block.scale_output(&mut y);
            self.watch.look(&y, Place::Layer(l));
        }
        weighted_rms_norm(&mut y, &self.output_norm, self.config.eps);
        self.watch.look(&y, Place::Hidden);
        let logits = match &self.centroids {
            None => self.token_embd.mul(&y, mode),
            Some(centroids) => y
                .chunks_exact(self.config.width)
                .flat_map(|y| centroids.logits(&self.token_embd, y, mode))
                .collect(),
        };
        let states = self.post_projection.mul(&y, mode);
        self.watch.look(&logits, Place::Logits);
        self.watch.look(&states, Place::State);
        Outputs { logits, states }
    }

    /// Drafts `count` tokens after `token`, which will stand at `position`; `hidden` is the target's hidden state of
    /// the position before. `embed` gives the target's scaled embedding of a token. Each step takes the token and the
    /// state of the one before it and the same position.
    pub fn draft(
        &self,
        embed: &dyn Fn(u32) -> Vec<f32>,
        token: u32,
        hidden: &[f32],
        position: usize,
        kv: SharedKv,
        count: usize,
    ) -> Vec<DraftStep> {
        let mut steps: Vec<DraftStep> = Vec::with_capacity(count);
        for _ in 0..count {
            let (token, state) = match steps.last() {
                None => (token, hidden),
                Some(step) => (step.token(), step.state.as_slice()),
            };
            let mut input = embed(token);
            input.extend_from_slice(state);
            let Outputs { logits, states } = self.forward(&input, &[position], kv, Pass::Step);
            steps.push(DraftStep {
                input,
                logits,
                state: states,
            });
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_window_readings() {
        assert_eq!(Window::LlamaCpp.visible(34, 16), 19..34);
        assert_eq!(Window::Transformers.visible(34, 16), 17..34);
        assert_eq!(Window::LlamaCpp.visible(3, 16), 0..3);
    }
}
