//! The report of a benchmark, for the terminal and for programs.

use crate::advise::Forecast;
use crate::bench::analysis::Analysis;
use crate::bench::record::{Header, Run};
use crate::cli::page::Page;
use crate::finding::Finding;
use crate::report::tables::{self, Table};
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
    let mut section = |title: &str, table: Table| {
        let rows = table.lines();
        if !rows.is_empty() {
            page.section(title, &rows);
        }
    };
    section("speed", tables::speeds(analysis));
    section("acceptance by place in the draft", tables::acceptance(analysis));
    section("calls that stand out", tables::marked(analysis));
    if let Some(forecast) = forecast {
        section("predicted from two conditions", tables::forecast(forecast));
    }
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
