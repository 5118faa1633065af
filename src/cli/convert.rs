//! `gguf-conv DRAFTER`: arguments, progress and report of a conversion.

use super::install::Install;
use super::json::{self, KeyReport};
use super::page::Page;
use super::print;
use super::sources::{Finder, Reach, source};
use super::write::{self, TensorReport, grid_line, tensors};
use super::{Outcome, outtypes, registry, tell_of_arch};
use crate::Error;
use crate::checkpoint::CheckpointHead;
use crate::convert::{self, Conversion, ConvertError, Derived, Draft, Options, TokenizerSource};
use crate::gguf::Gguf;
use crate::io::Inputs;
use crate::io::kind::Wanted;
use crate::plan::{self, Plan, Q4Grid};
use crate::quant::GgmlType;
use crate::quant::recipe::FileType;
use crate::source::Source;
use crate::text;
use clap::ValueEnum;
use indicatif::HumanBytes;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The output type that keeps BF16 and F16 as they are.
const AUTO: &str = "auto";

/// How many of the tensors that are left out for one reason are named.
const LEFT_OUT: usize = 8;

/// Arguments of a conversion.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The drafter, or Gemma 4 itself: a checkpoint folder, a .safetensors file, or a model of the Hugging Face Hub (ORG/NAME)
    #[arg(value_parser = source())]
    drafter: Source,
    /// GGUF of the model that the drafter drafts for (any part, if it is split): checked against the drafter, and the
    /// source of what the drafter's folder lacks
    #[arg(long, value_name = "T.gguf", value_parser = source())]
    target: Option<Source>,
    /// Output file, a folder to write the default name into, or - for standard output [default: mtp-NAME-TYPE.gguf in the current folder, a name that llama.cpp finds by itself; of a target the name that its converter gives]
    #[arg(short, long, value_name = "D.gguf")]
    pub(super) output: Option<PathBuf>,
    /// Type of the weights; auto keeps bf16 and f16 as they are
    #[arg(long, default_value = AUTO, ignore_case = true, value_parser = outtypes(&[AUTO]))]
    outtype: String,
    /// Give the embedding the output type too, wherever it fits
    #[arg(long)]
    pure: bool,
    /// Fit Q4_0 such that weights on the grid of a quantization-aware training keep their values (other bytes than
    /// llama-quantize's)
    #[arg(long)]
    qat: bool,
    /// Put the result where a program looks for it, and replace nothing there: ollama:NAME makes a model of target and
    /// drafter, lmstudio and llama.cpp are folders
    #[arg(long, value_name = "PROGRAM", value_parser = Install::parse, conflicts_with = "dry_run")]
    install: Option<Install>,
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
    /// Get models of the Hugging Face Hub that are not here (hf:ORG/NAME, ORG/NAME) into its cache
    // Not by `SourceArgs`: of arguments that may be absent as a whole, clap flattens no others.
    #[arg(long)]
    download: bool,
    /// Report as JSON
    #[arg(long)]
    pub json: bool,
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
pub(super) fn run(args: &Args, inputs: &Inputs) -> Result<Outcome, Error> {
    let registry = registry(inputs, args.arch.as_deref())?;
    let finder = Finder::new(inputs, args.download);
    // What is shown is known by the headers, what is written is all of it.
    let reach = if args.dry_run { Reach::Parts } else { Reach::Whole };
    let drafter = finder.find(&args.drafter, Wanted::Checkpoint, reach)?;
    let checkpoint = CheckpointHead::open(inputs, &drafter).map_err(ConvertError::from)?;
    let target = finder.find_if(args.target.as_ref(), Wanted::Target, Reach::NoMoreThanParts)?;
    let target = target.map(|path| Gguf::open(inputs, &path)).transpose()?;
    let options = Options {
        outtype: FileType::from_name(&args.outtype),
        pure: args.pure,
        qat: args.qat,
        keep_centroids: args.keep_centroids,
        tokenizer: args.tokenizer.into(),
    };
    if let Some(install) = &args.install {
        install.check(target.as_ref().map(Gguf::path), args.output.as_deref())?;
    }
    let force = args.force && args.install.is_none();
    // A wrong output path is told before the work of planning.
    if let Some(path) = args.output.as_deref().filter(|_| !args.dry_run) {
        write::check(path, inputs, force)?;
    }
    let config = checkpoint.config().map_err(ConvertError::from)?;
    let arch = registry.of_checkpoint(&checkpoint, config);
    tell_of_arch(checkpoint.path(), arch, "");
    let conversion = convert::plan(arch, &checkpoint, target.as_ref(), options)?;
    let plan = &conversion.plan;
    print::detail("planned");
    let name = || default_name(&conversion);
    let installed = match &args.install {
        Some(install) => install.output(&name())?,
        None => None,
    };
    let path = match (installed, args.output.as_deref()) {
        (Some(path), _) => path,
        (None, Some(asked)) => write::place(asked, name),
        (None, None) => name(),
    };
    if let Some(install) = &args.install {
        install.check_beside(&path, inputs)?;
    }
    tell(&conversion);
    let mut grid = None;
    if !args.dry_run {
        grid = Some(write::write(plan, &path, inputs, force)?);
    }
    let grid = grid.filter(|grid| grid.blocks > 0);
    if args.json {
        json::write_beside(
            inputs,
            Some(&path),
            "convert",
            &[report(&conversion, &path, args.dry_run, grid)],
            &[],
        )?;
    } else {
        let mut page = Page::new();
        if args.dry_run {
            show_plan(plan, &mut page);
        }
        let verb = if args.dry_run { "would write" } else { "wrote" };
        summarize(&conversion, target.as_ref(), &path, verb, &mut page);
        if let Some(line) = grid.and_then(grid_line) {
            page.line(line);
        }
        print::written(&page, &path, inputs)?;
    }
    if let Some(install) = &args.install {
        let target = target.as_ref().map(Gguf::path);
        install.finish(&path, args.target.as_ref(), target, inputs)?;
    }
    Ok(Outcome::Done)
}

