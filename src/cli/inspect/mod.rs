//! `gguf-conv inspect`: what GGUF and safetensors files hold.

mod get;
mod report;

use super::findings::Told;
use super::json;
use super::page::Page;
use super::print;
use super::several::Opened;
use super::shared::{ArchArgs, FormatArgs};
use super::sources::{Finder, Reach, SourceArgs, source};
use super::{Outcome, of_gguf, tell_of_arch, write};
use crate::Error;
use crate::arch::Registry;
use crate::check;
use crate::finding::{Finding, Severity};
use crate::gguf::{Endian, Metadata};
use crate::inspect::{Role, Summary, TypeShare};
use crate::io::kind::Wanted;
use crate::io::{Inputs, output};
use crate::plan::WriteError;
use crate::report::Held;
use crate::source::Source;
use crate::storage::stats::{Figures, Histogram};
use crate::storage::{ModelFile, ModelTensor};
use crate::text::{self, Glob};
use bstr::BStr;
use clap::ValueEnum;
use indicatif::HumanBytes;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  gguf-conv inspect drafter.gguf
  gguf-conv inspect --stats --filter 'blk.0.*' drafter.gguf
  gguf-conv inspect --get general.architecture drafter.gguf
          the bare value, for scripts
  gguf-conv inspect --get 'tokenizer.ggml.tokens[0..16]' drafter.gguf
  gguf-conv inspect --get 'blk.0.attn_q.weight[0..16]' --json drafter.gguf
          numbers of a tensor, counted in the order of the file, whatever its type
  gguf-conv inspect --stats --html drafter.html drafter.gguf
          a page to look at or to send";

/// Arguments of inspect.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// GGUF files (of a split model any part), .safetensors files or checkpoint folders
    #[arg(required = true, value_name = "FILE", value_parser = source())]
    files: Vec<Source>,
    /// Show long values whole
    #[arg(long)]
    full: bool,
    /// Show only the keys and tensors whose name fits; * stands for any characters, ? for one
    #[arg(long, value_name = "GLOB")]
    filter: Option<Glob>,
    /// Order of the tensors
    #[arg(long, value_enum, default_value = "file", value_name = "ORDER")]
    sort: Order,
    /// Leave the tensors out
    #[arg(long)]
    no_tensors: bool,
    /// Read the data too: smallest and largest number, mean, root mean square, zeros, NaN and infinities, and how many numbers
    /// lie in each of 12 equal steps from the smallest to the largest, as bars on a logarithmic scale
    #[arg(long, conflicts_with = "no_tensors")]
    stats: bool,
    /// Print one value alone: of a key, of elements of a list (KEY[0..16], KEY[3]; one a line, what would end a line or
    /// drive a terminal escaped), or numbers of a tensor (TENSOR[0..16])
    #[arg(long, value_name = "NAME", conflicts_with_all = ["full", "filter", "sort", "no_tensors", "stats"])]
    get: Option<String>,
    /// Write a page that needs nothing else instead: what the file is, sizes, types of tensors by layer, with --stats their
    /// figures (- for standard output)
    #[arg(long, value_name = "PAGE.html", conflicts_with = "get")]
    html: Option<PathBuf>,
    /// Replace the file of --html if it exists
    #[arg(long, requires = "html")]
    force: bool,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    pub(super) format: FormatArgs,
    #[command(flatten)]
    arch: ArchArgs,
}

