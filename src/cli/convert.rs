//! `gguf-conv DRAFTER`: arguments, progress and report of a conversion.

use super::json::{self, KeyReport};
use super::print::{self, SCHEMA_VERSION};
use super::write::{parts, write};
use super::{Outcome, outtypes, registry};
use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::convert::{self, Conversion, ConvertError, Options, TokenizerSource};
use crate::gguf::Gguf;
use crate::io::output;
use crate::plan::{Plan, Q4Grid, WriteError};
use crate::quant::GgmlType;
use crate::quant::recipe::FileType;
use crate::text::escape;
use clap::ValueEnum;
use indicatif::HumanBytes;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The output type that keeps BF16 and F16 as they are.
const AUTO: &str = "auto";

/// Arguments of a conversion.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The drafter: a checkpoint folder, a Hugging Face cache snapshot, or a .safetensors file
    drafter: PathBuf,
    /// GGUF of the model that the drafter drafts for (any part, if it is split): checked against the drafter, and the
    /// source of what the drafter's folder lacks
    #[arg(long, value_name = "T.gguf")]
    target: Option<PathBuf>,
    /// Output file [default: mtp-NAME-TYPE.gguf in the current folder, a name that llama.cpp finds by itself]
    #[arg(short, long, value_name = "D.gguf")]
    output: Option<PathBuf>,
    /// Type of the weights; auto keeps bf16 and f16 as they are
    #[arg(long, default_value = AUTO, ignore_case = true, value_parser = outtypes(&[AUTO]))]
    outtype: String,
    /// Give the embedding the output type too, wherever it fits
    #[arg(long)]
    pure: bool,
    /// Which tokenizer to write; auto takes the drafter's where its folder has one
    #[arg(long, value_enum, default_value = "auto")]
    tokenizer: TokenizerArg,
    /// Write the centroid head too (llama.cpp does not load such a file)
    #[arg(long)]
    keep_centroids: bool,
    /// Show what would be written and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Replace the output file if it exists
    #[arg(long)]
    force: bool,
    /// Report as JSON
    #[arg(long)]
    json: bool,
    /// Architecture file to use instead of the one compiled in
    #[arg(long, value_name = "FILE")]
    arch: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TokenizerArg {
    Auto,
    Drafter,
    Target,
}

impl From<TokenizerArg> for TokenizerSource {
    fn from(arg: TokenizerArg) -> TokenizerSource {
        match arg {
            TokenizerArg::Auto => TokenizerSource::Auto,
            TokenizerArg::Drafter => TokenizerSource::Drafter,
            TokenizerArg::Target => TokenizerSource::Target,
        }
    }
}

/// Plans the conversion, then writes the file or shows the plan.
pub(super) fn run(args: &Args) -> Result<Outcome, Error> {
    let registry = registry(args.arch.as_deref())?;
    let checkpoint = Checkpoint::open(&args.drafter).map_err(ConvertError::from)?;
    let target = args.target.as_deref().map(Gguf::open).transpose()?;
    let options = Options {
        outtype: FileType::from_name(&args.outtype),
        pure: args.pure,
        keep_centroids: args.keep_centroids,
        tokenizer: args.tokenizer.into(),
    };
    // A wrong output path is told before the work of planning.
    let inputs = inputs(&checkpoint, target.as_ref());
    if let Some(path) = args.output.as_deref().filter(|_| !args.dry_run) {
        output::check(path, &inputs, args.force).map_err(WriteError::from)?;
    }
    let config = checkpoint.config().map_err(ConvertError::from)?;
    let conversion = convert::plan(registry.of_config(config), &checkpoint, target.as_ref(), options)?;
    let plan = &conversion.plan;
    let path = args.output.clone().unwrap_or_else(|| default_name(&conversion));
    tell(&conversion);
    let mut grid = None;
    if !args.dry_run {
        grid = Some(write(plan, &path, &inputs, args.force)?);
    }
    let grid = grid.filter(|grid| grid.blocks > 0);
    if args.json {
        print::stdout_json(&report(&conversion, &path, args.dry_run, grid))?;
    } else if args.dry_run {
        print::stdout(&(plan_text(plan) + &summary(&conversion, &path, "would write")))?;
    } else {
        print::stdout(&(summary(&conversion, &path, "wrote") + &grid.map(grid_text).unwrap_or_default()))?;
    }
    Ok(Outcome::Done)
}

/// Share of Q4_0 blocks without loss from which on a checkpoint counts as trained for Q4_0. Ordinary weights are near 0.
const TRAINED_FOR_Q4_0: f64 = 0.9;

/// How well Q4_0 fits the checkpoint.
fn grid_text(grid: Q4Grid) -> String {
    let share = grid.exact as f64 / grid.blocks.max(1) as f64;
    let verdict = match share {
        share if share >= TRAINED_FOR_Q4_0 => ": the checkpoint was trained for Q4_0, which costs it nothing",
        _ => "",
    };
    format!(
        "{:.1}% of the Q4_0 blocks hold the checkpoint's numbers without loss{verdict}\n",
        share * 100.0
    )
}

/// Every file that is read, so that none is written over.
fn inputs(checkpoint: &Checkpoint, target: Option<&Gguf>) -> Vec<PathBuf> {
    const COMPANIONS: [&str; 6] = [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "README.md",
    ];
    let weights = checkpoint.files().iter().map(|file| file.path().to_owned());
    let parts = target.into_iter().flat_map(parts);
    let companions = COMPANIONS.iter().map(|name| checkpoint.folder().join(name));
    weights.chain(parts).chain(companions).collect()
}

