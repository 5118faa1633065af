//! The page of a verification.

use super::svg::{Plot, Point, Series};
use super::tables::{Table, number};
use super::{Standing, page, section};
use crate::bench::verdict::percent;
use crate::verify::{AcceptanceReport, AgreementReport, Report, SuiteReport, TensorReport};
use maud::Markup;

/// The page of a verification; `rerun` is the command that gives it again.
pub fn verify(report: &Report, rerun: &str) -> String {
    let sections = [
        findings(report),
        weights(report.weights.as_deref().unwrap_or(&[])),
        agreement(report.agreement.as_deref().unwrap_or(&[])),
        acceptance(report.acceptance.as_ref(), report.source_acceptance.as_ref()),
        suite(report.suite.as_ref()),
        section("What was run", "", None, &files(report)),
    ];
    page(
        "Does the drafter's file compute what it should?",
        match report.verdict.ok {
            true => Standing::Good,
            false => Standing::Bad,
        },
        std::slice::from_ref(&report.verdict.line),
        &sections,
        rerun,
    )
}

fn findings(report: &Report) -> Markup {
    let mut table = Table::new(["severity", "finding", "what to do"]);
    for finding in &report.findings {
        table.rows.push(vec![
            finding.severity.name().to_owned(),
            finding.message.clone(),
            finding.hint.clone().unwrap_or_default(),
        ]);
    }
    section("Findings", "", None, &table)
}

/// The number of the layer that a tensor belongs to.
fn layer(name: &str) -> Option<u32> {
    name.strip_prefix("blk.")?.split('.').next()?.parse().ok()
}

fn weights(weights: &[TensorReport]) -> Markup {
    let mut table = Table::new([
        "tensor",
        "type",
        "good",
        "largest error",
        "relative error",
        "ceiling",
        "cosine",
    ]);
    for tensor in weights {
        table.rows.push(vec![
            tensor.name.clone(),
            tensor.ty.clone(),
            if tensor.ok { "yes" } else { "no" }.to_owned(),
            format!("{:.3e}", tensor.max_error),
            format!("{:.5}", tensor.relative_error),
            format!("{:.5}", tensor.ceiling),
            format!("{:.6}", tensor.cosine),
        ]);
    }
    let mut series: Vec<Series> = Vec::new();
    for tensor in weights.iter().filter(|tensor| tensor.compared && !tensor.exact) {
        let Some(layer) = layer(&tensor.name) else {
            continue;
        };
        let point = Point::new(f64::from(layer), tensor.relative_error);
        Series::add(&mut series, &tensor.ty, point);
    }
    let layers = weights
        .iter()
        .filter_map(|tensor| layer(&tensor.name))
        .max()
        .map_or(0, |last| last + 1);
    let plot = Plot {
        title: "Relative error of the tensors by layer and type",
        x: "layer",
        y: "relative error",
        names: (0..layers.min(100))
            .map(|layer| (f64::from(layer), layer.to_string()))
            .collect(),
        across: None,
        series,
        joined: false,
    };
    let about = "Root mean square of the differences from the source, in units of the source's.";
    section("Weights by layer and type", about, plot.markup(), &table)
}

fn agreement(places: &[AgreementReport]) -> Markup {
    let mut table = Table::new([
        "step",
        "drafts",
        "same token",
        "mean KL",
        "largest KL",
        "largest logit difference",
    ]);
    for (at, place) in places.iter().enumerate() {
        table.rows.push(vec![
            (at + 1).to_string(),
            place.steps.to_string(),
            percent(place.top_1),
            format!("{:.3e}", place.mean_kl),
            format!("{:.3e}", place.max_kl),
            format!("{:.3e}", place.max_logit_difference),
        ]);
    }
    let series = Series::by_place("mean divergence", places.iter().map(|place| place.mean_kl));
    let plot = Plot::over_numbers(
        "Mean Kullback–Leibler divergence by step of the draft",
        "step",
        "nats",
        vec![series],
    );
    section("Drafts against the source's", "", plot.markup(), &table)
}

fn acceptance(ours: Option<&AcceptanceReport>, source: Option<&AcceptanceReport>) -> Markup {
    let mut table = Table::new(["drafter", "place", "drafted", "accepted", "rate"]);
    let mut series = Vec::new();
    for (name, report) in [("file", ours), ("source", source)] {
        let Some(report) = report else {
            continue;
        };
        for (at, place) in report.by_position.iter().enumerate() {
            table.rows.push(vec![
                name.to_owned(),
                (at + 1).to_string(),
                place.drafted.to_string(),
                place.accepted.to_string(),
                percent(place.rate),
            ]);
        }
        table.rows.push(vec![
            name.to_owned(),
            "all".to_owned(),
            report.drafted.to_string(),
            report.accepted.to_string(),
            report.rate.map_or("–".to_owned(), percent),
        ]);
        let rates = report.by_position.iter().map(|place| place.rate);
        series.push(Series::by_place(name, rates));
    }
    let plot = Plot::over_numbers(
        "Acceptance by place in the draft",
        "place in the draft",
        "share accepted",
        series,
    );
    let mean = ours.and_then(|report| report.mean_accepted_length);
    let about = format!("Tokens that a pass of the target yields: {}.", number(mean, 2));
    section("Acceptance", &about, plot.markup(), &table)
}

fn suite(suite: Option<&SuiteReport>) -> Markup {
    let mut table = Table::new([
        "prompts of",
        "prompts",
        "drafted",
        "accepted",
        "rate",
        "95%",
        "tokens a pass",
    ]);
    let mut series = Vec::new();
    for kind in suite
        .into_iter()
        .flat_map(|suite| suite.kinds.iter().chain([&suite.all]))
    {
        let (low, high) = kind.interval;
        table.rows.push(vec![
            kind.kind.clone(),
            kind.prompts.to_string(),
            kind.drafted.to_string(),
            kind.accepted.to_string(),
            kind.rate.map_or("–".to_owned(), percent),
            format!("{} to {}", percent(low), percent(high)),
            number(kind.mean_accepted_length, 2),
        ]);
        let rates = kind.by_position.iter().map(|place| place.rate);
        series.push(Series::by_place(&kind.kind, rates));
    }
    let plot = Plot::over_numbers(
        "Acceptance by place in the draft and kind of prompt",
        "place in the draft",
        "share accepted",
        series,
    );
    section("Acceptance by kind of prompt", "", plot.markup(), &table)
}

fn files(report: &Report) -> Table {
    let mut table = Table::new(["", ""]);
    let rows = [
        ("drafter", Some(report.drafter.as_str())),
        ("target", Some(report.target.as_str())),
        ("source", report.source.as_deref()),
        ("target's source", report.target_source.as_deref()),
        ("window", report.window),
        ("head", report.head),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            table.rows.push(vec![name.to_owned(), value.to_owned()]);
        }
    }
    table
}