impl Args {
    /// Where the page goes to.
    pub(super) fn html(&self) -> Option<&Path> {
        self.html.as_deref()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    /// As the file lists them
    File,
    /// By name
    Name,
    /// Largest first
    Size,
    /// By type, then as the file lists them
    Type,
    /// By place in the file
    Offset,
}

/// A file with all that was asked of it.
struct Inspected<'a> {
    file: &'a ModelFile,
    metadata: Cow<'a, Metadata>,
    summary: Summary,
    /// Where tensor ranges of a GGUF are wrong.
    faults: Vec<Finding>,
    tensors: Vec<(ModelTensor<'a>, Option<Figures>)>,
}

/// Reads each file's header, and its data where statistics are asked for, and prints it.
pub(super) fn run(args: &Args, inputs: &Inputs) -> Result<Outcome, Error> {
    if let Some(asked) = &args.get {
        return get::run(asked, args, inputs);
    }
    if let Some(html) = &args.html {
        output::check(html, inputs, args.force).map_err(WriteError::from)?;
        if args.files.len() > 1 {
            let message = "--html makes a page of one model; give one FILE";
            return Err(Error::Usage(message.to_owned()));
        }
    }
    let registry = args.arch.registry(inputs)?;
    let finder = Finder::new(inputs, args.sources.download);
    let reach = if args.stats { Reach::Whole } else { Reach::Parts };
    let Opened { files, failures } = Opened::each(&args.files, |file| {
        Ok(ModelFile::look(
            inputs,
            &finder.find(file, Wanted::Weights, reach)?,
        )?)
    });
    print::detail("headers read");
    let inspected: Vec<Inspected> = files.iter().map(|file| inspect(file, args, &registry)).collect();
    for one in &inspected {
        let path = print::path(one.file.path());
        for missing in one.file.missing() {
            let missing = print::path(missing);
            print::warn(&format!(
                "{missing} is not there; only what is there of the model is shown"
            ));
        }
        // What `check` calls errors does not keep a file from being looked at.
        let warning = |fault: &Finding| Finding {
            severity: Severity::Warning,
            message: format!("{path}: {}", fault.message),
            ..fault.clone()
        };
        let warnings: Vec<Finding> = one.faults.iter().map(warning).collect();
        let told = Told::of(warnings.iter());
        told.lines.iter().for_each(|line| print::tell(line));
    }
    if let (Some(html), Some(one)) = (&args.html, inspected.first()) {
        let page = crate::report::inspect(&held(one, args), &write::command_line());
        write::text(html, &page, inputs, args.force).map_err(WriteError::from)?;
    }
    if args.format.json {
        let reports: Vec<_> = inspected.iter().map(|one| report::of(one, args)).collect();
        let output = args.html.as_deref();
        json::write_beside(inputs, output, "inspect", &reports, &failures.reports())?;
    } else if let Some(html) = &args.html {
        if !inspected.is_empty() && !print::is_stdout(html) {
            let line = Page::of_line(format!("wrote {}", print::path(html)));
            print::written(&line, html, inputs)?;
        }
    } else {
        let mut page = if args.full { Page::whole() } else { Page::new() };
        for (at, one) in inspected.iter().enumerate() {
            if at > 0 {
                page.line("");
            }
            show(one, args, &mut page);
        }
        print::stdout(&page, inputs)?;
    }
    Ok(failures.outcome(Outcome::Done))
}

fn inspect<'a>(file: &'a ModelFile, args: &Args, registry: &Registry) -> Inspected<'a> {
    let faults = match file {
        ModelFile::Gguf(gguf) => check::ranges(gguf),
        ModelFile::Safetensors(_) => Vec::new(),
    };
    let mut tensors = file.tensors();
    tensors.retain(|tensor| !args.no_tensors && shown(args, tensor.name));
    match args.sort {
        Order::File => {}
        Order::Name => tensors.sort_by_key(|tensor| tensor.name),
        Order::Size => tensors.sort_by_key(|tensor| std::cmp::Reverse(tensor.size)),
        Order::Type => tensors.sort_by(|a, b| a.type_name.cmp(&b.type_name)),
        Order::Offset => tensors.sort_by_key(|tensor| (tensor.file, tensor.file_offset)),
    }
    Inspected {
        file,
        metadata: file.metadata(),
        summary: summary(file, registry),
        faults,
        tensors: with_stats(tensors, args.stats),
    }
}

/// What the file is; by which architecture file that was told, for those who ask.
fn summary(file: &ModelFile, registry: &Registry) -> Summary {
    match file {
        ModelFile::Gguf(gguf) => {
            of_gguf(registry, gguf);
        }
        ModelFile::Safetensors(checkpoint) => {
            let arch = registry.of_checkpoint(checkpoint, checkpoint.config().ok().flatten());
            tell_of_arch(checkpoint.path(), arch, "");
        }
    }
    Summary::of(file, registry)
}