/// `mtp-NAME-TYPE.gguf`: llama.cpp looks for a drafter by the `mtp-` in front.
fn default_name(conversion: &Conversion) -> PathBuf {
    let name = conversion.source_name.replace([' ', '/', '\\'], "-");
    let name = name
        .strip_suffix("-assistant")
        .filter(|name| !name.is_empty())
        .unwrap_or(&name);
    format!("mtp-{name}-{}.gguf", conversion.file_type.name().to_uppercase()).into()
}

/// What was left out, derived, or may surprise, on standard error.
fn tell(conversion: &Conversion) {
    for warning in conversion.plan.warnings() {
        print::warn(warning);
    }
    for derived in &conversion.derived {
        eprintln!(
            "derived: {} = {} from {}",
            derived.name, derived.value, derived.from
        );
    }
    let mut reasons: Vec<&str> = conversion
        .ignored
        .iter()
        .map(|ignored| ignored.reason.as_str())
        .collect();
    reasons.dedup();
    for reason in reasons {
        let names: Vec<&str> = conversion
            .ignored
            .iter()
            .filter(|i| i.reason == reason)
            .map(|i| i.name.as_str())
            .collect();
        eprintln!("left out: {} ({reason})", names.join(", "));
    }
    if conversion.tokenizer == "target" {
        eprintln!("tokenizer: from the target");
    }
}

fn summary(conversion: &Conversion, path: &Path, verb: &str) -> String {
    let plan = &conversion.plan;
    let mut types: BTreeMap<GgmlType, usize> = BTreeMap::new();
    for tensor in plan.tensors() {
        *types.entry(tensor.ty).or_default() += 1;
    }
    let types: Vec<String> = types.iter().map(|(ty, count)| format!("{count} {ty}")).collect();
    let number = |key: &str| {
        plan.metadata()
            .uint(&format!("{}.{key}", conversion.architecture))
            .unwrap_or(0)
    };
    let mut text = format!(
        "{verb} {}: {}, {} parameters, {:.2} bits per weight\n\
         {} drafter for a target of width {}: {} layers of width {}, context {}, tensors {}\n",
        path.display(),
        HumanBytes(plan.file_len()),
        print::count(plan.parameters()),
        plan.bits_per_weight(),
        conversion.architecture,
        number("embedding_length_out"),
        number("block_count"),
        number("embedding_length"),
        number("context_length"),
        types.join(", "),
    );
    if plan.warnings().is_empty() {
        text.push_str(&format!(
            "run it with: llama-server -m TARGET.gguf --model-draft {} --spec-type draft-mtp --spec-draft-n-max 3\n",
            path.display()
        ));
    }
    text
}

fn plan_text(plan: &Plan) -> String {
    let metadata: Vec<Vec<String>> = plan
        .metadata()
        .iter()
        .map(|(key, value)| vec![escape(key), value.type_name(), print::value(value, false)])
        .collect();
    let tensors: Vec<Vec<String>> = plan
        .placed()
        .map(|(tensor, offset)| {
            vec![
                tensor.name.clone(),
                tensor.ty.to_string(),
                print::shape(&tensor.dims),
                format!("at {offset}"),
                format!("from {} ({})", tensor.source.origin, tensor.source.ty),
            ]
        })
        .collect();
    format!(
        "metadata\n{}tensors\n{}",
        print::columns(&metadata),
        print::columns(&tensors)
    )
}

/// The JSON report.
#[derive(Serialize)]
struct Report<'a> {
    schema_version: u32,
    dry_run: bool,
    output: String,
    size_bytes: u64,
    parameters: u64,
    outtype: &'a str,
    tokenizer: &'a str,
    q4_0_blocks: Option<u64>,
    q4_0_blocks_without_loss: Option<u64>,
    warnings: &'a [String],
    derived: Vec<DerivedReport<'a>>,
    ignored: Vec<IgnoredReport<'a>>,
    metadata: Vec<KeyReport<'a>>,
    tensors: Vec<TensorReport<'a>>,
}

#[derive(Serialize)]
struct DerivedReport<'a> {
    name: &'a str,
    value: &'a str,
    from: &'a str,
}

#[derive(Serialize)]
struct IgnoredReport<'a> {
    name: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct TensorReport<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    ty: &'a str,
    shape: &'a [u64],
    file_offset: u64,
    size_bytes: Option<u64>,
    source: &'a str,
    source_type: &'a str,
}

fn report<'a>(conversion: &'a Conversion, path: &Path, dry_run: bool, grid: Option<Q4Grid>) -> Report<'a> {
    let plan = &conversion.plan;
    Report {
        schema_version: SCHEMA_VERSION,
        dry_run,
        output: path.display().to_string(),
        size_bytes: plan.file_len(),
        parameters: plan.parameters(),
        outtype: conversion.file_type.name(),
        tokenizer: conversion.tokenizer,
        q4_0_blocks: grid.map(|grid| grid.blocks),
        q4_0_blocks_without_loss: grid.map(|grid| grid.exact),
        warnings: plan.warnings(),
        derived: conversion
            .derived
            .iter()
            .map(|d| DerivedReport {
                name: &d.name,
                value: &d.value,
                from: &d.from,
            })
            .collect(),
        ignored: conversion
            .ignored
            .iter()
            .map(|i| IgnoredReport {
                name: &i.name,
                reason: &i.reason,
            })
            .collect(),
        metadata: json::keys(plan.metadata()),
        tensors: plan
            .placed()
            .map(|(tensor, file_offset)| TensorReport {
                name: &tensor.name,
                ty: tensor.ty.name(),
                shape: &tensor.dims,
                file_offset,
                size_bytes: tensor.size(),
                source: &tensor.source.origin,
                source_type: tensor.source.ty.name(),
            })
            .collect(),
    }
}
