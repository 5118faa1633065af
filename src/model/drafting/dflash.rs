//! DFlash, DFlash2 and DSpark: a block of masked tokens is denoised in one pass over keys and values that the target's
//! states were projected to.
//!
//! At each position `p` of the text, `g = rms(fc · states) · w` gives every layer its keys and values. A block
//! `[last, mask, mask, …]` stands behind the text and attends over these and itself. The formulas are those of
//! llama.cpp's `src/models/dflash.cpp`, which token of a block is read those of its `common/speculative.cpp` (October
//! 2026).

use super::config::DFlashConfig;
use super::heads::{Markov, Selector};
use super::layer::{Attention, Pairs, normed, rope};
use super::short_conv::ShortConv;
use super::vocabulary::Vocabulary;
use super::{DraftStep, Drafter, Memory, Moment};
use crate::model::arithmetic::Pass;
use crate::model::attention::KvCache;
use crate::model::error::ModelError;
use crate::model::feed_forward::FeedForward;
use crate::model::finite::{Place, Watch};
use crate::model::matrix::Matrix;
use crate::model::ops::{add, soft_cap, weighted_rms_norm};
use crate::model::rope::Rope;
use crate::model::target::Target;
use crate::model::weights::Weights;

/// A DFlash, DFlash2 or DSpark drafter.
#[derive(Debug)]
pub struct DFlash<'a> {
    config: DFlashConfig,
    /// Most tokens a draft.
    draft_max: usize,
    vocabulary: Vocabulary<'a>,
    fc: Matrix<'a>,
    states_norm: Vec<f32>,
    layers: Vec<Layer<'a>>,
    output_norm: Vec<f32>,
    markov: Option<Markov<'a>>,
    selector: Option<Selector<'a>>,
    rope: Rope,
    watch: Watch,
}

#[derive(Debug)]
struct Layer<'a> {
    /// Positions that it sees, if not all.
    window: Option<usize>,
    attn_norm: Vec<f32>,
    attention: Attention<'a>,
    attn_conv: Option<ShortConv<'a>>,
    post_attention_norm: Option<Vec<f32>>,
    ffn_norm: Vec<f32>,
    ffn: FeedForward<'a>,
    ffn_conv: Option<ShortConv<'a>>,
    post_ffw_norm: Option<Vec<f32>>,
    scale: f32,
}

/// Positions that are taken in at once.
const BATCH: usize = 256;