fn shown(args: &Args, name: &BStr) -> bool {
    args.filter.as_ref().is_none_or(|glob| glob.matches(name))
}

/// Reads the data of each tensor if asked to. Data that cannot be read is a warning.
fn with_stats(tensors: Vec<ModelTensor>, wanted: bool) -> Vec<(ModelTensor, Option<Figures>)> {
    if !wanted {
        return tensors.into_iter().map(|tensor| (tensor, None)).collect();
    }
    let total = tensors
        .iter()
        .map(ModelTensor::elements)
        .fold(0, u64::saturating_add);
    let bar = print::progress_bar(total, print::NUMBERS_BAR);
    let stats = |tensor: ModelTensor<'_>| match tensor.numbers() {
        Ok(numbers) => Some(Figures::of(&numbers, &|read| bar.inc(read))),
        Err(error) => {
            bar.suspend(|| print::warn(&error.to_string()));
            None
        }
    };
    let tensors = tensors
        .into_iter()
        .map(|tensor| (tensor.clone(), stats(tensor)))
        .collect();
    bar.finish_and_clear();
    tensors
}

/// For a page.
fn held<'a>(one: &'a Inspected, args: &Args) -> Held<'a> {
    Held {
        name: print::path(one.file.path()),
        sentences: headline(one),
        summary: &one.summary,
        faults: &one.faults,
        keys: keys(one, args),
        tensors: &one.tensors,
    }
}

fn keys(one: &Inspected, args: &Args) -> Vec<Vec<String>> {
    let keys = one.metadata.iter().filter(|(key, _)| shown(args, key));
    keys.map(|(key, value)| vec![text::name(key), value.type_name(), print::value(value, args.full)])
        .collect()
}

fn show(one: &Inspected, args: &Args, page: &mut Page) {
    page.line(print::path(one.file.path()));
    for line in headline(one) {
        page.line(format!("  {line}"));
    }
    page.section("metadata", &keys(one, args));
    if !one.tensors.is_empty() {
        page.section("tensors", &tensor_rows(one, args.stats));
    }
}

fn tensor_rows(one: &Inspected, with_stats: bool) -> Vec<Vec<String>> {
    if with_stats {
        return stats_rows(one);
    }
    let is_split = one.file.files().len() > 1;
    let row = |tensor: &ModelTensor| {
        let size = tensor.size.map(|size| HumanBytes(size).to_string());
        let part = is_split.then(|| format!("of file {}", tensor.file + 1));
        let row = [
            text::name(tensor.name),
            tensor.type_name.clone(),
            text::dims(&tensor.dims),
            size.unwrap_or_else(|| "?".to_owned()),
            format!("at {}", tensor.offset),
        ];
        row.into_iter().chain(part).collect()
    };
    one.tensors.iter().map(|(tensor, _)| row(tensor)).collect()
}

/// Figures of each tensor; NaN and infinities have columns only where there are any.
fn stats_rows(one: &Inspected) -> Vec<Vec<String>> {
    let figures = || one.tensors.iter().filter_map(|(_, figures)| figures.as_ref());
    let is_finite = figures().all(|figures| figures.stats.nan + figures.stats.infinite == 0);
    let head = [
        "", "", "values", "min", "max", "mean", "rms", "zeros", "NaN", "inf",
    ];
    let columns = if is_finite { head.len() - 2 } else { head.len() };
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), print::number);
    let row = |(tensor, figures): &(ModelTensor, Option<Figures>)| {
        let mut row = vec![text::name(tensor.name), tensor.type_name.clone()];
        match figures {
            None => row.push("not readable".to_owned()),
            Some(Figures { stats, histogram }) => row.extend([
                histogram.as_ref().map_or_else(|| "-".to_owned(), Histogram::bars),
                number(stats.min.map(f64::from)),
                number(stats.max.map(f64::from)),
                number(stats.mean),
                number(stats.rms),
                format!("{:.2} %", stats.zero_share() * 100.0),
                stats.nan.to_string(),
                stats.infinite.to_string(),
            ]),
        }
        row.truncate(columns);
        row
    };
    let head = head.iter().take(columns).map(|&cell| cell.to_owned()).collect();
    std::iter::once(head).chain(one.tensors.iter().map(row)).collect()
}

