//! The page of a benchmark.

use super::svg::{Plot, Point, Series};
use super::tables::{self, Table, cells};
use super::{Standing, page, section};
use crate::advise::{Checked, Forecast};
use crate::bench::analysis::{Analysis, Cell, ConditionResult, Decision};
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
            &tables::speeds(analysis),
        ),
        section(
            "Acceptance",
            "Share of drafts that the target accepted up to each place, in the condition with the longest drafts.",
            accepted(analysis).markup(),
            &tables::acceptance(analysis),
        ),
        section(
            "Calls over the run",
            "Milliseconds of each call in the order in which they were made: drift and outliers show here.",
            calls(run).markup(),
            &tables::marked(analysis),
        ),
        match forecast {
            Some(forecast) => predicted(forecast),
            None => Markup::default(),
        },
        section("How it was measured", "", None, &protocol(run)),
    ];
    page(
        "Does drafting pay here?",
        standing(analysis),
        sentences,
        &sections,
        rerun,
    )
}

/// Good where drafting pays.
fn standing(analysis: &Analysis) -> Standing {
    if finding::fail(&verdict::findings(analysis), false) {
        return Standing::Bad;
    }
    let pays = |condition: &ConditionResult| condition.overall.decision == Decision::Pays;
    match analysis.conditions.iter().any(pays) {
        true => Standing::Good,
        false => Standing::Open,
    }
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
            Series::add(&mut series, &cell.kind, point);
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
        let places = cell.acceptance.as_ref()?.by_position.iter();
        Some(Series::by_place(&cell.kind, places.map(|place| place.rate)))
    };
    Plot::over_numbers(
        "Acceptance by place in the draft and kind of prompts",
        "place in the draft",
        "share accepted",
        longest.into_iter().flat_map(cells).filter_map(series).collect(),
    )
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
            .map(|call| Point::new(call.seq as f64, call.wall_ns as f64 / 1e6))
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

/// Predicted beside measured speeds.
pub(super) fn predicted(forecast: &Forecast) -> Markup {
    let series = |name: &str, figure: fn(&Checked) -> f64| Series {
        name: name.to_owned(),
        points: forecast
            .checked
            .iter()
            .map(|checked| Point::new(f64::from(checked.n_max), figure(checked)))
            .collect(),
    };
    let plot = Plot::over_numbers(
        "Predicted and measured speed by n-max",
        "n-max",
        "tokens/s",
        vec![
            series("predicted", |c| c.predicted),
            series("measured", |c| c.measured),
        ],
    );
    let about = format!(
        "From the speeds without drafting and with drafts of {} a model of a round predicts the others. Median error: {}.",
        forecast.fitted[1],
        forecast.median_error.map_or("–".to_owned(), verdict::percent)
    );
    section(
        "Predicted against measured",
        &about,
        plot.markup(),
        &tables::forecast(forecast),
    )
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
