//! How the report of a verification is printed.

use crate::cli::page::Page;
use crate::cli::print;
use crate::verify::{self, AcceptanceReport, ForwardReport, KindReport, Report, SuiteReport, TensorReport};
use std::collections::BTreeMap;

/// The verdict first, then what it rests on.
pub(super) fn text(report: &Report) -> Page {
    let mut page = Page::of_line(format!(
        "{}: {}",
        report.verdict.outcome.name(),
        report.verdict.line
    ));
    if print::is_quiet() {
        return page;
    }
    if let Some(length) = report.acceptance.as_ref().and_then(|a| a.mean_accepted_length) {
        page.line(format!(
            "{length:.2} tokens a pass of the target: so many times as fast, were drafting free"
        ));
        page.line("(what to expect here: gguf-conv advise; to measure it: gguf-conv bench)");
    }
    for finding in &report.findings {
        page.line(print::finding(finding));
    }
    let mut section = |title: String, rows: Vec<Vec<String>>| page.section(title, &rows);
    if let (Some(weights), Some(source)) = (&report.weights, &report.source) {
        section(format!("weights against {source}"), weight_rows(weights));
    }
    if let Some(forward) = &report.forward {
        let read = report.window.zip(report.head);
        let read = read.map(|(window, head)| format!(" (window {window}, head {head})"));
        let title = format!(
            "draft after a prompt of {} tokens{}",
            report.prompt.len(),
            read.unwrap_or_default()
        );
        section(title, draft_rows(forward));
    }
    if let Some(agreement) = &report.agreement {
        let mut rows = vec![cells([
            "step",
            "drafts",
            "top-1",
            "mean KL",
            "max KL",
            "max logit difference",
        ])];
        rows.extend(agreement.iter().enumerate().map(|(i, place)| {
            vec![
                (i + 1).to_string(),
                place.steps.to_string(),
                percent(place.top_1),
                format!("{:.2e}", place.mean_kl),
                format!("{:.2e}", place.max_kl),
                format!("{:.2e}", place.max_logit_difference),
            ]
        }));
        section("drafts against the source's, with its inputs".to_owned(), rows);
    }
    if let Some(acceptance) = &report.acceptance {
        let greedy = match acceptance.output_is_greedy {
            Some(true) => "; without the drafter it writes the same",
            Some(false) => "; without the drafter it writes others",
            None => ", not written again (--prove-greedy)",
        };
        section(
            format!(
                "acceptance over {} tokens of the target{greedy}",
                acceptance.output.as_ref().map_or(0, Vec::len)
            ),
            acceptance_rows(acceptance, report.source_acceptance.as_ref()),
        );
    }
    if let Some(suite) = &report.suite {
        section(
            "acceptance by kind of prompt, and by place in the draft".to_owned(),
            suite_rows(suite),
        );
    }
    page
}

fn cells<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// One line a type, with its worst tensor.
fn weight_rows(weights: &[TensorReport]) -> Vec<Vec<String>> {
    let mut by_type: BTreeMap<&str, Vec<&TensorReport>> = BTreeMap::new();
    for tensor in weights {
        by_type.entry(&tensor.ty).or_default().push(tensor);
    }
    let mut rows = vec![cells([
        "type",
        "tensors",
        "good",
        "relative error",
        "ceiling",
        "cosine",
        "worst",
    ])];
    for (ty, tensors) in by_type {
        let good = tensors.iter().filter(|tensor| tensor.ok).count();
        let worst = |a: &&&TensorReport, b: &&&TensorReport| a.relative_error.total_cmp(&b.relative_error);
        let mut row = cells([ty, &tensors.len().to_string(), &good.to_string()]);
        match tensors.iter().max_by(worst) {
            Some(worst) if !tensors.iter().all(|tensor| tensor.exact) => row.extend([
                format!("{:.4}", worst.relative_error),
                format!("{:.4}", worst.ceiling),
                format!("{:.6}", worst.cosine),
                worst.name.clone(),
            ]),
            _ => row.push("exact".to_owned()),
        }
        rows.push(row);
    }
    rows
}

