//! Options that several commands have, each with the one text of its help.

use super::registry;
use crate::Error;
use crate::arch::Registry;
use crate::io::Inputs;
use std::path::PathBuf;

/// How the result is told.
#[derive(Debug, clap::Args)]
pub(super) struct FormatArgs {
    /// Report as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// What describes the architecture.
#[derive(Debug, clap::Args)]
pub(super) struct ArchArgs {
    /// Architecture file to use instead of the one compiled in
    #[arg(long, value_name = "FILE")]
    arch: Option<PathBuf>,
}

impl ArchArgs {
    /// All architectures.
    pub(super) fn registry(&self, inputs: &Inputs) -> Result<Registry, Error> {
        registry(inputs, self.arch.as_deref())
    }
}

/// Whether and over what a file is written.
#[derive(Debug, clap::Args)]
pub(super) struct WritingArgs {
    /// Show what would be written and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Replace the output file if it exists
    #[arg(long)]
    pub(super) force: bool,
}
