//! Verdicts in words.

use super::analysis::{Analysis, Cell, ConditionResult, Decision};
use super::stats::Ratio;
use crate::finding::Finding;

/// What a benchmark objects to: drafting that was asked for and does not happen is an error; gains that are lost with
/// several calls at a time, and results that are none, are warnings.
pub fn findings(analysis: &Analysis) -> Vec<Finding> {
    let mut findings = Vec::new();
    for condition in &analysis.conditions {
        let label = Some(condition.label.clone());
        match condition.overall.decision {
            Decision::DraftsNothing => findings.push(
                Finding::error("drafts-nothing", "drafting was asked for and nothing was drafted")
                    .about(label)
                    .hint(cause(&condition.server)),
            ),
            Decision::NotDecided => {
                let reason = condition.overall.undecided.clone().unwrap_or_default();
                findings.push(Finding::warning("not-decided", reason).about(label));
            }
            _ => {}
        }
    }
    findings.extend(
        traps(analysis)
            .into_iter()
            .map(|trap| Finding::warning("parallel-trap", trap)),
    );
    findings
}

/// One sentence for each condition that is compared, and what follows from all; what matters most comes first.
pub fn sentences(analysis: &Analysis) -> Vec<String> {
    let compared = || {
        analysis
            .conditions
            .iter()
            .filter(|condition| condition.overall.decision != Decision::Baseline)
    };
    let (nothing, others): (Vec<_>, Vec<_>) =
        compared().partition(|condition| condition.overall.decision == Decision::DraftsNothing);
    let mut lines: Vec<String> = nothing.into_iter().map(drafts_nothing).collect();
    lines.extend(analysis.best.iter().map(|best| {
        let at = match analysis.best.len() > 1 {
            true => format!(" with {} at the same time", calls(best.parallel)),
            false => String::new(),
        };
        match (best.n_max, &best.against_off) {
            (Some(n_max), Some(ratio)) => format!("best n-max{at}: {n_max}, {}", interval(ratio)),
            (Some(_), None) => format!("best n-max{at}: 0, drafting is not shown to pay"),
            (None, _) => format!("best n-max{at}: not decided"),
        }
    }));
    lines.extend(traps(analysis));
    lines.extend(others.into_iter().map(condition));
    lines
}

fn calls(parallel: u32) -> String {
    match parallel {
        1 => "one call".to_owned(),
        n => format!("{n} calls"),
    }
}

/// A ratio with its interval: `1.42× [1.38, 1.46]`.
pub fn interval(ratio: &Ratio) -> String {
    format!("{:.2}× [{:.2}, {:.2}]", ratio.ratio, ratio.low, ratio.high)
}

/// A share in percent, with a digit behind the point where it is small.
pub fn percent(share: f64) -> String {
    match share.abs() < 0.0995 {
        true => format!("{:.1} %", share * 100.0),
        false => format!("{:.0} %", share * 100.0),
    }
}

/// A condition's verdict: what it does for each kind of prompts, those that differ first.
fn condition(condition: &ConditionResult) -> String {
    let mut parts: Vec<String> = Vec::new();
    for wanted in [
        Decision::Pays,
        Decision::Costs,
        Decision::NoDifference,
        Decision::NotDecided,
    ] {
        let cells = condition.kinds.iter().filter(|cell| cell.decision == wanted);
        match wanted {
            // The reason is as good as always the same: told once.
            Decision::NotDecided => {
                let cells: Vec<&Cell> = cells.collect();
                if let Some(reason) = cells.first().and_then(|cell| cell.undecided.as_deref()) {
                    let kinds: Vec<&str> = cells.iter().map(|cell| cell.kind.as_str()).collect();
                    parts.push(format!("not decided for {}: {reason}", kinds.join(", ")));
                }
            }
            _ => parts.extend(cells.filter_map(cell)),
        }
    }
    let unseen = match condition.overall.against_baseline {
        Some(ratio) => format!(
            " ({} all kinds, {}; {} a condition show effects from {} on)",
            match condition.overall.decision {
                Decision::Pays => "pays over".to_owned(),
                Decision::Costs => format!("costs {} over", percent(1.0 - ratio.ratio)),
                _ => "over".to_owned(),
            },
            interval(&ratio),
            match condition.overall.calls {
                1 => "1 call".to_owned(),
                n => format!("{n} calls"),
            },
            percent(ratio.smallest_effect)
        ),
        None => String::new(),
    };
    let silent = match (
        condition.should_draft,
        condition.overall.drafted,
        condition.overall.decision,
    ) {
        (true, None, Decision::NoDifference) => format!(
            "; {} does not tell whether anything was drafted, and most likely nothing was: {}",
            server(condition),
            cause(&condition.server)
        ),
        (true, None, Decision::Pays | Decision::Costs) => {
            format!("; {} does not tell what was accepted", server(condition))
        }
        _ => String::new(),
    };
    format!("{}: {}{unseen}{silent}", condition.label, parts.join("; "))
}

