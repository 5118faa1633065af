//! The page of what a model file holds.

use super::svg::{Grid, Plot, Point, Series, bars};
use super::tables::{Table, bytes, number};
use super::{Standing, page, section};
use crate::finding::Finding;
use crate::inspect::Summary;
use crate::storage::ModelTensor;
use crate::storage::stats::Figures;
use crate::text;
use bstr::ByteSlice;
use maud::{Markup, html};
use std::collections::BTreeMap;

/// Most tensors in the tables, and most rows and columns of the picture: a model has fewer, a hostile file may not.
const MOST_TENSORS: usize = 10_000;
const MOST_ROWS: usize = 100;
const MOST_COLUMNS: usize = 200;
/// Most lines of a plot.
const MOST_LINES: usize = 8;

/// What a page is made of.
#[derive(Debug)]
pub struct Held<'a> {
    /// The file, as it can be shown.
    pub name: String,
    /// What it is, in a few lines.
    pub sentences: Vec<String>,
    /// The same in figures.
    pub summary: &'a Summary,
    /// What is wrong with it, in words.
    pub faults: &'a [Finding],
    /// Keys with their types and values, as they can be shown.
    pub keys: Vec<Vec<String>>,
    /// The tensors, with their figures where data was read.
    pub tensors: &'a [(ModelTensor<'a>, Option<Figures>)],
}

/// The page of a model file; `rerun` is the command that gives it again.
pub fn inspect(held: &Held, rerun: &str) -> String {
    let standing = match held.faults.is_empty() {
        true => Standing::Open,
        false => Standing::Bad,
    };
    let mut sentences = held.sentences.clone();
    sentences.extend(held.faults.first().map(|fault| fault.message.clone()));
    if let more @ 1.. = held.faults.len().saturating_sub(1) {
        sentences.push(format!("{more} more faults; gguf-conv check lists them"));
    }
    let tensors = held.tensors.get(..MOST_TENSORS).unwrap_or(held.tensors);
    let cells = cells(tensors);
    let sections = [
        types(held.summary),
        by_layer(&cells),
        sizes(&cells),
        figures(tensors, &cells),
        listed(tensors, held.tensors.len()),
        metadata(&held.keys),
    ];
    page(&held.name, standing, &sentences, &sections, rerun)
}

fn types(summary: &Summary) -> Markup {
    let mut table = Table::new(["type", "tensors", "parameters", "bytes", "share"]);
    for share in &summary.types {
        let percent = share.bytes as f64 * 100.0 / summary.data_bytes.max(1) as f64;
        table.rows.push(vec![
            share.name.clone(),
            share.tensors.to_string(),
            share.parameters.to_string(),
            share.bytes.to_string(),
            format!("{percent:.1} %"),
        ]);
    }
    let parts: Vec<(String, f64, String)> = summary
        .types
        .iter()
        .map(|share| (share.name.clone(), share.bytes as f64, bytes(share.bytes)))
        .collect();
    let about = format!("{:.2} bits per weight.", summary.bits_per_weight());
    section("Size by type", &about, bars("Size by type", &parts), &table)
}

/// A tensor with its place in the model.
struct Cell<'a> {
    tensor: &'a ModelTensor<'a>,
    figures: Option<&'a Figures>,
    /// What the layers are called, where there may be several kinds: `blk`, `model.layers`.
    stack: String,
    /// The layer, and what it is of it; the whole name where it is of none.
    layer: Option<u64>,
    of_layer: String,
}

fn cells<'a>(tensors: &'a [(ModelTensor<'a>, Option<Figures>)]) -> Vec<Cell<'a>> {
    let cell = |(tensor, figures): &'a (ModelTensor<'a>, Option<Figures>)| {
        let name = tensor.name.to_str_lossy();
        let parts: Vec<&str> = name.split('.').collect();
        let number = parts.iter().position(|part| part.parse::<u64>().is_ok());
        let (layer, stack, of_layer) = match number {
            Some(at) if at > 0 => {
                let rest = parts[at + 1..].iter();
                // Of experts and the like one stands for all.
                let rest = rest.map(|part| if part.parse::<u64>().is_ok() { "*" } else { part });
                let layer = parts[at].parse().ok();
                (layer, parts[..at].join("."), rest.collect::<Vec<_>>().join("."))
            }
            _ => (None, String::new(), name.into_owned()),
        };
        Cell {
            tensor,
            figures: figures.as_ref(),
            stack,
            layer,
            of_layer,
        }
    };
    tensors.iter().map(cell).collect()
}

impl Cell<'_> {
    /// A name of the row without what nearly every name ends in.
    fn row(&self, with_stack: bool) -> String {
        let name = self.of_layer.strip_suffix(".weight").unwrap_or(&self.of_layer);
        match with_stack && self.layer.is_some() {
            true => text::name(format!("{}.{name}", self.stack).as_bytes()),
            false => text::name(name.as_bytes()),
        }
    }
}

/// Whether there are layers of several kinds.
fn has_stacks(cells: &[Cell]) -> bool {
    let mut stacks = cells.iter().filter(|cell| cell.layer.is_some());
    let first = stacks.next().map(|cell| &cell.stack);
    stacks.any(|cell| Some(&cell.stack) != first)
}

/// The place of a name among those seen so far.
fn place(names: &mut Vec<String>, name: String) -> usize {
    match names.iter().position(|known| *known == name) {
        Some(at) => at,
        None => {
            names.push(name);
            names.len() - 1
        }
    }
}

