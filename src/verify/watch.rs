//! Someone who watches a verification: is told how far it has come, and may end it early.

use std::fmt;
use std::sync::Arc;

/// What takes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Looking through the drafter's weights; counted is nothing.
    Weights,
    /// The target reads the prompt; counted are tokens.
    Prompt,
    /// Target and drafter write; counted are tokens.
    Drafting,
    /// Faults are undone by way of trial; counted are faults.
    Trials,
    /// Prompts of several kinds are answered; counted are prompts.
    Suite,
    /// The target writes its text a second time; counted is nothing.
    Proof,
}

/// A watcher. All methods are called from one thread at a time.
pub trait Watch: Send + Sync {
    /// A phase begins, in which `total` is counted.
    fn begin(&self, phase: Phase, total: usize);

    /// So much more is done.
    fn advance(&self, count: usize);

    /// Whether to end, with a report of what was done so far.
    fn wants_end(&self) -> bool;
}

/// A watcher, or none.
#[derive(Clone, Default)]
pub struct Watcher(Option<Arc<dyn Watch>>);

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Watcher" } else { "nobody" })
    }
}

impl Watcher {
    /// This one.
    pub fn new(watch: Arc<dyn Watch>) -> Watcher {
        Watcher(Some(watch))
    }

    /// One that may end it early as this one may, and is told nothing.
    pub(super) fn quiet(&self) -> Watcher {
        struct Quiet(Watcher);
        impl Watch for Quiet {
            fn begin(&self, _: Phase, _: usize) {}
            fn advance(&self, _: usize) {}
            fn wants_end(&self) -> bool {
                self.0.wants_end()
            }
        }
        Watcher::new(Arc::new(Quiet(self.clone())))
    }

    pub(super) fn begin(&self, phase: Phase, total: usize) {
        if let Some(watch) = &self.0 {
            watch.begin(phase, total);
        }
    }

    pub(super) fn advance(&self, count: usize) {
        if let Some(watch) = &self.0 {
            watch.advance(count);
        }
    }

    pub(super) fn wants_end(&self) -> bool {
        self.0.as_ref().is_some_and(|watch| watch.wants_end())
    }
}
