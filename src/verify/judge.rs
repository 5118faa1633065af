//! From figures to a verdict.

use super::finding::{Check, Finding};
use super::report::Verdict;
use super::speculate::Acceptance;
use std::path::Path;

/// First guesses accepted below which a drafter has nothing to do with its target.
const STRANGER: f64 = 0.05;
/// First guesses accepted below which something is amiss, or the text unusual.
const POOR: f64 = 0.25;
/// Part of its source's accepted tokens a round that a quantized drafter must reach.
const LEAST_OF_SOURCE: f64 = 0.75;
/// Fewer drafts than this say nothing.
const LEAST_ROUNDS: usize = 8;

/// What acceptance says of drafter and target, the source's beside it where there is one. `reasons` are the numbers in
/// which both disagree, in words.
pub fn acceptance(ours: &Acceptance, source: Option<&Acceptance>, reasons: &[String]) -> Option<Finding> {
    let first = ours.first_rate().filter(|_| ours.rounds >= LEAST_ROUNDS)?;
    let gained = |acceptance: &Acceptance| acceptance.mean_length().unwrap_or(1.0) - 1.0;
    let figures = format!(
        "{} of {} drafted tokens are accepted",
        ours.accepted, ours.drafted
    );
    if let Some(source) = source
        && source.first_rate().is_some_and(|first| first >= STRANGER)
    {
        return (gained(ours) < LEAST_OF_SOURCE * gained(source)).then(|| {
            let message = format!(
                "the drafter is far below its source: {figures}, of the source's {} of {}",
                source.accepted, source.drafted
            );
            Finding::fault(Check::Drafts, message)
        });
    }
    if first < STRANGER {
        let also = if source.is_some() {
            ", and the source does no better"
        } else {
            ""
        };
        let message = format!("{}: {figures}{also}", stranger(reasons));
        return Some(Finding::fault(Check::Pair, message));
    }
    (first < POOR).then(|| {
        let message = format!(
            "{figures}, which is little; another --prompt, or --source with its checkpoint, tells more"
        );
        Finding::warning(Check::Drafts, message)
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
    let faults: Vec<&Finding> = findings.iter().filter(|finding| finding.is_fault()).collect();
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
