//! What the calls of a run say: by condition and kind of prompts, against the condition's baseline.

use super::record::{Call, Condition, Run};
use super::stats::{self, Ratio, Resampled, Sample};
use fastrand::Rng;
use serde::Serialize;

/// Why nothing is decided where calls tell no variation.
const TOO_FEW: &str =
    "so few calls of the same prompt do not tell a difference from noise: make more with --calls";
/// Standard errors that a change of speed must exceed to be one: 99 % of what chance does.
const DRIFT_ERRORS: f64 = 2.58;

/// When a result counts as decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guards {
    /// Largest coefficient of variation between calls of the same prompt.
    pub max_variation: f64,
    /// Largest change of the baseline's speed from the first third of the run to the last.
    pub max_drift: f64,
    /// Largest share of outliers.
    pub max_outliers: f64,
    /// How often ratios are resampled.
    pub resamples: usize,
}

impl Default for Guards {
    fn default() -> Guards {
        Guards {
            max_variation: 0.10,
            max_drift: 0.03,
            max_outliers: 0.05,
            resamples: 2000,
        }
    }
}

/// What a run says.
#[derive(Debug, Serialize)]
pub struct Analysis {
    /// In the order of the header.
    pub conditions: Vec<ConditionResult>,
    /// The best number of tokens a draft, for each number of calls at the same time.
    pub best: Vec<Best>,
}

/// What it says of one condition.
#[derive(Debug, Serialize)]
pub struct ConditionResult {
    /// Its name.
    pub label: String,
    /// Most tokens a draft, where it is known.
    pub n_max: Option<u32>,
    /// Calls at the same time.
    pub parallel: u32,
    /// Whether it should draft.
    pub should_draft: bool,
    /// What answered: `llama-server`, `openai`, `ollama` or `file`.
    pub server: String,
    /// Its address, of servers that ran before.
    pub url: Option<String>,
    /// The condition that it is compared with.
    pub baseline: Option<String>,
    /// Change of its speed from the first third of the run to the last, as a share.
    pub drift: Option<f64>,
    /// By kind of prompts.
    pub kinds: Vec<Cell>,
    /// Over all kinds, each with the same weight.
    pub overall: Cell,
}

/// Calls of one condition and one kind of prompts, or of all kinds.
#[derive(Debug, Serialize)]
pub struct Cell {
    /// The kind; `all` for all.
    pub kind: String,
    /// Calls that count.
    pub calls: usize,
    /// Calls that failed.
    pub failed: usize,
    /// Calls for which the model was loaded.
    pub cold: usize,
    /// Calls far from the others of their prompt.
    pub outliers: usize,
    /// Median of tokens generated a second.
    pub tokens_per_second: Option<f64>,
    /// Median of the prompt's tokens read a second.
    pub prompt_tokens_per_second: Option<f64>,
    /// Median milliseconds to the first token.
    pub first_token_ms: Option<f64>,
    /// Median milliseconds of a call.
    pub wall_p50_ms: Option<f64>,
    /// Milliseconds that 95 % of the calls stay below.
    pub wall_p95_ms: Option<f64>,
    /// Coefficient of variation between calls of the same prompt.
    pub variation: Option<f64>,
    /// What the target accepted; absent where the server does not tell, or nothing was drafted.
    pub acceptance: Option<Acceptance>,
    /// Tokens drafted; absent where the server does not tell.
    pub drafted: Option<u64>,
    /// Speed against the baseline's.
    pub against_baseline: Option<Ratio>,
    /// What follows.
    pub decision: Decision,
    /// Why nothing is decided, and what to do.
    pub undecided: Option<String>,
}

/// What follows from a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It is what others are compared with, or there is nothing to compare it with.
    Baseline,
    /// Faster than the baseline.
    Pays,
    /// Slower than the baseline.
    Costs,
    /// The interval holds 1.
    NoDifference,
    /// A guard objects.
    NotDecided,
    /// It should draft, and the server says that nothing was drafted.
    DraftsNothing,
}

/// What the target accepted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Acceptance {
    /// Tokens drafted.
    pub drafted: u64,
    /// Those accepted.
    pub accepted: u64,
    /// `accepted / drafted`.
    pub rate: f64,
    /// Tokens that a pass of the target yields on average, its own among them.
    pub mean_length: Option<f64>,
    /// By place in the draft; empty where the server does not tell.
    pub by_position: Vec<Position>,
}

