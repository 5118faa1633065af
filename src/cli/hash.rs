//! `gguf-conv hash`: checksums of models and of what they hold, and the check of a list of them.

use super::Outcome;
use super::json;
use super::page::Page;
use super::print;
use super::several::Opened;
use super::shared::FormatArgs;
use super::sources::{Finder, Reach, SourceArgs, source};
use crate::Error;
use crate::hash::{Checklist, Entry, Hashes, Line, Part, Verdict, line, parse_line};
use crate::io::kind::Wanted;
use crate::io::{Inputs, TextLimit};
use crate::source::Source;
use crate::storage::{ModelFile, StorageError};
use crate::text::{Glob, escape};
use indicatif::ProgressBar;
use serde::Serialize;
use std::path::{Path, PathBuf};

const ABOUT: &str = "\
Each line is a checksum and a name, as sha256sum writes them:
  FILE                a file as it is; of a split model or a checkpoint in shards each file
  FILE:metadata       the metadata
  FILE:tensor/NAME    the data of a tensor

Metadata and tensors are hashed by what they say, not by how: files of another byte order, GGUF version, order of keys \
or cutting into parts agree. The metadata is hashed as its keys with their values, sorted by key, each as a \
little-endian GGUF holds it, without split.*; of safetensors the strings under __metadata__. A tensor's data is hashed \
as its bytes, little-endian; its type and shape are not part of it.

Names with a line break or a backslash are escaped and their line begins with a backslash, as with sha256sum. A tensor \
of unknown type has no line, for its length is not known.

With --check, names are read as above and relative to the current folder; --quiet leaves out what agrees. Exit code 0: \
all agree. 1: some do not, or are not there.";

const EXAMPLES: &str = "\
Examples:
  gguf-conv hash drafter.gguf > SUMS
  gguf-conv hash --check SUMS
  gguf-conv hash --filter 'blk.0.*' drafter.gguf
  grep -v ':metadata$\\|:tensor/' SUMS | sha256sum -c
          the lines of files are those of sha256sum";

/// Arguments of hash.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{ABOUT}\n\n{EXAMPLES}"))]
pub(super) struct Args {
    /// GGUF files (of a split model any part), .safetensors files or checkpoint folders
    #[arg(required_unless_present = "check", value_name = "FILE", value_parser = source())]
    files: Vec<Source>,
    /// Check the lines of this list instead (- for standard input)
    #[arg(long, value_name = "LIST", conflicts_with = "files")]
    check: Option<PathBuf>,
    /// Hash only the tensors whose name fits, and read no others; * stands for any characters, ? for one
    #[arg(long, value_name = "GLOB", conflicts_with = "check")]
    filter: Option<Glob>,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    pub(super) format: FormatArgs,
}

impl Args {
    /// The name of the command in JSON.
    pub(super) fn command(&self) -> &'static str {
        match self.check {
            Some(_) => "hash --check",
            None => "hash",
        }
    }
}

/// Hashes the files, or checks a list.
pub(super) fn run(args: &Args, inputs: &Inputs) -> Result<Outcome, Error> {
    match &args.check {
        Some(list) => check(inputs, list, args),
        None => list(inputs, args),
    }
}

fn list(inputs: &Inputs, args: &Args) -> Result<Outcome, Error> {
    let finder = Finder::new(inputs, args.sources.download);
    let Opened { files, failures } = Opened::each(&args.files, |file| {
        Ok(ModelFile::open(
            inputs,
            &finder.find(file, Wanted::Weights, Reach::Whole)?,
        )?)
    });
    let hashes = files.iter().map(|file| {
        let all = Hashes::of(file)?;
        Ok(match &args.filter {
            Some(names) => all.only(names),
            None => all,
        })
    });
    let hashes: Vec<Hashes> = hashes.collect::<Result<_, StorageError>>()?;
    let bar = bar(hashes.iter().map(Hashes::bytes).fold(0, u64::saturating_add));
    let entries: Vec<Vec<Entry>> = hashes
        .iter()
        .map(|one| one.compute(&|bytes| bar.inc(bytes)))
        .collect();
    bar.finish_and_clear();
    print::detail("hashed");
    for (part, _) in entries.iter().flatten().filter(|(_, sum)| sum.is_none()) {
        let name = String::from_utf8_lossy(&part.name()).into_owned();
        print::warn(&format!(
            "{name}: its type is not known, nor then its length; it is left out"
        ));
    }
    if args.format.json {
        let reports: Vec<Report> = files
            .iter()
            .zip(&entries)
            .map(|(file, one)| report(file.path(), one))
            .collect();
        json::write(inputs, args.command(), &reports, &failures.reports())?;
    } else {
        let entries = entries.iter().flatten();
        let lines = entries.filter_map(|(part, sum)| Some(line(sum.as_ref()?, &part.name())));
        print::stdout_bytes(&lines.collect::<Vec<_>>().concat(), inputs)?;
    }
    Ok(failures.outcome(Outcome::Done))
}

