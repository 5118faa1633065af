//! How well a drafter guesses what the target writes, position by position.

use crate::model::{Drafter, Outputs, Pass, SharedKv, Target};
use rayon::prelude::*;

/// A position of the target's text: what a drafter knows there, and what the target wrote.
#[derive(Debug, Clone)]
pub struct Probe {
    /// The last token.
    pub last: u32,
    /// Hidden state of the position before it.
    pub hidden: Vec<f32>,
    /// Where it stands.
    pub position: usize,
    /// The target's next token.
    pub next: u32,
    /// The one after that, where the target wrote on from its own.
    pub after: Option<u32>,
}

/// Probes and the keys and values that go with them.
pub struct Probes<'a> {
    target: &'a Target<'a>,
    kv: SharedKv<'a>,
    probes: Vec<&'a Probe>,
}

/// Probes that go through the drafter at once: bounds the memory that their logits need.
const BATCH: usize = 32;

impl<'a> Probes<'a> {
    /// Those probes whose keys and values are still kept.
    pub fn new(target: &'a Target, kv: SharedKv<'a>, probes: impl Iterator<Item = &'a Probe>) -> Probes<'a> {
        let first = match kv.sliding.positions().start {
            0 => 0,
            kept => kept + target.config().window,
        };
        Probes {
            target,
            kv,
            probes: probes.filter(|probe| probe.position >= first).collect(),
        }
    }

    /// `count` of them, evenly spread, or all where there are no more.
    pub fn sample(&self, count: usize) -> Probes<'a> {
        let step = self.probes.len().div_ceil(count).max(1);
        Probes {
            probes: self.probes.iter().copied().step_by(step).collect(),
            ..*self
        }
    }

    /// Size of the vocabulary.
    pub fn vocab(&self) -> usize {
        self.target.vocab()
    }

    /// How surprised a drafter is by what the target wrote, token by token in nats: by each next token, and by the one
    /// after it, which it guesses from its own state. Guessing blindly, it would be so by the logarithm of the size of
    /// the vocabulary.
    pub fn surprise(&self, drafter: &Drafter) -> Vec<f64> {
        let batches = self.probes.chunks(BATCH);
        batches
            .flat_map(|batch| self.surprise_of(drafter, batch))
            .collect()
    }

    fn surprise_of(&self, drafter: &Drafter, probes: &[&Probe]) -> Vec<f64> {
        let inputs = probes.iter().map(|probe| (probe.last, probe.hidden.as_slice()));
        let positions: Vec<usize> = probes.iter().map(|probe| probe.position).collect();
        let first = self.outputs(drafter, inputs, &positions);
        let states = first.states.chunks_exact(drafter.backbone());
        let second: Vec<(&Probe, &[f32], u32)> = probes
            .iter()
            .zip(states)
            .filter_map(|(probe, state)| Some((*probe, state, probe.after?)))
            .collect();
        let inputs = second.iter().map(|(probe, state, _)| (probe.next, *state));
        let positions: Vec<usize> = second.iter().map(|(probe, ..)| probe.position).collect();
        let outputs = self.outputs(drafter, inputs, &positions);
        let next = probes.par_iter().map(|probe| probe.next);
        let after = second.par_iter().map(|(.., after)| *after);
        let logits = first.logits.par_chunks_exact(self.vocab()).zip(next);
        logits
            .chain(outputs.logits.par_chunks_exact(self.vocab()).zip(after))
            .map(|(logits, token)| -log_probability(logits, token as usize))
            .collect()
    }

    fn outputs<'i>(
        &self,
        drafter: &Drafter,
        inputs: impl Iterator<Item = (u32, &'i [f32])>,
        positions: &[usize],
    ) -> Outputs {
        let rows: Vec<f32> = inputs
            .flat_map(|(token, state)| [self.target.embed(token).as_slice(), state].concat())
            .collect();
        drafter.forward(&rows, positions, self.kv, Pass::Prompt)
    }
}

/// `ln softmax(logits)[token]`.
pub fn log_probability(logits: &[f32], token: usize) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&x| f64::from(x - max).exp()).sum();
    f64::from(logits[token] - max) - sum.ln()
}

/// Mean of some numbers, 0 for none.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