impl<'a> DFlash<'a> {
    /// Loads a drafter for a target, whose drafts have at most `draft_max` tokens: the block is made for these. All shapes
    /// are checked here; nothing is copied but vectors.
    pub fn load(
        weights: &'a dyn Weights,
        config: DFlashConfig,
        target: &Target,
        draft_max: usize,
    ) -> Result<DFlash<'a>, ModelError> {
        let numbers = &config.numbers;
        let width = numbers.width;
        if config.mask_token as usize >= target.vocab() {
            return Err(numbers.error(format!(
                "the mask is token {}, the target's vocabulary has {}",
                config.mask_token,
                target.vocab()
            )));
        }
        let vocabulary = Vocabulary::load(weights, numbers, target, true)?;
        let markov = Markov::load(weights, numbers, target.vocab(), vocabulary.scored())?;
        let selector = match config.selector {
            Some(selector) => Some(Selector::load(weights, numbers, selector, target.vocab())?),
            None => None,
        };
        let from_anchor = markov.is_some() && config.sample_from_anchor;
        Ok(DFlash {
            draft_max: draft_max.clamp(1, config.block_size - usize::from(!from_anchor)),
            vocabulary,
            fc: weights.shaped("fc.weight", &[width, numbers.taps() * width])?,
            states_norm: weights.vector("enc.output_norm.weight", width)?,
            layers: (0..numbers.layers)
                .map(|l| Layer::load(weights, &config, l))
                .collect::<Result<_, _>>()?,
            output_norm: weights.vector("output_norm.weight", width)?,
            markov,
            selector,
            rope: rope(numbers),
            watch: Watch::default(),
            config,
        })
    }

    /// Whether the anchor's place guesses the first token.
    fn samples_from_anchor(&self) -> bool {
        self.markov.is_some() && self.config.sample_from_anchor
    }

    /// Takes in what the target has read.
    fn catch_up(&self, memory: &mut Memory, moment: &Moment) {
        let numbers = &self.config.numbers;
        let mode = numbers.compute.mode(Pass::Prompt);
        let end = moment.position();
        memory.caches.iter_mut().for_each(|cache| cache.truncate(end));
        let first = memory.caches.first().map_or(end, |cache| cache.positions().end);
        for start in (first..end).step_by(BATCH) {
            let positions = start..end.min(start + BATCH);
            let mut states = Vec::new();
            for position in positions.clone() {
                moment.taps.gather(&numbers.target_layers, position, &mut states);
            }
            let mut g = self.fc.mul(&states, mode);
            weighted_rms_norm(&mut g, &self.states_norm, numbers.eps);
            let angles = self.rope.angles(positions);
            for (layer, cache) in self.layers.iter().zip(&mut memory.caches) {
                layer.attention.remember(cache, &g, &angles, mode);
            }
        }
    }

    /// The block behind the text: what goes in and what comes out, both `[tokens, width]`, the latter normed.
    fn block(&self, memory: &mut Memory, moment: &Moment) -> (Vec<f32>, Vec<f32>) {
        let numbers = &self.config.numbers;
        let mode = numbers.compute.mode(Pass::Step);
        self.catch_up(memory, moment);
        let masks = self.draft_max - usize::from(self.samples_from_anchor());
        let tokens = std::iter::once(moment.last).chain(std::iter::repeat_n(self.config.mask_token, masks));
        let input = self
            .vocabulary
            .embed(moment.target, tokens, self.config.embedding_scale);
        self.watch.look(&input, Place::Input);
        let first = moment.position();
        let angles = self.rope.angles(first..first + masks + 1);
        let mut x = input.clone();
        for (l, (layer, cache)) in self.layers.iter().zip(&mut memory.caches).enumerate() {
            let mut a = normed(&x, &layer.attn_norm, numbers.eps);
            let turned = layer.attn_conv.as_ref().map(|conv| conv.at(&a, mode));
            if let Some(conv) = &turned {
                a = conv.before(&a);
            }
            layer.attention.remember(cache, &a, &angles, mode);
            let end = first + masks + 1;
            let found = layer.attention.find(cache, &a, &angles, mode, |row| {
                let position = first + row;
                let start = layer
                    .window
                    .map_or(0, |window| (position + 1).saturating_sub(window));
                start..if self.config.causal { position + 1 } else { end }
            });
            cache.truncate(first);
            let mut out = layer.attention.project(&found, mode);
            out.iter_mut().for_each(|v| *v *= self.config.value_scale);
            if let Some(conv) = &turned {
                out = conv.after(&out);
            }
            if let Some(norm) = &layer.post_attention_norm {
                weighted_rms_norm(&mut out, norm, numbers.eps);
            }
            add(&mut x, &out);
            let mut f = normed(&x, &layer.ffn_norm, numbers.eps);
            let turned = layer.ffn_conv.as_ref().map(|conv| conv.at(&f, mode));
            if let Some(conv) = &turned {
                f = conv.before(&f);
            }
            let mut out = layer.ffn.forward(&f, mode);
            if let Some(conv) = &turned {
                out = conv.after(&out);
            }
            if let Some(norm) = &layer.post_ffw_norm {
                weighted_rms_norm(&mut out, norm, numbers.eps);
            }
            add(&mut x, &out);
            x.iter_mut().for_each(|v| *v *= layer.scale);
            self.watch.look(&x, Place::Layer(l));
        }
        weighted_rms_norm(&mut x, &self.output_norm, numbers.eps);
        self.watch.look(&x, Place::Hidden);
        (input, x)
    }
}

