//! `gguf-conv migrate`: arguments and report of a migration.

use super::json::{self, KeyReport};
use super::page::Page;
use super::print;
use super::shared::{ArchArgs, FormatArgs};
use super::sources::{Finder, Reach, SourceArgs, source};
use super::write::{self, TensorReport, tensors};
use super::{Outcome, of_gguf, whole_name};
use crate::Error;
use crate::gguf::{Endian, Gguf};
use crate::io::Inputs;
use crate::io::kind::Wanted;
use crate::migrate::{self, Change, Migration, Options, Subject};
use crate::source::Source;
use clap::ValueEnum;
use indicatif::HumanBytes;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Arguments of a migration.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The drafter's GGUF, of any known dialect, byte order and version (any part, if it is split)
    #[arg(value_parser = source())]
    old: Source,
    /// Output file
    #[arg(short, long, value_name = "NEW.gguf", required_unless_present = "dry_run")]
    pub(super) output: Option<PathBuf>,
    /// Dialect to write: upstream (llama.cpp), atomic (AtomicChat's fork), ik (ik_llama.cpp)
    #[arg(long, value_name = "DIALECT", default_value = "upstream")]
    to: String,
    /// GGUF of the model that the drafter drafts for: the source of numbers that the drafter lacks
    #[arg(long, value_name = "T.gguf", value_parser = source())]
    target: Option<Source>,
    /// Byte order to write
    #[arg(long, value_enum, default_value = "little")]
    endian: EndianArg,
    /// Keep the centroid head (llama.cpp does not load such a file)
    #[arg(long)]
    keep_centroids: bool,
    /// Leave out tensors that are no part of a drafter
    #[arg(long)]
    drop_extra: bool,
    /// Show what would change and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Replace the output file if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    pub(super) format: FormatArgs,
    #[command(flatten)]
    arch: ArchArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EndianArg {
    Little,
    Big,
}

/// Plans the migration, then writes the file or shows what would change.
pub(super) fn run(args: &Args, inputs: &Inputs) -> Result<Outcome, Error> {
    let registry = args.arch.registry(inputs)?;
    let finder = Finder::new(inputs, args.sources.download);
    let old = Gguf::open(inputs, &finder.find(&args.old, Wanted::Drafter, Reach::Whole)?)?;
    let target = finder.find_if(args.target.as_ref(), Wanted::Target, Reach::Whole)?;
    let target = target.map(|path| Gguf::open(inputs, &path)).transpose()?;
    let output = args.output.as_deref().filter(|_| !args.dry_run);
    // A wrong output path is told before the work of planning.
    if let Some(path) = output {
        write::check(path, inputs, args.force)?;
    }
    let output = output.map(|path| write::place(path, || whole_name(old.path())));
    let output = output.as_deref();
    let options = Options {
        to: &args.to,
        keep_centroids: args.keep_centroids,
        drop_extra: args.drop_extra,
        endian: match args.endian {
            EndianArg::Little => Endian::Little,
            EndianArg::Big => Endian::Big,
        },
    };
    let migration = migrate::plan(of_gguf(&registry, &old), &old, target.as_ref(), options)?;
    print::detail("planned");
    for warning in migration.plan.warnings() {
        print::warn(warning);
    }
    if let Some(path) = output {
        write::write(&migration.plan, path, inputs, args.force)?;
    }
    if args.format.json {
        json::write_beside(inputs, output, "migrate", &[report(&migration, output)], &[])?;
    } else {
        let page = text(&migration, output);
        match output {
            Some(path) => print::written(&page, path, inputs)?,
            None => print::stdout(&page, inputs)?,
        }
    }
    Ok(Outcome::Done)
}

fn text(migration: &Migration, output: Option<&Path>) -> Page {
    let rows: Vec<Vec<String>> = migration
        .changes
        .iter()
        .map(|change| {
            vec![
                verb(change).to_owned(),
                subject(change.subject).to_owned(),
                sides(change),
                change.why.clone(),
            ]
        })
        .collect();
    let mut page = Page::new();
    match rows.is_empty() {
        true => page.line("nothing to change"),
        false => page.rows(&rows),
    }
    let plan = &migration.plan;
    if let Some(path) = output {
        page.line(format!(
            "wrote {}: {}, {}, {}",
            print::output(path),
            HumanBytes(plan.file_len()),
            print::many(plan.metadata().len(), "key"),
            print::many(plan.tensors().len(), "tensor"),
        ));
    }
    page
}

fn verb(change: &Change) -> &'static str {
    match (&change.from, &change.to) {
        (None, _) => "add",
        (_, None) => "drop",
        _ => "change",
    }
}

fn sides(change: &Change) -> String {
    let sides = [&change.from, &change.to];
    sides
        .into_iter()
        .flatten()
        .cloned()
        .collect::<Vec<_>>()
        .join(" -> ")
}

fn subject(subject: Subject) -> &'static str {
    match subject {
        Subject::File => "file",
        Subject::Architecture => "architecture",
        Subject::Key => "key",
        Subject::Tensor => "tensor",
    }
}

/// The JSON report.
#[derive(Serialize)]
struct Report<'a> {
    dry_run: bool,
    /// Absent when nothing was written.
    output: Option<String>,
    size_bytes: u64,
    changes: Vec<ChangeReport<'a>>,
    warnings: &'a [String],
    metadata: Vec<KeyReport<'a>>,
    tensors: Vec<TensorReport<'a>>,
}

#[derive(Serialize)]
struct ChangeReport<'a> {
    /// `add`, `drop` or `change`.
    action: &'static str,
    /// `file`, `architecture`, `key` or `tensor`.
    subject: &'static str,
    from: Option<&'a str>,
    to: Option<&'a str>,
    why: &'a str,
}

fn report<'a>(migration: &'a Migration, output: Option<&Path>) -> Report<'a> {
    let change = |change: &'a Change| ChangeReport {
        action: verb(change),
        subject: subject(change.subject),
        from: change.from.as_deref(),
        to: change.to.as_deref(),
        why: &change.why,
    };
    let plan = &migration.plan;
    Report {
        dry_run: output.is_none(),
        output: output.map(|path| path.display().to_string()),
        size_bytes: plan.file_len(),
        changes: migration.changes.iter().map(change).collect(),
        warnings: plan.warnings(),
        metadata: json::keys(plan.metadata()),
        tensors: tensors(plan),
    }
}
