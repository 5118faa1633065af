//! Read-only memory maps of files: the only module that may hold `unsafe` code.
#![allow(unsafe_code)]

use memmap2::Mmap;
use std::fs::File;
use std::io;
use std::ops::Deref;

/// A whole file as a byte slice. Pages are read when touched.
#[derive(Debug)]
pub struct MappedFile {
    file: File,
    /// `None` for an empty file, which cannot be mapped.
    map: Option<Mmap>,
}

impl MappedFile {
    /// Maps `file`, a regular one of this length.
    pub(super) fn map(file: File, len: u64) -> io::Result<MappedFile> {
        if len == 0 {
            return Ok(MappedFile { file, map: None });
        }
        // SAFETY: the map is read-only and private to this process. As with every mapped input, another process that
        // truncates the file meanwhile ends this one with SIGBUS, and one that writes to it changes what is read; no
        // length or offset is read twice after it was checked, so neither leads to an access outside the map.
        let map = unsafe { Mmap::map(&file)? };
        Ok(MappedFile { file, map: Some(map) })
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
