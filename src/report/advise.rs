//! The page of an advice.

use super::bench::predicted;
use super::svg::{self, Plot, Point, Series};
use super::{Standing, page, section, tables};
use crate::advise::Advice;
use maud::Markup;

/// The page of an advice; `rerun` is the command that gives it again.
pub fn advise(advice: &Advice, sentences: &[String], rerun: &str) -> String {
    let standing = match (advice.memory_left, advice.best_n_max) {
        (Some(..0), _) => Standing::Bad,
        (Some(_), _) | (None, Some(1..)) => Standing::Good,
        (None, _) => Standing::Open,
    };
    let mut sections = vec![memory(advice), speeds(advice)];
    if let Some(forecast) = &advice.forecast {
        sections.push(predicted(forecast));
    }
    sections.push(section("Otherwise", "", None, &tables::variants(advice)));
    sections.push(recipes(advice));
    page(
        "What to expect of this pair",
        standing,
        sentences,
        &sections,
        rerun,
    )
}

fn memory(advice: &Advice) -> Markup {
    let parts = advice.memory.parts().into_iter().filter(|(_, bytes)| *bytes > 0);
    let parts: Vec<(String, f64, String)> = parts
        .map(|(name, bytes)| (name.to_owned(), bytes as f64, tables::bytes(bytes)))
        .collect();
    section(
        "Memory",
        "As llama.cpp loads the pair.",
        svg::bars("Memory by part", &parts),
        &tables::memory(advice),
    )
}

fn speeds(advice: &Advice) -> Markup {
    let points = advice.predictions.iter();
    let points = points.map(|prediction| Point::new(f64::from(prediction.n_max), prediction.ratio));
    let series = Series {
        name: "expected".to_owned(),
        points: points.collect(),
    };
    let plot = Plot {
        across: (!advice.predictions.is_empty()).then_some(1.0),
        ..Plot::over_numbers("Expected speed by n-max", "n-max", "times as fast", vec![series])
    };
    section(
        "Speed",
        advice.basis.as_deref().unwrap_or(""),
        plot.markup(),
        &tables::predictions(advice),
    )
}

fn recipes(advice: &Advice) -> Markup {
    maud::html! {
        section {
            h2 { "How to run it" }
            @for recipe in &advice.recipes {
                h3 { (recipe.program) (recipe.standing()) }
                @if !recipe.text.is_empty() { pre { code { (super::shown(&recipe.text)) } } }
                p.small { (recipe.note) }
            }
        }
    }
}
