//! The command line: one file a subcommand, each with its arguments and how it prints.
//!
//! Results go to standard output, everything else to standard error.

mod advise;
mod bench;
mod check;
mod completions;
mod convert;
mod diff;
mod findings;
mod hash;
mod inspect;
mod install;
mod json;
mod list;
mod meant;
mod merge;
mod migrate;
mod page;
mod print;
mod quantize;
mod set;
mod several;
mod shared;
mod signals;
mod sources;
mod split;
mod style;
mod threads;
mod verify;
mod write;

use crate::arch::{Arch, Registry};
use crate::convert::ConvertError;
use crate::facts::drafter::{Kind, kind_of};
use crate::finding::{self, Finding};
use crate::gguf::{Gguf, part_prefix};
use crate::io::{Inputs, guard};
use crate::quant::recipe::FileType;
use crate::text::{escape, is_hidden};
use crate::{Error, Fault};
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{CommandFactory, Parser, Subcommand};
use indicatif::HumanBytes;
use json::ErrorReport;
use print::Loudness;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;

const EXAMPLES: &str = "\
Examples:
  gguf-conv gemma-4-12B-it-assistant/ --outtype q8_0 -o drafter.gguf
          convert a checkpoint folder, 8.5 bits a weight
  gguf-conv drafter.safetensors --target gemma-4-12B-it-Q4_K_M.gguf --outtype q4_0
          convert a lone file; what its folder lacks comes from the target
  gguf-conv DRAFTER --target TARGET.gguf --dry-run
          show what would be written
  gguf-conv quantize drafter-bf16.gguf -o drafter-q4_k_m.gguf --outtype q4_k_m
          write a file in another type
  gguf-conv inspect drafter.gguf
          show what a file holds
  gguf-conv diff a.gguf b.gguf
          tell what distinguishes two files, and how far their numbers are apart
  gguf-conv hash drafter.gguf > SUMS
          checksums of the file, its metadata and each tensor; hash --check SUMS checks them
  gguf-conv check drafter.gguf --target TARGET.gguf
          look for what is wrong with a drafter, and with the pair
  gguf-conv verify drafter.gguf --target TARGET.gguf --source DRAFTER
          prove that the file computes what the checkpoint computes, and how many of its drafts are accepted
  gguf-conv bench --llama-server llama-server --target TARGET.gguf --drafter drafter.gguf --n-max 0,2,4
          measure whether drafting pays, and with which n-max
  gguf-conv advise --target TARGET.gguf --drafter drafter.gguf --memory 24G
          tell whether the pair fits, how fast it should be, and how to run it
  gguf-conv list
          the models in the caches of Hugging Face, Ollama, LM Studio and llama.cpp, and which belong together
  gguf-conv google/gemma-4-E4B-it-assistant --target ollama:gemma4:e4b
          convert by name; every command takes such names
  gguf-conv migrate old.gguf -o drafter.gguf
          make a drafter of a fork of llama.cpp load in llama.cpp
  gguf-conv split model.gguf --max-size 2G
          cut a file into parts, as llama-gguf-split does; merge makes one file of them
  gguf-conv set in.gguf -o out.gguf --chat-template chat_template.jinja
          change metadata, and nothing else
  gguf-conv completions bash > ~/.local/share/bash-completion/completions/gguf-conv
          have the shell complete commands and options

Exit codes:
  0  done
  1  a check, comparison or verification found a difference
  2  wrong usage
  3  an input is bad
  4  the system failed (disk, permissions)";

/// Turns Gemma 4's drafters, and Gemma 4 itself, into GGUF files for llama.cpp; shows, checks, mends and verifies such files.
///
/// Without a subcommand, DRAFTER is converted.
#[derive(Debug, Parser)]
#[command(version = VERSION.as_str(), after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    convert: Option<convert::Args>,
    #[command(flatten)]
    terminal: TerminalArgs,
}

/// The version, and what this program was built from: the commit if whoever builds it says so, and for what.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    let machine = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    match option_env!("GGUF_CONV_COMMIT") {
        Some(commit) => format!("{version} ({commit}, {machine})"),
        None => format!("{version} ({machine})"),
    }
});

