//! How many threads compute.

use crate::Error;
use crate::io::growing::system_text;
use std::hint::black_box;
use std::thread::available_parallelism;

/// Threads a core that still help: while some wait for the disk, others compute.
const MOST_A_CORE: usize = 4;

/// Bytes that a thread takes: std's stack, and what is allocated as it starts.
const FOR_A_THREAD: usize = (2 << 20) + (256 << 10);

/// Starts the threads that all commands compute with: `asked`, else as many as `RAYON_NUM_THREADS` says, else one a
/// core, and never more than help.
pub(super) fn limit(asked: Option<usize>) -> Result<(), Error> {
    let cores = available_parallelism().map_or(1, usize::from);
    let from_environment = || std::env::var("RAYON_NUM_THREADS").ok()?.parse().ok();
    let threads = count(asked.or_else(from_environment), cores);
    // A thread that starts with nothing to spare is ended by the C library, and the program with it. Where memory is
    // short already, the allocator says so here.
    drop(black_box(Vec::<u8>::with_capacity(threads * FOR_A_THREAD)));
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|e| {
            let text = e.to_string();
            Error::Threads(text.split(" (os error").next().unwrap_or_default().to_owned())
        })
}

/// How many cores there are that compute by themselves, where the system tells and nobody set `RAYON_NUM_THREADS`: the
/// threads of one share what multiplies.
pub(super) fn physical_cores() -> Option<usize> {
    if std::env::var_os("RAYON_NUM_THREADS").is_some() {
        return None;
    }
    let siblings = in_list(&system_text(
        "/sys/devices/system/cpu/cpu0/topology/thread_siblings_list",
    ))?;
    let all = available_parallelism().ok()?.get();
    Some((all / siblings).max(1))
}

/// How many numbers are in a list such as `0-1,4`.
fn in_list(list: &str) -> Option<usize> {
    let of_range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    list.split(',').map(of_range).sum()
}

/// How many threads to start on so many cores.
fn count(asked: Option<usize>, cores: usize) -> usize {
    let asked = asked.filter(|&asked| asked > 0);
    asked.unwrap_or(cores).min(cores.saturating_mul(MOST_A_CORE))
}

#[cfg(test)]
mod tests {
    use super::{count, in_list};

    #[test]
    fn siblings_are_counted() {
        assert_eq!(in_list("0\n"), Some(1));
        assert_eq!(in_list("0,4\n"), Some(2));
        assert_eq!(in_list("0-1,4-5"), Some(4));
        assert_eq!(in_list(""), None);
        assert_eq!(in_list("3-1"), None);
    }

    #[test]
    fn no_more_are_started_than_help() {
        assert_eq!(count(None, 8), 8);
        assert_eq!(count(Some(0), 8), 8);
        assert_eq!(count(Some(3), 8), 3);
        assert_eq!(count(Some(100_000), 8), 32);
    }
}
