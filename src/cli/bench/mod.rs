//! `gguf-conv bench`: arguments of a benchmark, its conditions and how it is watched.

mod conditions;
mod print;

use super::Outcome;
use super::print as out;
use super::shared::FormatArgs;
use super::sources::{Finder, Reach, SourceArgs, source};
use super::{json, signals, write};
use crate::Error;
use crate::advise::Forecast;
use crate::advise::time::Acceptance;
use crate::bench::Interrupt;
use crate::bench::analysis::{self, Analysis, Guards};
use crate::bench::client::Manner;
use crate::bench::record::{self, Run};
use crate::bench::run::{self, Event, Plan};
use crate::bench::{BenchError, compare, verdict};
use crate::io::Inputs;
use crate::io::growing::GrowingFile;
use crate::io::kind::Wanted;
use crate::io::output;
use crate::prompts;
use crate::source::Source;
use crate::{advise, report};
use clap::builder::RangedU64ValueParser;
use indicatif::ProgressBar;
use std::path::{Path, PathBuf};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  gguf-conv bench --llama-server llama-server --target T.gguf --drafter D.gguf --n-max 0,2,4 --jsonl R.jsonl
          starts a server for each n-max, drafting off among them, and measures them against each other
  gguf-conv bench --llama-server llama-server --target T.gguf --drafter D.gguf --parallel 1,4 -- -ngl 99
          also with four calls at the same time; what follows -- goes to every server
  gguf-conv bench --url off=http://localhost:8080 --url on=http://localhost:8081 --expect-drafting on
          servers that run already: llama-server, vLLM, mlx-vlm, SwiftLM, LM Studio
  gguf-conv bench --ollama --model gemma4:e4b --n-max 0,4
          Ollama, which takes the number of tokens a draft with each call and tells nothing of acceptance
  gguf-conv bench --compare before.jsonl after.jsonl
          two earlier runs, or logs of Ollama's answers
  gguf-conv bench --llama-server … --jsonl R.jsonl --resume
          goes on with a run that was interrupted

Exit code 1: drafting was asked for and nothing was drafted.
docs/bench.md tells how it measures, and what stands in the JSONL.";

/// Arguments of bench.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    servers: Servers,
    #[command(flatten)]
    launch: LaunchArgs,
    /// Name of the model, for servers that have several (Ollama always)
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Label (or address) of a server of --url, or of a run of --compare, that should draft
    #[arg(long, value_name = "LABEL")]
    expect_drafting: Vec<String>,
    #[command(flatten)]
    protocol: ProtocolArgs,
    /// Write a line for each call; the format is in docs/bench.md
    #[arg(long, value_name = "FILE")]
    jsonl: Option<PathBuf>,
    /// Go on with the run in the file of --jsonl
    #[arg(long, requires = "jsonl")]
    resume: bool,
    /// Write the report as a page of HTML, which needs nothing else
    #[arg(long, value_name = "REPORT.html")]
    html: Option<PathBuf>,
    /// Replace the files of --jsonl and --html if they exist
    #[arg(long, conflicts_with = "resume")]
    force: bool,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    pub(super) format: FormatArgs,
}

/// What is measured: exactly one of them.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Servers {
    /// llama-server (or a program with its arguments) to start for each condition; needs --target and --drafter
    #[arg(long, value_name = "PROGRAM", requires_all = ["target", "drafter"])]
    llama_server: Option<PathBuf>,
    /// A server that runs; once or more, the first that need not draft is what the others are compared with
    #[arg(long, value_name = "[LABEL=]URL")]
    url: Vec<String>,
    /// Ollama [default: http://localhost:11434]
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "http://localhost:11434")]
    ollama: Option<String>,
    /// Two files of --jsonl, or of Ollama's answers, one JSON object a line
    #[arg(long, value_name = "FILE", num_args = 2)]
    compare: Option<Vec<PathBuf>>,
}

