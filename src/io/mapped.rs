//! Read-only memory maps of files, and of what is here of files elsewhere. `unsafe` stands here and in [`guard`](super::guard) only.
#![allow(unsafe_code)]

use super::distant::{FetchError, Fetched};
use super::guard::{Watched, watch};
use memmap2::Mmap;
use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

/// A file, mapped: pages are read when touched. It hands out no byte that is not here, so that none is taken for a zero
/// that was never fetched.
#[derive(Debug)]
pub struct MappedFile {
    file: File,
    /// `None` for an empty file, which cannot be mapped.
    map: Option<Mmap>,
    watched: Option<&'static Watched>,
    /// Where the bytes come from, of a file elsewhere.
    fetched: Option<Arc<Fetched>>,
}

impl MappedFile {
    /// Maps `file`, a regular one of this length that was opened at `path`.
    pub(super) fn map(file: File, len: u64, path: &Path) -> io::Result<MappedFile> {
        if len == 0 {
            return Ok(MappedFile {
                file,
                map: None,
                watched: None,
                fetched: None,
            });
        }
        // SAFETY: the map is read-only and private to this process. Another process that writes to the file changes what
        // is read; no length or offset is read twice after it was checked, so that does not lead outside the map. Of a
        // file elsewhere this process itself writes parts, before anything has read them. One
        // that truncates it makes reading a SIGBUS, which `guard` answers.
        let map = unsafe { Mmap::map(&file)? };
        let watched = watch(&map, path);
        let map = Some(map);
        Ok(MappedFile {
            file,
            map,
            watched,
            fetched: None,
        })
    }

    /// Maps what is here of a file elsewhere.
    pub(super) fn distant(fetched: Arc<Fetched>) -> io::Result<MappedFile> {
        let file = fetched.file().try_clone()?;
        // The name is told if the file shrinks, which one without a name does not.
        let mut map = MappedFile::map(file, fetched.file_len(), Path::new(""))?;
        map.fetched = Some(fetched);
        Ok(map)
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.map.as_ref().map_or(0, |map| map.len())
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the file lies elsewhere, so that its bytes travel when they are asked for.
    pub fn is_distant(&self) -> bool {
        self.fetched.is_some()
    }

    /// All of it, where the file does not lie elsewhere.
    pub(super) fn local(&self) -> Option<&[u8]> {
        self.fetched.is_none().then(|| self.mapped())
    }

    /// These bytes, fetched if need be; `None` where they are not within the file.
    pub fn bytes(&self, range: Range<u64>) -> Result<Option<&[u8]>, FetchError> {
        let places = usize::try_from(range.start)
            .ok()
            .zip(usize::try_from(range.end).ok());
        let Some(bytes) = places.and_then(|(start, end)| self.mapped().get(start..end)) else {
            return Ok(None);
        };
        if let Some(fetched) = &self.fetched {
            fetched.fetch(range)?;
        }
        Ok(Some(bytes))
    }

    /// The front, at least of this length if the file is that long; of a local file all of it.
    pub fn front(&self, least: usize) -> Result<&[u8], FetchError> {
        let here = match &self.fetched {
            Some(fetched) => usize::try_from(fetched.front(least as u64)?).unwrap_or(usize::MAX),
            None => self.len(),
        };
        Ok(self.mapped().get(..here).unwrap_or(self.mapped()))
    }

    /// What is mapped, whether it is here or not.
    fn mapped(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }

    /// The file itself, open for reading.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where in the file these bytes stand, if they are a part of this map.
    pub fn position(&self, part: &[u8]) -> Option<u64> {
        let whole = self.mapped().as_ptr_range();
        let part = part.as_ptr_range();
        let inside = whole.start <= part.start && part.end <= whole.end;
        inside.then(|| (part.start.addr() - whole.start.addr()) as u64)
    }
}

/// A mapped file of which everything is here.
#[derive(Debug)]
pub struct MappedText(MappedFile);

impl MappedText {
    /// Fetches what is not here.
    pub(super) fn of(map: MappedFile) -> Result<MappedText, FetchError> {
        map.front(map.len())?;
        Ok(MappedText(map))
    }
}

impl Deref for MappedText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.mapped()
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        if let Some(watched) = self.watched {
            watched.forget();
        }
    }
}
