//! What two drafters make of the same inputs.

use crate::model::ops::{argmax, log_probability};
use crate::model::{DraftStep, Drafter, Memory, Moment};

/// How far two drafters are apart in one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepDifference {
    /// Whether both would draft the same token.
    pub agree: bool,
    /// Kullback–Leibler divergence from the source's distribution to the drafter's, in nats.
    pub kl: f64,
    /// Largest difference of a logit.
    pub max_logit: f32,
}

/// Differences over many drafts, for one place in them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Differences {
    /// Number of steps.
    pub steps: usize,
    /// How many times both would draft the same token.
    pub agreed: usize,
    /// Sum of the divergences.
    pub kl_sum: f64,
    /// Largest divergence.
    pub kl_max: f64,
    /// Largest difference of a logit.
    pub max_logit: f32,
}

impl Differences {
    fn add(&mut self, step: StepDifference) {
        self.steps += 1;
        self.agreed += usize::from(step.agree);
        self.kl_sum += step.kl;
        self.kl_max = self.kl_max.max(step.kl);
        self.max_logit = self.max_logit.max(step.max_logit);
    }
}

/// The source's draft against what `drafter` makes of the same inputs, step by step.
pub fn differences(
    drafter: &dyn Drafter,
    memory: &mut Memory,
    source: &[DraftStep],
    moment: &Moment,
) -> Vec<StepDifference> {
    if source.is_empty() {
        return Vec::new();
    }
    let ours = drafter.follow(memory, moment, source);
    let steps = ours.chunks_exact(ours.len() / source.len()).zip(source);
    steps.map(|(ours, step)| difference(ours, &step.logits)).collect()
}

fn difference(ours: &[f32], theirs: &[f32]) -> StepDifference {
    let (ours_sum, theirs_sum) = (log_probability(ours, 0), log_probability(theirs, 0));
    // Each logarithm of a probability is the logit and a constant that the first token's gives.
    let constant = (theirs_sum - f64::from(theirs[0])) - (ours_sum - f64::from(ours[0]));
    let kl: f64 = ours
        .iter()
        .zip(theirs)
        .map(|(a, b)| {
            let log_p = f64::from(*b) + theirs_sum - f64::from(theirs[0]);
            log_p.exp() * (f64::from(*b) - f64::from(*a) + constant)
        })
        .sum();
    StepDifference {
        agree: argmax(ours) == argmax(theirs),
        kl: kl.max(0.0),
        max_logit: ours
            .iter()
            .zip(theirs)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max),
    }
}

/// Adds the differences of one draft to those of its places.
pub fn collect(all: &mut Vec<Differences>, draft: Vec<StepDifference>) {
    if all.len() < draft.len() {
        all.resize(draft.len(), Differences::default());
    }
    for (differences, step) in all.iter_mut().zip(draft) {
        differences.add(step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_of_known_distributions() {
        // p = (1/2, 1/2), q = (1/4, 3/4): KL = ln 2 / 2 + ln(2/3) / 2.
        let step = difference(&[0.0, 3.0f32.ln()], &[7.0, 7.0]);
        assert!((step.kl - 0.5 * (2.0f64.ln() + (2.0f64 / 3.0).ln())).abs() < 1e-6);
        assert!(step.agree == (argmax(&[7.0, 7.0]) == 1));
        assert_eq!(difference(&[1.0, 2.0], &[1.0, 2.0]).kl, 0.0);
    }
}