/// How servers are started.
#[derive(Debug, clap::Args)]
struct LaunchArgs {
    /// GGUF of the model that is served
    #[arg(long, value_name = "T.gguf", value_parser = source())]
    target: Option<Source>,
    /// GGUF of its drafter
    #[arg(long, value_name = "D.gguf", value_parser = source())]
    drafter: Option<Source>,
    /// Most tokens a draft, one condition each; 0 is off [default: 0,1,2,3,4,6; Ollama: 0,4]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(0..=64))]
    n_max: Vec<u32>,
    /// Calls at the same time, one condition each
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u32).range(1..=256))]
    parallel: Vec<u32>,
    /// How the server drafts: by the drafter's architecture, as named, or not named at all (none)
    #[arg(long, value_name = "TYPE", default_value = "auto")]
    spec_type: String,
    /// Longest time until a server answers, in seconds
    #[arg(long, value_name = "S", default_value = "600")]
    start_timeout: u64,
    /// Further arguments of every server
    #[arg(last = true, value_name = "ARG")]
    server_args: Vec<String>,
}

/// How it is measured.
#[derive(Debug, clap::Args)]
struct ProtocolArgs {
    /// Least number of calls a condition; 20 do not tell 5 % from noise
    #[arg(long, value_name = "N", default_value = "200", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    calls: usize,
    /// Calls after each start of a server that do not count
    #[arg(long, value_name = "N", default_value = "3", value_parser = RangedU64ValueParser::<usize>::new().range(0..=10_000))]
    warmup: usize,
    /// Tokens to generate a call
    #[arg(long, value_name = "N", default_value = "128", value_parser = RangedU64ValueParser::<usize>::new().range(2..=1 << 20))]
    predict: usize,
    /// Seed of the order and of the statistics [default: drawn, and told]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Measure a condition after the other, in N blocks each, or all side by side (0) [default: by the memory that is free]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(0..=1000))]
    blocks: Option<usize>,
    /// Kinds of prompts to use [default: all]
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kinds: Vec<String>,
    /// Prompts of your own instead: JSONL of {"kind": …, "prompt": …}, or a text
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Lengths of long prompts in tokens, each a kind of its own; 0 for none
    #[arg(long, value_name = "TOKENS", value_delimiter = ',', default_value = "512,4096,16384", value_parser = RangedU64ValueParser::<usize>::new().range(0..=1 << 24))]
    context: Vec<usize>,
    /// Let the model continue the prompts as they are, without its chat template
    #[arg(long)]
    raw: bool,
    /// Longest time for a call, in seconds
    #[arg(long, value_name = "S", default_value = "600", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Largest variation between calls of the same prompt at which a verdict is given, in percent
    #[arg(long, value_name = "PERCENT", default_value = "10")]
    max_variation: f64,
    /// Largest change of the baseline over the run at which a verdict is given, in percent
    #[arg(long, value_name = "PERCENT", default_value = "3")]
    max_drift: f64,
    /// How often ratios are resampled for their intervals
    #[arg(long, value_name = "N", default_value = "2000", value_parser = RangedU64ValueParser::<usize>::new().range(100..=1_000_000))]
    resamples: usize,
}

/// The models that servers are started with.
struct Pair {
    target: Option<PathBuf>,
    drafter: Option<PathBuf>,
}

impl LaunchArgs {
    fn pair(&self, inputs: &Inputs, sources: &SourceArgs) -> Result<Pair, Error> {
        let finder = Finder::new(inputs, sources.download);
        Ok(Pair {
            target: finder.find_if(self.target.as_ref(), Wanted::Target, Reach::Whole)?,
            drafter: finder.find_if(self.drafter.as_ref(), Wanted::Drafter, Reach::Whole)?,
        })
    }
}