/// One place in the drafts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Position {
    /// Drafts that reached it. The server tells the sum over all places; those missing are taken from the last places.
    pub drafted: u64,
    /// Those accepted up to it.
    pub accepted: u64,
    /// `accepted / drafted`.
    pub rate: f64,
}

/// The best number of tokens a draft, of those for which something is decided.
#[derive(Debug, Serialize)]
pub struct Best {
    /// Calls at the same time.
    pub parallel: u32,
    /// Most tokens a draft, 0 for off; absent where nothing is decided.
    pub n_max: Option<u32>,
    /// Its speed against off; absent for off.
    pub against_off: Option<Ratio>,
}

/// Calls that count.
fn counted<'r>(run: &'r Run, label: &'r str) -> impl Iterator<Item = &'r Call> {
    run.calls
        .iter()
        .filter(move |call| call.condition == label && !call.warmup)
}

/// Kinds of prompts, in the order in which calls name them first.
pub fn kinds(run: &Run) -> Vec<String> {
    let mut kinds: Vec<String> = run.header.protocol.kinds.iter().map(|k| k.kind.clone()).collect();
    for call in run.calls.iter().filter(|call| !call.warmup) {
        if !kinds.contains(&call.kind) {
            kinds.push(call.kind.clone());
        }
    }
    kinds
}

/// What a run says.
pub fn analyse(run: &Run, guards: &Guards) -> Analysis {
    let kinds = kinds(run);
    let seed = run.header.protocol.seed;
    let result = |condition: &Condition| condition_result(run, condition, &kinds, guards, seed);
    let conditions: Vec<ConditionResult> = run.header.conditions.iter().map(result).collect();
    let best = best(&conditions);
    Analysis { conditions, best }
}

fn condition_result(
    run: &Run,
    condition: &Condition,
    kinds: &[String],
    guards: &Guards,
    seed: u64,
) -> ConditionResult {
    let baseline = condition.baseline.as_deref();
    let baseline_drift = baseline.and_then(|label| drift(run, label));
    let calls: Vec<&Call> = counted(run, &condition.label).collect();
    let (mut cells, mut parts) = (Vec::new(), Vec::new());
    let mut streams = Rng::with_seed(seed);
    for kind in kinds {
        let of_kind: Vec<&Call> = calls.iter().copied().filter(|call| call.kind == *kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        let sample = sample(of_kind.iter().copied());
        let base = baseline.map(|label| sample_of(run, label, kind));
        // Each kind draws from a stream of its own, so that one more does not change the others' intervals; streams of
        // neighbouring seeds would be correlated.
        let mut rng = streams.fork();
        let resampled = base
            .as_ref()
            .and_then(|base| stats::resample(&sample, base, guards.resamples, &mut rng));
        let mut cell = cell(kind, &of_kind, condition);
        let (variation, outliers) = sample.variation();
        cell.variation = (sample.len() > 1).then_some(variation);
        cell.outliers = outliers;
        cell.against_baseline = resampled.as_ref().and_then(Resampled::ratio);
        let base_variation = base.as_ref().map_or(0.0, |base| base.variation().0);
        let share = outliers as f64 / sample.len().max(1) as f64;
        cell.undecided = match (&base, cell.against_baseline) {
            (None, _) => None,
            (Some(base), _) if base.is_empty() => None,
            (Some(_), None) => Some(TOO_FEW.to_owned()),
            (Some(_), Some(_)) => objection(guards, variation.max(base_variation), share, baseline_drift),
        };
        cell.decide(condition);
        cells.push(cell);
        parts.extend(resampled);
    }
    let mut overall = cell("all", &calls, condition);
    if calls.is_empty() {
        // A server that drafts nothing is found by its first call; the run ends there.
        let made = run.calls.iter().filter(|call| call.condition == condition.label);
        overall.drafted = made.filter_map(|call| call.drafted).reduce(|a, b| a + b);
    }
    overall.outliers = cells.iter().map(|cell| cell.outliers).sum();
    overall.variation = cells.iter().filter_map(|cell| cell.variation).reduce(f64::max);
    overall.against_baseline = stats::combine(&parts).as_ref().and_then(Resampled::ratio);
    overall.undecided = cells.iter().find_map(|cell| cell.undecided.clone());
    overall.decide(condition);
    ConditionResult {
        label: condition.label.clone(),
        n_max: condition.n_max,
        parallel: condition.parallel,
        should_draft: condition.drafts,
        server: condition.server.clone(),
        url: condition.url.clone(),
        baseline: condition.baseline.clone(),
        drift: drift(run, &condition.label).map(|drift| drift.change),
        kinds: cells,
        overall,
    }
}

fn sample<'r>(calls: impl Iterator<Item = &'r Call>) -> Sample {
    Sample::new(calls.filter_map(|call| Some((call.prompt, call.speed()?))))
}

