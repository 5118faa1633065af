//! One file of a model, mapped, with its header read.

use super::error::{FormatError, GgufError, GgufErrorKind};
use super::header::{Endian, Header, TensorInfo};
use super::limits::MAX_HEADER_LEN;
use super::reader::{LongArrays, MAGIC};
use crate::io::kind::{FileKind, Wanted, WrongKind};
use crate::io::mapped::MappedFile;
use crate::io::{Inputs, ReadError};
use crate::quant::GgmlType;
use crate::text::escape;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One file of a model.
#[derive(Debug, Clone)]
pub struct Part {
    /// Where it lies.
    pub path: PathBuf,
    /// Its header.
    pub header: Header,
    map: Arc<MappedFile>,
    /// Where in the file it stands: all of it, unless several parts were joined to one file.
    within: Range<usize>,
    /// Of the metadata, where the header was skimmed.
    fingerprint: Option<u64>,
}

/// A tensor's bytes as they stand in the file, in the file's byte order.
#[derive(Debug, Clone, Copy)]
pub struct RawTensor<'a> {
    /// What the header says of it.
    pub info: &'a TensorInfo,
    /// Its type.
    pub ty: GgmlType,
    /// Byte order of the numbers in `data`.
    pub endian: Endian,
    /// Its bytes.
    pub data: &'a [u8],
    /// The file that holds it.
    pub file: &'a MappedFile,
}

impl Part {
    pub(super) fn open(inputs: &Inputs, path: &Path, long_arrays: LongArrays) -> Result<Part, GgufError> {
        let wrong = |found| {
            GgufError::new(
                path,
                WrongKind {
                    found,
                    wanted: Wanted::Gguf,
                },
            )
        };
        let map = inputs.map(path).map_err(|error| match error {
            ReadError::Folder => wrong(FileKind::Folder),
            error => GgufError::new(path, error),
        })?;
        let front = map
            .front(0)
            .map_err(|error| GgufError::new(path, ReadError::from(error)))?;
        if let Some(found) = FileKind::of_bytes(front).filter(|found| *found != FileKind::Gguf) {
            return Err(wrong(found));
        }
        let (header, fingerprint) = header(&map, long_arrays).map_err(|e| GgufError::new(path, e))?;
        Ok(Part {
            path: path.to_owned(),
            header,
            within: 0..map.len(),
            map: Arc::new(map),
            fingerprint,
        })
    }

    /// The parts in a file that holds several, one behind the other as by `cat`; of any other the one.
    pub(super) fn open_joined(inputs: &Inputs, path: &Path) -> Result<Vec<Part>, GgufError> {
        let mut parts = Vec::new();
        let mut last = Part::open(inputs, path, LongArrays::Kept)?;
        while let Some(at) = last.another_behind() {
            let (before, rest) = (last.within.start..at, at..last.within.end);
            let file = last.map.whole().map_err(|e| GgufError::new(path, e))?;
            let header = Header::parse(file.get(rest.clone()).unwrap_or_default())
                .map_err(|e| GgufError::new(path, e))?;
            let next = Part {
                path: path.to_owned(),
                header,
                map: last.map.clone(),
                within: rest,
                fingerprint: None,
            };
            last.within = before;
            parts.push(std::mem::replace(&mut last, next));
        }
        parts.push(last);
        Ok(parts)
    }

    /// Where in the file another GGUF begins behind the data of this part.
    pub(super) fn another_behind(&self) -> Option<usize> {
        let header = &self.header;
        let ends = header.tensors.iter().map(|info| header.range(info).1);
        let end = ends.fold(header.data_offset, u64::max);
        let aligned = end.checked_next_multiple_of(header.alignment);
        let places = [Some(end), aligned].into_iter().flatten();
        let mut places = places.filter_map(|at| self.within.start.checked_add(usize::try_from(at).ok()?));
        places.find(|&at| {
            let file = self.map.whole().unwrap_or_default();
            let rest = file.get(at..self.within.end);
            rest.is_some_and(|rest| rest.starts_with(&MAGIC))
        })
    }

    /// A number that is the same for two files whose metadata, byte for byte, differs in `general.*` at most; where the
    /// header was skimmed.
    pub(crate) fn fingerprint(&self) -> Option<u64> {
        self.fingerprint
    }

    /// Length of the file in bytes.
    pub fn file_len(&self) -> u64 {
        self.within.len() as u64
    }

    /// Whether the file lies elsewhere, so that only tensors that are asked for travel.
    pub fn is_distant(&self) -> bool {
        self.map.is_distant()
    }

    /// All of it. Refused where it lies elsewhere.
    pub fn bytes(&self) -> Result<&[u8], GgufError> {
        let file = self
            .map
            .whole()
            .map_err(|error| GgufError::new(&self.path, error))?;
        Ok(file.get(self.within.clone()).unwrap_or_default())
    }

    /// A tensor of this file with its bytes. Unknown types are errors, as are tensors that lie outside the file.
    pub fn raw_tensor<'a>(&'a self, info: &'a TensorInfo) -> Result<RawTensor<'a>, GgufError> {
        let size = info.size().unwrap_or(0);
        self.raw_range(info, 0..size)
    }

    /// [`Part::raw_tensor`] with these of its bytes only: of a file elsewhere no others travel.
    pub(crate) fn raw_range<'a>(
        &'a self,
        info: &'a TensorInfo,
        bytes: Range<u64>,
    ) -> Result<RawTensor<'a>, GgufError> {
        let fail = |kind: FormatError| GgufError::new(&self.path, kind);
        let name = || escape(&info.name);
        let (Some(ty), Some(_)) = (info.ty.known(), info.size()) else {
            let id = info.ty.0;
            return Err(fail(FormatError::TensorType { name: name(), id }));
        };
        let first = self.header.range(info).0;
        let (start, end) = (first.saturating_add(bytes.start), first.saturating_add(bytes.end));
        let in_file = |at: u64| at.saturating_add(self.within.start as u64);
        let is_within = end <= self.file_len();
        let data = self
            .map
            .bytes(in_file(start)..in_file(end))
            .map_err(|error| GgufError::new(&self.path, ReadError::from(error)))?
            .filter(|_| is_within)
            .ok_or_else(|| {
                let (name, file) = (name(), self.file_len());
                fail(FormatError::OutOfFile {
                    name,
                    start,
                    end,
                    file,
                })
            })?;
        let endian = self.header.endian;
        Ok(RawTensor {
            info,
            ty,
            endian,
            data,
            file: &self.map,
        })
    }
}

/// The header of a file. Of one that lies elsewhere the front is fetched until its header is whole.
fn header(map: &MappedFile, long_arrays: LongArrays) -> Result<(Header, Option<u64>), GgufErrorKind> {
    let mut front = map.front(0).map_err(ReadError::from)?;
    loop {
        match Header::parse_front(front, map.len(), long_arrays) {
            Err(FormatError::Truncated { offset, need, .. })
                if front.len() < map.len().min(MAX_HEADER_LEN) =>
            {
                let least = usize::try_from(need).unwrap_or(usize::MAX).saturating_add(offset);
                // Behind the end, or beyond any header: then the parser says so of a front that has all that it may.
                let least = least.min(map.len()).min(MAX_HEADER_LEN);
                front = map.front(least).map_err(ReadError::from)?;
            }
            result => return Ok(result?),
        }
    }
}
