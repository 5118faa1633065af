//! The report of a benchmark, for the terminal and for programs.

use crate::advise::Forecast;
use crate::bench::analysis::{Analysis, Cell, ConditionResult};
use crate::bench::record::{Header, Run};
use crate::bench::verdict;
use crate::cli::page::Page;
use crate::finding::Finding;
use serde::Serialize;

/// The result in the JSON document.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    /// What was measured, and how.
    pub header: &'a Header,
    /// Sentences; what matters most comes first.
    pub verdict: &'a [String],
    pub findings: &'a [Finding],
    /// What two conditions predict of the others.
    pub forecast: Option<&'a Forecast>,
    #[serde(flatten)]
    pub analysis: &'a Analysis,
}

/// The report in words and columns.
pub(super) fn text(run: &Run, analysis: &Analysis, forecast: Option<&Forecast>, verdict: &[String]) -> Page {
    let mut page = Page::new();
    for line in verdict {
        page.line(line);
    }
    let mut section = |title: &str, rows: Vec<Vec<String>>| {
        if rows.len() > 1 {
            page.section(title, &rows);
        }
    };
    section("speed", speed_rows(analysis));
    section("acceptance by place in the draft", acceptance_rows(analysis));
    section("calls that stand out", marked_rows(analysis));
    section("predicted from two conditions", forecast_rows(forecast));
    let protocol = &run.header.protocol;
    if protocol.calls > 0 {
        let order = match protocol.blocks {
            0 => "alternating call by call".to_owned(),
            blocks => format!("in {blocks} blocks each"),
        };
        page.line(format!(
            "{} tokens a call, {order}, seed {}",
            protocol.predict, protocol.seed
        ));
    }
    page
}

fn forecast_rows(forecast: Option<&Forecast>) -> Vec<Vec<String>> {
    let mut rows = vec![header(&["n-max", "predicted tokens/s", "measured", "error"])];
    for checked in forecast.iter().flat_map(|forecast| &forecast.checked) {
        rows.push(vec![
            checked.n_max.to_string(),
            shown(Some(checked.predicted), 2),
            shown(Some(checked.measured), 2),
            verdict::percent(checked.error),
        ]);
    }
    rows
}

fn header(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn shown(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
}

/// Each condition's kinds, and all of them where there are several.
fn cells(condition: &ConditionResult) -> impl Iterator<Item = &Cell> {
    let overall = (condition.kinds.len() != 1).then_some(&condition.overall);
    condition.kinds.iter().chain(overall)
}

fn speed_rows(analysis: &Analysis) -> Vec<Vec<String>> {
    let mut rows = vec![header(&[
        "condition",
        "prompts",
        "calls",
        "tokens/s",
        "variation",
        "against off",
        "p50 ms",
        "p95 ms",
        "first token ms",
        "prompt tokens/s",
    ])];
    for condition in &analysis.conditions {
        for cell in cells(condition) {
            rows.push(vec![
                condition.label.clone(),
                cell.kind.clone(),
                cell.calls.to_string(),
                shown(cell.tokens_per_second, 2),
                cell.variation.map_or("-".to_owned(), verdict::percent),
                cell.against_baseline
                    .as_ref()
                    .map_or("-".to_owned(), verdict::interval),
                shown(cell.wall_p50_ms, 0),
                shown(cell.wall_p95_ms, 0),
                shown(cell.first_token_ms, 0),
                shown(cell.prompt_tokens_per_second, 1),
            ]);
        }
    }
    rows
}

fn acceptance_rows(analysis: &Analysis) -> Vec<Vec<String>> {
    let places = analysis
        .conditions
        .iter()
        .flat_map(cells)
        .filter_map(|cell| Some(cell.acceptance.as_ref()?.by_position.len()))
        .max()
        .unwrap_or(0);
    let mut head = header(&[
        "condition",
        "prompts",
        "drafted",
        "accepted",
        "rate",
        "mean length",
    ]);
    head.extend((1..=places).map(|place| place.to_string()));
    let mut rows = vec![head];
    for condition in &analysis.conditions {
        for cell in cells(condition) {
            let Some(acceptance) = &cell.acceptance else {
                continue;
            };
            let mut row = vec![
                condition.label.clone(),
                cell.kind.clone(),
                acceptance.drafted.to_string(),
                acceptance.accepted.to_string(),
                verdict::percent(acceptance.rate),
                shown(acceptance.mean_length, 2),
            ];
            row.extend(
                acceptance
                    .by_position
                    .iter()
                    .map(|place| verdict::percent(place.rate)),
            );
            rows.push(row);
        }
    }
    rows
}

fn marked_rows(analysis: &Analysis) -> Vec<Vec<String>> {
    let mut rows = vec![header(&[
        "condition",
        "prompts",
        "outliers",
        "model loaded",
        "failed",
    ])];
    for condition in &analysis.conditions {
        for cell in &condition.kinds {
            let counts = [cell.outliers, cell.cold, cell.failed];
            if counts.iter().any(|count| *count > 0) {
                let mut row = vec![condition.label.clone(), cell.kind.clone()];
                row.extend(counts.iter().map(usize::to_string));
                rows.push(row);
            }
        }
    }
    rows
}
