//! `gguf-conv split`: arguments and report of a cut into parts.

use super::json;
use super::page::Page;
use super::print;
use super::shared::FormatArgs;
use super::sources::{Finder, Reach, SourceArgs, source};
use super::write::{self, TensorReport, tensors};
use super::{Outcome, whole_name};
use crate::Error;
use crate::gguf::{Gguf, part_path};
use crate::io::Inputs;
use crate::io::kind::Wanted;
use crate::plan::Plan;
use crate::source::Source;
use crate::split::{self, Limit, Options};
use indicatif::HumanBytes;
use serde::Serialize;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  gguf-conv split model.gguf --max-size 2G
          model-00001-of-00003.gguf and so on beside it
  gguf-conv split model.gguf -o parts/m --max-tensors 64 --dry-run
          which parts there would be, called parts/m-00001-of-00004.gguf
  gguf-conv merge model-00001-of-00003.gguf -o model.gguf
          the way back

llama.cpp loads the first part, and finds the others beside it.";

/// Arguments of split.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The GGUF to split; any part of one that is split already
    #[arg(value_name = "IN.gguf", value_parser = source())]
    input: Source,
    /// What the parts' names begin with, in front of -00001-of-00003.gguf, or a folder for them [default: the name of the
    /// input, beside it, or in the current folder for a model by its name]
    #[arg(short, long, value_name = "PREFIX")]
    output: Option<PathBuf>,
    /// Most bytes of tensors in a part: 2G, 500M, in units of a thousand; a larger tensor has a part of its own
    #[arg(long, alias = "split-max-size", value_name = "SIZE", value_parser = size, conflicts_with = "max_tensors")]
    max_size: Option<u64>,
    /// Most tensors in a part
    #[arg(long, alias = "split-max-tensors", value_name = "N", default_value = "128")]
    max_tensors: NonZeroUsize,
    /// Keep the first part free of tensors: it holds the metadata alone
    #[arg(long)]
    no_tensor_first_split: bool,
    /// Show what would be written and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    pub(super) format: FormatArgs,
}

/// `2G` is 2 · 10^9, as `llama-gguf-split` counts.
fn size(text: &str) -> Result<u64, String> {
    let units = [
        ('K', 1_000),
        ('M', 1_000_000),
        ('G', 1_000_000_000),
        ('T', 1_000_000_000_000),
    ];
    let (number, unit) = units
        .iter()
        .find_map(|(letter, unit)| Some((text.strip_suffix(*letter)?, *unit)))
        .unwrap_or((text, 1));
    let number: Option<u64> = number.parse().ok();
    let bytes = number.and_then(|number| number.checked_mul(unit));
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "give bytes, or a whole number with K, M, G or T".to_owned())
}

/// Plans the parts, then writes them or shows the plan.
pub(super) fn run(args: &Args, inputs: &Inputs) -> Result<Outcome, Error> {
    let input = Finder::new(inputs, args.sources.download).find(&args.input, Wanted::Gguf, Reach::Whole)?;
    let gguf = Gguf::open(inputs, &input)?;
    let limit = match args.max_size {
        Some(size) => Limit::Bytes(size),
        None => Limit::Tensors(args.max_tensors),
    };
    let mut options = Options::new(limit);
    options.no_tensor_first_split = args.no_tensor_first_split;
    let plans = split::plan(&gguf, options)?;
    let prefix = prefix(args, &input)?;
    let count = plans.len();
    let name = |(at, plan)| (plan, part_path(&prefix, at + 1, count));
    let parts: Vec<(Plan, PathBuf)> = plans.into_iter().enumerate().map(name).collect();
    let warnings: Vec<&str> = parts
        .iter()
        .flat_map(|(plan, _)| plan.warnings())
        .map(String::as_str)
        .collect();
    warnings.iter().for_each(|warning| print::warn(warning));
    if !args.dry_run {
        for (_, path) in &parts {
            write::check(path, inputs, args.force)?;
        }
        write::write_all(&parts, inputs, args.force)?;
    }
    if args.format.json {
        json::write(inputs, "split", &[report(args, &parts, warnings)], &[])?;
    } else {
        let paths: Vec<&Path> = parts.iter().map(|(_, path)| path.as_path()).collect();
        print::all_written(&text(args, &parts), &paths, inputs)?;
    }
    Ok(Outcome::Done)
}

/// What the parts' names begin with.
fn prefix(args: &Args, input: &Path) -> Result<PathBuf, Error> {
    let named = args.input.file_name().map(PathBuf::from);
    let whole = whole_name(named.as_deref().unwrap_or(input));
    let mut prefix = match args.output.as_deref() {
        Some(output) if print::is_stdout(output) => {
            let message = "standard output cannot hold several files; name a prefix or a folder";
            return Err(Error::Usage(message.to_owned()));
        }
        Some(output) => write::place(output, || whole),
        None if input == args.input.typed() => input.with_file_name(whole),
        // Nothing is written into a cache.
        None => whole,
    };
    // It would stand in the middle of the names.
    if prefix.extension().is_some_and(|extension| extension == "gguf") {
        prefix.set_extension("");
    }
    Ok(prefix)
}

fn text(args: &Args, parts: &[(Plan, PathBuf)]) -> Page {
    let mut page = Page::new();
    let rows: Vec<Vec<String>> = parts
        .iter()
        .map(|(plan, path)| {
            vec![
                print::path(path),
                print::many(plan.tensors().len(), "tensor"),
                HumanBytes(plan.file_len()).to_string(),
            ]
        })
        .collect();
    page.rows(&rows);
    page.line(format!(
        "{} {}: {}, {}",
        if args.dry_run { "would write" } else { "wrote" },
        print::many(parts.len(), "part"),
        HumanBytes(parts.iter().map(|(plan, _)| plan.file_len()).sum()),
        print::many(parts.iter().map(|(plan, _)| plan.tensors().len()).sum(), "tensor"),
    ));
    page
}

/// The JSON report.
#[derive(Serialize)]
struct Report<'a> {
    dry_run: bool,
    warnings: Vec<&'a str>,
    parts: Vec<PartReport<'a>>,
}

#[derive(Serialize)]
struct PartReport<'a> {
    output: String,
    size_bytes: u64,
    tensors: Vec<TensorReport<'a>>,
}

fn report<'a>(args: &Args, parts: &'a [(Plan, PathBuf)], warnings: Vec<&'a str>) -> Report<'a> {
    let part = |(plan, path): &'a (Plan, PathBuf)| PartReport {
        output: path.display().to_string(),
        size_bytes: plan.file_len(),
        tensors: tensors(plan),
    };
    Report {
        dry_run: args.dry_run,
        warnings,
        parts: parts.iter().map(part).collect(),
    }
}
