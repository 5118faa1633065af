//! What a verification found, for people and for programs.

use super::compare::{self, Comparison};
use super::drafts::{Differences, StepDifference};
use super::speculate::Acceptance;
use crate::finding::Finding;
use serde::Serialize;

/// The whole of it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Good or bad, in a line.
    pub verdict: Verdict,
    /// What speaks against the file, faults before warnings.
    pub findings: Vec<Finding>,
    /// The drafter's GGUF.
    pub drafter: String,
    /// The target's GGUF.
    pub target: String,
    /// The drafter's checkpoint.
    pub source: Option<String>,
    /// The target's checkpoint.
    pub target_source: Option<String>,
    /// Which keys sliding layers of an assistant see: `llama.cpp` or `transformers`; absent for other drafters.
    pub window: Option<&'static str>,
    /// How an assistant scores the vocabulary: `dense` or `centroid`; absent for other drafters.
    pub head: Option<&'static str>,
    /// Arithmetic of target and drafter: `f32` or `llama.cpp`.
    pub arithmetic: &'static str,
    /// Token ids.
    pub prompt: Vec<u32>,
    /// The file's tensors against the source's.
    pub weights: Option<Vec<TensorReport>>,
    /// One draft, after the prompt.
    pub forward: Option<ForwardReport>,
    /// The drafter against its source over all drafts, by place in the draft.
    pub agreement: Option<Vec<AgreementReport>>,
    /// Speculative decoding with the drafter.
    pub acceptance: Option<AcceptanceReport>,
    /// The same with its source.
    pub source_acceptance: Option<AcceptanceReport>,
    /// Acceptance by kind of prompt, where that was asked for.
    pub suite: Option<SuiteReport>,
    /// What the checkpoints write and draft.
    pub checkpoints: Option<CheckpointReport>,
    /// Whether it was ended early, so that this is of what was done until then.
    #[serde(rename = "partial")]
    pub is_partial: bool,
}

/// Good or bad, with the line that says why.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// Which of them.
    pub outcome: Outcome,
    /// Whether the file is proven good: [`Outcome::Ok`].
    pub ok: bool,
    /// One line.
    pub line: String,
}

impl Verdict {
    pub(super) fn new(outcome: Outcome, line: String) -> Verdict {
        Verdict {
            outcome,
            ok: outcome == Outcome::Ok,
            line,
        }
    }
}

/// What a verification comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// Nothing is wrong, and the target accepts its drafts or its source proves it.
    Ok,
    /// Nothing is wrong that shows, and little is accepted.
    Low,
    /// Nothing is wrong that shows, and too little was drafted to say more.
    NotDecided,
    /// There are errors.
    NotOk,
}

impl Outcome {
    /// In words: `NOT OK`.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Low => "low acceptance",
            Outcome::NotDecided => "not decided",
            Outcome::NotOk => "NOT OK",
        }
    }
}

/// One tensor against the source's.
#[derive(Debug, Serialize)]
pub struct TensorReport {
    /// Name in the GGUF.
    pub name: String,
    /// Type in the GGUF.
    #[serde(rename = "type")]
    pub ty: String,
    /// Whether it is as near to the source as the type allows.
    pub ok: bool,
    /// Whether the source has it in the same shape, so that the rest means something.
    pub compared: bool,
    /// Whether every number is the source's, or its rounding to a floating-point type.
    pub exact: bool,
    /// Largest difference.
    pub max_error: f64,
    /// Root mean square of the differences.
    pub rms_error: f64,
    /// The same in units of the source's.
    pub relative_error: f64,
    /// The largest relative error that the type may have.
    pub ceiling: f64,
    /// Cosine between both.
    pub cosine: f64,
}

/// One draft, after the prompt.
#[derive(Debug, Serialize)]
pub struct ForwardReport {
    /// Where the target's next token stands.
    pub position: usize,
    /// That token.
    pub next: u32,
    /// The tokens drafted after it.
    pub drafted: Vec<u32>,
    /// Those that the source drafts.
    pub source_drafted: Option<Vec<u32>>,
    /// The drafter against the source, both with the source's inputs, step by step.
    pub steps: Option<Vec<StepReport>>,
}

/// One step of the drafter against the source.
#[derive(Debug, Serialize)]
pub struct StepReport {
    /// Whether both draft the same token.
    pub agree: bool,
    /// Kullback–Leibler divergence in nats.
    pub kl: f64,
    /// Largest difference of a logit.
    pub max_logit_difference: f32,
}

/// Many steps of the drafter against the source.
#[derive(Debug, Serialize)]
pub struct AgreementReport {
    /// Number of steps.
    pub steps: usize,
    /// Share of them in which both draft the same token.
    pub top_1: f64,
    /// Mean Kullback–Leibler divergence in nats.
    pub mean_kl: f64,
    /// The largest.
    pub max_kl: f64,
    /// Largest difference of a logit.
    pub max_logit_difference: f32,
}

