//! Reports as one page of HTML: nothing is fetched, no script is needed, values are escaped by the templates.

mod advise;
mod bench;
mod inspect;
mod svg;
pub(crate) mod tables;
mod verify;

pub use advise::advise;
pub use bench::bench;
pub use inspect::{Held, inspect};
pub use verify::verify;

use crate::text::escape;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use tables::Table;

/// The page's only style. Colours of series are told apart in grey too, by their marks.
const STYLE: &str = include_str!("style.css");

/// What a page's colour says of its verdict before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// What was hoped for.
    Good,
    /// Something to mend.
    Bad,
    /// Neither, or nothing is decided.
    Open,
}

/// A page: what it says first, then the rest.
fn page(title: &str, standing: Standing, verdict: &[String], sections: &[Markup], rerun: &str) -> String {
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
                    ul.verdict.good[standing == Standing::Good].bad[standing == Standing::Bad] {
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

/// Text of whatever origin without what changes how it is shown.
fn shown(text: &str) -> String {
    text.split('\n')
        .map(|line| escape(line.as_bytes()))
        .collect::<Vec<_>>()
        .join("\n")
}