/// What every command understands.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Terminal")]
struct TerminalArgs {
    /// Only errors and the result: of a file that was written its path
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Also what helps to see why: where each model was found, which files were opened and how much travelled, by which
    /// architecture file and dialect, each of many findings of a kind, and when each step was done
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Colours; NO_COLOR and CLICOLOR_FORCE are heeded
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value = "auto")]
    color: style::When,
}

impl TerminalArgs {
    fn choose(&self) {
        self.color.choose();
        match (self.quiet, self.verbose) {
            (true, _) => Loudness::Quiet.choose(),
            (_, true) => Loudness::Verbose.choose(),
            _ => {}
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Convert the checkpoint of a drafter, or of Gemma 4 itself, to GGUF (what is done without a subcommand)
    Convert(convert::Args),
    /// Write a GGUF file in another type, bit for bit as llama-quantize does
    Quantize(quantize::Args),
    /// Show what a GGUF or safetensors file holds
    Inspect(inspect::Args),
    /// Tell what distinguishes two models: metadata, tensors, and how far their numbers are apart
    Diff(diff::Args),
    /// Checksums of files, of their metadata and of each tensor; or check a list of them
    Hash(hash::Args),
    /// Look for what keeps a drafter's GGUF from loading or drafting well
    Check(check::Args),
    /// Rewrite a drafter's GGUF of another program's dialect, byte order or version into one that llama.cpp loads
    Migrate(migrate::Args),
    /// Split a GGUF file into parts, byte for byte as llama-gguf-split does it
    Split(split::Args),
    /// Make one file of the parts of a split GGUF, also of renamed and joined ones
    Merge(merge::Args),
    /// Change the metadata of a GGUF file, and nothing else
    Set(set::Args),
    /// Prove a drafter's GGUF by a forward pass: weights, drafts, acceptance
    Verify(Box<verify::Args>),
    /// Measure on real servers whether drafting pays, with which n-max, for which prompts
    Bench(Box<bench::Args>),
    /// List the models on this machine, and which drafter fits which target
    List(list::Args),
    /// Tell what a pair takes of memory, how fast it should be, and how to run it
    Advise(advise::Args),
    /// Write a script by which a shell completes commands and options
    Completions(completions::Args),
}

/// What a command found, for the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Done, and nothing to object to.
    Done,
    /// A check or verification found a difference, and it is told.
    Difference,
    /// Some of several files could not be read, and it is told.
    Failed(Fault),
}

impl Outcome {
    /// By what was found: an error is a difference, a warning only if `strict`.
    fn of(findings: &[Finding], strict: bool) -> Outcome {
        match finding::fail(findings, strict) {
            true => Outcome::Difference,
            false => Outcome::Done,
        }
    }
}

/// The names of all file types, behind others that a command understands.
fn outtypes(others: &[&'static str]) -> PossibleValuesParser {
    let names = FileType::ALL.iter().map(|file_type| {
        let value = PossibleValue::new(file_type.name());
        value.aliases(file_type.other_name())
    });
    let names = others.iter().map(PossibleValue::new).chain(names);
    PossibleValuesParser::new(names)
}

/// The architectures that are compiled in, and the one in the file that was given.
fn registry(inputs: &Inputs, file: Option<&Path>) -> Result<Registry, Error> {
    let registry = match file {
        Some(path) => Arch::read(inputs, path).and_then(Registry::with),
        None => Registry::builtin(),
    };
    Ok(registry.map_err(ConvertError::from)?)
}

/// The architecture by which a GGUF is read; told to those who ask.
fn of_gguf<'r>(registry: &'r Registry, gguf: &Gguf) -> &'r Arch {
    let arch = registry.of_gguf(gguf);
    if print::is_verbose() {
        let dialect = kind_of(gguf, arch).ok().and_then(|kind| match kind {
            Kind::Drafter(dialect) => dialect,
            _ => None,
        });
        let dialect = dialect.map(|dialect| format!(", in the dialect of {}", dialect.of));
        tell_of_arch(gguf.path(), arch, &dialect.unwrap_or_default());
    }
    arch
}

/// By which architecture file a model is read.
fn tell_of_arch(model: &Path, arch: &Arch, how: &str) {
    print::detail(&format!(
        "{} is read as {} by {}{how}",
        print::path(model),
        arch.architecture,
        print::path(arch.path())
    ));
}

