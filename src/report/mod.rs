//! Reports as one page of HTML: nothing is fetched, no script is needed, values are escaped by the templates.

mod advise;
mod bench;
mod svg;
mod verify;

pub use advise::advise;
pub use bench::bench;
pub use verify::verify;

use crate::text::escape;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The page's only style. Colours of series are told apart in grey too, by their marks.
const STYLE: &str = include_str!("style.css");

/// A page: what it says first, then the rest.
fn page(title: &str, is_good: bool, verdict: &[String], sections: &[Markup], rerun: &str) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // A report that someone sends may not fetch or run anything, whatever it holds.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (shown(title)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { (shown(title)) }
                    ul.verdict.bad[!is_good] {
                        @for line in verdict { li { (shown(line)) } }
                    }
                    @for section in sections { (section) }
                    section {
                        h2 { "Run it again" }
                        pre { code { (shown(rerun)) } }
                        p.small { "Made by gguf-conv " (env!("CARGO_PKG_VERSION")) "." }
                    }
                }
            }
        }
    };
    page.into_string()
}

/// A part of a page, left out where it holds nothing.
fn section(title: &str, about: &str, plot: Option<Markup>, table: &Table) -> Markup {
    html! {
        @if plot.is_some() || !table.rows.is_empty() {
            section {
                h2 { (title) }
                @if !about.is_empty() { p { (about) } }
                @if let Some(plot) = plot { figure { (plot) } }
                (table.markup())
            }
        }
    }
}

/// A table; the first column names the rows.
#[derive(Debug, Default)]
struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new<const N: usize>(head: [&str; N]) -> Table {
        Table {
            head: head.map(str::to_owned).to_vec(),
            rows: Vec::new(),
        }
    }

    fn markup(&self) -> Markup {
        html! {
            @if !self.rows.is_empty() {
                div.table {
                    table {
                        thead { tr { @for cell in &self.head { th scope="col" { (shown(cell)) } } } }
                        tbody {
                            @for row in &self.rows {
                                tr {
                                    @for (at, cell) in row.iter().enumerate() {
                                        @if at == 0 { th scope="row" { (shown(cell)) } } @else { td { (shown(cell)) } }
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

/// Text of whatever origin without what changes how it is shown.
fn shown(text: &str) -> String {
    text.split('\n')
        .map(|line| escape(line.as_bytes()))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A number with so many digits behind the point, or a dash.
fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.digits$}"))
}
