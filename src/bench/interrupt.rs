//! Whether the user wants a benchmark to stop.

use super::BenchError;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Whether the user wants to stop.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    /// Set by a signal.
    pub flag: Arc<AtomicBool>,
    /// Where the calls so far are.
    pub kept: Option<PathBuf>,
}

impl Interrupt {
    /// An error where the user wants to stop.
    pub fn check(&self) -> Result<(), BenchError> {
        match self.flag.load(Relaxed) {
            true => Err(BenchError::Interrupted {
                kept: self.kept.clone(),
            }),
            false => Ok(()),
        }
    }
}
