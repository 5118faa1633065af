//! The page of an advice.

use super::bench::predicted;
use super::svg::{self, Plot, Point, Series};
use super::{Table, number, page, section};
use crate::advise::{Advice, Forecast};
use crate::bench::verdict;
use maud::Markup;

/// The page of an advice; `rerun` is the command that gives it again.
pub fn advise(advice: &Advice, sentences: &[String], rerun: &str) -> String {
    let is_good = advice.memory_left.is_none_or(|left| left >= 0);
    let mut sections = vec![memory(advice), speeds(advice)];
    if let Some(forecast) = &advice.forecast {
        sections.push(checked(forecast));
    }
    sections.push(variants(advice));
    sections.push(recipes(advice));
    page(
        "What to expect of this pair",
        is_good,
        sentences,
        &sections,
        rerun,
    )
}

fn mib(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}

fn memory(advice: &Advice) -> Markup {
    let parts: Vec<(String, f64, String)> = advice
        .memory
        .parts()
        .into_iter()
        .filter(|(_, bytes)| *bytes > 0)
        .map(|(name, bytes)| (name.to_owned(), bytes as f64, mib(bytes)))
        .collect();
    let mut table = Table::new(["part", "bytes", ""]);
    for (name, bytes) in advice.memory.parts() {
        table
            .rows
            .push(vec![name.to_owned(), bytes.to_string(), mib(bytes)]);
    }
    table.rows.push(vec![
        "all".to_owned(),
        advice.memory_total.to_string(),
        mib(advice.memory_total),
    ]);
    for other in &advice.elsewhere {
        table.rows.push(vec![
            format!("in {}: {}", other.program, other.why),
            other.bytes.to_string(),
            mib(other.bytes),
        ]);
    }
    section(
        "Memory",
        "As llama.cpp loads the pair.",
        svg::bars("Memory by part", &parts),
        &table,
    )
}

fn speeds(advice: &Advice) -> Markup {
    let mut table = Table::new([
        "n-max",
        "tokens/s",
        "against off",
        "tokens a round",
        "break-even acceptance",
    ]);
    for prediction in &advice.predictions {
        table.rows.push(vec![
            prediction.n_max.to_string(),
            number(Some(prediction.tokens_per_second), 2),
            number(Some(prediction.ratio), 3),
            number(Some(prediction.mean_length), 2),
            prediction.break_even.map_or("–".to_owned(), verdict::percent),
        ]);
    }
    let point = |prediction: &crate::advise::time::Prediction| Point {
        x: f64::from(prediction.n_max),
        y: prediction.ratio,
        interval: None,
    };
    let plot = Plot {
        title: "Expected speed by n-max",
        x: "n-max",
        y: "times as fast",
        names: advice
            .predictions
            .iter()
            .map(|p| (f64::from(p.n_max), p.n_max.to_string()))
            .collect(),
        across: (!advice.predictions.is_empty()).then_some(1.0),
        series: vec![Series {
            name: "expected".to_owned(),
            points: advice.predictions.iter().map(point).collect(),
        }],
        joined: true,
    };
    section(
        "Speed",
        advice.basis.as_deref().unwrap_or(""),
        plot.markup(),
        &table,
    )
}

fn checked(forecast: &Forecast) -> Markup {
    predicted(forecast)
}

fn variants(advice: &Advice) -> Markup {
    let mut table = Table::new(["with", "best n-max", "against off"]);
    for variant in &advice.variants {
        table.rows.push(vec![
            variant.name.clone(),
            variant.best_n_max.to_string(),
            number(Some(variant.ratio), 3),
        ]);
    }
    section("Otherwise", "", None, &table)
}

fn recipes(advice: &Advice) -> Markup {
    maud::html! {
        section {
            h2 { "How to run it" }
            @for recipe in &advice.recipes {
                h3 { (recipe.program) @if !recipe.can { " (cannot take this drafter today)" } }
                @if !recipe.text.is_empty() { pre { code { (super::shown(&recipe.text)) } } }
                p.small { (recipe.note) }
            }
        }
    }
}
