//! Read-only memory maps of files. `unsafe` stands here and in [`guard`](super::guard) only.
#![allow(unsafe_code)]

use super::guard::{Watched, watch};
use memmap2::Mmap;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

/// A whole file as a byte slice. Pages are read when touched.
#[derive(Debug)]
pub struct MappedFile {
    file: File,
    /// `None` for an empty file, which cannot be mapped.
    map: Option<Mmap>,
    watched: Option<&'static Watched>,
}

impl MappedFile {
    /// Maps `file`, a regular one of this length that was opened at `path`.
    pub(super) fn map(file: File, len: u64, path: &Path) -> io::Result<MappedFile> {
        if len == 0 {
            let (map, watched) = (None, None);
            return Ok(MappedFile { file, map, watched });
        }
        // SAFETY: the map is read-only and private to this process. Another process that writes to the file changes what
        // is read; no length or offset is read twice after it was checked, so that does not lead outside the map. One
        // that truncates it makes reading a SIGBUS, which `guard` answers.
        let map = unsafe { Mmap::map(&file)? };
        let watched = watch(&map, path);
        let map = Some(map);
        Ok(MappedFile { file, map, watched })
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
