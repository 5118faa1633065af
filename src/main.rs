//! The command line: parse, dispatch, exit code.

use clap::Parser;
use gguf_conv::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    gguf_conv::cli::run(Cli::parse())
}
