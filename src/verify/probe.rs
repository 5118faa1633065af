//! How well a drafter guesses what the target writes, position by position.

use crate::model::{Drafter, Pass, SharedKv, Target};

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
}

/// Probes and the keys and values that go with them.
pub struct Probes<'a> {
    vocab: usize,
    kv: SharedKv<'a>,
    /// `[probes, 2 * backbone]`.
    inputs: Vec<f32>,
    positions: Vec<usize>,
    next: Vec<u32>,
}

impl<'a> Probes<'a> {
    /// Those probes whose keys and values are still kept.
    pub fn new<'p>(target: &Target, kv: SharedKv<'a>, probes: impl Iterator<Item = &'p Probe>) -> Probes<'a> {
        let first = match kv.sliding.positions().start {
            0 => 0,
            kept => kept + target.config().window,
        };
        let mut taken = Probes {
            vocab: target.vocab(),
            kv,
            inputs: Vec::new(),
            positions: Vec::new(),
            next: Vec::new(),
        };
        for probe in probes.filter(|probe| probe.position >= first) {
            taken.inputs.extend(target.embed(probe.last));
            taken.inputs.extend_from_slice(&probe.hidden);
            taken.positions.push(probe.position);
            taken.next.push(probe.next);
        }
        taken
    }

    /// Size of the vocabulary.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// How surprised a drafter is by each token that the target wrote, in nats. Guessing blindly, it is so by the
    /// logarithm of the size of the vocabulary.
    pub fn surprise(&self, drafter: &Drafter) -> Vec<f64> {
        if self.positions.is_empty() {
            return Vec::new();
        }
        let outputs = drafter.forward(&self.inputs, &self.positions, self.kv, Pass::Prompt);
        outputs
            .logits
            .chunks_exact(self.vocab)
            .zip(&self.next)
            .map(|(logits, &next)| -log_probability(logits, next as usize))
            .collect()
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