/// The picture of types.
fn by_layer(cells: &[Cell]) -> Markup {
    let with_stack = has_stacks(cells);
    // Those outside of layers stand in a column in front, where there are any.
    let front = usize::from(cells.iter().any(|cell| cell.layer.is_none()));
    let layers = cells.iter().filter_map(|cell| cell.layer).max();
    let layers = layers
        .map_or(0, |last| last.saturating_add(1))
        .min(MOST_COLUMNS as u64);
    let mut grid = Grid {
        title: "Tensor types by layer",
        x: "layer",
        columns: Vec::new(),
        rows: Vec::new(),
        kinds: Vec::new(),
        cells: Vec::new(),
    };
    grid.columns.extend((0..front).map(|_| "–".to_owned()));
    grid.columns.extend((0..layers).map(|layer| layer.to_string()));
    let mut drawn: BTreeMap<(usize, usize), ()> = BTreeMap::new();
    for cell in cells {
        let column = match cell.layer {
            None => 0,
            Some(layer) => usize::try_from(layer).unwrap_or(usize::MAX).saturating_add(front),
        };
        let is_new_row = grid.rows.len() < MOST_ROWS;
        let name = cell.row(with_stack);
        if column >= grid.columns.len() || !(is_new_row || grid.rows.contains(&name)) {
            continue;
        }
        let row = place(&mut grid.rows, name);
        if drawn.insert((column, row), ()).is_some() {
            continue;
        }
        let tensor = cell.tensor;
        let kind = place(&mut grid.kinds, tensor.type_name.clone());
        let size = tensor.size.map_or_else(|| "?".to_owned(), bytes);
        let told = format!(
            "{}: {}, {}, {size}",
            text::name(tensor.name),
            tensor.type_name,
            text::dims(&tensor.dims)
        );
        grid.cells.push((column, row, kind, told));
    }
    let about = match front {
        0 => "",
        _ => "What belongs to no layer stands in the first column.",
    };
    section("Tensor types by layer", about, grid.markup(), &Table::default())
}

/// Bytes by layer.
fn sizes(cells: &[Cell]) -> Markup {
    let with_stack = has_stacks(cells);
    let mut by_layer: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    for cell in cells {
        if let Some(layer) = cell.layer {
            let size = by_layer.entry((&cell.stack, layer)).or_default();
            *size = size.saturating_add(cell.tensor.size.unwrap_or(0));
        }
    }
    let mut series: Vec<Series> = Vec::new();
    for ((stack, layer), size) in by_layer {
        let name = if with_stack {
            text::name(stack.as_bytes())
        } else {
            "layers".to_owned()
        };
        let point = Point::new(layer as f64, size as f64 / f64::from(1 << 20));
        if series.len() < MOST_LINES || series.iter().any(|known| known.name == name) {
            Series::add(&mut series, &name, point);
        }
    }
    section(
        "Size by layer",
        "",
        over_layers("Size by layer", "MiB", series),
        &Table::default(),
    )
}

fn over_layers(title: &str, y: &str, series: Vec<Series>) -> Option<Markup> {
    let plot = Plot {
        title,
        x: "layer",
        y,
        names: Vec::new(),
        across: None,
        series,
        joined: true,
    };
    plot.markup()
}

/// What the numbers are like.
fn figures(tensors: &[(ModelTensor, Option<Figures>)], cells: &[Cell]) -> Markup {
    let mut table = Table::new([
        "tensor",
        "values",
        "min",
        "max",
        "mean",
        "rms",
        "zeros",
        "not finite",
    ]);
    for (tensor, figures) in tensors {
        let Some(Figures { stats, histogram }) = figures else {
            continue;
        };
        let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3e}"));
        table.rows.push(vec![
            text::name(tensor.name),
            histogram
                .as_ref()
                .map_or_else(|| "–".to_owned(), |histogram| histogram.bars()),
            shown(stats.min.map(f64::from)),
            shown(stats.max.map(f64::from)),
            shown(stats.mean),
            shown(stats.rms),
            format!("{} %", number(Some(stats.zero_share() * 100.0), 2)),
            (stats.nan + stats.infinite).to_string(),
        ]);
    }
    let with_stack = has_stacks(cells);
    let mut series: Vec<Series> = Vec::new();
    for cell in cells.iter().filter(|cell| cell.tensor.dims.len() >= 2) {
        let (Some(layer), Some(rms)) = (cell.layer, cell.figures.and_then(|figures| figures.stats.rms))
        else {
            continue;
        };
        let name = cell.row(with_stack);
        if series.len() < MOST_LINES || series.iter().any(|known| known.name == name) {
            Series::add(&mut series, &name, Point::new(layer as f64, rms));
        }
    }
    let about = "The bars count the numbers in 12 equal steps from the smallest to the largest, as high as the logarithm \
                 of the count.";
    let plot = over_layers(
        "Root mean square of the weights by layer",
        "root mean square",
        series,
    );
    html! { div.bars { (section("Numbers", about, plot, &table)) } }
}

fn listed(tensors: &[(ModelTensor, Option<Figures>)], all: usize) -> Markup {
    let mut table = Table::new(["tensor", "type", "dims", "bytes", ""]);
    for (tensor, _) in tensors {
        table.rows.push(vec![
            text::name(tensor.name),
            tensor.type_name.clone(),
            text::dims(&tensor.dims),
            tensor
                .size
                .map_or_else(|| "?".to_owned(), |size| size.to_string()),
            tensor.size.map_or_else(String::new, bytes),
        ]);
    }
    let about = match all.saturating_sub(tensors.len()) {
        0 => String::new(),
        more => format!("The first of them; {more} more are not shown."),
    };
    section("Tensors", &about, None, &table)
}

fn metadata(keys: &[Vec<String>]) -> Markup {
    let mut table = Table::new(["key", "type", "value"]);
    table.rows.extend(keys.iter().cloned());
    html! { div.words { (section("Metadata", "", None, &table)) } }
}