fn sample_of(run: &Run, label: &str, kind: &str) -> Sample {
    sample(counted(run, label).filter(|call| call.kind == kind))
}

/// A cell's figures, without a comparison.
fn cell(kind: &str, calls: &[&Call], condition: &Condition) -> Cell {
    let whole = || calls.iter().filter(|call| call.speed().is_some());
    let middle = |values: Vec<f64>, share: f64| (!values.is_empty()).then(|| stats::quantile(&values, share));
    let ms = |ns: u64| ns as f64 / 1e6;
    let walls = || {
        whole()
            .map(|call| ms(call.wall_ns))
            .filter(|ms| *ms > 0.0)
            .collect()
    };
    Cell {
        kind: kind.to_owned(),
        calls: whole().count(),
        failed: calls.iter().filter(|call| call.error.is_some()).count(),
        cold: calls.iter().filter(|call| call.is_cold()).count(),
        outliers: 0,
        tokens_per_second: middle(whole().filter_map(|call| call.speed()).collect(), 0.5),
        prompt_tokens_per_second: middle(whole().filter_map(|call| call.prompt_speed()).collect(), 0.5),
        first_token_ms: middle(whole().filter_map(|call| call.ttft_ns).map(ms).collect(), 0.5),
        wall_p50_ms: middle(walls(), 0.5),
        wall_p95_ms: middle(walls(), 0.95),
        variation: None,
        acceptance: acceptance(calls, condition.n_max),
        drafted: calls.iter().filter_map(|call| call.drafted).reduce(|a, b| a + b),
        against_baseline: None,
        decision: Decision::Baseline,
        undecided: None,
    }
}

impl Cell {
    fn decide(&mut self, condition: &Condition) {
        self.decision = match (self.drafted, self.against_baseline) {
            (Some(0), _) if condition.drafts => Decision::DraftsNothing,
            _ if self.undecided.is_some() => Decision::NotDecided,
            (_, None) => Decision::Baseline,
            (_, Some(ratio)) if ratio.low > 1.0 => Decision::Pays,
            (_, Some(ratio)) if ratio.high < 1.0 => Decision::Costs,
            _ => Decision::NoDifference,
        };
        if self.decision != Decision::NotDecided {
            self.undecided = None;
        }
    }
}

/// What a guard has against a result.
fn objection(guards: &Guards, variation: f64, outliers: f64, drift: Option<Drift>) -> Option<String> {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    if variation > guards.max_variation {
        return Some(format!(
            "speeds of the same prompt vary by {}, more than {}: stop other work on the machine, fix its clock rate, or \
             allow it with --max-variation",
            percent(variation),
            percent(guards.max_variation)
        ));
    }
    if outliers > guards.max_outliers {
        return Some(format!(
            "{} of the calls are outliers: something else runs on the machine; stop it, or make more calls",
            percent(outliers)
        ));
    }
    let drift = drift.filter(|drift| drift.is_real && drift.change.abs() > guards.max_drift)?;
    Some(format!(
        "the baseline's speed changed by {} over the run: let the machine reach its temperature with --warmup 20, or \
         measure when nothing else runs",
        percent(drift.change)
    ))
}

#[derive(Clone, Copy)]
struct Drift {
    change: f64,
    /// Whether it is more than noise.
    is_real: bool,
}

/// Change of a condition's speed from the first third of its calls to the last.
fn drift(run: &Run, label: &str) -> Option<Drift> {
    let mut calls: Vec<&Call> = counted(run, label)
        .filter(|call| call.speed().is_some())
        .collect();
    calls.sort_by_key(|call| call.seq);
    let third = calls.len() / 3;
    if third < 6 {
        return None;
    }
    // Speeds in units of the prompt's median, as the thirds need not hold the same prompts.
    let key = |call: &Call| (call.kind.clone(), call.prompt);
    let mut medians: std::collections::BTreeMap<(String, usize), Vec<f64>> = Default::default();
    for call in &calls {
        medians.entry(key(call)).or_default().extend(call.speed());
    }
    let part = |calls: &[&Call]| {
        Sample::new(calls.iter().filter_map(|call| {
            let usual = stats::median(medians.get(&key(call))?);
            Some((0, call.speed()? / usual))
        }))
    };
    let (first, last) = (part(&calls[..third]), part(&calls[calls.len() - third..]));
    let (change, errors) = stats::change(&last, &first)?;
    Some(Drift {
        change,
        is_real: errors > DRIFT_ERRORS,
    })
}