impl<'a> Layer<'a> {
    fn load(weights: &'a dyn Weights, config: &DFlashConfig, l: usize) -> Result<Layer<'a>, ModelError> {
        let numbers = &config.numbers;
        let width = numbers.width;
        let name = |part: &str| format!("blk.{l}.{part}.weight");
        let norm = |part: &str| -> Result<Option<Vec<f32>>, ModelError> {
            Ok(weights
                .shaped_if_present(&name(part), &[width])?
                .map(|norm| norm.decode()))
        };
        let conv = |part: &str| match config.selector {
            Some(selector) => ShortConv::load(weights, numbers, selector, l, part).map(Some),
            None => Ok(None),
        };
        let scale = weights.shaped_if_present(&name("layer_output_scale"), &[1])?;
        Ok(Layer {
            window: config
                .sliding
                .as_ref()
                .and_then(|(window, slides)| slides.get(l)?.then_some(*window)),
            attn_norm: weights.vector(&name("attn_norm"), width)?,
            attention: Attention::load(
                weights,
                numbers,
                l,
                width,
                config.attention_scale,
                (Pairs::Halves, true),
            )?,
            attn_conv: conv("attn")?,
            post_attention_norm: norm("post_attention_norm")?,
            ffn_norm: weights.vector(&name("ffn_norm"), width)?,
            ffn: FeedForward::load(weights, l, (numbers.width, numbers.ffn), config.activation)?,
            ffn_conv: conv("ffn")?,
            post_ffw_norm: norm("post_ffw_norm")?,
            scale: scale.map_or(1.0, |scale| scale.decode().iter().product()),
        })
    }
}

impl Drafter for DFlash<'_> {
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
        let cache = KvCache::new(numbers.kv_heads, numbers.head_dim, numbers.compute.cache_type);
        Memory {
            caches: vec![cache; numbers.layers],
        }
    }

    fn draft_with(
        &self,
        memory: &mut Memory,
        moment: &Moment,
        count: usize,
        next: &dyn Fn(usize, &DraftStep) -> u32,
    ) -> Vec<DraftStep> {
        if count == 0 {
            return Vec::new();
        }
        let numbers = &self.config.numbers;
        let mode = numbers.compute.mode(Pass::Step);
        let (input, hidden) = self.block(memory, moment);
        let mut scores = self.vocabulary.score(moment.target, &hidden, Pass::Step);
        if self.selector.is_some() {
            scores
                .iter_mut()
                .for_each(|score| *score *= self.config.logit_scale);
            if let Some(cap) = self.config.soft_cap {
                soft_cap(&mut scores, cap);
            }
        }
        self.watch.look(&scores, Place::Logits);
        let scored = self.vocabulary.scored();
        let places = scores
            .chunks_exact(scored)
            .zip(hidden.chunks_exact(numbers.width))
            .zip(input.chunks_exact(numbers.width))
            .skip(usize::from(!self.samples_from_anchor()));
        let mut steps: Vec<DraftStep> = Vec::with_capacity(count);
        let mut before = moment.last;
        for (i, ((scores, hidden), input)) in places.take(count).enumerate() {
            let mut scores = scores.to_vec();
            let mut confidence = None;
            if let Some(markov) = &self.markov {
                let state = markov.state(before);
                add(&mut scores, &markov.bias(&state, mode));
                confidence = markov.confidence(hidden, &state);
            }
            let mut logits = self.vocabulary.spread(&scores);
            if let Some(selector) = &self.selector {
                let (selected, share) = selector.select(&logits, hidden, before, mode);
                logits = selected;
                confidence = Some(share);
            }
            let step = DraftStep {
                input: input.to_vec(),
                logits,
                state: Vec::new(),
                confidence,
            };
            before = next(i, &step);
            steps.push(step);
        }
        steps
    }

    /// The same block; each place stands behind the other's token.
    fn follow(&self, memory: &mut Memory, moment: &Moment, draft: &[DraftStep]) -> Vec<f32> {
        let theirs = |i: usize, step: &DraftStep| draft.get(i).unwrap_or(step).token();
        let steps = self.draft_with(memory, moment, draft.len(), &theirs);
        steps.into_iter().flat_map(|step| step.logits).collect()
    }

    fn non_finite(&self) -> Option<Place> {
        self.watch.first()
    }
}