/// What came of speculative decoding.
#[derive(Debug, Serialize)]
pub struct AcceptanceReport {
    /// Tokens drafted.
    pub drafted: usize,
    /// Drafted tokens that the target confirmed.
    pub accepted: usize,
    /// `accepted / drafted`.
    pub rate: Option<f64>,
    /// Passes of the target.
    pub rounds: usize,
    /// Tokens a pass yields: its own and the accepted ones.
    pub mean_accepted_length: Option<f64>,
    /// By place in the draft.
    pub by_position: Vec<PositionReport>,
    /// Mean surprise by what the target writes, in nats a token, over one and two steps.
    pub surprise: Option<f64>,
    /// The tokens written; absent for a drafter that only rehearsed.
    pub output: Option<Vec<u32>>,
    /// Whether these are what the target writes without a drafter; absent where it was not made to. They are what its
    /// passes said.
    pub output_is_greedy: Option<bool>,
}

/// One place in the drafts.
#[derive(Debug, Serialize)]
pub struct PositionReport {
    /// Drafts that reached it.
    pub drafted: usize,
    /// Those confirmed up to it.
    pub accepted: usize,
    /// `accepted / drafted`.
    pub rate: f64,
}

/// Acceptance by kind of prompt.
#[derive(Debug, Default, Serialize)]
#[non_exhaustive]
pub struct SuiteReport {
    /// Kind by kind.
    pub kinds: Vec<KindReport>,
    /// All of them together.
    pub all: KindReport,
}

/// Acceptance over the prompts of a kind.
#[derive(Debug, Default, Serialize)]
#[non_exhaustive]
pub struct KindReport {
    /// The kind, `all` for all together.
    pub kind: String,
    /// Prompts that were answered.
    pub prompts: usize,
    /// Tokens drafted.
    pub drafted: usize,
    /// Drafted tokens that the target confirmed.
    pub accepted: usize,
    /// `accepted / drafted`.
    pub rate: Option<f64>,
    /// The interval that holds the rate with 95% confidence (Wilson's).
    pub interval: (f64, f64),
    /// Tokens a pass yields: its own and the accepted ones.
    pub mean_accepted_length: Option<f64>,
    /// By place in the draft.
    pub by_position: Vec<PositionReport>,
}

/// What the checkpoints write and draft.
#[derive(Debug, Serialize)]
pub struct CheckpointReport {
    /// The target's next token after the prompt.
    pub next: u32,
    /// The tokens drafted after it.
    pub drafted: Vec<u32>,
    /// The target's greedy continuation.
    pub greedy: Vec<u32>,
}

impl PositionReport {
    pub(super) fn of(acceptance: &Acceptance) -> Vec<PositionReport> {
        let places = acceptance.by_position.iter();
        places
            .map(|&(drafted, accepted)| PositionReport {
                drafted,
                accepted,
                rate: accepted as f64 / drafted.max(1) as f64,
            })
            .collect()
    }
}

impl From<&Comparison> for TensorReport {
    fn from(comparison: &Comparison) -> TensorReport {
        let (compared, error) = match &comparison.outcome {
            compare::Outcome::Compared(error) => (true, error.clone()),
            compare::Outcome::Shape(_) | compare::Outcome::NotInSource => (false, Default::default()),
        };
        TensorReport {
            name: comparison.name.clone(),
            ty: comparison.ty.to_string(),
            ok: comparison.is_good(),
            compared,
            exact: error.exact,
            max_error: error.max,
            rms_error: error.rms,
            relative_error: error.relative,
            ceiling: compare::ceiling(comparison.ty),
            cosine: error.cosine,
        }
    }
}

impl From<StepDifference> for StepReport {
    fn from(step: StepDifference) -> StepReport {
        StepReport {
            agree: step.agree,
            kl: step.kl,
            max_logit_difference: step.max_logit,
        }
    }
}

impl From<&Differences> for AgreementReport {
    fn from(all: &Differences) -> AgreementReport {
        let steps = all.steps.max(1) as f64;
        AgreementReport {
            steps: all.steps,
            top_1: all.agreed as f64 / steps,
            mean_kl: all.kl_sum / steps,
            max_kl: all.kl_max,
            max_logit_difference: all.max_logit,
        }
    }
}

impl From<&Acceptance> for AcceptanceReport {
    fn from(acceptance: &Acceptance) -> AcceptanceReport {
        AcceptanceReport {
            drafted: acceptance.drafted,
            accepted: acceptance.accepted,
            rate: acceptance.rate(),
            rounds: acceptance.rounds,
            mean_accepted_length: acceptance.mean_length(),
            by_position: PositionReport::of(acceptance),
            surprise: None,
            output: None,
            output_is_greedy: None,
        }
    }
}