/// The name of a GGUF, of a part of a split one the name of the whole.
fn whole_name(path: &Path) -> PathBuf {
    let whole = part_prefix(path).map(|mut prefix| {
        prefix.as_mut_os_string().push(".gguf");
        prefix
    });
    let whole = whole.as_deref().unwrap_or(path);
    whole.file_name().unwrap_or_default().into()
}

impl Command {
    /// The threads that the command line asks for.
    fn threads(&self) -> Option<usize> {
        match self {
            Command::Verify(args) => args.threads.or_else(threads::physical_cores),
            _ => None,
        }
    }

    /// The name in the JSON document, and whether one is wanted.
    fn json(&self) -> (&'static str, bool) {
        match self {
            Command::Convert(args) => ("convert", args.json),
            Command::Quantize(args) => ("quantize", args.format.json),
            Command::Inspect(args) => ("inspect", args.format.json),
            Command::Diff(args) => ("diff", args.format.json),
            Command::Hash(args) => (args.command(), args.format.json),
            Command::Check(args) => ("check", args.format.json),
            Command::Migrate(args) => ("migrate", args.format.json),
            Command::Split(args) => ("split", args.format.json),
            Command::Merge(args) => ("merge", args.format.json),
            Command::Set(args) => ("set", args.format.json),
            Command::Verify(args) => ("verify", args.format.json),
            Command::Bench(args) => ("bench", args.format.json),
            Command::Advise(args) => ("advise", args.format.json),
            Command::List(args) => ("list", args.format.json),
            Command::Completions(_) => ("completions", false),
        }
    }

    /// Where a file is written to, as it was given.
    fn output(&self) -> Option<&Path> {
        match self {
            Command::Convert(args) => args.output.as_deref(),
            Command::Quantize(args) => args.output(),
            Command::Migrate(args) => args.output.as_deref(),
            Command::Merge(args) => args.output.as_deref(),
            Command::Set(args) => args.output.as_deref(),
            Command::Inspect(args) => args.html(),
            Command::Verify(args) => args.dump.as_deref(),
            _ => None,
        }
    }

    fn run(&self, inputs: &Inputs) -> Result<Outcome, Error> {
        match self {
            Command::Convert(args) => convert::run(args, inputs),
            Command::Quantize(args) => quantize::run(args, inputs),
            Command::Inspect(args) => inspect::run(args, inputs),
            Command::Diff(args) => diff::run(args, inputs),
            Command::Hash(args) => hash::run(args, inputs),
            Command::Check(args) => check::run(args, inputs),
            Command::Migrate(args) => migrate::run(args, inputs),
            Command::Split(args) => split::run(args, inputs),
            Command::Merge(args) => merge::run(args, inputs),
            Command::Set(args) => set::run(args, inputs),
            Command::Verify(args) => verify::run(args, inputs),
            Command::Bench(args) => bench::run(args, inputs),
            Command::Advise(args) => advise::run(args, inputs),
            Command::List(args) => list::run(args, inputs),
            Command::Completions(args) => completions::run(args, inputs),
        }
    }
}

/// The whole command line, for completions and manual pages.
pub fn command() -> clap::Command {
    Cli::command()
}

/// The options of [`TerminalArgs`] that stand in front of a command's name, behind it: clap takes them there for the
/// beginning of a conversion.
fn arranged(mut given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = given.next().into_iter().collect();
    let mut front = Vec::new();
    while let Some(word) = given.next() {
        match word.to_str() {
            Some("-q" | "--quiet" | "-v" | "--verbose") => front.push(word),
            Some("--color") => front.extend(std::iter::once(word).chain(given.next())),
            Some(text) if text.starts_with("--color=") => front.push(word),
            Some(text) if text.starts_with('-') => {
                front.push(word);
                break;
            }
            _ => {
                arguments.push(word);
                break;
            }
        }
    }
    arguments.extend(front);
    arguments.extend(given);
    arguments
}

