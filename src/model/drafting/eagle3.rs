//! EAGLE-3: one layer over the inputs of three of the target's layers, which drafts token by token from its own state.
//!
//! At position `p` its input is the token at `p + 1` and the target's states at `p`, projected: `g = fc · states`. The
//! formulas are those of llama.cpp's `src/models/eagle3.cpp`, the order of tokens that of its `common/speculative.cpp`
//! (October 2026).

use super::config::Eagle3Config;
use super::layer::{Attention, Pairs, normed, rope};
use super::vocabulary::Vocabulary;
use super::{DraftStep, Drafter, Memory, Moment};
use crate::model::arithmetic::{Activation, Pass};
use crate::model::attention::KvCache;
use crate::model::error::ModelError;
use crate::model::feed_forward::FeedForward;
use crate::model::finite::{Place, Watch};
use crate::model::matrix::Matrix;
use crate::model::ops::{add, weighted_rms_norm};
use crate::model::rope::Rope;
use crate::model::target::Target;
use crate::model::weights::Weights;

/// An EAGLE-3 drafter.
#[derive(Debug)]
pub struct Eagle3<'a> {
    config: Eagle3Config,
    vocabulary: Vocabulary<'a>,
    fc: Matrix<'a>,
    /// Before `fc`, where that is normed.
    states_norm: Option<Vec<f32>>,
    attn_norm: Vec<f32>,
    attn_norm_2: Vec<f32>,
    attention: Attention<'a>,
    ffn_norm: Vec<f32>,
    ffn: FeedForward<'a>,
    output_norm: Vec<f32>,
    rope: Rope,
    watch: Watch,
}

/// Positions that are taken in at once.
const BATCH: usize = 256;

impl<'a> Eagle3<'a> {
    /// Loads a drafter for a target. All shapes are checked here; nothing is copied but vectors.
    pub fn load(
        weights: &'a dyn Weights,
        config: Eagle3Config,
        target: &Target,
    ) -> Result<Eagle3<'a>, ModelError> {
        let numbers = &config.numbers;
        let width = numbers.width;
        let states = numbers.taps() * config.target_width;
        let scale = 1.0 / (numbers.head_dim as f32).sqrt();
        Ok(Eagle3 {
            vocabulary: Vocabulary::load(weights, numbers, target, false)?,
            fc: weights.shaped("fc.weight", &[width, states])?,
            states_norm: match config.norm_before_fc {
                true => Some(weights.vector("enc.output_norm.weight", states)?),
                false => None,
            },
            attn_norm: weights.vector("blk.0.attn_norm.weight", width)?,
            attn_norm_2: weights.vector("blk.0.attn_norm_2.weight", width)?,
            attention: Attention::load(weights, numbers, 0, 2 * width, scale, (Pairs::Neighbours, false))?,
            ffn_norm: weights.vector("blk.0.ffn_norm.weight", width)?,
            ffn: FeedForward::load(weights, 0, (width, numbers.ffn), Activation::Silu)?,
            output_norm: weights.vector("output_norm.weight", width)?,
            rope: rope(numbers),
            watch: Watch::default(),
            config,
        })
    }

    /// The target's states at some positions, projected: `[positions, width]`.
    fn project(&self, moment: &Moment, positions: impl Iterator<Item = usize>, pass: Pass) -> Vec<f32> {
        let numbers = &self.config.numbers;
        let mut states = Vec::new();
        positions.for_each(|p| moment.taps.gather(&numbers.target_layers, p, &mut states));
        if let Some(norm) = &self.states_norm {
            weighted_rms_norm(&mut states, norm, numbers.eps);
        }
        self.fc.mul(&states, numbers.compute.mode(pass))
    }

    /// The layer's two normed inputs side by side, `[tokens, 2 * width]`, and the second alone.
    fn inputs(&self, target: &Target, tokens: &[u32], g: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let numbers = &self.config.numbers;
        let embedded = self.vocabulary.embed(target, tokens.iter().copied(), 1.0);
        let a = normed(&embedded, &self.attn_norm, numbers.eps);
        let b = normed(g, &self.attn_norm_2, numbers.eps);
        let rows = a.chunks_exact(numbers.width).zip(b.chunks_exact(numbers.width));
        (rows.flat_map(|(a, b)| [a, b].concat()).collect(), b)
    }

    /// Takes in what the target has read up to the position before the last: each position with the token behind it.
    fn catch_up(&self, memory: &mut Memory, moment: &Moment) {
        let Some(cache) = memory.caches.first_mut() else {
            return;
        };
        let end = moment.position().saturating_sub(1);
        cache.truncate(end);
        let mode = self.config.numbers.compute.mode(Pass::Prompt);
        while cache.positions().end < end {
            let first = cache.positions().end;
            let positions = first..end.min(first + BATCH);
            let g = self.project(moment, positions.clone(), Pass::Prompt);
            let tokens = &moment.text[positions.start + 1..positions.end + 1];
            let (x, _) = self.inputs(moment.target, tokens, &g);
            let angles = self.rope.angles(positions);
            self.attention.remember(cache, &x, &angles, mode);
        }
    }

    /// The layer for tokens with their states (`[tokens, width]`), whose positions follow those in memory: its output.
    fn forward(&self, memory: &mut Memory, target: &Target, tokens: &[u32], g: &[f32]) -> Step {
        let numbers = &self.config.numbers;
        let mode = numbers.compute.mode(Pass::Step);
        let (x, b) = self.inputs(target, tokens, g);
        self.watch.look(&x, Place::Input);
        let mut y = match self.config.norm_before_residual {
            true => b,
            false => g.to_vec(),
        };
        if let Some(cache) = memory.caches.first_mut() {
            let first = cache.positions().end;
            let angles = self.rope.angles(first..first + tokens.len());
            self.attention.remember(cache, &x, &angles, mode);
            let found = self
                .attention
                .find(cache, &x, &angles, mode, |row| 0..first + row + 1);
            add(&mut y, &self.attention.project(&found, mode));
        }
        let ffn = self.ffn.forward(&normed(&y, &self.ffn_norm, numbers.eps), mode);
        add(&mut y, &ffn);
        self.watch.look(&y, Place::Layer(0));
        let hidden = normed(&y, &self.output_norm, numbers.eps);
        let scores = self.vocabulary.score(target, &hidden, Pass::Step);
        self.watch.look(&scores, Place::Logits);
        Step {
            input: x,
            logits: scores
                .chunks_exact(self.vocabulary.scored())
                .flat_map(|scores| self.vocabulary.spread(scores))
                .collect(),
            states: y,
        }
    }
}