fn draft_rows(forward: &ForwardReport) -> Vec<Vec<String>> {
    let mut head = cells(["step", "drafted"]);
    if forward.source_drafted.is_some() {
        head.extend(cells(["source", "same top", "KL", "max logit difference"]));
    }
    let mut rows = vec![head];
    for (i, token) in forward.drafted.iter().enumerate() {
        let mut row = vec![(i + 1).to_string(), token.to_string()];
        if let (Some(source), Some(steps)) = (&forward.source_drafted, &forward.steps)
            && let (Some(token), Some(step)) = (source.get(i), steps.get(i))
        {
            row.extend([
                token.to_string(),
                if step.agree { "yes" } else { "no" }.to_owned(),
                format!("{:.2e}", step.kl),
                format!("{:.2e}", step.max_logit_difference),
            ]);
        }
        rows.push(row);
    }
    rows
}

fn acceptance_rows(ours: &AcceptanceReport, source: Option<&AcceptanceReport>) -> Vec<Vec<String>> {
    let mut head = cells(["", "accepted", "drafted", "rate"]);
    if source.is_some() {
        head.extend(cells(["source", "drafted", "rate"]));
    }
    let figures = |accepted: usize, drafted: usize, rate: Option<f64>| {
        let rate = rate.map_or("-".to_owned(), percent);
        [accepted.to_string(), drafted.to_string(), rate]
    };
    let mut rows = vec![head];
    for (i, place) in ours.by_position.iter().enumerate() {
        let mut row = vec![format!("token {} of a draft", i + 1)];
        row.extend(figures(place.accepted, place.drafted, Some(place.rate)));
        if let Some(place) = source.and_then(|source| source.by_position.get(i)) {
            row.extend(figures(place.accepted, place.drafted, Some(place.rate)));
        }
        rows.push(row);
    }
    let mut total = vec!["all".to_owned()];
    total.extend(figures(ours.accepted, ours.drafted, ours.rate));
    let rest = |what: &str, figure: fn(&AcceptanceReport) -> Option<f64>| {
        let shown = |report| figure(report).map_or("-".to_owned(), |figure| format!("{figure:.2}"));
        let mut row = vec![what.to_owned(), String::new(), String::new(), shown(ours)];
        row.extend(
            source
                .into_iter()
                .flat_map(|source| [String::new(), String::new(), shown(source)]),
        );
        row
    };
    let more = [
        rest("tokens a pass", |report| report.mean_accepted_length),
        rest("surprise, nats a token", |report| report.surprise),
    ];
    if let Some(source) = source {
        total.extend(figures(source.accepted, source.drafted, source.rate));
    }
    rows.push(total);
    let interval = |report: &AcceptanceReport| {
        let (low, high) = verify::wilson(report.accepted, report.drafted);
        format!("{:.0}-{:.0}%", low * 100.0, high * 100.0)
    };
    let mut between = cells(["with 95% confidence", "", "", &interval(ours)]);
    if let Some(source) = source {
        between.extend(cells(["", "", &interval(source)]));
    }
    rows.push(between);
    rows.extend(more);
    rows
}

fn suite_rows(suite: &SuiteReport) -> Vec<Vec<String>> {
    let mut head = cells(["", "prompts", "accepted", "rate", "95%", "tokens a pass"]);
    let places = suite.all.by_position.len();
    head.extend((1..=places).map(|place| place.to_string()));
    let row = |kind: &KindReport| {
        let mut row = vec![
            kind.kind.clone(),
            kind.prompts.to_string(),
            format!("{} of {}", kind.accepted, kind.drafted),
            kind.rate.map_or("-".to_owned(), percent),
            format!("{:.0}-{:.0}%", kind.interval.0 * 100.0, kind.interval.1 * 100.0),
            kind.mean_accepted_length
                .map_or("-".to_owned(), |length| format!("{length:.2}")),
        ];
        row.extend(
            kind.by_position
                .iter()
                .map(|place| format!("{:.0}%", place.rate * 100.0)),
        );
        row
    };
    let rows = suite.kinds.iter().chain([&suite.all]).map(row);
    std::iter::once(head).chain(rows).collect()
}
