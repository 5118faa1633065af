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
    rayon::ThreadPoolBuilder::new()
        .num_threads(count(asked.or_else(from_environment), cores))
        .build_global()
        .map_err(|e| {
            let text = e.to_string();
            Error::Threads(text.split(" (os error").next().unwrap_or_default().to_owned())
        })
}

/// How many threads to start on so many cores.
fn count(asked: Option<usize>, cores: usize) -> usize {
    let asked = asked.filter(|&asked| asked > 0);
    asked.unwrap_or(cores).min(cores.saturating_mul(MOST_A_CORE))
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn no_more_are_started_than_help() {
        assert_eq!(count(None, 8), 8);
        assert_eq!(count(Some(0), 8), 8);
        assert_eq!(count(Some(3), 8), 3);
        assert_eq!(count(Some(100_000), 8), 32);
    }
}
