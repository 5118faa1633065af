//! `gguf-conv verify`: arguments of a verification and how its report is printed.

mod progress;
mod text;

use super::Outcome;
use super::print;
use super::shared::FormatArgs;
use super::sources::{Finder, Reach, SourceArgs, source};
use super::{json, write};
use crate::Error;
use crate::bench::record::Machine;
use crate::io::kind::Wanted;
use crate::io::output;
use crate::io::{Inputs, TextLimit};
use crate::model::{Arithmetic, CacheType, Compute, Head, Window};
use crate::prompts;
use crate::report;
use crate::source::Source;
use crate::verify::{self, Limits, Options, Prompt, QUICK_TOKENS, VerifyError, Watcher};
use clap::ValueEnum;
use clap::builder::RangedU64ValueParser;
use indicatif::HumanBytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const EXAMPLES: &str = "\
Examples:
  gguf-conv verify D.gguf --target T.gguf --source DRAFTER
          prove that the file computes what its checkpoint computes, and count what the target accepts
  gguf-conv verify D.gguf --target T.gguf --suite --template
          the acceptance by kind of prompt, as an instruction-tuned model is asked
  gguf-conv verify D.gguf --target T.gguf --arithmetic llama.cpp --prompt-file PROMPT.txt
          on a prompt of one's own, rounding as the runtime rounds
  gguf-conv verify D.gguf --target T.gguf --json > VERIFY.json
          for `gguf-conv advise --acceptance VERIFY.json`

Exit code 1: something is wrong with the drafter, or it was ended early.";

/// Arguments of verify.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
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
    /// Take the prompt as what a user says, through the chat template of the target's GGUF
    #[arg(long, conflicts_with = "tokens")]
    template: bool,
    /// Answer the prompts of `bench` too, and tell the acceptance by kind: code, json, prose, chat, translation, short
    #[arg(long)]
    suite: bool,
    /// Kinds of the suite's prompts to use [default: all]
    #[arg(long, value_name = "KIND,...", value_delimiter = ',', requires = "suite", value_parser = kind)]
    kinds: Vec<String>,
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
    #[command(flatten)]
    pub(super) format: FormatArgs,
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

/// A kind of prompts that is built in.
fn kind(text: &str) -> Result<String, String> {
    let names = prompts::names();
    match names.iter().any(|name| name == text) {
        true => Ok(text.to_owned()),
        false => Err(format!("there are {}", names.join(", "))),
    }
}

/// A number from 0 to 1.
fn share(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a number from 0 to 1 is needed".to_owned()),
    }
}

impl Args {
    /// The prompts of the kinds that are wanted, where the suite is.
    fn suite(&self) -> Vec<prompts::Kind> {
        let is_wanted = |kind: &prompts::Kind| self.kinds.is_empty() || self.kinds.contains(&kind.name);
        match self.suite {
            true => prompts::built_in(usize::MAX)
                .into_iter()
                .filter(is_wanted)
                .collect(),
            false => Vec::new(),
        }
    }

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
        prompt: args.prompt.read(inputs, args.template)?,
        suite: args.suite(),
        is_chat: args.template,
        limits: Limits {
            draft_max: args.draft_max,
            p_min: args.draft_p_min,
            generate: match (args.generate, args.quick) {
                (Some(generate), _) => generate,
                (None, true) => QUICK_TOKENS,
                (None, false) => Limits::default().generate,
            },
            ..Limits::default()
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
    print::detail("verified");
    // With the last of its watcher the bar goes.
    drop(options);
    if report.is_partial {
        print::warn("ended early: this is a report of what was done until then");
    }
    if let Some(html) = &args.html {
        let page = report::verify(&report, &write::command_line());
        write::text(html, &page, inputs, args.force).map_err(VerifyError::from)?;
    }
    match args.format.json {
        true => json::write_beside(inputs, args.dump.as_deref(), "verify", &[&report], &[])?,
        false => print::report(&text::text(&report), args.dump.as_deref(), inputs)?,
    }
    match report.is_partial {
        true => Ok(Outcome::Difference),
        false => Ok(Outcome::of(&report.findings, args.strict)),
    }
}

/// Says so where the target does not fit into memory.
fn warn_of_memory(target: &Path) {
    let size = std::fs::metadata(target).map_or(0, |file| file.len());
    if let Some(warning) = of_memory(size, Machine::this().memory) {
        print::warn(&warning);
    }
}

/// What is to be said of a target of so many bytes on a machine with so much memory.
fn of_memory(size: u64, memory: Option<u64>) -> Option<String> {
    let memory = memory.filter(|memory| *memory < size)?;
    Some(format!(
        "the target ({}) is larger than this machine's memory ({}): each pass reads it from the disk again, \
         which takes minutes; a smaller quantization of the target tells as much",
        HumanBytes(size),
        HumanBytes(memory)
    ))
}

impl PromptArgs {
    fn read(&self, inputs: &Inputs, is_chat: bool) -> Result<Prompt, Error> {
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
            _ if is_chat => prompts::first().map_or_else(Prompt::default, Prompt::Text),
            _ => Prompt::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::of_memory;

    #[test]
    fn a_target_beyond_memory_is_told() {
        let warning = of_memory(20 << 30, Some(16 << 30)).unwrap();
        assert!(
            warning.contains("20.00 GiB") && warning.contains("16.00 GiB"),
            "{warning}"
        );
        assert_eq!(of_memory(16 << 30, Some(16 << 30)), None);
        assert_eq!(of_memory(20 << 30, None), None);
    }
}
