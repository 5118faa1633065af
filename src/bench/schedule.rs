//! Which call comes when: a pure function of the protocol and the seed, so that a run can be resumed.

use super::record::Condition;
use crate::prompts::Kind;
use fastrand::Rng;

/// Calls that are made at the same time: one, or as many as the condition asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Index of the condition.
    pub condition: usize,
    /// Index of the kind of prompts.
    pub kind: usize,
    /// Indices of the prompts.
    pub prompts: Vec<usize>,
    /// Number of the block.
    pub block: usize,
    /// Place of the first call in the order of all calls.
    pub seq: usize,
}

/// How many prompts of each kind are used, and how often each is repeated, for at least `calls` calls. Speeds of the same
/// prompt tell how much they vary, so that few calls use few prompts, each at least twice.
pub fn spread(calls: usize, kinds: &[Kind]) -> (Vec<usize>, usize) {
    let most = (calls / (2 * kinds.len().max(1))).max(1);
    let prompts: Vec<usize> = kinds.iter().map(|kind| kind.prompts.len().min(most)).collect();
    let repeats = calls.div_ceil(prompts.iter().sum::<usize>().max(1)).max(1);
    (prompts, repeats)
}

/// All steps in order. With `blocks` of 0 the conditions alternate step by step; else each is measured in as many blocks,
/// in turn forwards and backwards.
pub fn schedule(
    conditions: &[Condition],
    kinds: &[Kind],
    calls: usize,
    blocks: usize,
    seed: u64,
) -> Vec<Step> {
    let (prompts, repeats) = spread(calls, kinds);
    let blocks_or_one = blocks.clamp(1, repeats);
    let mut steps = Vec::new();
    for block in 0..blocks_or_one {
        let rounds = repeats * block / blocks_or_one..repeats * (block + 1) / blocks_or_one;
        let of_condition = |at: usize| -> Vec<Vec<Step>> {
            let condition = &conditions[at];
            let width = condition.parallel.max(1) as usize;
            let round = |round: usize| {
                // The same for all conditions that make as many calls at once.
                let mut rng = Rng::with_seed(seed ^ (round as u64) << 32 ^ (width as u64) << 16);
                let mut units = Vec::new();
                for (kind, count) in prompts.iter().enumerate() {
                    let mut order: Vec<usize> = (0..*count).collect();
                    rng.shuffle(&mut order);
                    for first in (0..*count).step_by(width) {
                        let prompts = (first..first + width).map(|i| order[i % count]).collect();
                        units.push((kind, prompts));
                    }
                }
                rng.shuffle(&mut units);
                let step = |(kind, prompts)| Step {
                    condition: at,
                    kind,
                    prompts,
                    block,
                    seq: 0,
                };
                units.into_iter().map(step).collect()
            };
            rounds.clone().map(round).collect()
        };
        let mut order: Vec<usize> = (0..conditions.len()).collect();
        let mut rng = Rng::with_seed(seed.wrapping_add(block as u64));
        if blocks > 0 {
            if block % 2 == 1 {
                order.reverse();
            }
            steps.extend(order.into_iter().flat_map(|at| of_condition(at).concat()));
            continue;
        }
        let queues: Vec<Vec<Step>> = order.iter().map(|at| of_condition(*at).concat()).collect();
        let longest = queues.iter().map(Vec::len).max().unwrap_or(0);
        for place in 0..longest {
            rng.shuffle(&mut order);
            steps.extend(order.iter().filter_map(|at| queues[*at].get(place).cloned()));
        }
    }
    let mut seq = 0;
    for step in &mut steps {
        step.seq = seq;
        seq += step.prompts.len();
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompts;

    fn conditions(parallel: &[u32]) -> Vec<Condition> {
        let condition = |parallel: &u32| Condition {
            parallel: *parallel,
            ..Condition::default()
        };
        parallel.iter().map(condition).collect()
    }

    #[test]
    fn every_condition_makes_as_many_calls_as_asked_for_and_more_only_to_end_a_round() {
        let kinds = prompts::built_in(64);
        for (calls, blocks) in [(200, 0), (200, 4), (20, 0), (20, 3), (1, 0)] {
            let steps = schedule(&conditions(&[1, 1, 4]), &kinds, calls, blocks, 5);
            for condition in 0..3 {
                let made: usize = steps
                    .iter()
                    .filter(|step| step.condition == condition)
                    .map(|step| step.prompts.len())
                    .sum();
                assert!(
                    (calls..calls * 4 + 24).contains(&made),
                    "{calls} {blocks}: {made}"
                );
            }
        }
    }

    #[test]
    fn the_order_is_the_seeds() {
        let kinds = prompts::built_in(64);
        let of = |seed| schedule(&conditions(&[1, 1]), &kinds, 40, 0, seed);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn conditions_alternate_unless_in_blocks() {
        let kinds = prompts::built_in(64);
        let switches = |blocks| {
            let steps = schedule(&conditions(&[1, 1]), &kinds, 200, blocks, 5);
            steps
                .windows(2)
                .filter(|pair| pair[0].condition != pair[1].condition)
                .count()
        };
        assert!(switches(0) > 100);
        // Forwards and backwards: the condition that ends a block begins the next.
        assert_eq!(switches(4), 4);
    }
}
