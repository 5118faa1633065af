//! From figures to a verdict.

use super::report::{Outcome, Verdict};
use super::speculate::Acceptance;
use super::words::code;
use crate::finding::Finding;
use crate::text::escape;
use std::path::Path;

/// First guesses accepted below which a drafter has nothing to do with its target.
const STRANGER: f64 = 0.05;
/// The same for its surprise, as a part of that of a blind guesser.
const STRANGER_SURPRISE: f64 = 0.7;
/// Share of drafted tokens accepted below which something is amiss, or the text unusual: trained drafters have 0.6 and
/// more on code, drafters with a matrix negated or two layers exchanged 0.35 and less.
const LOW: f64 = 0.4;
/// Fewer drafted tokens than this decide nothing.
const LEAST_DRAFTED: usize = 40;
/// More than this are never asked for.
const MOST_NEEDED: usize = 400;
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
    /// Whether a good drafter of the kind may have few first guesses accepted.
    pub may_be_weak: bool,
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
        let is_never_right = || self.first_rate().is_some_and(|first| first < STRANGER);
        (!self.may_be_weak && is_never_right()) || self.surprise > STRANGER_SURPRISE
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
    evidence(counts, &figures, source.is_some())
}

/// Surprise of a target by its own text, as a part of that of a blind guesser, above which it is no model.
const NO_MODEL: f64 = 0.4;

/// Whether the target is a model at all: one writes what it holds likely, random weights hold nothing so.
pub fn target(surprise: Option<f64>, blind: f64) -> Option<Finding> {
    let surprise = surprise.filter(|surprise| *surprise > NO_MODEL * blind)?;
    let message = format!(
        "the target's own text has a surprise of {surprise:.1} nats a token: this target is not a working model"
    );
    Some(Finding::error(code::TARGET, message).hint("give the GGUF of a trained model as --target"))
}

/// What the number of drafted tokens allows to say: too few for a verdict, or enough and few of them accepted.
fn evidence(counts: &Acceptance, figures: &str, has_source: bool) -> Option<Finding> {
    let decide = match has_source {
        true => "another --prompt, nearer to what the model is used for, tells more",
        false => {
            "--source with the checkpoint it was converted from tells whether the file or the pair is at fault"
        }
    };
    let warning =
        |message: String, hint: String| Some(Finding::warning(code::ACCEPTANCE, message).hint(hint));
    match Evidence::of(counts) {
        Evidence::Enough => None,
        // The source's tensors and drafts are proof enough.
        Evidence::TooFew { .. } if has_source => None,
        Evidence::TooFew { needed } => warning(
            format!("{figures}: too few drafts to decide anything, about {needed} are needed"),
            format!(
                "generate more tokens (--generate {})",
                needed.next_multiple_of(64)
            ),
        ),
        Evidence::Low { interval } => warning(
            format!("{figures}, which is low: between {}", between(interval)),
            decide.to_owned(),
        ),
    }
}

/// An interval of shares in words.
fn between((low, high): (f64, f64)) -> String {
    format!("{:.0}% and {:.0}% with 95% confidence", low * 100.0, high * 100.0)
}

/// What a number of drafted and accepted tokens says by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Evidence {
    /// At least [`LOW`] of the drafts are accepted, or so it seems after many.
    Enough,
    /// The interval holds both good and low rates.
    TooFew {
        /// Drafted tokens after which this rate would be decided.
        needed: usize,
    },
    /// Less is accepted.
    Low {
        /// The 95% interval of the rate.
        interval: (f64, f64),
    },
}

impl Evidence {
    fn of(counts: &Acceptance) -> Evidence {
        let (accepted, drafted) = (counts.accepted, counts.drafted);
        let interval = wilson(accepted, drafted);
        let rate = counts.rate().unwrap_or(0.0);
        // After so many tokens a rate beside the border is told by where it lies.
        let settled = drafted >= MOST_NEEDED;
        if drafted >= LEAST_DRAFTED && (interval.1 < LOW || (settled && rate < LOW)) {
            Evidence::Low { interval }
        } else if drafted >= LEAST_DRAFTED && (interval.0 >= LOW || settled) {
            Evidence::Enough
        } else {
            // Wilson's interval of this rate leaves the border out from about here on.
            let needed = Z * Z * LOW * (1.0 - LOW) / (rate - LOW).powi(2);
            let needed = needed.clamp(LEAST_DRAFTED as f64, MOST_NEEDED as f64) as usize;
            Evidence::TooFew {
                needed: needed.max(drafted + 1).min(MOST_NEEDED),
            }
        }
    }
}

