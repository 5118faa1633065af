//! `gguf-conv check`: arguments and report of a check.

use super::findings::Told;
use super::json;
use super::page::Page;
use super::print;
use super::shared::{ArchArgs, FormatArgs};
use super::sources::{Finder, Reach, SourceArgs, source};
use super::{Outcome, of_gguf};
use crate::Error;
use crate::arch::Run;
use crate::check::{self, Checked, Examined};
use crate::finding::{Finding, Severity, count};
use crate::gguf::{Gguf, TensorInfo};
use crate::io::Inputs;
use crate::io::kind::Wanted;
use crate::source::Source;
use serde::Serialize;

/// Arguments of a check.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The drafter's GGUF (any part, if it is split)
    #[arg(value_name = "D.gguf", value_parser = source())]
    drafter: Source,
    /// GGUF of the model that it should draft for: checks that the two belong together
    #[arg(long, value_name = "T.gguf", value_parser = source())]
    target: Option<Source>,
    /// Leave the numbers unread: no search for NaN, infinities and tensors of zeros in drafter and target
    #[arg(long)]
    no_data: bool,
    /// Exit with 1 for warnings too
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    pub(super) format: FormatArgs,
    #[command(flatten)]
    arch: ArchArgs,
}

/// Checks the file, and the pair if there is a target, and lists what was found.
pub(super) fn run(args: &Args, inputs: &Inputs) -> Result<Outcome, Error> {
    let registry = args.arch.registry(inputs)?;
    let finder = Finder::new(inputs, args.sources.download);
    let drafter = Gguf::look(
        inputs,
        &finder.find(&args.drafter, Wanted::Drafter, Reach::Parts)?,
    )?;
    let target = finder.find_if(args.target.as_ref(), Wanted::Target, Reach::Parts)?;
    let target = target.map(|path| Gguf::open(inputs, &path)).transpose()?;
    for (file, given) in [
        (Some(&drafter), Some(&args.drafter)),
        (target.as_ref(), args.target.as_ref()),
    ] {
        if let (Some(file), Some(given)) = (file, given)
            && file.is_distant()
            && !args.no_data
        {
            let name = print::path(given.typed());
            print::tell(&format!(
                "note: {name} is on the Hub: its header is checked, not its numbers; --download gets them"
            ));
        }
    }
    let options = check::Options { data: !args.no_data };
    let elements = |gguf: &Gguf| {
        gguf.tensors()
            .map(TensorInfo::elements)
            .fold(0, u64::saturating_add)
    };
    let total = elements(&drafter).saturating_add(target.as_ref().map_or(0, elements));
    let bar = print::progress_bar(total, print::NUMBERS_BAR);
    let arch = of_gguf(&registry, &drafter);
    let examined = check::examine(arch, &drafter, target.as_ref(), options, &|read| bar.inc(read));
    bar.finish_and_clear();
    print::detail("checked");
    let run = arch.run(|name| drafter.info(name).is_some());
    if args.format.json {
        json::write(inputs, "check", &[report(args, &examined, run)], &[])?;
    } else {
        print::stdout(&text(args, &examined, run), inputs)?;
    }
    Ok(Outcome::of(&examined.findings, args.strict))
}

fn text(args: &Args, examined: &Examined, run: Option<&Run>) -> Page {
    let findings = &examined.findings;
    let mut page = Page::new();
    let told = findings
        .iter()
        .filter(|finding| !print::is_quiet() || finding.is_error());
    let Told { lines, is_short } = Told::of(told);
    lines.into_iter().for_each(|line| page.line(line));
    if print::is_quiet() {
        return page;
    }
    let checked: Vec<String> = examined.checked.iter().map(group).collect();
    page.line(format!("checked: {}", checked.join(", ")));
    let pair = args
        .target
        .as_ref()
        .map(|target| format!(" with {}", print::path(target.typed())));
    let result = if findings.is_empty() {
        "nothing found".to_owned()
    } else {
        let errors = print::many(count(findings, Severity::Error), "error");
        let warnings = print::many(count(findings, Severity::Warning), "warning");
        let more = if is_short { "; --verbose lists each" } else { "" };
        format!("{errors}, {warnings}{more}")
    };
    page.line(format!(
        "{}{}: {result}",
        print::path(args.drafter.typed()),
        pair.unwrap_or_default()
    ));
    if findings.is_empty() {
        if let Some(run) = run {
            how_to_run(args, run).into_iter().for_each(|line| page.line(line));
        }
        HINTS.lines().for_each(|line| page.line(line));
    }
    page
}

/// What was looked at, and how much of it.
fn group(checked: &Checked) -> String {
    let Checked {
        group,
        count,
        of,
        unread,
    } = *checked;
    match unread {
        0 => format!("{group} ({})", print::many(count, of)),
        _ => format!(
            "{group} ({count} of {}, the others cannot be read)",
            print::many(count + unread, of)
        ),
    }
}

/// What must be given to draft with the file, and under which name it is found without.
fn how_to_run(args: &Args, run: &Run) -> Vec<String> {
    let Run {
        spec_type, prefix, ..
    } = run;
    let name = args
        .drafter
        .typed()
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let run = format!("llama-server drafts with it by --model-draft and --spec-type {spec_type}");
    let found = format!("in a repository it is found by a name that begins with {prefix}");
    let is_found = name.starts_with(prefix.as_str());
    std::iter::once(run).chain((!is_found).then_some(found)).collect()
}

/// What llama.cpp says of files that are right, and what it means then (llama.cpp b11434 and b11549).
const HINTS: &str = "\
if llama.cpp complains all the same:
  \"requires ctx_other\" is harmless while it fits models into memory; it is fatal only where the drafter is loaded alone
  or without --spec-type: with --model-draft alone it is loaded and never used, or the server aborts
  \"_M_range_check\" or \"invalid vector subscript\" means that device memory was short: give it a smaller context, fewer
  layers on the device, or a drafter or target in a smaller type
";

/// The JSON report.
#[derive(Serialize)]
struct Report<'a> {
    drafter: String,
    target: Option<String>,
    errors: usize,
    warnings: usize,
    findings: &'a [Finding],
    /// The groups of checks that ran.
    checked: &'a [Checked],
    /// What follows `--spec-type`.
    spec_type: Option<&'a str>,
    /// How a name begins by which runtimes find the file.
    file_prefix: Option<&'a str>,
}

fn report<'a>(args: &Args, examined: &'a Examined, run: Option<&'a Run>) -> Report<'a> {
    let findings = &examined.findings;
    Report {
        spec_type: run.map(|run| run.spec_type.as_str()),
        file_prefix: run.map(|run| run.prefix.as_str()),
        drafter: args.drafter.typed().display().to_string(),
        target: args
            .target
            .as_ref()
            .map(|target| target.typed().display().to_string()),
        errors: count(findings, Severity::Error),
        warnings: count(findings, Severity::Warning),
        findings,
        checked: &examined.checked,
    }
}
