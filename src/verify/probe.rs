//! How well a drafter guesses what the target writes, position by position.

use super::speculate::{Probe, Writer};
use crate::model::ops::log_probability;
use crate::model::{Drafter, Memory, Moment, Target};
use rayon::prelude::*;

/// Probes of a text, with the target that wrote it.
pub struct Probes<'a> {
    writer: &'a Writer<'a>,
    probes: Vec<&'a Probe>,
}

/// Probes that go through the drafter at once: bounds the memory that their logits need.
const BATCH: usize = 32;

impl<'a> Probes<'a> {
    /// Those probes, in the order of the text, whose keys and values are still kept.
    pub fn new(writer: &'a Writer<'a>, probes: impl Iterator<Item = &'a Probe>) -> Probes<'a> {
        let first = writer.first_remembered();
        Probes {
            writer,
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

    /// The target.
    pub fn target(&self) -> &'a Target<'a> {
        self.writer.target()
    }

    /// How surprised a drafter is by what the target wrote, token by token in nats: by each next token, and by the one
    /// after it, which it guesses from its own state. Guessing blindly, it would be so by the logarithm of the size of
    /// the vocabulary.
    pub fn surprise(&self, drafter: &dyn Drafter) -> Vec<f64> {
        let mut memory = drafter.memory();
        let batches = self.probes.chunks(BATCH);
        batches
            .flat_map(|batch| self.surprise_of(drafter, &mut memory, batch))
            .collect()
    }

    fn surprise_of(&self, drafter: &dyn Drafter, memory: &mut Memory, probes: &[&Probe]) -> Vec<f64> {
        let moments: Vec<(Moment, Option<u32>)> = probes
            .iter()
            .map(|probe| {
                let moment = self.writer.moment(probe.position, probe.last, &probe.hidden);
                (moment, probe.after.map(|_| probe.next))
            })
            .collect();
        let guesses = drafter.guess(memory, &moments);
        let surprise = |logits: &[f32], token: u32| -log_probability(logits, token as usize);
        let of_both = probes.par_iter().zip(&guesses).map(|(probe, guess)| {
            let after = guess.after.as_ref().zip(probe.after);
            let after = after.map(|(logits, token)| surprise(logits, token));
            (surprise(&guess.next, probe.next), after)
        });
        let (next, after): (Vec<f64>, Vec<Option<f64>>) = of_both.unzip();
        next.into_iter().chain(after.into_iter().flatten()).collect()
    }
}

/// Mean of some numbers, 0 for none.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
