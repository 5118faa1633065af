//! `gguf-conv completions`: scripts for shells.

use super::{Outcome, print};
use crate::Error;
use crate::io::Inputs;
use clap_complete::Shell;

const ABOUT: &str = "\
Where shells look for the script:
  bash        gguf-conv completions bash > ~/.local/share/bash-completion/completions/gguf-conv
  zsh         gguf-conv completions zsh > ~/.zfunc/_gguf-conv    (~/.zfunc has to be in fpath)
  fish        gguf-conv completions fish > ~/.config/fish/completions/gguf-conv.fish
  powershell  gguf-conv completions powershell >> $PROFILE";

/// Arguments of completions.
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Writes the script to standard output.
pub(super) fn run(args: &Args, inputs: &Inputs) -> Result<Outcome, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "gguf-conv", &mut script);
    print::stdout_bytes(&script, inputs)?;
    Ok(Outcome::Done)
}
