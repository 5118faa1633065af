//! Tables of a benchmark and of an advice, for a page and for the terminal.

use crate::advise::{Advice, Forecast};
use crate::bench::analysis::{Analysis, Cell, ConditionResult};
use crate::bench::verdict::{interval, percent};
use maud::{Markup, html};

/// A table; the first column names the rows.
#[derive(Debug, Default)]
pub(crate) struct Table {
    head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<const N: usize>(head: [&str; N]) -> Table {
        Table {
            head: head.map(str::to_owned).to_vec(),
            rows: Vec::new(),
        }
    }

    /// The names of the columns above the rows; nothing where there are no rows.
    #[cfg(feature = "cli")]
    pub(crate) fn lines(self) -> Vec<Vec<String>> {
        match self.rows.is_empty() {
            true => Vec::new(),
            false => std::iter::once(self.head).chain(self.rows).collect(),
        }
    }

    pub(super) fn markup(&self) -> Markup {
        html! {
            @if !self.rows.is_empty() {
                div.table {
                    table {
                        @if self.head.iter().any(|cell| !cell.is_empty()) {
                            thead { tr { @for cell in &self.head { th scope="col" { (super::shown(cell)) } } } }
                        }
                        tbody {
                            @for row in &self.rows {
                                tr {
                                    @for (at, cell) in row.iter().enumerate() {
                                        @if at == 0 { th scope="row" { (super::shown(cell)) } }
                                        @else { td { (super::shown(cell)) } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A number with so many digits behind the point, or a dash.
pub(super) fn number(value: Option<f64>, digits: usize) -> String {
    told(value, |value| format!("{value:.digits$}"))
}

fn told<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or("–".to_owned(), show)
}

/// Each condition's kinds, and all of them where there are several.
pub(super) fn cells(condition: &ConditionResult) -> impl Iterator<Item = &Cell> {
    let overall = (condition.kinds.len() != 1).then_some(&condition.overall);
    condition.kinds.iter().chain(overall)
}

/// Speeds and times by condition and kind of prompts.
pub(crate) fn speeds(analysis: &Analysis) -> Table {
    let mut table = Table::new([
        "condition",
        "prompts",
        "calls",
        "tokens/s",
        "variation",
        "against off",
        "smallest effect",
        "p50 ms",
        "p95 ms",
        "first token ms",
        "prompt tokens/s",
    ]);
    for condition in &analysis.conditions {
        for cell in cells(condition) {
            table.rows.push(vec![
                condition.label.clone(),
                cell.kind.clone(),
                cell.calls.to_string(),
                number(cell.tokens_per_second, 2),
                told(cell.variation, percent),
                told(cell.against_baseline.as_ref(), interval),
                told(cell.against_baseline, |ratio| percent(ratio.smallest_effect)),
                number(cell.wall_p50_ms, 1),
                number(cell.wall_p95_ms, 1),
                number(cell.first_token_ms, 1),
                number(cell.prompt_tokens_per_second, 1),
            ]);
        }
    }
    table
}

/// What was accepted, by place in the draft.
pub(crate) fn acceptance(analysis: &Analysis) -> Table {
    let mut table = Table::new([
        "condition",
        "prompts",
        "drafted",
        "accepted",
        "rate",
        "mean length",
    ]);
    let all = || {
        let of = |condition| cells(condition).map(move |cell| (condition, cell));
        let told = analysis.conditions.iter().flat_map(of);
        told.filter_map(|(condition, cell): (&ConditionResult, _)| {
            Some((condition, cell, cell.acceptance.as_ref()?))
        })
    };
    let places = all().map(|(.., acceptance)| acceptance.by_position.len()).max();
    let places = places.unwrap_or(0);
    table
        .head
        .extend((1..=places).map(|place| format!("place {place}")));
    for (condition, cell, acceptance) in all() {
        let mut row = vec![
            condition.label.clone(),
            cell.kind.clone(),
            acceptance.drafted.to_string(),
            acceptance.accepted.to_string(),
            percent(acceptance.rate),
            number(acceptance.mean_length, 2),
        ];
        row.extend((0..places).map(|at| told(acceptance.by_position.get(at), |place| percent(place.rate))));
        table.rows.push(row);
    }
    table
}

/// Where calls stand out.
pub(crate) fn marked(analysis: &Analysis) -> Table {
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
pub(crate) fn forecast(forecast: &Forecast) -> Table {
    let mut table = Table::new(["n-max", "predicted tokens/s", "measured tokens/s", "error"]);
    for checked in &forecast.checked {
        table.rows.push(vec![
            checked.n_max.to_string(),
            number(Some(checked.predicted), 2),
            number(Some(checked.measured), 2),
            percent(checked.error),
        ]);
    }
    table
}

/// Bytes as people read them.
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes >= 1 << 30 {
        true => format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30)),
        false => format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}

/// Memory by part.
pub(crate) fn memory(advice: &Advice) -> Table {
    let mut table = Table::new(["part", "bytes", "", "note"]);
    let mut add = |name: &str, size: u64, note: &str| {
        let row = [name, &size.to_string(), &bytes(size), note];
        table.rows.push(row.map(str::to_owned).to_vec());
    };
    for (name, size) in advice.memory.parts().into_iter().filter(|(_, size)| *size > 0) {
        add(name, size, "");
    }
    add("all", advice.memory_total, "");
    for other in &advice.elsewhere {
        add(&format!("in {}", other.program), other.bytes, other.why);
    }
    table
}

/// Speeds to expect.
pub(crate) fn predictions(advice: &Advice) -> Table {
    let mut table = Table::new(["n-max", "tokens/s", "against off", "tokens a round", "pays from"]);
    for prediction in &advice.predictions {
        table.rows.push(vec![
            prediction.n_max.to_string(),
            number(Some(prediction.tokens_per_second), 2),
            format!("{:.2}×", prediction.ratio),
            number(Some(prediction.mean_length), 2),
            told(prediction.break_even, percent),
        ]);
    }
    table
}

/// The same pair in other circumstances.
pub(crate) fn variants(advice: &Advice) -> Table {
    let mut table = Table::new(["with", "best n-max", "against off"]);
    for variant in &advice.variants {
        table.rows.push(vec![
            variant.name.clone(),
            variant.best_n_max.to_string(),
            format!("{:.2}×", variant.ratio),
        ]);
    }
    table
}
