//! `gguf-conv check`: arguments and report of a check.

use super::print::{self, SCHEMA_VERSION};
use super::{Outcome, registry};
use crate::Error;
use crate::check::{self, Finding, Severity};
use crate::gguf::{Gguf, TensorInfo};
use serde::Serialize;
use std::path::PathBuf;

/// Arguments of a check.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The drafter's GGUF (any part, if it is split)
    #[arg(value_name = "D.gguf")]
    drafter: PathBuf,
    /// GGUF of the model that it should draft for: checks that the two belong together
    #[arg(long, value_name = "T.gguf")]
    target: Option<PathBuf>,
    /// Report as JSON
    #[arg(long)]
    json: bool,
    /// Architecture file to use instead of the one compiled in
    #[arg(long, value_name = "FILE")]
    arch: Option<PathBuf>,
}

/// Checks the file, and the pair if there is a target, and lists what was found.
pub(super) fn run(args: &Args) -> Result<Outcome, Error> {
    let registry = registry(args.arch.as_deref())?;
    let drafter = Gguf::look(&args.drafter)?;
    let target = args.target.as_deref().map(Gguf::open).transpose()?;
    let total = drafter
        .tensors()
        .map(TensorInfo::elements)
        .fold(0, u64::saturating_add);
    let bar = print::progress_bar(total, print::NUMBERS_BAR);
    let findings = check::check(registry.of_gguf(&drafter), &drafter, target.as_ref(), &|read| {
        bar.inc(read)
    });
    bar.finish_and_clear();
    if args.json {
        print::stdout_json(&report(args, &findings))?;
    } else {
        print::stdout(&text(args, &findings))?;
    }
    Ok(if findings.is_empty() {
        Outcome::Done
    } else {
        Outcome::Difference
    })
}

fn count(findings: &[Finding], severity: Severity) -> usize {
    findings
        .iter()
        .filter(|finding| finding.severity == severity)
        .count()
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn text(args: &Args, findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let severity = word(finding.severity);
        text.push_str(&format!("{severity}: {}; {}\n", finding.message, finding.way_out));
    }
    let pair = args
        .target
        .as_ref()
        .map(|target| format!(" with {}", print::path(target)));
    let result = if findings.is_empty() {
        "nothing found".to_owned()
    } else {
        let errors = print::many(count(findings, Severity::Error), "error");
        let warnings = print::many(count(findings, Severity::Warning), "warning");
        format!("{errors}, {warnings}")
    };
    text.push_str(&format!(
        "{}{}: {result}\n",
        print::path(&args.drafter),
        pair.unwrap_or_default()
    ));
    text
}

/// The JSON report.
#[derive(Serialize)]
struct Report<'a> {
    schema_version: u32,
    drafter: String,
    target: Option<String>,
    errors: usize,
    warnings: usize,
    findings: Vec<FindingReport<'a>>,
}

#[derive(Serialize)]
struct FindingReport<'a> {
    /// `error` or `warning`.
    severity: &'static str,
    /// A word for the kind of finding that does not change between versions.
    code: &'static str,
    /// The key or tensor that it is about.
    subject: Option<&'a str>,
    message: &'a str,
    way_out: &'a str,
}

fn report<'a>(args: &Args, findings: &'a [Finding]) -> Report<'a> {
    let finding = |finding: &'a Finding| FindingReport {
        severity: word(finding.severity),
        code: finding.code,
        subject: finding.subject.as_deref(),
        message: &finding.message,
        way_out: &finding.way_out,
    };
    Report {
        schema_version: SCHEMA_VERSION,
        drafter: args.drafter.display().to_string(),
        target: args.target.as_ref().map(|path| path.display().to_string()),
        errors: count(findings, Severity::Error),
        warnings: count(findings, Severity::Warning),
        findings: findings.iter().map(finding).collect(),
    }
}
