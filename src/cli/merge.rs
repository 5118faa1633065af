//! `gguf-conv merge`: arguments and report of parts that become one file.

use super::json;
use super::page::Page;
use super::print;
use super::shared::{FormatArgs, WritingArgs};
use super::sources::{Finder, Reach, SourceArgs, source};
use super::write::{self, TensorReport, tensors};
use super::{Outcome, whole_name};
use crate::Error;
use crate::gguf::{Gguf, Part};
use crate::io::Inputs;
use crate::io::kind::Wanted;
use crate::plan::Plan;
use crate::source::Source;
use crate::split;
use indicatif::HumanBytes;
use serde::Serialize;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  gguf-conv merge model-00001-of-00003.gguf -o model.gguf
          the parts that lie beside it too
  gguf-conv merge b.gguf c.gguf a.gguf -o model.gguf
          parts that were renamed, in any order
  gguf-conv merge joined.gguf -o model.gguf
          parts that were joined to one file as by cat";

/// Arguments of merge.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Any part, the others are found beside it; or all of them, under any names and in any order
    #[arg(value_name = "PART.gguf", required = true, value_parser = source())]
    parts: Vec<Source>,
    /// Output file, a folder to write it into, or - for standard output
    #[arg(short, long, value_name = "OUT.gguf", required_unless_present = "dry_run")]
    pub(super) output: Option<PathBuf>,
    #[command(flatten)]
    writing: WritingArgs,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    pub(super) format: FormatArgs,
}

/// Plans the file, then writes it or shows the plan.
pub(super) fn run(args: &Args, inputs: &Inputs) -> Result<Outcome, Error> {
    let finder = Finder::new(inputs, args.sources.download);
    let find = |part| finder.find(part, Wanted::Gguf, Reach::Whole);
    let paths: Vec<PathBuf> = args.parts.iter().map(find).collect::<Result<_, Error>>()?;
    let gguf = Gguf::assemble(inputs, &paths)?;
    let output = args.output.as_deref().filter(|_| !args.writing.dry_run);
    let output = output.map(|path| write::place(path, || whole_name(gguf.path())));
    if let Some(path) = output.as_deref() {
        write::check(path, inputs, args.writing.force)?;
    }
    let plan = split::merge(&gguf)?;
    plan.warnings().iter().for_each(|warning| print::warn(warning));
    if let Some(path) = output.as_deref() {
        write::write(&plan, path, inputs, args.writing.force)?;
    }
    let output = output.as_deref();
    if args.format.json {
        json::write_beside(inputs, output, "merge", &[report(&gguf, &plan, output)], &[])?;
    } else {
        let page = text(&gguf, &plan, output);
        match output {
            Some(path) => print::written(&page, path, inputs)?,
            None => print::stdout(&page, inputs)?,
        }
    }
    Ok(Outcome::Done)
}

fn text(gguf: &Gguf, plan: &Plan, output: Option<&Path>) -> Page {
    let mut page = Page::new();
    let row = |part: &Part| {
        vec![
            print::path(&part.path),
            print::many(part.header.tensors.len(), "tensor"),
            HumanBytes(part.file_len()).to_string(),
        ]
    };
    page.rows(&gguf.parts().iter().map(row).collect::<Vec<_>>());
    page.line(format!(
        "{}: {}, {}, from {}",
        match output {
            Some(path) => format!("wrote {}", print::output(path)),
            None => "would write one file".to_owned(),
        },
        HumanBytes(plan.file_len()),
        print::many(plan.tensors().len(), "tensor"),
        print::many(gguf.parts().len(), "part"),
    ));
    page
}

/// The JSON report.
#[derive(Serialize)]
struct Report<'a> {
    dry_run: bool,
    /// Absent when nothing was written.
    output: Option<String>,
    size_bytes: u64,
    warnings: &'a [String],
    parts: Vec<PartReport>,
    tensors: Vec<TensorReport<'a>>,
}

#[derive(Serialize)]
struct PartReport {
    path: String,
    size_bytes: u64,
}

fn report<'a>(gguf: &Gguf, plan: &'a Plan, output: Option<&Path>) -> Report<'a> {
    let part = |part: &Part| PartReport {
        path: part.path.display().to_string(),
        size_bytes: part.file_len(),
    };
    Report {
        dry_run: output.is_none(),
        output: output.map(|path| path.display().to_string()),
        size_bytes: plan.file_len(),
        warnings: plan.warnings(),
        parts: gguf.parts().iter().map(part).collect(),
        tensors: tensors(plan),
    }
}
