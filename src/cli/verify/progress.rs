//! How far a verification has come, on the terminal, and its early end.

use crate::cli::{print, signals};
use crate::verify::{Phase, Watch};
use indicatif::ProgressBar;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A bar for each phase, and a flag that Ctrl-C sets.
pub(super) struct Progress {
    bar: Mutex<ProgressBar>,
    ended: Arc<AtomicBool>,
}

impl Progress {
    /// Watches for signals from now on.
    pub(super) fn new() -> Progress {
        let ended = Arc::default();
        signals::watch(&ended);
        Progress {
            bar: Mutex::new(ProgressBar::hidden()),
            ended,
        }
    }

    fn with_bar(&self, change: impl FnOnce(&mut ProgressBar)) {
        // A bar cannot be left half changed.
        change(&mut self.bar.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.with_bar(|bar| bar.finish_and_clear());
    }
}

/// A word for what is done, the unit, and whether it is counted.
fn template(phase: Phase) -> &'static str {
    match phase {
        Phase::Weights => "{spinner} weights",
        Phase::Prompt => "prompt   {bar:30} {pos}/{len} tokens {per_sec}, {eta} left",
        Phase::Drafting => "drafting {bar:30} {pos}/{len} tokens {per_sec}, {eta} left",
        Phase::Suite => "prompts  {bar:30} {pos}/{len}, {eta} left",
        Phase::Trials => "trials   {bar:30} {pos}/{len} faults, {eta} left",
        Phase::Proof => "{spinner} the target's text without the drafter",
    }
}

impl Watch for Progress {
    fn begin(&self, phase: Phase, total: usize) {
        self.with_bar(|bar| {
            bar.finish_and_clear();
            *bar = print::progress_bar(total as u64, template(phase));
            bar.enable_steady_tick(Duration::from_millis(200));
        });
    }

    fn advance(&self, count: usize) {
        self.with_bar(|bar| bar.inc(count as u64));
    }

    fn wants_end(&self) -> bool {
        self.ended.load(Relaxed)
    }
}