fn bar(bytes: u64) -> ProgressBar {
    print::progress_bar(bytes, print::BYTES_BAR)
}

fn check(inputs: &Inputs, list: &Path, args: &Args) -> Result<Outcome, Error> {
    let text = read(inputs, list)?;
    let mut lines: Vec<Line> = Vec::new();
    let mut improper = 0;
    for line in text
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
    {
        match parse_line(line) {
            Some(line) => lines.push(line),
            None => improper += 1,
        }
    }
    if lines.is_empty() {
        return Err(Error::NoList {
            path: list.to_owned(),
        });
    }
    let checklist = Checklist::open(inputs, &lines);
    let bar = bar(0);
    let verdicts = checklist.verdicts(&|done, total| {
        bar.inc_length(total);
        bar.inc(done);
    });
    bar.finish_and_clear();
    let failed = verdicts.iter().filter(|verdict| **verdict != Verdict::Ok).count();
    if improper > 0 {
        let are = if improper == 1 { "is" } else { "are" };
        print::say(&format!(
            "warning: {} {are} no checksum and passed over",
            print::many(improper, "line")
        ));
    }
    if failed > 0 {
        let lines = print::many(lines.len(), "checksum");
        print::say(&format!("warning: {failed} of {lines} did not agree"));
    }
    let results = lines.iter().zip(&verdicts);
    if args.format.json {
        let results = results.map(|(line, verdict)| LineReport::new(line, verdict));
        let report = CheckReport {
            list: list.display().to_string(),
            failed,
            improper_lines: improper,
            lines: results.collect(),
        };
        json::write(inputs, args.command(), &[report], &[])?;
    } else {
        let shown = results.filter(|(_, verdict)| !print::is_quiet() || **verdict != Verdict::Ok);
        let mut page = Page::new();
        shown.for_each(|(line, verdict)| page.line(words(line, verdict)));
        print::stdout(&page, inputs)?;
    }
    Ok(match failed {
        0 => Outcome::Done,
        _ => Outcome::Difference,
    })
}

/// The whole of a list.
fn read(inputs: &Inputs, list: &Path) -> Result<Vec<u8>, Error> {
    let text = match list.as_os_str() == "-" {
        true => inputs.stdin(TextLimit::LIST),
        false => inputs.read(list, TextLimit::LIST),
    };
    text.map_err(|source| Error::Read {
        path: list.to_owned(),
        source,
    })
}

fn words(line: &Line, verdict: &Verdict) -> String {
    let name = escape(&line.name);
    match verdict {
        Verdict::Ok => format!("{name}: OK"),
        Verdict::Failed => format!("{name}: FAILED"),
        Verdict::Missing(why) => format!("{name}: FAILED ({})", escape(why.as_bytes())),
    }
}

/// The JSON report on one model.
#[derive(Serialize)]
struct Report {
    path: String,
    files: Vec<FileReport>,
    metadata_sha256: Option<String>,
    tensors: Vec<TensorReport>,
}

#[derive(Serialize)]
struct FileReport {
    path: String,
    sha256: Option<String>,
}

#[derive(Serialize)]
struct TensorReport {
    /// Escaped, as in a list.
    name: String,
    file: String,
    /// Absent for a tensor of unknown type.
    sha256: Option<String>,
}

fn report(path: &Path, entries: &[Entry]) -> Report {
    let mut report = Report {
        path: path.display().to_string(),
        files: Vec::new(),
        metadata_sha256: None,
        tensors: Vec::new(),
    };
    for (part, sum) in entries {
        let sha256 = sum.map(|sum| sum.to_string());
        match part {
            Part::File(path) => report.files.push(FileReport {
                path: path.display().to_string(),
                sha256,
            }),
            Part::Metadata(_) => report.metadata_sha256 = sha256,
            Part::Tensor(path, name) => report.tensors.push(TensorReport {
                name: escape(name),
                file: path.display().to_string(),
                sha256,
            }),
        }
    }
    report
}

/// The JSON report on a list.
#[derive(Serialize)]
struct CheckReport<'a> {
    list: String,
    failed: usize,
    improper_lines: usize,
    lines: Vec<LineReport<'a>>,
}

#[derive(Serialize)]
struct LineReport<'a> {
    name: String,
    ok: bool,
    /// Why there is nothing to compare with.
    missing: Option<&'a str>,
}

impl<'a> LineReport<'a> {
    fn new(line: &Line, verdict: &'a Verdict) -> LineReport<'a> {
        LineReport {
            name: escape(&line.name),
            ok: *verdict == Verdict::Ok,
            missing: match verdict {
                Verdict::Missing(why) => Some(why),
                _ => None,
            },
        }
    }
}
