//! The page of a benchmark.

use super::svg::{Plot, Point, Series};
use super::{Table, number, page, section};
use crate::advise::Forecast;
use crate::bench::analysis::{Analysis, Cell, ConditionResult};
use crate::bench::record::Run;
use crate::bench::verdict;
use crate::finding;
use maud::Markup;

/// The page of a benchmark; `rerun` is the command that measures it again.
pub fn bench(
    run: &Run,
    analysis: &Analysis,
    forecast: Option<&Forecast>,
    sentences: &[String],
    rerun: &str,
) -> String {
    let sections = [
        section(
            "Speed",
            "Tokens generated a second against those of the condition it is compared with, with 95 % intervals.",
            ratios(analysis).markup(),
            &speeds(analysis),
        ),
        section(
            "Acceptance",
            "Share of drafts that the target accepted up to each place, in the condition with the longest drafts.",
            accepted(analysis).markup(),
            &acceptance(analysis),
        ),
        section(
            "Calls over the run",
            "Milliseconds of each call in the order in which they were made: drift and outliers show here.",
            calls(run).markup(),
            &marked(analysis),
        ),
        match forecast {
            Some(forecast) => predicted(forecast),
            None => Markup::default(),
        },
        section("How it was measured", "", None, &protocol(run)),
    ];
    let is_good = !finding::fail(&verdict::findings(analysis), false);
    page("Does drafting pay here?", is_good, sentences, &sections, rerun)
}

/// Each condition's kinds, and all of them where there are several.
fn cells(condition: &ConditionResult) -> impl Iterator<Item = &Cell> {
    let overall = (condition.kinds.len() != 1).then_some(&condition.overall);
    condition.kinds.iter().chain(overall)
}

fn ratios(analysis: &Analysis) -> Plot<'_> {
    let compared: Vec<(f64, &ConditionResult)> = analysis
        .conditions
        .iter()
        .filter(|condition| condition.overall.against_baseline.is_some())
        .enumerate()
        .map(|(at, condition)| (at as f64, condition))
        .collect();
    let mut series: Vec<Series> = Vec::new();
    for (x, condition) in &compared {
        for cell in cells(condition) {
            let Some(ratio) = cell.against_baseline else {
                continue;
            };
            let point = Point {
                x: *x,
                y: ratio.ratio,
                interval: Some((ratio.low, ratio.high)),
            };
            match series.iter_mut().find(|series| series.name == cell.kind) {
                Some(series) => series.points.push(point),
                None => series.push(Series {
                    name: cell.kind.clone(),
                    points: vec![point],
                }),
            }
        }
    }
    Plot {
        title: "Speed against the baseline by condition and kind of prompts",
        x: "condition",
        y: "times as fast",
        names: compared
            .iter()
            .map(|(x, condition)| (*x, condition.label.clone()))
            .collect(),
        across: (!compared.is_empty()).then_some(1.0),
        series,
        joined: true,
    }
}

fn accepted(analysis: &Analysis) -> Plot<'_> {
    let places = |condition: &&ConditionResult| {
        condition
            .overall
            .acceptance
            .as_ref()
            .map_or(0, |acceptance| acceptance.by_position.len())
    };
    let longest = analysis.conditions.iter().max_by_key(places);
    let series = |cell: &Cell| {
        let acceptance = cell.acceptance.as_ref()?;
        let point = |(at, place): (usize, &crate::bench::analysis::Position)| Point {
            x: (at + 1) as f64,
            y: place.rate,
            interval: None,
        };
        Some(Series {
            name: cell.kind.clone(),
            points: acceptance.by_position.iter().enumerate().map(point).collect(),
        })
    };
    let series: Vec<Series> = longest.into_iter().flat_map(cells).filter_map(series).collect();
    let places = series.iter().map(|series| series.points.len()).max().unwrap_or(0);
    Plot {
        title: "Acceptance by place in the draft and kind of prompts",
        x: "place in the draft",
        y: "share accepted",
        names: (1..=places)
            .map(|place| (place as f64, place.to_string()))
            .collect(),
        across: None,
        series,
        joined: true,
    }
}

fn calls(run: &Run) -> Plot<'_> {
    let series = |label: &str| Series {
        name: label.to_owned(),
        points: run
            .calls
            .iter()
            .filter(|call| {
                call.condition == label && !call.warmup && call.error.is_none() && call.wall_ns > 0
            })
            .map(|call| Point {
                x: call.seq as f64,
                y: call.wall_ns as f64 / 1e6,
                interval: None,
            })
            .collect(),
    };
    Plot {
        title: "Milliseconds of each call",
        x: "call",
        y: "milliseconds",
        names: Vec::new(),
        across: None,
        series: run
            .header
            .conditions
            .iter()
            .map(|condition| series(&condition.label))
            .collect(),
        joined: false,
    }
}