/// What the layer makes of some tokens.
struct Step {
    input: Vec<f32>,
    logits: Vec<f32>,
    states: Vec<f32>,
}

impl Drafter for Eagle3<'_> {
    fn taps(&self) -> &[usize] {
        &self.config.numbers.target_layers
    }

    fn check(&self, target: &Target) -> Result<(), ModelError> {
        match self.config.mismatches(target.config()).into_iter().next() {
            Some(mismatch) => Err(self.config.numbers.error(mismatch)),
            None => Ok(()),
        }
    }

    fn memory(&self) -> Memory {
        let numbers = &self.config.numbers;
        Memory {
            caches: vec![KvCache::new(
                numbers.kv_heads,
                numbers.head_dim,
                numbers.compute.cache_type,
            )],
        }
    }

    fn draft_with(
        &self,
        memory: &mut Memory,
        moment: &Moment,
        count: usize,
        next: &dyn Fn(usize, &DraftStep) -> u32,
    ) -> Vec<DraftStep> {
        // Nothing stands before a first token, and llama.cpp drafts nothing there.
        let Some(newest) = moment.position().checked_sub(1) else {
            return Vec::new();
        };
        self.catch_up(memory, moment);
        let mut state = self.project(moment, newest..newest + 1, Pass::Step);
        let mut token = moment.last;
        let mut steps: Vec<DraftStep> = Vec::with_capacity(count);
        for i in 0..count {
            let step = self.forward(memory, moment.target, &[token], &state);
            let step = DraftStep {
                input: step.input,
                logits: step.logits,
                state: step.states,
                confidence: None,
            };
            (token, state) = (next(i, &step), step.state.clone());
            steps.push(step);
        }
        memory.truncate(newest);
        steps
    }

    /// The first step has the target's states, the others those of the other drafter.
    fn follow(&self, memory: &mut Memory, moment: &Moment, draft: &[DraftStep]) -> Vec<f32> {
        let (Some(newest), Some((_, before))) = (moment.position().checked_sub(1), draft.split_last()) else {
            return Vec::new();
        };
        self.catch_up(memory, moment);
        let mut states = self.project(moment, newest..newest + 1, Pass::Step);
        let mut tokens = vec![moment.last];
        for step in before {
            states.extend_from_slice(&step.state);
            tokens.push(step.token());
        }
        let logits = self.forward(memory, moment.target, &tokens, &states).logits;
        memory.truncate(newest);
        logits
    }

    fn non_finite(&self) -> Option<Place> {
        self.watch.first()
    }
}
