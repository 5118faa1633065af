//! `gguf-conv verify`: arguments of a verification and how its report is printed.

mod progress;

use super::Outcome;
use super::page::Page;
use super::print;
use super::sources::{Finder, Reach, SourceArgs, source};
use super::{json, write};
use crate::Error;
use crate::bench::record::Machine;
use crate::finding::Finding;
use crate::io::kind::Wanted;
use crate::io::output;
use crate::io::{Inputs, TextLimit};
use crate::model::{Arithmetic, CacheType, Compute, Head, Window};
use crate::report;
use crate::source::Source;
use crate::verify::{
    self, AcceptanceReport, ForwardReport, Limits, Options, Prompt, QUICK_TOKENS, Report, TensorReport,
    VerifyError, Watcher,
};
use clap::ValueEnum;
use clap::builder::RangedU64ValueParser;
use indicatif::HumanBytes;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Arguments of verify.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The drafter's GGUF: Gemma 4's assistant, EAGLE-3, DFlash or DSpark
    #[arg(value_parser = source())]
    drafter: Source,
    /// GGUF of the model that it drafts for (any part, if it is split)
    #[arg(long, value_name = "T.gguf", value_parser = source())]
    target: Source,
    /// The checkpoint that the drafter was converted from: its weights are compared, its drafts run beside the GGUF's
    #[arg(long, value_name = "DRAFTER", value_parser = source())]
    source: Option<Source>,
    /// The checkpoint that the target was converted from: run too, for comparison with transformers
    #[arg(long, value_name = "FOLDER", value_parser = source())]
    target_source: Option<Source>,
    #[command(flatten)]
    prompt: PromptArgs,
    /// Most tokens a draft
    #[arg(long, value_name = "N", default_value = "3", value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    draft_max: usize,
    /// End a draft before the first token of which the drafter is less sure, as llama.cpp's --spec-draft-p-min
    #[arg(long, value_name = "P", default_value = "0", value_parser = share)]
    draft_p_min: f32,
    /// Tokens to generate [default: 128, or 32 where the target is larger than 2 GiB]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(0..=1 << 20))]
    generate: Option<usize>,
    /// Generate 32 tokens only: enough to see that a pair works, the rate of acceptance only roughly
    #[arg(long, conflicts_with = "generate")]
    quick: bool,
    /// Which keys sliding layers of an assistant see: the runtime's reading or that of the library
    #[arg(long, value_enum, default_value = "llama.cpp")]
    window: WindowArg,
    /// How an assistant scores the vocabulary: whole, as the runtime does, or by its centroids
    #[arg(long, value_enum, default_value = "dense")]
    head: HeadArg,
    /// How products are taken: in full f32, or with activations rounded as the runtime rounds them, so that near-ties
    /// fall as there
    #[arg(long, value_enum, default_value = "f32")]
    arithmetic: ArithmeticArg,
    /// How keys and values are kept [default: f32, f16 with --arithmetic llama.cpp]
    #[arg(long, value_enum)]
    cache_type: Option<CacheTypeArg>,
    /// Let the target write its text a second time, without the drafter (done anyway where it is small)
    #[arg(long)]
    prove_greedy: bool,
    /// Threads to compute with [default: one a physical core]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub threads: Option<usize>,
    /// Write every intermediate of a forward pass, with the checkpoints where they are given
    #[arg(long, value_name = "F.safetensors")]
    pub(super) dump: Option<PathBuf>,
    /// Write the report as a page of HTML, which needs nothing else
    #[arg(long, value_name = "REPORT.html")]
    html: Option<PathBuf>,
    /// Replace the files of --dump and --html if they exist
    #[arg(long)]
    force: bool,
    /// Exit with 1 for warnings too
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    sources: SourceArgs,
    /// Report as JSON
    #[arg(long)]
    pub json: bool,
    /// Architecture file to use for the drafter instead of the one compiled in
    #[arg(long, value_name = "FILE")]
    arch: Option<PathBuf>,
}

