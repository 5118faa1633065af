//! Gemma 4's assistant: layers without keys and values of their own, which read the target's and its hidden state.

use super::{DraftStep, Drafter, Guess, Memory, Moment};
use crate::arch::LayerKind;
use crate::model::arithmetic::Pass;
use crate::model::attention::attend;
use crate::model::block::Block;
use crate::model::config::Config;
use crate::model::error::ModelError;
use crate::model::finite::{Place, Watch};
use crate::model::head::{Centroids, Head};
use crate::model::matrix::Matrix;
use crate::model::ops::weighted_rms_norm;
use crate::model::pool::in_pool;
use crate::model::rope::Rope;
use crate::model::target::{SharedKv, Target};
use crate::model::weights::{Weights, ropes};
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

/// What an assistant makes of its inputs.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Scores of the next token, `[rows, vocab]`.
    pub logits: Vec<f32>,
    /// Hidden states for the next step, `[rows, backbone]`.
    pub states: Vec<f32>,
}

/// An assistant.
#[derive(Debug)]
pub struct Assistant<'a> {
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

impl<'a> Assistant<'a> {
    /// Loads an assistant with `vocab` tokens. All shapes are checked here; nothing is copied but vectors.
    pub fn load(
        weights: &'a dyn Weights,
        config: Config,
        vocab: usize,
        head: Head,
        window: Window,
    ) -> Result<Assistant<'a>, ModelError> {
        let width = config.width;
        let backbone = config
            .backbone
            .filter(|&n| n > 0)
            .ok_or_else(|| config.error("the width of the target (embedding_length_out) is not given"))?;
        let blocks = (0..config.layers.len())
            .map(|l| Block::load(weights, &config, l))
            .collect::<Result<_, _>>()?;
        let (rope_full, rope_sliding) = ropes(weights, &config)?;
        Ok(Assistant {
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
        in_pool(|| self.outputs_of(inputs, positions, kv, pass))
    }

    fn outputs_of(&self, inputs: &[f32], positions: &[usize], kv: SharedKv, pass: Pass) -> Outputs {
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
}

impl Assistant<'_> {
    fn outputs<'i>(&self, moments: &[Moment], inputs: impl Iterator<Item = (u32, &'i [f32])>) -> Outputs {
        let Some(Moment { target, kv, .. }) = moments.first() else {
            return Outputs::default();
        };
        let rows: Vec<f32> = inputs
            .flat_map(|(token, state)| [target.embed(token).as_slice(), state].concat())
            .collect();
        let positions: Vec<usize> = moments.iter().map(Moment::position).collect();
        self.forward(&rows, &positions, *kv, Pass::Prompt)
    }
}

impl Drafter for Assistant<'_> {
    fn check(&self, target: &Target) -> Result<(), ModelError> {
        self.check_shared(target.shared_kv(&target.state(0)))
    }

    /// Each step takes the token and the state of the one before it and the same position.
    fn draft_with(
        &self,
        _: &mut Memory,
        moment: &Moment,
        count: usize,
        next: &dyn Fn(usize, &DraftStep) -> u32,
    ) -> Vec<DraftStep> {
        let mut steps: Vec<DraftStep> = Vec::with_capacity(count);
        for i in 0..count {
            let (token, state) = match steps.last() {
                None => (moment.last, moment.hidden),
                Some(step) => (next(i - 1, step), step.state.as_slice()),
            };
            let mut input = moment.target.embed(token);
            input.extend_from_slice(state);
            let Outputs { logits, states } =
                self.forward(&input, &[moment.position()], moment.kv, Pass::Step);
            steps.push(DraftStep {
                input,
                logits,
                state: states,
                confidence: None,
            });
        }
        steps
    }

    fn follow(&self, _: &mut Memory, moment: &Moment, draft: &[DraftStep]) -> Vec<f32> {
        let inputs: Vec<f32> = draft.iter().flat_map(|step| &step.input).copied().collect();
        let positions = vec![moment.position(); draft.len()];
        self.forward(&inputs, &positions, moment.kv, Pass::Step).logits
    }

    /// Many at once.
    fn guess(&self, _: &mut Memory, moments: &[(Moment, Option<u32>)]) -> Vec<Guess> {
        let all: Vec<Moment> = moments.iter().map(|(moment, _)| *moment).collect();
        let first = self.outputs(&all, all.iter().map(|moment| (moment.last, moment.hidden)));
        let states = first.states.chunks_exact(self.backbone);
        let going_on: Vec<(Moment, &[f32], u32)> = moments
            .iter()
            .zip(states)
            .filter_map(|((moment, next), state)| Some((*moment, state, (*next)?)))
            .collect();
        let some: Vec<Moment> = going_on.iter().map(|(moment, ..)| *moment).collect();
        let second = self.outputs(&some, going_on.iter().map(|(_, state, next)| (*next, *state)));
        let vocab = self.token_embd.rows();
        let mut after = second.logits.chunks_exact(vocab);
        let next = first.logits.chunks_exact(vocab);
        next.zip(moments)
            .map(|(next, (_, going_on))| Guess {
                next: next.to_vec(),
                after: going_on.and_then(|_| after.next()).map(<[f32]>::to_vec),
            })
            .collect()
    }

    fn non_finite(&self) -> Option<Place> {
        self.watch.first()
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
