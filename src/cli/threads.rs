//! How many threads compute.

use crate::Error;
use std::thread::available_parallelism;

/// Threads a core that still help: while some wait for the disk, others compute.
const MOST_A_CORE: usize = 4;

/// Starts the threads that all commands compute with: `asked`, else as many as `RAYON_NUM_THREADS` says, else one a
/// core, and never more than help.
pub(super) fn limit(asked: Option<usize>) -> Result<(), Error> {
    let cores = available_parallelism().map_or(1, usize::from);
    let from_environment = || std::env::var("RAYON_NUM_THREADS").ok()?.parse().ok();
    let asked = asked.or_else(from_environment).filter(|&asked| asked > 0);
    rayon::ThreadPoolBuilder::new()
        .num_threads(asked.unwrap_or(cores).min(cores * MOST_A_CORE))
        .build_global()
        .map_err(|e| Error::Threads(e.to_string()))
}