/// `mtp-NAME-TYPE.gguf`, say: llama.cpp looks for a drafter by what stands in front. Of another model the name that
/// llama.cpp's converter gives it.
fn default_name(conversion: &Conversion) -> PathBuf {
    let Some(Draft { prefix, .. }) = &conversion.draft else {
        return upstream_name(conversion);
    };
    let name = conversion.source_name.replace([' ', '/', '\\'], "-");
    let name = name
        .strip_suffix("-assistant")
        .filter(|name| !name.is_empty())
        .unwrap_or(&name);
    format!(
        "{prefix}{name}-{}.gguf",
        conversion.file_type.name().to_uppercase()
    )
    .into()
}

/// `BASENAME-SIZE-FINETUNE-VERSION-TYPE.gguf` of what the metadata says of the model.
fn upstream_name(conversion: &Conversion) -> PathBuf {
    let metadata = conversion.plan.metadata();
    let part = |key: &str| {
        let text = metadata.string(&format!("general.{key}")).ok()?;
        Some(text.to_string().trim().replace([' ', '/', '\\'], "-"))
    };
    let name = part("basename").or_else(|| part("name"));
    let parts = [name, part("size_label"), part("finetune"), part("version")];
    let ty = conversion.file_type.name().to_uppercase();
    let parts: Vec<String> = parts.into_iter().flatten().chain([ty]).collect();
    format!("{}.gguf", parts.join("-")).into()
}

/// What was left out, derived, or may surprise, on standard error.
fn tell(conversion: &Conversion) {
    for warning in conversion.plan.warnings() {
        print::warn(warning);
    }
    for note in plan::told_of_fallbacks(conversion.plan.tensors()) {
        print::tell(&format!("note: {note}"));
    }
    for derived in &conversion.derived {
        let Derived { name, value, from } = derived;
        print::tell(&format!("derived: {name} = {value} from {from}"));
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
        let (shown, more) = names.split_at(names.len().min(LEFT_OUT));
        let more = match more.len() {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        print::tell(&format!("left out: {}{more} ({reason})", shown.join(", ")));
    }
    if conversion.tokenizer == "target" {
        print::tell("tokenizer: from the target");
    }
}

fn summarize(conversion: &Conversion, target: Option<&Gguf>, path: &Path, verb: &str, page: &mut Page) {
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
    page.line(format!(
        "{verb} {}: {}, {} parameters, {:.2} bits per weight",
        print::output(path),
        HumanBytes(plan.file_len()),
        print::count(plan.parameters()),
        plan.bits_per_weight(),
    ));
    let what = match &conversion.draft {
        Some(draft) => {
            let width = draft
                .target_width
                .map_or_else(String::new, |width| format!(" of width {width}"));
            format!(
                "{} drafter ({}) for a target{width}",
                conversion.kind, conversion.architecture
            )
        }
        None => conversion.kind.clone(),
    };
    page.line(format!(
        "{what}: {} layers of width {}, context {}, tensors {}",
        number("block_count"),
        number("embedding_length"),
        number("context_length"),
        types.join(", "),
    ));
    if let Some(draft) = conversion.draft.as_ref().filter(|_| plan.warnings().is_empty()) {
        const TARGET: &str = "TARGET.gguf";
        let here = target.filter(|target| !target.is_distant());
        page.line(format!(
            "run it with: llama-server -m {} --model-draft {} --spec-type {} --spec-draft-n-max 3 --parallel 1",
            here.map_or_else(|| TARGET.to_owned(), |target| print::word(target.path(), TARGET)),
            print::word(path, "DRAFTER.gguf"),
            draft.spec_type
        ));
    }
}

fn show_plan(plan: &Plan, page: &mut Page) {
    let metadata: Vec<Vec<String>> = plan
        .metadata()
        .iter()
        .map(|(key, value)| vec![text::name(key), value.type_name(), print::value(value, false)])
        .collect();
    let tensors: Vec<Vec<String>> = plan
        .placed()
        .map(|(tensor, offset)| {
            vec![
                tensor.name.clone(),
                tensor.ty.to_string(),
                text::dims(&tensor.dims),
                format!("at {offset}"),
                format!("from {} ({})", tensor.source.origin, tensor.source.ty),
            ]
        })
        .collect();
    page.section("metadata", &metadata);
    page.section("tensors", &tensors);
}

/// The JSON report.
#[derive(Serialize)]
struct Report<'a> {
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

fn report<'a>(conversion: &'a Conversion, path: &Path, dry_run: bool, grid: Option<Q4Grid>) -> Report<'a> {
    let plan = &conversion.plan;
    Report {
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
        tensors: tensors(plan),
    }
}
