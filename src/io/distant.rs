//! Files elsewhere, read range by range: what was fetched stands at its place in a sparse temporary file without a name,
//! which is mapped like any other.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes by which the front of a file is fetched where nothing tells better.
const STEP: u64 = 512 << 10;

/// A file elsewhere. Its length and content do not change.
pub trait Distant: Debug + Send + Sync {
    /// Its length in bytes.
    fn file_len(&self) -> u64;
    /// Bytes by which its front is fetched.
    fn step(&self) -> u64 {
        STEP
    }
    /// Hands these bytes of it to `take`, in order, all of them or an error.
    fn read(
        &self,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), FetchError>;
}

/// Why bytes could not be fetched.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct FetchError {
    message: String,
    is_system: bool,
}

impl FetchError {
    /// What went wrong, and whether the network, a server or the system is at fault and not what was asked for.
    pub fn new(error: &impl std::error::Error, is_system: bool) -> FetchError {
        FetchError {
            message: error.to_string(),
            is_system,
        }
    }

    /// Whether the network, a server or the system is at fault.
    pub fn is_system(&self) -> bool {
        self.is_system
    }
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> FetchError {
        FetchError {
            message: format!("what came cannot be kept meanwhile: {}", super::told(&error)),
            is_system: true,
        }
    }
}

/// What of a file elsewhere is here.
#[derive(Debug)]
pub(super) struct Fetched {
    source: Arc<dyn Distant>,
    file: File,
    /// In order, none touching another.
    here: Mutex<Vec<Range<u64>>>,
}

impl Fetched {
    pub(super) fn new(source: Arc<dyn Distant>) -> io::Result<Fetched> {
        let file = tempfile::tempfile()?;
        file.set_len(source.file_len())?;
        Ok(Fetched {
            source,
            file,
            here: Mutex::default(),
        })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn file_len(&self) -> u64 {
        self.source.file_len()
    }

    /// How many bytes are here: so many travelled.
    pub(super) fn travelled(&self) -> u64 {
        let here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        here.iter().map(|part| part.end - part.start).sum()
    }

    /// Fetches what is not here of a range, which may reach behind the end.
    pub(super) fn fetch(&self, range: Range<u64>) -> Result<(), FetchError> {
        let range = range.start..range.end.min(self.file_len());
        // Ranges are added whole, so that a thread that panicked leaves nothing half done. Others wait: what they need
        // may be on its way.
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        for gap in gaps(&here, &range) {
            let mut at = gap.start;
            self.source.read(gap.clone(), &mut |bytes| {
                super::write_all_at(&self.file, bytes, at)?;
                at += bytes.len() as u64;
                Ok(())
            })?;
            if at != gap.end {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            add(&mut here, gap);
        }
        Ok(())
    }

    /// Fetches the front up to this length or somewhat more; how much is here of it.
    pub(super) fn front(&self, least: u64) -> Result<u64, FetchError> {
        let step = self.source.step().max(1);
        let least = least.max(1).next_multiple_of(step).min(self.file_len());
        self.fetch(0..least)?;
        let here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(here.first().map_or(0, |first| first.end))
    }
}

/// What of `range` is in none of `here`.
fn gaps(here: &[Range<u64>], range: &Range<u64>) -> Vec<Range<u64>> {
    let mut gaps = Vec::new();
    let mut at = range.start;
    for part in here
        .iter()
        .filter(|part| part.end > range.start && part.start < range.end)
    {
        if at < part.start {
            gaps.push(at..part.start);
        }
        at = at.max(part.end);
    }
    if at < range.end {
        gaps.push(at..range.end);
    }
    gaps
}

/// Adds a range, joined with those that it touches.
fn add(here: &mut Vec<Range<u64>>, mut range: Range<u64>) {
    here.retain(|part| {
        let touches = part.start <= range.end && range.start <= part.end;
        if touches {
            range = range.start.min(part.start)..range.end.max(part.end);
        }
        !touches
    });
    let at = here.partition_point(|part| part.start < range.start);
    here.insert(at, range);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    #[derive(Debug)]
    struct Counted(Vec<u8>, AtomicU64);

    impl Distant for Counted {
        fn file_len(&self) -> u64 {
            self.0.len() as u64
        }

        fn read(
            &self,
            range: Range<u64>,
            take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
        ) -> Result<(), FetchError> {
            self.1.fetch_add(range.end - range.start, SeqCst);
            for chunk in self.0[range.start as usize..range.end as usize].chunks(1000) {
                take(chunk)?;
            }
            Ok(())
        }
    }

    #[test]
    fn nothing_is_fetched_twice() {
        let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        let source = Arc::new(Counted(bytes.clone(), AtomicU64::new(0)));
        let fetched = Fetched::new(source.clone()).unwrap();
        let travelled = || source.1.load(SeqCst);
        fetched.fetch(10..20).unwrap();
        fetched.fetch(30..40).unwrap();
        assert_eq!(travelled(), 20);
        fetched.fetch(15..35).unwrap();
        assert_eq!(travelled(), 30);
        fetched.fetch(10..40).unwrap();
        assert_eq!(travelled(), 30);
        assert_eq!(fetched.front(0).unwrap(), STEP);
        assert_eq!(travelled(), STEP);
        assert_eq!(fetched.front(STEP + 1).unwrap(), 2 * STEP);
        fetched.fetch(2_999_000..9_000_000).unwrap();
        assert_eq!(travelled(), 2 * STEP + 1000);
        assert_eq!(fetched.front(2_999_990).unwrap(), 3_000_000);
        assert_eq!(travelled(), 3_000_000);
        let map = super::super::mapped::MappedFile::distant(Arc::new(fetched)).unwrap();
        assert!(map.bytes(0..3_000_000).unwrap() == Some(&bytes));
        assert!(map.local().is_none());
        assert!(map.bytes(1..3_000_001).unwrap().is_none());
    }

    #[test]
    fn ranges_are_joined_and_gaps_found() {
        let mut here = Vec::new();
        for range in [10..20, 40..50, 20..25, 0..5] {
            add(&mut here, range);
        }
        assert_eq!(here, [0..5, 10..25, 40..50]);
        assert_eq!(gaps(&here, &(3..45)), [5..10, 25..40]);
        assert_eq!(gaps(&here, &(60..61)), vec![60..61; 1]);
        assert!(gaps(&here, &(12..25)).is_empty());
    }
}
