//! The command line: one file a subcommand, each with its arguments and how it prints.
//!
//! Results go to standard output, everything else to standard error.

mod check;
mod convert;
mod diff;
mod hash;
mod inspect;
mod json;
mod migrate;
mod print;
mod quantize;
mod verify;
mod write;

use crate::arch::{Arch, Registry};
use crate::convert::ConvertError;
use crate::quant::recipe::FileType;
use crate::{Error, Fault};
use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};
use std::io;
use std::path::Path;
use std::process::ExitCode;

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
  gguf-conv migrate old.gguf -o drafter.gguf
          make a drafter of a fork of llama.cpp load in llama.cpp

Exit codes:
  0  done
  1  a check, comparison or verification found a difference
  2  wrong usage
  3  an input is bad
  4  the system failed (disk, permissions)";

/// Turns Gemma 4 drafters into GGUF files for llama.cpp; shows, checks, mends and verifies such files.
///
/// Without a subcommand, DRAFTER is converted.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    convert: Option<convert::Args>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Convert a drafter's checkpoint to GGUF (what is done without a subcommand)
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
    /// Prove a drafter's GGUF by a forward pass: weights, drafts, acceptance
    Verify(verify::Args),
}

/// What a command found, for the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Done, and nothing to object to.
    Done,
    /// A check or verification found a difference, and it is told.
    Difference,
}

/// The names of all file types, behind others that a command understands.
fn outtypes(others: &[&'static str]) -> PossibleValuesParser {
    let names = others
        .iter()
        .copied()
        .chain(FileType::ALL.iter().map(|file_type| file_type.name()));
    PossibleValuesParser::new(names)
}

/// The architectures that are compiled in, and the one in the file that was given.
fn registry(file: Option<&Path>) -> Result<Registry, Error> {
    let registry = match file {
        Some(path) => Arch::read(path).and_then(Registry::with),
        None => Registry::builtin(),
    };
    Ok(registry.map_err(ConvertError::from)?)
}

/// Runs the command; errors are told in one line on standard error.
pub fn run(cli: Cli) -> ExitCode {
    let result = match (cli.command, cli.convert) {
        (Some(Command::Convert(args)), _) | (None, Some(args)) => convert::run(&args),
        (Some(Command::Quantize(args)), _) => quantize::run(&args),
        (Some(Command::Inspect(args)), _) => inspect::run(&args),
        (Some(Command::Diff(args)), _) => diff::run(&args),
        (Some(Command::Hash(args)), _) => hash::run(&args),
        (Some(Command::Check(args)), _) => check::run(&args),
        (Some(Command::Verify(args)), _) => verify::run(&args),
        (Some(Command::Migrate(args)), _) => migrate::run(&args),
        (None, None) => Err(Error::Usage("no DRAFTER given; see gguf-conv --help".to_owned())),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Difference) => ExitCode::from(1),
        // Who reads the output may stop early.
        Err(Error::Stdout(e)) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            print::error(&error);
            ExitCode::from(match error.fault() {
                Fault::Usage => 2,
                Fault::Input => 3,
                Fault::System => 4,
            })
        }
    }
}