/// Measures, or compares what was measured, and reports.
pub(super) fn run(args: &Args, inputs: &Inputs) -> Result<Outcome, Error> {
    if let Some(html) = &args.html {
        output::check(html, inputs, args.force).map_err(BenchError::from)?;
    }
    let pair = args.launch.pair(inputs, &args.sources)?;
    let run = match &args.servers.compare {
        Some(paths) => {
            let paths = [paths[0].as_path(), paths[1].as_path()];
            compare::compare(inputs, paths, &args.expect_drafting)?
        }
        None => measure(inputs, args, &pair)?,
    };
    let guards = Guards {
        max_variation: args.protocol.max_variation / 100.0,
        max_drift: args.protocol.max_drift / 100.0,
        resamples: args.protocol.resamples,
        ..Guards::default()
    };
    let analysis = analysis::analyse(&run, &guards);
    let sentences = verdict::sentences(&analysis);
    let findings = verdict::findings(&analysis);
    let forecast = forecast(inputs, &pair, &analysis)?;
    if let Some(html) = &args.html {
        let page = report::bench(
            &run,
            &analysis,
            forecast.as_ref(),
            &sentences,
            &write::command_line(),
        );
        write::text(html, &page, inputs, args.force).map_err(BenchError::from)?;
    }
    match args.format.json {
        true => json::write(
            inputs,
            "bench",
            &[print::Document {
                header: &run.header,
                verdict: &sentences,
                findings: &findings,
                forecast: forecast.as_ref(),
                analysis: &analysis,
            }],
            &[],
        )?,
        false => out::stdout(
            &print::text(&run, &analysis, forecast.as_ref(), &sentences),
            inputs,
        )?,
    }
    Ok(Outcome::of(&findings, false))
}

/// What two conditions predict of the others.
fn forecast(inputs: &Inputs, pair: &Pair, analysis: &Analysis) -> Result<Option<Forecast>, Error> {
    let Some(shares) = advise::measured_acceptance(analysis) else {
        return Ok(None);
    };
    let experts = match &pair.target {
        Some(target) => advise::experts_of(inputs, target)?,
        None => None,
    };
    let forecast = advise::forecast(&advise::points(analysis), &Acceptance::new(&shares), experts);
    Ok(forecast
        .map(|(_, forecast)| forecast)
        .filter(|forecast| !forecast.checked.is_empty()))
}

fn measure(inputs: &Inputs, args: &Args, pair: &Pair) -> Result<Run, Error> {
    let protocol = &args.protocol;
    let earlier = match (&args.jsonl, args.resume) {
        // It is written to again, so it is no input like others.
        (Some(path), true) => Some(Run::read(&Inputs::new(), path)?),
        _ => None,
    };
    let seed = protocol
        .seed
        .or(earlier.as_ref().map(|run| run.header.protocol.seed));
    let interrupt = Interrupt {
        kept: args.jsonl.clone(),
        ..Interrupt::default()
    };
    signals::watch(&interrupt.flag);
    let logs = Logs::beside(args.jsonl.as_deref())?;
    let (conditions, blocks) = conditions::conditions(inputs, args, pair, &logs.folder, &logs.prefix)?;
    let files = conditions::files(inputs, args, pair)?;
    let plan = Plan {
        kinds: kinds(inputs, protocol)?,
        // One's own prompts are the whole of it.
        contexts: match protocol.prompts.is_some()
            || !protocol.kinds.is_empty() && !wants(protocol, "context")
        {
            true => Vec::new(),
            false => protocol
                .context
                .iter()
                .copied()
                .filter(|tokens| *tokens > 0)
                .collect(),
        },
        thinking: protocol.prompts.is_none() && wants(protocol, "thinking"),
        calls: protocol.calls,
        warmup: protocol.warmup,
        predict: protocol.predict,
        seed: seed.unwrap_or_else(|| fastrand::u64(..1 << 32)),
        blocks: protocol.blocks.unwrap_or(blocks),
        or_blocks: protocol.blocks.is_none().then_some(conditions::BLOCKS),
        manner: Manner {
            timeout: Duration::from_secs(protocol.timeout),
            chat: !protocol.raw,
            model: args.model.clone(),
        },
        conditions,
        files,
    };
    let mut sink = Sink::open(inputs, args, earlier.as_ref())?;
    let mut bar = out::progress_bar(0, CALLS_BAR);
    let result = run::run(plan, earlier, &interrupt, &mut |event| {
        match event {
            Event::Begin(header) => {
                out::tell(&format!("seed {}", header.protocol.seed));
                return sink.write(record::header_line(header));
            }
            Event::Calls(count) => bar = out::progress_bar(count as u64, CALLS_BAR),
            Event::Made(calls) => {
                bar.inc(calls.iter().filter(|call| !call.warmup).count() as u64);
                for call in calls {
                    sink.write(record::call_line(call))?;
                }
            }
            Event::Note(note) => suspended(&bar, || out::warn(&note)),
        }
        Ok(())
    });
    bar.finish_and_clear();
    match result {
        Ok(run) => {
            logs.discard();
            Ok(run)
        }
        Err(error) => {
            logs.keep();
            Err(error.into())
        }
    }
}

