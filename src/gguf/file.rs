//! GGUF files on disk: one file, or a split model (`NAME-00001-of-00003.gguf`) read as one.

use super::error::{FormatError, GgufError, GgufErrorKind};
use super::header::{Endian, Header, TensorInfo};
use super::limits::MAX_HEADER_LEN;
use super::metadata::{KeyError, Metadata};
use super::reader::LongArrays;
use super::split::{Absent, FETCH_PARTS, SplitName};
use crate::io::kind::{FileKind, Wanted, WrongKind};
use crate::io::mapped::MappedFile;
use crate::io::{Inputs, ReadError};
use crate::quant::GgmlType;
use crate::text::escape;
use bstr::{BStr, BString};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// One file of a model.
#[derive(Debug)]
pub struct Part {
    /// Where it lies.
    pub path: PathBuf,
    /// Its header.
    pub header: Header,
    map: MappedFile,
}

/// A model: the metadata of its first file and the tensors of all.
#[derive(Debug)]
pub struct Gguf {
    parts: Vec<Part>,
    /// Tensor name to part and position.
    index: HashMap<BString, (usize, usize)>,
    missing: Vec<PathBuf>,
}

/// A tensor with its data.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a> {
    /// What the header says of it.
    pub info: &'a TensorInfo,
    /// Its type.
    pub ty: GgmlType,
    /// Its bytes as in the file.
    pub data: &'a [u8],
    /// The file that holds it.
    pub file: &'a MappedFile,
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

impl Gguf {
    /// Opens the model that `path` belongs to. Any part of a split model will do; the others must lie beside it.
    /// All tensor ranges are checked; data is not read.
    pub fn open(inputs: &Inputs, path: &Path) -> Result<Gguf, GgufError> {
        let gguf = Gguf::look(inputs, path)?;
        for part in &gguf.parts {
            let checked = part.header.check_ranges(part.file_len());
            checked.map_err(|e| GgufError::new(&part.path, e))?;
        }
        Ok(gguf)
    }

    /// [`Gguf::open`], but with tensor ranges as they are, for a look at a file that may be faulty. Reading a tensor
    /// that lies outside its file is an error then.
    pub fn look(inputs: &Inputs, path: &Path) -> Result<Gguf, GgufError> {
        Gguf::look_with(inputs, path, Absent::Refused, LongArrays::Kept)
    }

    /// [`Gguf::look`], but of a split model no more than the parts that are there; [`Gguf::missing`] names the others.
    pub fn look_at_part(inputs: &Inputs, path: &Path) -> Result<Gguf, GgufError> {
        Gguf::look_with(inputs, path, Absent::PassedOver, LongArrays::Kept)
    }

    /// [`Gguf::look_at_part`] without what takes time and memory: the arrays of a vocabulary are empty.
    pub fn skim(inputs: &Inputs, path: &Path) -> Result<Gguf, GgufError> {
        Gguf::look_with(inputs, path, Absent::PassedOver, LongArrays::Emptied)
    }

    fn look_with(
        inputs: &Inputs,
        path: &Path,
        absent: Absent,
        long_arrays: LongArrays,
    ) -> Result<Gguf, GgufError> {
        let first = Part::open(inputs, path, long_arrays)?;
        let (parts, missing) = match SplitName::of(&first)? {
            None => (vec![first], Vec::new()),
            Some(split) => split.open_all(inputs, absent, long_arrays)?,
        };
        let mut index = HashMap::new();
        for (p, part) in parts.iter().enumerate() {
            for (t, info) in part.header.tensors.iter().enumerate() {
                if index.insert(info.name.clone(), (p, t)).is_some() {
                    let message = format!(
                        "tensor {} stands in an earlier part too; {FETCH_PARTS}",
                        escape(&info.name)
                    );
                    return Err(GgufError::new(&part.path, GgufErrorKind::Split(message)));
                }
            }
        }
        Ok(Gguf {
            parts,
            index,
            missing,
        })
    }

    /// The files, in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Parts of the model that are not there; see [`Gguf::look_at_part`].
    pub fn missing(&self) -> &[PathBuf] {
        &self.missing
    }

