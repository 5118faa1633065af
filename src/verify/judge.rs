//! From figures to a verdict.

use super::report::Verdict;
use super::speculate::Acceptance;
use super::words::code;
use crate::finding::Finding;
use std::path::Path;

/// First guesses accepted below which a drafter has nothing to do with its target.
const STRANGER: f64 = 0.05;
/// The same for its surprise, as a part of that of a blind guesser.
const STRANGER_SURPRISE: f64 = 0.7;
/// First guesses accepted below which something is amiss, or the text unusual.
const POOR: f64 = 0.25;
/// Part of its source's accepted tokens a round that a quantized drafter must reach.
const LEAST_OF_SOURCE: f64 = 0.5;
/// Fewer drafts than this say nothing.
const LEAST_ROUNDS: usize = 8;

/// How a drafter fared.
#[derive(Debug, Clone, Copy)]
pub struct Figures<'a> {
    /// What was accepted.
    pub acceptance: &'a Acceptance,
    /// Mean surprise by the target's text, as a part of that of a blind guesser.
    pub surprise: f64,
}

impl Figures<'_> {
    /// First guesses accepted, where there were enough of them.
    fn first_rate(&self) -> Option<f64> {
        let acceptance = self.acceptance;
        acceptance
            .first_rate()
            .filter(|_| acceptance.rounds >= LEAST_ROUNDS)
    }

    fn is_stranger(&self) -> bool {
        self.first_rate().is_some_and(|first| first < STRANGER) || self.surprise > STRANGER_SURPRISE
    }

    fn accepted_a_round(&self) -> f64 {
        self.acceptance.mean_length().unwrap_or(1.0) - 1.0
    }
}

/// What the figures say of drafter and target, the source's beside them where there is one. `reasons` are the numbers
/// in which both disagree, in words.
pub fn acceptance(ours: Figures, source: Option<Figures>, reasons: &[String]) -> Option<Finding> {
    let counts = ours.acceptance;
    let figures = format!(
        "{} of {} drafted tokens are accepted",
        counts.accepted, counts.drafted
    );
    if let Some(source) = source.filter(|source| !source.is_stranger()) {
        return (ours.accepted_a_round() < LEAST_OF_SOURCE * source.accepted_a_round()).then(|| {
            let (accepted, drafted) = (source.acceptance.accepted, source.acceptance.drafted);
            let message = format!(
                "the drafter is far below its source: {figures}, of the source's {accepted} of {drafted}"
            );
            Finding::error(code::DRAFTS, message)
        });
    }
    if ours.is_stranger() {
        let also = if source.is_some() {
            ", and the source does no better"
        } else {
            ""
        };
        let message = format!("{}: {figures}{also}", stranger(reasons));
        return Some(Finding::error(code::PAIR, message));
    }
    ours.first_rate().is_some_and(|first| first < POOR).then(|| {
        let message = format!(
            "{figures}, which is little; another --prompt, or --source with its checkpoint, tells more"
        );
        Finding::warning(code::DRAFTS, message)
    })
}

/// The sentence for a drafter of something else.
pub fn stranger(reasons: &[String]) -> String {
    match reasons {
        [] => "the drafter does not belong to this target".to_owned(),
        reasons => format!(
            "the drafter does not belong to this target ({})",
            reasons.join("; ")
        ),
    }
}

/// The line that a person reads.
pub fn verdict(
    findings: &[Finding],
    drafter: &Path,
    target: &Path,
    ours: Option<&Acceptance>,
    source: Option<&Acceptance>,
    has_source: bool,
) -> Verdict {
    let name = |path: &Path| {
        path.file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy()
            .into_owned()
    };
    let (drafter, target) = (name(drafter), name(target));
    let faults: Vec<&Finding> = findings.iter().filter(|finding| finding.is_error()).collect();
    let line = match faults.as_slice() {
        [] => {
            let faithful = if has_source {
                "holds what its source holds and "
            } else {
                ""
            };
            let accepted = ours.filter(|ours| ours.drafted > 0).map(|ours| {
                let (a, d) = (ours.accepted, ours.drafted);
                let beside = source.map(|s| format!(" (its source {} of {})", s.accepted, s.drafted));
                format!(
                    "{a} of {d} drafted tokens are accepted{}",
                    beside.unwrap_or_default()
                )
            });
            let accepted =
                accepted.unwrap_or_else(|| "nothing was generated, so acceptance is unknown".to_owned());
            format!("{drafter} {faithful}drafts for {target}: {accepted}")
        }
        [one] => format!("{drafter} is not good for {target}: {}", one.message),
        [first, rest @ ..] => {
            format!(
                "{drafter} is not good for {target}: {} (and {} more)",
                first.message,
                rest.len()
            )
        }
    };
    Verdict {
        ok: faults.is_empty(),
        line,
    }
}
