//! The work of hashing: jobs of the same file go through it together.

use super::{Job, PIECE, Sum};
use crate::gguf::canonical_metadata;
use crate::storage::Numbers;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::Path;

/// Bytes of a file that its jobs hash before any goes on behind them: little beside a machine's memory, much beside what
/// waiting for each other costs.
pub(super) const WINDOW: u64 = 64 << 20;

/// The checksum of each job, on all cores; `None` for a tensor whose length is not known.
pub(super) fn compute(jobs: &[&Job], window: u64, progress: &(dyn Fn(u64) + Sync)) -> Vec<Option<Sum>> {
    let mut by_file: HashMap<&Path, Vec<(usize, Running)>> = HashMap::new();
    for (at, job) in jobs.iter().enumerate() {
        if let Some(running) = Running::begin(job) {
            by_file.entry(job.path()).or_default().push((at, running));
        }
    }
    let mut files: Vec<Vec<(usize, Running)>> = by_file.into_values().collect();
    // The longest first, so that no core is left with it in the end.
    files.sort_by_key(|jobs| std::cmp::Reverse(jobs.iter().map(|(_, job)| job.end).max()));
    let mut sums = vec![None; jobs.len()];
    let done: Vec<(usize, Sum)> = files
        .into_par_iter()
        .with_max_len(1)
        .flat_map(|jobs| together(jobs, window, progress))
        .collect();
    for (at, sum) in done {
        if let Some(place) = sums.get_mut(at) {
            *place = Some(sum);
        }
    }
    sums
}

/// Hashes what is asked of one file.
fn together(
    mut jobs: Vec<(usize, Running)>,
    window: u64,
    progress: &(dyn Fn(u64) + Sync),
) -> Vec<(usize, Sum)> {
    // Where nobody goes through the whole file, nothing is read twice: all at once then.
    let window = match jobs.iter().any(|(_, job)| matches!(job.what, What::Bytes(_))) {
        true => window,
        false => u64::MAX,
    };
    let mut upto = 0_u64;
    while jobs.iter().any(|(_, job)| !job.is_done()) {
        upto = upto.saturating_add(window);
        let due = jobs.par_iter_mut().with_max_len(1);
        due.filter(|(_, job)| job.start < upto && !job.is_done())
            .for_each(|(_, job)| job.go_on(upto, progress));
    }
    let sum = |(at, job): (usize, Running)| (at, Sum(job.hasher.finalize().into()));
    jobs.into_iter().map(sum).collect()
}

/// A job under way.
struct Running<'a> {
    what: What<'a>,
    hasher: Sha256,
    /// Where it begins and ends in the file.
    start: u64,
    end: u64,
    /// Up to where in the file it has come.
    at: u64,
    /// Chunks of numbers that are done.
    chunks: usize,
}

enum What<'a> {
    /// Bytes as they are: a whole file.
    Bytes(&'a [u8]),
    /// Bytes as they are: a tensor's.
    Raw(&'a [u8]),
    Numbers(Numbers<'a>),
    /// Made up at once, in the first step.
    Metadata(&'a crate::gguf::Metadata),
}

impl<'a> Running<'a> {
    fn begin(job: &'a Job) -> Option<Running<'a>> {
        let (what, start, len) = match job {
            Job::File(_, bytes) => (What::Bytes(bytes), 0, bytes.len() as u64),
            Job::Metadata(_, metadata) => (What::Metadata(metadata), 0, 1),
            Job::Tensor(_, tensor) => match tensor.numbers() {
                Ok(numbers) => (What::Numbers(numbers), tensor.file_offset, numbers.byte_len()),
                Err(_) => {
                    let bytes = tensor.bytes().ok()?;
                    (What::Raw(bytes), tensor.file_offset, bytes.len() as u64)
                }
            },
        };
        Some(Running {
            what,
            hasher: Sha256::new(),
            start,
            end: start.saturating_add(len),
            at: start,
            chunks: 0,
        })
    }

    fn is_done(&self) -> bool {
        self.at >= self.end
    }

    /// Hashes what lies in front of this place in the file; numbers by whole chunks.
    fn go_on(&mut self, upto: u64, progress: &(dyn Fn(u64) + Sync)) {
        match self.what {
            What::Metadata(metadata) => {
                self.hasher.update(canonical_metadata(metadata));
                self.at = self.end;
            }
            What::Bytes(bytes) | What::Raw(bytes) => {
                let upto = upto.min(self.end);
                // Both lie within the bytes, whose length is a usize.
                let due = (self.at - self.start) as usize..(upto - self.start) as usize;
                for piece in bytes.get(due).unwrap_or_default().chunks(PIECE) {
                    self.hasher.update(piece);
                    progress(piece.len() as u64);
                }
                self.at = upto;
            }
            What::Numbers(numbers) => {
                while self.at < upto && self.chunks < numbers.chunks() {
                    let bytes = numbers.bytes(self.chunks);
                    self.hasher.update(&bytes);
                    progress(bytes.len() as u64);
                    self.at += bytes.len() as u64;
                    self.chunks += 1;
                }
                if self.chunks == numbers.chunks() {
                    self.at = self.end;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sum;
    use crate::io::Inputs;
    use crate::storage::ModelFile;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    fn model() -> ModelFile {
        let path = Path::new("fixtures/mini-dense/drafter-q8_0.gguf");
        ModelFile::open(&Inputs::new(), path).unwrap()
    }

    /// The file and its tensors.
    fn jobs(model: &ModelFile) -> Vec<Job<'_>> {
        let file = model.files()[0];
        let tensors = model.tensors().into_iter();
        let tensors = tensors.map(|tensor| Job::Tensor(file.path, tensor));
        let whole = Job::File(file.path, file.bytes().unwrap());
        std::iter::once(whole).chain(tensors).collect()
    }

    #[test]
    fn the_window_does_not_show_in_the_sums() {
        let model = model();
        let (jobs, bytes) = (jobs(&model), model.files()[0].bytes().unwrap());
        let expected: Vec<Option<Sum>> = std::iter::once(bytes)
            .chain(model.tensors().iter().map(|tensor| tensor.bytes().unwrap()))
            .map(|bytes| Some(sum(bytes, &|_| ())))
            .collect();
        let jobs: Vec<&Job> = jobs.iter().collect();
        let all: u64 = jobs.iter().map(|job| job.bytes()).sum();
        for window in [1000, 100_000, WINDOW, u64::MAX] {
            let told = AtomicU64::new(0);
            let add = |bytes| {
                told.fetch_add(bytes, SeqCst);
            };
            assert_eq!(compute(&jobs, window, &add), expected, "{window}");
            assert_eq!(told.load(SeqCst), all);
        }
    }

    /// What makes the file be read once: whoever has come to a place, the others are no window and chunk away from it.
    #[test]
    fn a_file_and_its_tensors_are_read_side_by_side() {
        let model = model();
        let jobs = jobs(&model);
        let mut running: Vec<Running> = jobs.iter().filter_map(Running::begin).collect();
        assert_eq!(running.len(), jobs.len());
        for upto in [10_000, 50_000, 200_000] {
            for job in running.iter_mut().filter(|job| job.start < upto) {
                job.go_on(upto, &|_| ());
                // The tensors here are of one chunk.
                let most = if job.start == 0 { upto } else { job.end };
                assert!(job.at >= upto.min(job.end) && job.at <= most, "{}", job.at);
            }
        }
    }
}