fn server(condition: &ConditionResult) -> &str {
    match condition.server.as_str() {
        "ollama" => "Ollama",
        "file" => "the log",
        _ => "the server",
    }
}

/// One kind's verdict.
fn cell(cell: &Cell) -> Option<String> {
    let ratio = cell.against_baseline?;
    let kind = &cell.kind;
    Some(match cell.decision {
        Decision::Pays => format!("pays for {kind}, {}", interval(&ratio)),
        Decision::Costs => format!(
            "costs {} for {kind}, {}",
            percent(1.0 - ratio.ratio),
            interval(&ratio)
        ),
        Decision::NoDifference => format!(
            "no difference for {kind}, {}, less than {} would not show",
            interval(&ratio),
            percent(ratio.smallest_effect)
        ),
        Decision::Baseline | Decision::NotDecided | Decision::DraftsNothing => return None,
    })
}

fn drafts_nothing(condition: &ConditionResult) -> String {
    format!(
        "{}: drafting was asked for and nothing was drafted; likely cause: {}",
        condition.label,
        cause(&condition.server)
    )
}

/// Why a server may draft nothing, and the way out.
fn cause(server: &str) -> &'static str {
    match server {
        "llama-server" => {
            "the server was started without --spec-type draft-mtp (llama.cpp then loads a gemma4-assistant drafter and never \
             uses it) or without --model-draft; start it with both"
        }
        "ollama" => {
            "no drafter is loaded; an environment variable or draft_num_predict alone does not load one, the model's \
             Modelfile needs a line `DRAFT ./drafter.gguf` (see `ollama show --modelfile`)"
        }
        "file" => {
            "no drafter was loaded; an environment variable alone does not load one, the server needs the drafter's file \
             (Ollama: `DRAFT ./drafter.gguf` in the Modelfile; llama-server: --model-draft and --spec-type draft-mtp)"
        }
        _ => {
            "no drafter was named when the server was started (llama-server: --model-draft and --spec-type draft-mtp; mlx-vlm: \
             --draft-model and --draft-kind mtp; vLLM: --speculative-config)"
        }
    }
}

/// Ways of drafting that pay for one call at a time and cost with several.
fn traps(analysis: &Analysis) -> Vec<String> {
    let decided = |decision: Decision| {
        let conditions = analysis.conditions.iter();
        conditions
            .filter(move |condition| condition.overall.decision == decision)
            .filter_map(|condition| Some((condition, condition.overall.against_baseline?)))
    };
    let gains = decided(Decision::Pays).filter(|(condition, _)| condition.parallel == 1);
    let mut lines = Vec::new();
    for (gainer, gain) in gains {
        let is_same = |other: &ConditionResult| (other.n_max, &other.url) == (gainer.n_max, &gainer.url);
        let losses = decided(Decision::Costs).filter(|(other, _)| other.parallel > 1 && is_same(other));
        let name = match gainer.n_max {
            Some(n_max) => format!("n-max {n_max}"),
            None => gainer.label.clone(),
        };
        for (loser, loss) in losses {
            lines.push(format!(
                "parallel trap: {name} pays for one call at a time, {}, and costs {} with {}, {}; serve with \
                 --parallel 1 or without drafting",
                interval(&gain),
                percent(1.0 - loss.ratio),
                calls(loser.parallel),
                interval(&loss)
            ));
        }
    }
    lines
}
