//! `gguf-conv advise`: arguments of an advice and how it is printed.

use super::page::Page;
use super::shared::FormatArgs;
use super::sources::{Finder, Reach, SourceArgs, source};
use super::{Outcome, json, print, write};
use crate::advise::memory::Load;
use crate::advise::{self, Advice, Question};
use crate::bench::BenchError;
use crate::bench::analysis::{self, Guards};
use crate::bench::record::Run;
use crate::bench::verdict::percent;
use crate::finding::Finding;
use crate::io::kind::Wanted;
use crate::io::output;
use crate::io::{Inputs, TextLimit};
use crate::quant::GgmlType;
use crate::report::tables;
use crate::source::Source;
use crate::{Error, report};
use clap::builder::PossibleValuesParser;
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  gguf-conv advise --target T.gguf --drafter D.gguf --context 32768 --memory 24G
          what the pair takes of memory, and the largest context that fits
  gguf-conv advise --target T.gguf --drafter D.gguf --bandwidth 400G --acceptance VERIFY.json
          the speed to expect by n-max, from the memory's bandwidth and what `verify --json` found
  gguf-conv advise --target T.gguf --drafter D.gguf --measured R.jsonl
          the same from a benchmark of two or more conditions (`bench --jsonl`), which tells more

Exit code 1: it does not fit the memory of --memory.";

/// Arguments of advise.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// GGUF of the target (any part, if it is split)
    #[arg(long, value_name = "T.gguf", value_parser = source())]
    target: Source,
    /// GGUF of the drafter
    #[arg(long, value_name = "D.gguf", value_parser = source())]
    drafter: Source,
    /// Tokens of all sequences together, as llama-server's --ctx-size
    #[arg(long, value_name = "N", default_value = "8192", value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    context: u64,
    /// Sequences at the same time
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..=256))]
    parallel: u64,
    /// Type of keys and values
    #[arg(long, value_name = "TYPE", default_value = "f16", value_parser = PossibleValuesParser::new(["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]))]
    cache_type: String,
    /// Tokens of a batch, as llama-server's --ubatch-size
    #[arg(long, value_name = "N", default_value = "512", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    batch: u64,
    /// Most tokens a draft, for the recipes where no speed is known
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u64).range(1..=64))]
    n_max: u64,
    /// Computes on the CPU, where llama.cpp keeps some matrices in another form besides
    #[arg(long)]
    cpu: bool,
    /// Memory that there is: 24G, 512M
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    memory: Option<u64>,
    /// Bytes that the memory gives a second: 400G
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    bandwidth: Option<u64>,
    /// A benchmark of this pair, or one like it (`bench --jsonl`)
    #[arg(long, value_name = "BENCH.jsonl")]
    measured: Option<PathBuf>,
    /// What the target accepts (`verify --json`)
    #[arg(long, value_name = "VERIFY.json")]
    acceptance: Option<PathBuf>,
    /// Write the report as a page of HTML, which needs nothing else
    #[arg(long, value_name = "REPORT.html")]
    html: Option<PathBuf>,
    /// Replace the file of --html if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    pub(super) format: FormatArgs,
}

/// A number of bytes: `24G` is 24 · 2^30.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(['B', 'i']);
    let (number, power) = match digits.char_indices().last() {
        Some((at, 'K' | 'k')) => (&digits[..at], 10),
        Some((at, 'M')) => (&digits[..at], 20),
        Some((at, 'G')) => (&digits[..at], 30),
        Some((at, 'T')) => (&digits[..at], 40),
        _ => (digits, 0),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "give bytes, or a number with K, M, G or T".to_owned())?;
    let bytes = number * f64::from(power).exp2();
    match (1.0..1e18).contains(&bytes) {
        true => Ok(bytes as u64),
        false => Err("that is no amount of memory".to_owned()),
    }
}

/// Advises and reports.
pub(super) fn run(args: &Args, inputs: &Inputs) -> Result<Outcome, Error> {
    if let Some(html) = &args.html {
        output::check(html, inputs, args.force).map_err(BenchError::from)?;
    }
    let measured = match &args.measured {
        Some(path) => Some(analysis::analyse(&Run::read(inputs, path)?, &Guards::default())),
        None => None,
    };
    let question = Question {
        load: Load {
            context: args.context,
            parallel: args.parallel,
            cache: GgmlType::from_name(&args.cache_type).unwrap_or(GgmlType::F16),
            batch: args.batch,
            cpu: args.cpu,
            n_max: args.n_max,
        },
        available: args.memory,
        bandwidth: args.bandwidth.map(|bytes| bytes as f64),
        measured: measured.as_ref(),
        acceptance: match &args.acceptance {
            Some(path) => Some(acceptance(inputs, path)?),
            None => None,
        },
    };
    let finder = Finder::new(inputs, args.sources.download);
    let target = finder.find(&args.target, Wanted::Target, Reach::Parts)?;
    let drafter = finder.find(&args.drafter, Wanted::Drafter, Reach::Parts)?;
    let advice = advise::advise(inputs, &target, &drafter, &question)?;
    let sentences = sentences(args, &advice);
    let findings: Vec<Finding> = too_large(args, &advice).into_iter().collect();
    if let Some(html) = &args.html {
        let page = report::advise(&advice, &sentences, &write::command_line());
        write::text(html, &page, inputs, args.force).map_err(BenchError::from)?;
    }
    match args.format.json {
        true => json::write(
            inputs,
            "advise",
            &[Document {
                verdict: &sentences,
                findings: &findings,
                advice: &advice,
            }],
            &[],
        )?,
        false => print::stdout(&page(&advice, &sentences), inputs)?,
    }
    Ok(Outcome::of(&findings, false))
}

