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

/// A whole file as a byte slice. Pages are read when touched.
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

    /// Maps what is here of a file elsewhere. Bytes that were not fetched are zeros.
    pub(super) fn distant(fetched: Arc<Fetched>) -> io::Result<MappedFile> {
        let file = fetched.file().try_clone()?;
        // The name is told if the file shrinks, which one without a name does not.
        let mut map = MappedFile::map(file, fetched.file_len(), Path::new(""))?;
        map.fetched = Some(fetched);
        Ok(map)
    }

    /// Whether the file lies elsewhere, so that only what [`MappedFile::fetch`] asked for can be read.
    pub fn is_distant(&self) -> bool {
        self.fetched.is_some()
    }

    /// Makes sure that these bytes are here. Of a local file all are.
    pub fn fetch(&self, range: Range<u64>) -> Result<(), FetchError> {
        match &self.fetched {
            Some(fetched) => fetched.fetch(range),
            None => Ok(()),
        }
    }

    /// Makes sure that the front is here up to this length; how much of it is. Of a local file it is all.
    pub fn front(&self, least: usize) -> Result<usize, FetchError> {
        match &self.fetched {
            // No longer than the file, which is mapped.
            Some(fetched) => Ok(fetched.front(least as u64)? as usize),
            None => Ok(self.len()),
        }
    }

    /// The file itself, open for reading.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where in the file these bytes stand, if they are a part of this map.
    pub fn position(&self, part: &[u8]) -> Option<u64> {
        let whole = self.as_ptr_range();
        let part = part.as_ptr_range();
        let inside = whole.start <= part.start && part.end <= whole.end;
        inside.then(|| (part.start.addr() - whole.start.addr()) as u64)
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        if let Some(watched) = self.watched {
            watched.forget();
        }
    }
}
