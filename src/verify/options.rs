//! What to verify and how.

use super::speculate::Limits;
use super::watch::Watcher;
use crate::model::{Compute, Head, Window};
use crate::prompts::Kind;
use std::path::PathBuf;

/// What to verify and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The drafter's GGUF.
    pub drafter: PathBuf,
    /// The target's GGUF.
    pub target: PathBuf,
    /// The checkpoint that the drafter was converted from.
    pub source: Option<PathBuf>,
    /// The checkpoint that the target was converted from.
    pub target_source: Option<PathBuf>,
    /// What the target continues.
    pub prompt: Prompt,
    /// Kinds of prompts that are answered besides, to see what is accepted by kind; none for no suite.
    pub suite: Vec<Kind>,
    /// Whether texts are what a user says, which the chat template of the target's GGUF makes text of.
    pub is_chat: bool,
    /// How much is drafted and generated.
    pub limits: Limits,
    /// Which keys sliding layers of the drafter see.
    pub window: Window,
    /// How the drafter scores the vocabulary.
    pub head: Head,
    /// Where to write every intermediate of one run.
    pub dump: Option<PathBuf>,
    /// Whether the dump may replace a file.
    pub force: bool,
    /// An architecture file for the drafter, instead of the one compiled in.
    pub arch: Option<PathBuf>,
    /// How target and drafter are computed; checkpoints are in `f32`.
    pub compute: Compute,
    /// Whether the target writes its text a second time, without the drafter. `None`: where it is small.
    pub prove_greedy: Option<bool>,
    /// Whether no more than [`QUICK_TOKENS`] tokens are written where the target is larger than [`LARGE`].
    pub quick: bool,
    /// Who is told how far it has come, and may end it early.
    pub watcher: Watcher,
}

/// Tokens that a quick verification writes, and positions of the prompt at which it measures surprise.
pub const QUICK_TOKENS: usize = 32;
/// Bytes of a target above which a verification is quick where nobody says how much to write.
pub const LARGE: u64 = 2 << 30;

/// The prompt where none is given: code and prose, so that positions differ.
const DEFAULT_PROMPT: &str = "\
import os
import sys

def read_file(path):
    \"\"\"Return the lines of a file, without the empty ones.\"\"\"
    with open(path) as file:
        lines = [line.strip() for line in file]
    return [line for line in lines if line]


class Config:
    \"\"\"Settings of a program, read from a file and from the environment.\"\"\"

    def __init__(self, name, values=None):
        self.name = name
        self.values = values or {}

    def update(self, other):
        for key in sorted(other):
            if key not in self.values:
                raise KeyError(key)
";

impl Options {
    /// How much is drafted and generated for a target of so many bytes.
    pub(super) fn limits(&self, target_bytes: u64) -> Limits {
        match self.is_quick(target_bytes) {
            true => Limits {
                generate: self.limits.generate.min(QUICK_TOKENS),
                probes: self.limits.probes.min(QUICK_TOKENS),
                ..self.limits
            },
            false => self.limits,
        }
    }

    /// The suite for a target of so many bytes: where that is large, a prompt of each kind.
    pub(super) fn suite(&self, target_bytes: u64) -> Vec<Kind> {
        let mut kinds = self.suite.clone();
        if self.is_quick(target_bytes) {
            kinds.iter_mut().for_each(|kind| kind.prompts.truncate(1));
        }
        kinds
    }

    fn is_quick(&self, target_bytes: u64) -> bool {
        self.quick && target_bytes > LARGE
    }

    /// The default prompt, limits and readings, without checkpoints and without a dump.
    pub fn new(drafter: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Options {
        Options {
            drafter: drafter.into(),
            target: target.into(),
            source: None,
            target_source: None,
            prompt: Prompt::default(),
            suite: Vec::new(),
            is_chat: false,
            limits: Limits::default(),
            window: Window::default(),
            head: Head::default(),
            dump: None,
            force: false,
            arch: None,
            compute: Compute::default(),
            prove_greedy: None,
            quick: false,
            watcher: Watcher::default(),
        }
    }
}

/// Bytes of a target up to which its text is written a second time, without the drafter, if nobody says whether to.
pub(super) const PROVED_UP_TO: u64 = 256 << 20;

/// What the target continues.
#[derive(Debug, Clone)]
pub enum Prompt {
    /// Text, which the GGUF's vocabulary makes tokens of.
    Text(String),
    /// Tokens as they are.
    Tokens(Vec<u32>),
}

impl Default for Prompt {
    fn default() -> Prompt {
        Prompt::Text(DEFAULT_PROMPT.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompts;

    #[test]
    fn a_large_target_is_verified_quickly_where_nobody_says_how_much() {
        let mut options = Options::new("d.gguf", "t.gguf");
        options.suite = prompts::built_in(128);
        options.quick = true;
        let figures = |options: &Options, bytes| {
            let prompts: usize = options.suite(bytes).iter().map(|kind| kind.prompts.len()).sum();
            (options.limits(bytes).generate, prompts)
        };
        assert_eq!(figures(&options, LARGE), (128, 24));
        assert_eq!(figures(&options, LARGE + 1), (QUICK_TOKENS, 6));
        options.quick = false;
        assert_eq!(figures(&options, LARGE + 1), (128, 24));
    }
}
