//! Drafters: what they have in common is one trait, [`Drafter`].

mod assistant;
mod config;
mod config_json;
mod dflash;
mod eagle3;
mod heads;
mod kind;
mod layer;
mod short_conv;
mod vocabulary;

pub use assistant::{Assistant, Outputs, Window};
pub use config::{DFlashConfig, Eagle3Config, Numbers, RopeNumbers, SelectorConfig};
pub use dflash::DFlash;
pub use eagle3::Eagle3;
pub use kind::{DrafterConfig, Settings};
pub use vocabulary::D2T;

use super::attention::KvCache;
use super::error::ModelError;
use super::finite::Place;
use super::ops::{argmax, softmax, top};
use super::pool::in_pool;
use super::taps::Taps;
use super::target::{SharedKv, Target};
use std::fmt::Debug;

/// A place in a text that a target reads, with what a drafter may see there.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// The target.
    pub target: &'a Target<'a>,
    /// The tokens before the last: their number is the position at which the last will stand.
    pub text: &'a [u32],
    /// The last token, which the target has not seen yet.
    pub last: u32,
    /// Hidden state of the position before it, after the final norm.
    pub hidden: &'a [f32],
    /// Keys and values up to there; there may be more.
    pub kv: SharedKv<'a>,
    /// Inputs of the layers that the drafter reads up to there; there may be more.
    pub taps: &'a Taps,
}

impl Moment<'_> {
    /// Where the last token will stand.
    pub fn position(&self) -> usize {
        self.text.len()
    }
}

/// What one draft step yields.
#[derive(Debug, Clone)]
pub struct DraftStep {
    /// What went into the first layer.
    pub input: Vec<f32>,
    /// Scores of the next token, `[vocab]`.
    pub logits: Vec<f32>,
    /// The state that the next step starts from; empty where steps do not depend on each other so.
    pub state: Vec<f32>,
    /// How sure the drafter is that the target takes the token, where it has a head for that.
    pub confidence: Option<f32>,
}

impl DraftStep {
    /// The drafted token.
    pub fn token(&self) -> u32 {
        argmax(&self.logits) as u32
    }

    /// How sure the drafter is of the token: by its head for that, or else the token's share among the best ten, as
    /// llama.cpp takes it for `--spec-draft-p-min`.
    pub fn certainty(&self) -> f32 {
        const BEST: usize = 10;
        self.confidence.unwrap_or_else(|| {
            let best = top(&self.logits, BEST);
            let mut shares: Vec<f32> = best.into_iter().map(|token| self.logits[token]).collect();
            softmax(&mut shares);
            shares.first().copied().unwrap_or(0.0)
        })
    }
}

/// What a drafter keeps of one text: its own keys and values. They may be of a shorter text than the moment's, which
/// begins as this one did.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// One a layer.
    caches: Vec<KvCache>,
}

impl Memory {
    /// Forgets the positions from `len` on: what a draft put there is no text.
    fn truncate(&mut self, len: usize) {
        self.caches.iter_mut().for_each(|cache| cache.truncate(len));
    }
}

/// What a drafter guesses at a moment, teacher-forced.
#[derive(Debug)]
pub struct Guess {
    /// Scores of the next token.
    pub next: Vec<f32>,
    /// Scores of the one after it, where that was asked for.
    pub after: Option<Vec<f32>>,
}

/// A drafter: what it needs of its target, and how it drafts from a place on.
pub trait Drafter: Debug + Sync {
    /// The layers of the target whose inputs it reads; the number of layers stands for the state after the final norm.
    fn taps(&self) -> &[usize] {
        &[]
    }

    /// Whether the target has what it reads, in the right shapes.
    fn check(&self, target: &Target) -> Result<(), ModelError>;

    /// The memory of an empty text.
    fn memory(&self) -> Memory {
        Memory::default()
    }

    /// Drafts at most `count` tokens behind the last one, each step going on with the token that `next` makes of the step
    /// before and its number.
    fn draft_with(
        &self,
        memory: &mut Memory,
        moment: &Moment,
        count: usize,
        next: &dyn Fn(usize, &DraftStep) -> u32,
    ) -> Vec<DraftStep>;

    /// Drafts at most `count` tokens behind the last one.
    fn draft(&self, memory: &mut Memory, moment: &Moment, count: usize) -> Vec<DraftStep> {
        in_pool(|| self.draft_with(memory, moment, count, &|_, step| step.token()))
    }

    /// Scores, `[steps, vocab]`, where each step has the inputs of another drafter's.
    fn follow(&self, memory: &mut Memory, moment: &Moment, draft: &[DraftStep]) -> Vec<f32>;

    /// Guesses at several moments of a text, in its order: of the next token and, where that is given, of the one after.
    fn guess(&self, memory: &mut Memory, moments: &[(Moment, Option<u32>)]) -> Vec<Guess> {
        let guess = |(moment, next): &(Moment, Option<u32>)| {
            let count = 1 + usize::from(next.is_some());
            let go_on = |_: usize, step: &DraftStep| next.unwrap_or_else(|| step.token());
            let steps = self.draft_with(memory, moment, count, &go_on);
            let mut logits = steps.into_iter().map(|step| step.logits);
            Guess {
                next: logits.next().unwrap_or_default(),
                after: logits.next(),
            }
        };
        in_pool(|| moments.iter().map(guess).collect())
    }

    /// Where it first computed a NaN or an infinity, if it did; then nothing since means anything.
    fn non_finite(&self) -> Option<Place>;
}