    /// Whether any of it lies elsewhere.
    pub fn is_distant(&self) -> bool {
        self.parts.iter().any(Part::is_distant)
    }

    /// The path of the first file.
    pub fn path(&self) -> &Path {
        &self.parts[0].path
    }

    /// The first file's metadata, which speaks for the model.
    pub fn metadata(&self) -> &Metadata {
        &self.parts[0].header.metadata
    }

    /// All tensors, in file order.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.parts.iter().flat_map(|part| &part.header.tensors)
    }

    /// What the header says of the tensor of this name.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        let &(part, at) = self.index.get(BStr::new(name))?;
        Some(&self.parts[part].header.tensors[at])
    }

    /// The tensor of this name with its data, if it exists. Unknown types and big-endian data are errors.
    pub fn tensor(&self, name: &str) -> Result<Option<Tensor<'_>>, GgufError> {
        let Some(&(part, at)) = self.index.get(BStr::new(name)) else {
            return Ok(None);
        };
        let part = &self.parts[part];
        let RawTensor {
            info,
            ty,
            endian,
            data,
            file,
        } = part.raw_tensor(&part.header.tensors[at])?;
        if endian == Endian::Big {
            return Err(GgufError::new(&part.path, GgufErrorKind::BigEndian));
        }
        Ok(Some(Tensor { info, ty, data, file }))
    }

    /// An error that carries this model's path.
    pub fn error(&self, kind: impl Into<GgufErrorKind>) -> GgufError {
        GgufError::new(self.path(), kind)
    }

    /// Gives a metadata error this model's path.
    pub fn key<T>(&self, result: Result<T, KeyError>) -> Result<T, GgufError> {
        result.map_err(|e| self.error(e))
    }
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
        if let Some(found) = FileKind::of_bytes(&map).filter(|found| *found != FileKind::Gguf) {
            return Err(wrong(found));
        }
        let header = header(&map, long_arrays).map_err(|e| GgufError::new(path, e))?;
        Ok(Part {
            path: path.to_owned(),
            header,
            map,
        })
    }

    /// Length of the file in bytes.
    pub fn file_len(&self) -> u64 {
        self.map.len() as u64
    }

    /// Whether the file lies elsewhere, so that only tensors that are asked for travel.
    pub fn is_distant(&self) -> bool {
        self.map.is_distant()
    }

    /// The whole file. Of one that lies elsewhere only the header is sure to be there.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// A tensor of this file with its bytes. Unknown types are errors, as are tensors that lie outside the file.
    pub fn raw_tensor<'a>(&'a self, info: &'a TensorInfo) -> Result<RawTensor<'a>, GgufError> {
        let fail = |kind: FormatError| GgufError::new(&self.path, kind);
        let name = || escape(&info.name);
        let (start, end) = self.header.range(info);
        let (Some(ty), Some(_)) = (info.ty.known(), info.size()) else {
            let id = info.ty.0;
            return Err(fail(FormatError::TensorType { name: name(), id }));
        };
        self.map
            .fetch(start..end)
            .map_err(|error| GgufError::new(&self.path, ReadError::from(error)))?;
        let data = usize::try_from(start)
            .ok()
            .zip(usize::try_from(end).ok())
            .and_then(|(start, end)| self.map.get(start..end))
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
fn header(map: &MappedFile, long_arrays: LongArrays) -> Result<Header, GgufErrorKind> {
    let mut front = map.front(0).map_err(ReadError::from)?;
    loop {
        match Header::parse_front(&map[..front], map.len(), long_arrays) {
            Err(FormatError::Truncated { offset, need, .. }) if front < map.len().min(MAX_HEADER_LEN) => {
                let least = usize::try_from(need).unwrap_or(usize::MAX).saturating_add(offset);
                // Behind the end, or beyond any header: then the parser says so of a front that has all that it may.
                let least = least.min(map.len()).min(MAX_HEADER_LEN);
                front = map.front(least).map_err(ReadError::from)?;
            }
            result => return Ok(result?),
        }
    }
}