/// The two-sided 95% quantile of the normal distribution.
const Z: f64 = 1.96;

/// Wilson's score interval of a share at 95% (E. B. Wilson, 1927); all of it where nothing was counted.
pub fn wilson(hits: usize, of: usize) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    let (n, p) = (of as f64, hits as f64 / of as f64);
    let centre = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (
        ((centre - spread) / scale).max(0.0),
        ((centre + spread) / scale).min(1.0),
    )
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

/// The outcome, and the line that a person reads.
pub fn verdict(
    findings: &[Finding],
    drafter: &Path,
    target: &Path,
    ours: Option<&Acceptance>,
    source: Option<&Acceptance>,
    has_source: bool,
) -> Verdict {
    let name = |path: &Path| escape(path.file_name().unwrap_or(path.as_os_str()).as_encoded_bytes());
    let (drafter, target) = (name(drafter), name(target));
    let errors: Vec<&Finding> = findings.iter().filter(|finding| finding.is_error()).collect();
    if let [first, rest @ ..] = errors.as_slice() {
        let more = match rest.len() {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        return Verdict::new(
            Outcome::NotOk,
            format!("{drafter} is not good for {target}: {}{more}", first.message),
        );
    }
    let faithful = match has_source {
        true => "holds what its source holds and ",
        false => "",
    };
    let counts = ours.filter(|ours| ours.drafted > 0).map(|ours| {
        let beside = source.map(|s| format!(" (its source {} of {})", s.accepted, s.drafted));
        let (a, d) = (ours.accepted, ours.drafted);
        format!(
            "{a} of {d} drafted tokens are accepted{}",
            beside.unwrap_or_default()
        )
    });
    let counts = counts.unwrap_or_else(|| "nothing was drafted, so acceptance is unknown".to_owned());
    let (outcome, remark) = match ours.map_or(
        Evidence::TooFew {
            needed: LEAST_DRAFTED,
        },
        Evidence::of,
    ) {
        Evidence::Enough => (Outcome::Ok, String::new()),
        // The source's tensors and drafts are proof without a single accepted token.
        Evidence::TooFew { .. } if has_source => (Outcome::Ok, String::new()),
        Evidence::TooFew { needed } => {
            let remark = format!("; too few drafts, about {needed} are needed");
            (Outcome::NotDecided, remark)
        }
        Evidence::Low { interval } => (
            Outcome::Low,
            format!(", which is low: between {}", between(interval)),
        ),
    };
    Verdict::new(
        outcome,
        format!("{drafter} {faithful}drafts for {target}: {counts}{remark}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(accepted: usize, drafted: usize) -> Acceptance {
        Acceptance {
            rounds: drafted.div_ceil(3),
            drafted,
            accepted,
            by_position: Vec::new(),
        }
    }

    /// Values of R's `binom::binom.confint(method = "wilson")`.
    #[test]
    fn wilsons_interval() {
        let near = |(low, high): (f64, f64), expected: (f64, f64)| {
            assert!(
                (low - expected.0).abs() < 5e-4 && (high - expected.1).abs() < 5e-4,
                "{low} {high}"
            );
        };
        near(wilson(24, 312), (0.0522, 0.1120));
        near(wilson(0, 6), (0.0, 0.3903));
        near(wilson(0, 0), (0.0, 1.0));
    }

    #[test]
    fn a_rate_is_called_good_or_low_only_where_the_counts_decide_it() {
        for (accepted, drafted) in [(98, 101), (89, 127), (85, 138), (80, 155)] {
            assert_eq!(Evidence::of(&counts(accepted, drafted)), Evidence::Enough);
        }
        for (accepted, drafted) in [(24, 312), (63, 196), (51, 231)] {
            assert!(matches!(
                Evidence::of(&counts(accepted, drafted)),
                Evidence::Low { .. }
            ));
        }
        for (accepted, drafted) in [(0, 0), (0, 6), (6, 6), (24, 50)] {
            let Evidence::TooFew { needed } = Evidence::of(&counts(accepted, drafted)) else {
                panic!("{accepted} of {drafted}");
            };
            assert!((LEAST_DRAFTED..=MOST_NEEDED).contains(&needed) && needed > drafted);
        }
    }
}