fn speeds(analysis: &Analysis) -> Table {
    let mut table = Table::new([
        "condition",
        "prompts",
        "calls",
        "tokens/s",
        "variation",
        "ratio",
        "low",
        "high",
        "smallest effect",
        "p50 ms",
        "p95 ms",
        "first token ms",
        "prompt tokens/s",
    ]);
    for condition in &analysis.conditions {
        for cell in cells(condition) {
            let ratio = cell.against_baseline;
            table.rows.push(vec![
                condition.label.clone(),
                cell.kind.clone(),
                cell.calls.to_string(),
                number(cell.tokens_per_second, 2),
                cell.variation.map_or("–".to_owned(), verdict::percent),
                number(ratio.map(|ratio| ratio.ratio), 3),
                number(ratio.map(|ratio| ratio.low), 3),
                number(ratio.map(|ratio| ratio.high), 3),
                ratio.map_or("–".to_owned(), |ratio| verdict::percent(ratio.smallest_effect)),
                number(cell.wall_p50_ms, 1),
                number(cell.wall_p95_ms, 1),
                number(cell.first_token_ms, 1),
                number(cell.prompt_tokens_per_second, 1),
            ]);
        }
    }
    table
}

fn acceptance(analysis: &Analysis) -> Table {
    let mut table = Table::new([
        "condition",
        "prompts",
        "drafted",
        "accepted",
        "rate",
        "mean length",
        "by place",
    ]);
    for condition in &analysis.conditions {
        for cell in cells(condition) {
            if let Some(acceptance) = &cell.acceptance {
                let places: Vec<String> = acceptance
                    .by_position
                    .iter()
                    .map(|place| verdict::percent(place.rate))
                    .collect();
                table.rows.push(vec![
                    condition.label.clone(),
                    cell.kind.clone(),
                    acceptance.drafted.to_string(),
                    acceptance.accepted.to_string(),
                    verdict::percent(acceptance.rate),
                    number(acceptance.mean_length, 2),
                    places.join(", "),
                ]);
            }
        }
    }
    table
}

fn marked(analysis: &Analysis) -> Table {
    let mut table = Table::new(["condition", "prompts", "outliers", "model loaded", "failed"]);
    for condition in &analysis.conditions {
        for cell in &condition.kinds {
            let counts = [cell.outliers, cell.cold, cell.failed];
            if counts.iter().any(|count| *count > 0) {
                let mut row = vec![condition.label.clone(), cell.kind.clone()];
                row.extend(counts.iter().map(usize::to_string));
                table.rows.push(row);
            }
        }
    }
    table
}

/// Predicted beside measured speeds.
pub(super) fn predicted(forecast: &Forecast) -> Markup {
    let mut table = Table::new(["n-max", "predicted tokens/s", "measured tokens/s", "error"]);
    for checked in &forecast.checked {
        table.rows.push(vec![
            checked.n_max.to_string(),
            number(Some(checked.predicted), 2),
            number(Some(checked.measured), 2),
            verdict::percent(checked.error),
        ]);
    }
    let series = |name: &str, figure: fn(&crate::advise::Checked) -> f64| Series {
        name: name.to_owned(),
        points: forecast
            .checked
            .iter()
            .map(|checked| Point {
                x: f64::from(checked.n_max),
                y: figure(checked),
                interval: None,
            })
            .collect(),
    };
    let plot = Plot {
        title: "Predicted and measured speed by n-max",
        x: "n-max",
        y: "tokens/s",
        names: forecast
            .checked
            .iter()
            .map(|c| (f64::from(c.n_max), c.n_max.to_string()))
            .collect(),
        across: None,
        series: vec![
            series("predicted", |c| c.predicted),
            series("measured", |c| c.measured),
        ],
        joined: true,
    };
    let about = format!(
        "From the speeds without drafting and with drafts of {} a model of a round predicts the others. Median error: {}.",
        forecast.fitted[1],
        forecast.median_error.map_or("–".to_owned(), verdict::percent)
    );
    section("Predicted against measured", &about, plot.markup(), &table)
}

fn protocol(run: &Run) -> Table {
    let mut table = Table::new(["", ""]);
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            table.rows.push(vec![name.to_owned(), value]);
        }
    };
    let header = &run.header;
    let machine = &header.machine;
    add("machine", machine.system.clone());
    add("processor", machine.processor.clone().unwrap_or_default());
    if machine.threads > 0 {
        add("threads", machine.threads.to_string());
    }
    if let Some(memory) = machine.memory {
        add("memory", format!("{:.1} GiB", memory as f64 / f64::from(1 << 30)));
    }
    let protocol = &header.protocol;
    if protocol.calls > 0 {
        add("calls a condition, at least", protocol.calls.to_string());
        add("warm-up calls", protocol.warmup.to_string());
        add("tokens a call", protocol.predict.to_string());
        add("seed", protocol.seed.to_string());
        add(
            "order",
            match protocol.blocks {
                0 => "conditions alternate call by call".to_owned(),
                blocks => format!("{blocks} blocks a condition"),
            },
        );
    }
    for file in &header.files {
        add(
            &file.role,
            format!(
                "{} ({} bytes, SHA-256 {})",
                file.path.display(),
                file.bytes,
                file.sha256
            ),
        );
    }
    for condition in &header.conditions {
        let build = condition
            .props
            .get("build_info")
            .and_then(serde_json::Value::as_str)
            .unwrap_or("");
        let how = match condition.command.is_empty() {
            true => condition.url.clone().unwrap_or_default(),
            false => condition.command.join(" "),
        };
        add(
            &condition.label,
            format!("{} {build} {how}", condition.server).trim().to_owned(),
        );
    }
    table
}
