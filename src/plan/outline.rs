//! A plan as the GGUF that it would become, of which nothing is there but the header and what is computed for it.

use super::{Data, Plan};
use crate::gguf::{Gguf, GgufError};
use crate::io::Inputs;
use crate::io::distant::{Distant, FetchError};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

impl Plan<'_> {
    /// The planned file, to be looked at. Numbers that it takes from an input cannot be read: they were not written.
    pub fn outline(&self, name: &Path) -> Result<Gguf, GgufError> {
        let mut parts = vec![(0, self.layout.header.clone())];
        for (tensor, offset) in self.placed() {
            if let (Data::Computed(bytes), true) = (&tensor.source.data, tensor.source.ty == tensor.ty) {
                parts.push((offset, bytes.clone()));
            }
        }
        let outline = Outline {
            len: self.layout.file_len,
            parts,
        };
        let inputs = Inputs::new();
        inputs.attach(name, Arc::new(outline));
        Gguf::look(&inputs, name)
    }
}

/// What of a planned file is known, by where it would stand.
#[derive(Debug)]
struct Outline {
    len: u64,
    parts: Vec<(u64, Vec<u8>)>,
}

/// Why bytes of it cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("it is planned and not written")]
struct NotWritten;

impl Distant for Outline {
    fn file_len(&self) -> u64 {
        self.len
    }

    fn step(&self) -> u64 {
        self.parts.first().map_or(1, |(_, header)| header.len() as u64)
    }

    fn read(
        &self,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), FetchError> {
        let within = |(start, bytes): &(u64, Vec<u8>)| {
            let from = usize::try_from(range.start.checked_sub(*start)?).ok()?;
            let to = usize::try_from(range.end.checked_sub(*start)?).ok()?;
            bytes.get(from..to).map(<[u8]>::to_vec)
        };
        let found = self.parts.iter().find_map(within);
        let bytes = found.ok_or_else(|| FetchError::new(&NotWritten, false))?;
        Ok(take(&bytes)?)
    }
}