/// What the target continues; Python code where nothing is given.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct PromptArgs {
    /// Text that the target continues
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// File of the text that the target continues
    #[arg(long, value_name = "F")]
    prompt_file: Option<PathBuf>,
    /// Tokens that the target continues, as they are (no BOS token is added)
    #[arg(long, value_name = "1,2,3", value_delimiter = ',')]
    tokens: Option<Vec<u32>>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum WindowArg {
    #[value(name = "llama.cpp")]
    LlamaCpp,
    Transformers,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum HeadArg {
    Dense,
    Centroid,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ArithmeticArg {
    F32,
    #[value(name = "llama.cpp")]
    LlamaCpp,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CacheTypeArg {
    F32,
    F16,
}

/// A number from 0 to 1.
fn share(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a number from 0 to 1 is needed".to_owned()),
    }
}

impl Args {
    fn compute(&self) -> Compute {
        let (arithmetic, usual) = match self.arithmetic {
            ArithmeticArg::F32 => (Arithmetic::F32, CacheType::F32),
            ArithmeticArg::LlamaCpp => (Arithmetic::LlamaCpp, CacheType::F16),
        };
        let cache_type = match self.cache_type {
            None => usual,
            Some(CacheTypeArg::F32) => CacheType::F32,
            Some(CacheTypeArg::F16) => CacheType::F16,
        };
        Compute {
            arithmetic,
            cache_type,
        }
    }
}

/// Verifies and reports.
pub(super) fn run(args: &Args, inputs: &Inputs) -> Result<Outcome, Error> {
    if let Some(html) = &args.html {
        output::check(html, inputs, args.force).map_err(VerifyError::from)?;
    }
    let finder = Finder::new(inputs, args.sources.download);
    let options = Options {
        drafter: finder.find(&args.drafter, Wanted::Drafter, Reach::Whole)?,
        target: finder.find(&args.target, Wanted::Target, Reach::Whole)?,
        source: finder.find_if(args.source.as_ref(), Wanted::Checkpoint, Reach::Whole)?,
        target_source: finder.find_if(args.target_source.as_ref(), Wanted::Checkpoint, Reach::Whole)?,
        prompt: args.prompt.read(inputs)?,
        limits: Limits {
            draft_max: args.draft_max,
            p_min: args.draft_p_min,
            generate: match (args.generate, args.quick) {
                (Some(generate), _) => generate,
                (None, true) => QUICK_TOKENS,
                (None, false) => Limits::default().generate,
            },
        },
        window: match args.window {
            WindowArg::LlamaCpp => Window::LlamaCpp,
            WindowArg::Transformers => Window::Transformers,
        },
        head: match args.head {
            HeadArg::Dense => Head::Dense,
            HeadArg::Centroid => Head::Centroid,
        },
        dump: args.dump.clone(),
        force: args.force,
        arch: args.arch.clone(),
        compute: args.compute(),
        prove_greedy: args.prove_greedy.then_some(true),
        quick: args.generate.is_none(),
        watcher: Watcher::new(Arc::new(progress::Progress::new())),
    };
    warn_of_memory(&options.target);
    let report = verify::verify(inputs, &options)?;
    // With the last of its watcher the bar goes.
    drop(options);
    if report.is_partial {
        print::warn("ended early: this is a report of what was done until then");
    }
    if let Some(html) = &args.html {
        let page = report::verify(&report, &write::command_line());
        write::text(html, &page, inputs, args.force).map_err(VerifyError::from)?;
    }
    match args.json {
        true => json::write_beside(inputs, args.dump.as_deref(), "verify", &[&report], &[])?,
        false => print::report(&text(&report), args.dump.as_deref(), inputs)?,
    }
    match report.is_partial {
        true => Ok(Outcome::Difference),
        false => Ok(Outcome::of(&report.findings, args.strict)),
    }
}

/// Says so where the target does not fit into memory: each pass then reads it from the disk.
fn warn_of_memory(target: &Path) {
    let size = std::fs::metadata(target).map_or(0, |file| file.len());
    if let Some(memory) = Machine::this().memory.filter(|memory| *memory < size) {
        print::warn(&format!(
            "the target ({}) is larger than this machine's memory ({}): each pass reads it from the disk again, \
             which takes minutes; a smaller quantization of the target tells as much",
            HumanBytes(size),
            HumanBytes(memory)
        ));
    }
}

impl PromptArgs {
    fn read(&self, inputs: &Inputs) -> Result<Prompt, Error> {
        Ok(match (&self.prompt, &self.prompt_file, &self.tokens) {
            (Some(text), ..) => Prompt::Text(text.clone()),
            (_, Some(path), _) => {
                Prompt::Text(
                    inputs
                        .text(path, TextLimit::SETTINGS)
                        .map_err(|source| Error::Read {
                            path: path.clone(),
                            source,
                        })?,
                )
            }
            (.., Some(tokens)) => Prompt::Tokens(tokens.clone()),
            _ => Prompt::default(),
        })
    }
}

fn text(report: &Report) -> Page {
    let mut page = Page::of_line(format!(
        "{}: {}",
        report.verdict.outcome.name(),
        report.verdict.line
    ));
    if print::is_quiet() {
        return page;
    }
    if let Some(length) = report.acceptance.as_ref().and_then(|a| a.mean_accepted_length) {
        page.line(format!(
            "{length:.2} tokens a pass of the target: so many times as fast, were drafting free"
        ));
        page.line("(what to expect here: gguf-conv advise; to measure it: gguf-conv bench)");
    }
    let mut section = |title: String, rows: Vec<Vec<String>>| page.section(title, &rows);
    if !report.findings.is_empty() {
        let row = |finding: &Finding| {
            let hint = finding.hint.clone().unwrap_or_default();
            vec![finding.severity.name().to_owned(), finding.message.clone(), hint]
        };
        section("findings".to_owned(), report.findings.iter().map(row).collect());
    }
    if let (Some(weights), Some(source)) = (&report.weights, &report.source) {
        section(format!("weights against {source}"), weight_rows(weights));
    }
    if let Some(forward) = &report.forward {
        let read = report.window.zip(report.head);
        let read = read.map(|(window, head)| format!(" (window {window}, head {head})"));
        let title = format!(
            "draft after a prompt of {} tokens{}",
            report.prompt.len(),
            read.unwrap_or_default()
        );
        section(title, draft_rows(forward));
    }
    if let Some(agreement) = &report.agreement {
        let mut rows = vec![cells([
            "step",
            "drafts",
            "top-1",
            "mean KL",
            "max KL",
            "max logit difference",
        ])];
        rows.extend(agreement.iter().enumerate().map(|(i, place)| {
            vec![
                (i + 1).to_string(),
                place.steps.to_string(),
                percent(place.top_1),
                format!("{:.2e}", place.mean_kl),
                format!("{:.2e}", place.max_kl),
                format!("{:.2e}", place.max_logit_difference),
            ]
        }));
        section("drafts against the source's, with its inputs".to_owned(), rows);
    }
    if let Some(acceptance) = &report.acceptance {
        let greedy = match acceptance.output_is_greedy {
            Some(true) => "; without the drafter it writes the same",
            Some(false) => "; without the drafter it writes others",
            None => ", not written again (--prove-greedy)",
        };
        section(
            format!(
                "acceptance over {} tokens of the target{greedy}",
                acceptance.output.as_ref().map_or(0, Vec::len)
            ),
            acceptance_rows(acceptance, report.source_acceptance.as_ref()),
        );
    }
    page
}

fn cells<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// One line a type, with its worst tensor.
fn weight_rows(weights: &[TensorReport]) -> Vec<Vec<String>> {
    let mut by_type: BTreeMap<&str, Vec<&TensorReport>> = BTreeMap::new();
    for tensor in weights {
        by_type.entry(&tensor.ty).or_default().push(tensor);
    }
    let mut rows = vec![cells([
        "type",
        "tensors",
        "good",
        "relative error",
        "ceiling",
        "cosine",
        "worst",
    ])];
    for (ty, tensors) in by_type {
        let good = tensors.iter().filter(|tensor| tensor.ok).count();
        let worst = |a: &&&TensorReport, b: &&&TensorReport| a.relative_error.total_cmp(&b.relative_error);
        let mut row = cells([ty, &tensors.len().to_string(), &good.to_string()]);
        match tensors.iter().max_by(worst) {
            Some(worst) if !tensors.iter().all(|tensor| tensor.exact) => row.extend([
                format!("{:.4}", worst.relative_error),
                format!("{:.4}", worst.ceiling),
                format!("{:.6}", worst.cosine),
                worst.name.clone(),
            ]),
            _ => row.push("exact".to_owned()),
        }
        rows.push(row);
    }
    rows
}

fn draft_rows(forward: &ForwardReport) -> Vec<Vec<String>> {
    let mut head = cells(["step", "drafted"]);
    if forward.source_drafted.is_some() {
        head.extend(cells(["source", "same top", "KL", "max logit difference"]));
    }
    let mut rows = vec![head];
    for (i, token) in forward.drafted.iter().enumerate() {
        let mut row = vec![(i + 1).to_string(), token.to_string()];
        if let (Some(source), Some(steps)) = (&forward.source_drafted, &forward.steps)
            && let (Some(token), Some(step)) = (source.get(i), steps.get(i))
        {
            row.extend([
                token.to_string(),
                if step.agree { "yes" } else { "no" }.to_owned(),
                format!("{:.2e}", step.kl),
                format!("{:.2e}", step.max_logit_difference),
            ]);
        }
        rows.push(row);
    }
    rows
}

fn acceptance_rows(ours: &AcceptanceReport, source: Option<&AcceptanceReport>) -> Vec<Vec<String>> {
    let mut head = cells(["", "accepted", "drafted", "rate"]);
    if source.is_some() {
        head.extend(cells(["source", "drafted", "rate"]));
    }
    let figures = |accepted: usize, drafted: usize, rate: Option<f64>| {
        let rate = rate.map_or("-".to_owned(), percent);
        [accepted.to_string(), drafted.to_string(), rate]
    };
    let mut rows = vec![head];
    for (i, place) in ours.by_position.iter().enumerate() {
        let mut row = vec![format!("token {} of a draft", i + 1)];
        row.extend(figures(place.accepted, place.drafted, Some(place.rate)));
        if let Some(place) = source.and_then(|source| source.by_position.get(i)) {
            row.extend(figures(place.accepted, place.drafted, Some(place.rate)));
        }
        rows.push(row);
    }
    let mut total = vec!["all".to_owned()];
    total.extend(figures(ours.accepted, ours.drafted, ours.rate));
    let rest = |what: &str, figure: fn(&AcceptanceReport) -> Option<f64>| {
        let shown = |report| figure(report).map_or("-".to_owned(), |figure| format!("{figure:.2}"));
        let mut row = vec![what.to_owned(), String::new(), String::new(), shown(ours)];
        row.extend(
            source
                .into_iter()
                .flat_map(|source| [String::new(), String::new(), shown(source)]),
        );
        row
    };
    let more = [
        rest("tokens a pass", |report| report.mean_accepted_length),
        rest("surprise, nats a token", |report| report.surprise),
    ];
    if let Some(source) = source {
        total.extend(figures(source.accepted, source.drafted, source.rate));
    }
    rows.push(total);
    let interval = |report: &AcceptanceReport| {
        let (low, high) = verify::wilson(report.accepted, report.drafted);
        format!("{:.0}-{:.0}%", low * 100.0, high * 100.0)
    };
    let mut between = cells(["with 95% confidence", "", "", &interval(ours)]);
    if let Some(source) = source {
        between.extend(cells(["", "", &interval(source)]));
    }
    rows.push(between);
    rows.extend(more);
    rows
}