/// Parses the command line and does what it says. Errors are told in one line on standard error, with `--json` also as
/// a document on standard output.
pub fn main() -> ExitCode {
    guard::arm();
    print::begin();
    let arguments = arranged(std::env::args_os());
    style::When::of(&arguments).choose();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    cli.terminal.choose();
    let command = match (cli.command, cli.convert) {
        (Some(command), _) => command,
        (None, Some(args)) => Command::Convert(args),
        (None, None) => {
            let error = Error::Usage("no DRAFTER given; see gguf-conv --help".to_owned());
            return fail(&error, "convert", false, None);
        }
    };
    let inputs = Inputs::new();
    if let (name, true) = command.json() {
        json::write_sudden_failures(command.output(), name);
    }
    let result = threads::limit(command.threads()).and_then(|()| {
        let threads = print::many(rayon::current_num_threads(), "thread");
        print::detail(&format!("gguf-conv {} on {threads}", *VERSION));
        let result = command.run(&inputs);
        tell_of_files(&inputs);
        print::detail("done");
        result
    });
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Difference) => ExitCode::from(1),
        Ok(Outcome::Failed(fault)) => ExitCode::from(fault.code()),
        Err(error) => {
            let (name, json) = command.json();
            fail(&error, name, json, command.output())
        }
    }
}

/// Which files were read, and of those elsewhere how much travelled.
fn tell_of_files(inputs: &Inputs) {
    for (path, len) in inputs.opened() {
        print::detail(&format!("opened {}, {}", print::path(&path), HumanBytes(len)));
    }
    for (path, travelled, len) in inputs.travelled() {
        print::detail(&format!(
            "read {} of {}, {} of {} by ranges",
            print::many(usize::try_from(travelled).unwrap_or(usize::MAX), "byte"),
            print::path(&path),
            HumanBytes(travelled),
            HumanBytes(len)
        ));
    }
}

/// Tells an error.
fn fail(error: &Error, command: &str, json: bool, output: Option<&Path>) -> ExitCode {
    match error {
        // Who reads the output may stop early.
        Error::Stdout(e) if e.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
        Error::Stdout(_) => {}
        _ if json => {
            // Where standard output fails too, the exit code and standard error still tell.
            let _ = json::write_error(output, command, error.into());
        }
        _ => {}
    }
    print::error(error);
    ExitCode::from(error.fault().code())
}

/// What clap says, without its colours; what it repeats of the command line stays within its line.
fn rendered(error: &clap::Error) -> String {
    let mut text = error.render().to_string();
    for argument in std::env::args_os().filter_map(|argument| argument.into_string().ok()) {
        // An option's value may stand behind `=`.
        let value = argument.split_once('=').map(|(_, value)| value);
        for part in std::iter::once(argument.as_str()).chain(value) {
            if part.contains(is_hidden) {
                text = text.replace(part, &escape(part.as_bytes()));
            }
        }
    }
    text
}

/// What clap says, without its advice.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    crate::text::line(line.strip_prefix("error: ").unwrap_or(line))
}

/// Tells what clap says of the command line: help, version, or what is wrong with it.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Help and version hold nothing from outside; who reads them may stop early.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = rendered(error);
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--json") {
        let commands = Cli::command();
        let named = |name: &&str| arguments.first().is_some_and(|first| first == name);
        let command = commands
            .get_subcommands()
            .map(clap::Command::get_name)
            .find(named);
        let report = ErrorReport {
            fault: Fault::Usage.name(),
            message: first_line(&text),
            path: None,
        };
        let _ = json::write_error(None, command.unwrap_or("convert"), report);
    }
    // What clap finds wrong with the words behind a misspelt command is beside the point.
    if let Some(command) = meant::first_word().and_then(|word| meant::command(&word)) {
        print::say(&format!("tip: did you mean {command}?"));
    }
    text.lines().for_each(print::say);
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Fault::Usage.code()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_every_command_may_stand_in_front() {
        for (given, wanted) in [
            ("g -q inspect x", "g inspect -q x"),
            (
                "g --color never -v inspect x --json",
                "g inspect --color never -v x --json",
            ),
            ("g --color=never drafter", "g drafter --color=never"),
            ("g -q --target t drafter", "g -q --target t drafter"),
            ("g inspect -q x", "g inspect -q x"),
            ("g -q", "g -q"),
            ("g", "g"),
        ] {
            let words: Vec<OsString> = given.split(' ').map(OsString::from).collect();
            let wanted: Vec<OsString> = wanted.split(' ').map(OsString::from).collect();
            assert_eq!(arranged(words.into_iter()), wanted, "{given}");
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }
}