/// A bar that counts calls.
const CALLS_BAR: &str = "{bar:40} {human_pos}/{human_len} calls, {eta} left";

fn suspended(bar: &ProgressBar, work: impl FnOnce()) {
    bar.suspend(work);
}

/// Whether a group of kinds is wanted: all are, unless some are named.
fn wants(protocol: &ProtocolArgs, word: &str) -> bool {
    protocol.kinds.is_empty() || protocol.kinds.iter().any(|kind| kind.starts_with(word))
}

fn kinds(inputs: &Inputs, protocol: &ProtocolArgs) -> Result<Vec<prompts::Kind>, BenchError> {
    let kinds = match &protocol.prompts {
        Some(path) => prompts::read(inputs, path, protocol.predict)?,
        None => prompts::built_in(protocol.predict),
    };
    let groups = ["context", "thinking"];
    let names: Vec<String> = kinds.iter().map(|kind| kind.name.clone()).collect();
    if let Some(unknown) = protocol
        .kinds
        .iter()
        .find(|kind| !names.contains(kind) && !groups.contains(&kind.as_str()))
    {
        let known = names
            .iter()
            .map(String::as_str)
            .chain(groups)
            .collect::<Vec<_>>()
            .join(", ");
        return Err(BenchError::Usage(format!(
            "no kind of prompts is called {unknown:?}; there are {known}"
        )));
    }
    let is_wanted = |kind: &prompts::Kind| protocol.kinds.is_empty() || protocol.kinds.contains(&kind.name);
    let wanted: Vec<prompts::Kind> = kinds.iter().filter(|kind| is_wanted(kind)).cloned().collect();
    // Groups alone still need a prompt to try the servers with.
    match wanted.is_empty() {
        true => Ok(kinds.into_iter().take(1).collect()),
        false => Ok(wanted),
    }
}

/// Where the servers' logs go: beside the results, or into a folder that is kept if something fails.
struct Logs {
    folder: PathBuf,
    prefix: String,
    temporary: Option<tempfile::TempDir>,
}

impl Logs {
    fn beside(jsonl: Option<&Path>) -> Result<Logs, BenchError> {
        if let Some(jsonl) = jsonl {
            let parent = jsonl.parent().unwrap_or(Path::new(""));
            let stem = jsonl.file_stem().unwrap_or_default().to_string_lossy();
            return Ok(Logs {
                folder: parent.to_owned(),
                prefix: format!("{stem}."),
                temporary: None,
            });
        }
        let temporary = tempfile::Builder::new().prefix("gguf-conv-bench-").tempdir();
        let temporary = temporary.map_err(|source| BenchError::Write {
            path: std::env::temp_dir(),
            source,
        })?;
        Ok(Logs {
            folder: temporary.path().to_owned(),
            prefix: String::new(),
            temporary: Some(temporary),
        })
    }

    fn discard(self) {
        drop(self.temporary);
    }

    fn keep(self) {
        if let Some(temporary) = self.temporary {
            let _ = temporary.keep();
        }
    }
}

/// The file that calls are written to as they are made.
struct Sink(Option<GrowingFile>);

impl Sink {
    fn open(inputs: &Inputs, args: &Args, earlier: Option<&Run>) -> Result<Sink, BenchError> {
        let file = match (&args.jsonl, earlier) {
            (None, _) => None,
            (Some(path), Some(_)) => Some(GrowingFile::resume(path)?),
            (Some(path), None) => Some(GrowingFile::create(path, inputs, args.force)?),
        };
        Ok(Sink(file))
    }

    fn write(&mut self, line: Result<String, serde_json::Error>) -> Result<(), BenchError> {
        match (&mut self.0, line) {
            (Some(file), Ok(line)) => Ok(file.add(&line)?),
            // Records hold nothing that JSON has no form for.
            (Some(_), Err(error)) => Err(BenchError::Usage(error.to_string())),
            (None, _) => Ok(()),
        }
    }
}