/// The summary in a few lines.
fn headline(one: &Inspected) -> Vec<String> {
    let summary = &one.summary;
    let files = one.file.files();
    let size: u64 = files.iter().map(|file| file.len).sum();
    let mut container = match one.file {
        ModelFile::Gguf(gguf) => {
            let header = &gguf.parts()[0].header;
            let endian = match header.endian {
                Endian::Little => "",
                Endian::Big => ", big-endian",
            };
            format!("GGUF v{}{endian}", header.version)
        }
        ModelFile::Safetensors(_) => "safetensors".to_owned(),
    };
    if files.len() > 1 {
        container.push_str(&format!(" in {} files", files.len()));
    }
    let mut lines = vec![
        what_it_is(summary),
        format!(
            "{container}, {}, {}, {}",
            HumanBytes(size),
            print::many(one.metadata.len(), "key"),
            print::many(summary.types.iter().map(|share| share.tensors).sum(), "tensor"),
        ),
        format!(
            "{} parameters, {:.2} bits per weight: {}",
            print::count(summary.parameters),
            summary.bits_per_weight(),
            type_shares(summary),
        ),
    ];
    lines.extend(geometry(summary));
    lines
}

fn what_it_is(summary: &Summary) -> String {
    let role = match (&summary.kind, summary.role) {
        (Some(kind), _) => kind.to_string(),
        (None, Role::Drafter) => "drafter".to_owned(),
        (None, Role::Target) => "target for a drafter".to_owned(),
        (None, Role::Other) => "model".to_owned(),
    };
    let mut text = match &summary.architecture {
        Some(architecture) => format!("{architecture}: {role}"),
        None => format!("{role} of no stated architecture"),
    };
    if let Some(of) = &summary.dialect {
        text.push_str(&format!(" in the dialect of {of}"));
    }
    if let Some(width) = summary.backbone {
        text.push_str(&format!(", for a target of width {width}"));
    }
    text
}

fn type_shares(summary: &Summary) -> String {
    let share = |share: &TypeShare| {
        let percent = share.bytes as f64 * 100.0 / summary.data_bytes.max(1) as f64;
        format!("{} {percent:.1} %", share.name)
    };
    summary.types.iter().map(share).collect::<Vec<_>>().join(", ")
}

/// Context, layers and heads, as far as they are known.
fn geometry(summary: &Summary) -> Vec<String> {
    let list = |values: &[u64]| values.iter().map(u64::to_string).collect::<Vec<_>>().join("/");
    let phrase = |value: Option<u64>, words: &str| value.map(|value| words.replace("{}", &value.to_string()));
    let layers = match (summary.layers, summary.sliding_layers) {
        (Some(layers), Some(sliding)) => {
            let full = layers.saturating_sub(sliding);
            Some(format!("{layers} layers ({sliding} sliding, {full} full)"))
        }
        (layers, _) => phrase(layers, "{} layers"),
    };
    let lines = [
        [
            phrase(summary.context, "context {}"),
            phrase(summary.window, "window {}"),
            phrase(summary.vocabulary, "vocabulary {}"),
            None,
            None,
        ],
        [
            layers,
            phrase(summary.width, "width {}"),
            phrase(summary.heads, "{} heads"),
            (!summary.head_dims.is_empty()).then(|| format!("of {}", list(&summary.head_dims))),
            (!summary.kv_heads.is_empty()).then(|| format!("kv heads {}", list(&summary.kv_heads))),
        ],
    ];
    lines
        .into_iter()
        .map(|line| line.into_iter().flatten().collect::<Vec<_>>().join(", "))
        .map(|line| line.replace("heads, of", "heads of"))
        .filter(|line| !line.is_empty())
        .collect()
}