/// What the target accepted in these calls.
fn acceptance(calls: &[&Call], n_max: Option<u32>) -> Option<Acceptance> {
    let sum =
        |figure: fn(&Call) -> Option<u64>| calls.iter().filter_map(|call| figure(call)).reduce(|a, b| a + b);
    let drafted = sum(|call| call.drafted).filter(|drafted| *drafted > 0)?;
    let accepted = sum(|call| call.accepted)?;
    let drafts = sum(|call| call.drafts).filter(|drafts| *drafts > 0);
    let told = calls.iter().filter(|call| call.drafted.is_some());
    let generated: u64 = told.map(|call| call.eval_count).sum();
    let mut by_position: Vec<u64> = Vec::new();
    for positions in calls.iter().filter_map(|call| call.accepted_by_position.as_ref()) {
        by_position.resize(by_position.len().max(positions.len()), 0);
        by_position
            .iter_mut()
            .zip(positions)
            .for_each(|(sum, count)| *sum += count);
    }
    let places = n_max.map_or(by_position.len(), |n| by_position.len().min(n as usize));
    by_position.truncate(places);
    let reached = drafts.map_or(Vec::new(), |drafts| reached(drafted, drafts, places as u64));
    let position = |(&drafted, &accepted): (&u64, &u64)| Position {
        drafted,
        accepted,
        rate: accepted as f64 / drafted.max(1) as f64,
    };
    Some(Acceptance {
        drafted,
        accepted,
        rate: accepted as f64 / drafted as f64,
        mean_length: match drafts {
            Some(drafts) => Some(1.0 + accepted as f64 / drafts as f64),
            // Every round yields one token of the target's own.
            None if generated > accepted => Some(generated as f64 / (generated - accepted) as f64),
            None => None,
        },
        by_position: reached.iter().zip(&by_position).map(position).collect(),
    })
}

/// How many of the drafts reached each place, where they hold `drafted` tokens in all: drafts are cut short at the end of
/// an answer, so what is missing is missing behind.
fn reached(drafted: u64, drafts: u64, places: u64) -> Vec<u64> {
    let mut missing = (drafts * places).saturating_sub(drafted);
    let mut counts: Vec<u64> = (0..places)
        .rev()
        .map(|place| {
            // A draft that misses a place misses those behind it too.
            let share = missing.div_ceil(place + 1).min(drafts);
            missing -= share.min(missing);
            drafts - share
        })
        .collect();
    counts.reverse();
    counts
}

/// The best number of tokens a draft by number of calls at the same time: off where nothing is shown to be faster.
fn best(conditions: &[ConditionResult]) -> Vec<Best> {
    let mut parallels: Vec<u32> = conditions.iter().map(|condition| condition.parallel).collect();
    parallels.sort_unstable();
    parallels.dedup();
    let of_parallel = |parallel: u32| {
        let drafting = || {
            conditions.iter().filter(move |condition| {
                condition.parallel == parallel
                    && condition.n_max.is_some_and(|n| n > 0)
                    && !matches!(
                        condition.overall.decision,
                        Decision::Baseline | Decision::DraftsNothing
                    )
            })
        };
        drafting().next()?;
        let is_decided = drafting().any(|condition| condition.overall.decision != Decision::NotDecided);
        let faster = drafting()
            .filter(|condition| condition.overall.decision == Decision::Pays)
            .filter_map(|condition| Some((condition.n_max?, condition.overall.against_baseline?)));
        let fastest = faster.max_by(|a, b| a.1.ratio.total_cmp(&b.1.ratio));
        Some(Best {
            parallel,
            n_max: fastest.map_or(is_decided.then_some(0), |(n_max, _)| Some(n_max)),
            against_off: fastest.map(|(_, ratio)| ratio),
        })
    };
    parallels.into_iter().filter_map(of_parallel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_drafts_miss_the_last_places() {
        assert_eq!(reached(30, 10, 3), [10, 10, 10]);
        assert_eq!(reached(29, 10, 3), [10, 10, 9]);
        assert_eq!(reached(0, 0, 3), [0, 0, 0]);
        let counts = reached(27, 10, 3);
        assert_eq!(counts.iter().sum::<u64>(), 27);
        assert!(counts.is_sorted_by(|a, b| a >= b), "{counts:?}");
    }
}