/// The shares by place of the first acceptance in a report.
fn acceptance(inputs: &Inputs, path: &Path) -> Result<Vec<f64>, Error> {
    let bad = |message: &str| BenchError::BadReport {
        path: path.to_owned(),
        message: message.to_owned(),
    };
    let text = inputs
        .read(path, TextLimit::SETTINGS)
        .map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
    let report: Value = serde_json::from_slice(&text).map_err(|error| bad(&error.to_string()))?;
    let first = report
        .get("results")
        .and_then(|results| results.get(0))
        .unwrap_or(&report);
    let places = first
        .get("acceptance")
        .and_then(|acceptance| acceptance.get("by_position")?.as_array());
    let rates = places.map(|places| {
        places
            .iter()
            .filter_map(|place| place.get("rate")?.as_f64())
            .collect::<Vec<f64>>()
    });
    match rates {
        Some(rates) if !rates.is_empty() => Ok(rates),
        _ => Err(bad("no acceptance by place stands in it").into()),
    }
}

/// The result in the JSON document.
#[derive(Serialize)]
struct Document<'a> {
    verdict: &'a [String],
    findings: &'a [Finding],
    #[serde(flatten)]
    advice: &'a Advice,
}

fn too_large(args: &Args, advice: &Advice) -> Option<Finding> {
    let (memory, left) = (args.memory?, advice.memory_left?);
    let message = format!(
        "the pair takes {} and there are {}",
        tables::bytes(advice.memory_total),
        tables::bytes(memory)
    );
    let hint = match advice.largest_context {
        Some(context) => format!("give it a context of {context}, or keys and values in q8_0 (--cache-type)"),
        None => "take a smaller type of the target".to_owned(),
    };
    (left < 0).then(|| Finding::error("too-large", message).hint(hint))
}

/// What matters most first.
fn sentences(args: &Args, advice: &Advice) -> Vec<String> {
    let mut lines = Vec::new();
    let total = tables::bytes(advice.memory_total);
    lines.push(
        match (
            too_large(args, advice),
            advice.memory_left,
            advice.largest_context,
        ) {
            (Some(finding), ..) => print::finding(&finding),
            (None, Some(left), Some(context)) => format!(
                "fits: takes {total}, {} are left; the largest context that fits is {context}",
                tables::bytes(u64::try_from(left).unwrap_or(0))
            ),
            _ => format!("takes {total} with a context of {}", args.context),
        },
    );
    match (advise::fastest(&advice.predictions), &advice.basis) {
        (Some(best), Some(_)) if best.n_max > 0 => lines.push(format!(
            "drafts of {} are expected to be fastest, {:.2}× ({:.1} tokens/s); they pay from {} accepted tokens on",
            best.n_max,
            best.ratio,
            best.tokens_per_second,
            best.break_even.map_or("-".to_owned(), percent)
        )),
        (Some(_), Some(_)) => lines.push("drafting is not expected to pay".to_owned()),
        _ => lines.push(
            "no speed is predicted: give --measured, or --bandwidth and --acceptance".to_owned(),
        ),
    }
    if let Some(error) = advice
        .forecast
        .as_ref()
        .and_then(|forecast| forecast.median_error)
    {
        lines.push(format!(
            "measured speeds that it does not rest on are predicted with a median error of {}",
            percent(error)
        ));
    }
    lines
}

fn page(advice: &Advice, sentences: &[String]) -> Page {
    let mut page = Page::new();
    for line in sentences {
        page.line(line);
    }
    page.section("memory as llama.cpp takes it", &tables::memory(advice).lines());
    if let Some(basis) = &advice.basis {
        page.line(basis);
        page.section("expected speed", &tables::predictions(advice).lines());
        page.section("otherwise", &tables::variants(advice).lines());
    }
    page.heading("how to run it");
    for recipe in &advice.recipes {
        page.line(format!(
            "  {}{}: {}",
            recipe.program,
            recipe.standing(),
            recipe.note
        ));
        for line in recipe.text.lines() {
            page.line(format!("      {line}"));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_memory_have_the_usual_letters() {
        assert_eq!(bytes("24G"), Ok(24 << 30));
        assert_eq!(bytes("1.5GiB"), Ok(3 << 29));
        assert_eq!(bytes("512M"), Ok(512 << 20));
        assert_eq!(bytes("1000"), Ok(1000));
        for bad in ["", "G", "-1G", "x", "1e30", "nan"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
