//! GGUF files on disk: one file, or a split model (`NAME-00001-of-00003.gguf`) read as one.

use super::error::{FormatError, GgufError, GgufErrorKind};
use super::header::{Endian, Header, TensorInfo};
use super::metadata::{KeyError, Metadata};
use crate::io::mapped::MappedFile;
use crate::io::{Inputs, ReadError};
use crate::quant::GgmlType;
use crate::text::escape;
use bstr::{BStr, BString, ByteSlice};
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
        let first = Part::open(inputs, path)?;
        let parts = match SplitName::of(path, &first.header)? {
            None => vec![first],
            Some(split) => split.open_all(inputs)?,
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
        Ok(Gguf { parts, index })
    }

    /// The files, in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
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
    fn open(inputs: &Inputs, path: &Path) -> Result<Part, GgufError> {
        let map = inputs.map(path).map_err(|e| GgufError::new(path, e))?;
        let header = Header::parse(&map).map_err(|e| GgufError::new(path, e))?;
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

    /// The whole file.
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

const FETCH_PARTS: &str = "the parts are not of one model: download them again";

/// The name of a split model's file, taken apart: `PREFIX-00002-of-00003.gguf`.
struct SplitName {
    prefix: PathBuf,
    count: usize,
}

impl SplitName {
    /// Recognizes a split model by its `split.count` key.
    fn of(path: &Path, header: &Header) -> Result<Option<SplitName>, GgufError> {
        let count = match header.metadata.uint("split.count") {
            Ok(count) if count > 1 => count,
            Ok(_) | Err(KeyError::Missing(_)) => return Ok(None),
            Err(error) => return Err(GgufError::new(path, error)),
        };
        let bad = || {
            let message = format!(
                "one of {count} parts of a split model, but its name does not end in -00001-of-{count:05}.gguf; \
                 give the parts their original names"
            );
            GgufError::new(path, GgufErrorKind::Split(message))
        };
        // The last 20 bytes are `-00001-of-00003.gguf`; the count in the name bounds the count in the file.
        let name = path.file_name().ok_or_else(bad)?.as_encoded_bytes();
        let (prefix, suffix) = name
            .split_at_checked(name.len().saturating_sub(20))
            .ok_or_else(bad)?;
        let is_number = |b: &[u8]| b.len() == 5 && b.iter().all(u8::is_ascii_digit);
        let expected = format!("-of-{count:05}.gguf");
        if count > 99_999
            || suffix.first() != Some(&b'-')
            || !suffix.get(1..6).is_some_and(is_number)
            || suffix.get(6..) != Some(expected.as_bytes())
        {
            return Err(bad());
        }
        let prefix = path.with_file_name(prefix.to_os_str().map_err(|_| bad())?);
        Ok(Some(SplitName {
            prefix,
            count: count as usize,
        }))
    }

    fn part_path(&self, number: usize) -> PathBuf {
        let mut name = self.prefix.clone().into_os_string();
        name.push(format!("-{number:05}-of-{:05}.gguf", self.count));
        name.into()
    }

    /// Tells the way out where a part is not there.
    fn missing(&self, number: usize, error: GgufError) -> GgufError {
        match error.kind {
            GgufErrorKind::Read(ReadError::NotFound) => {
                let message = format!(
                    "part {number} of {} of a split model is missing; put it beside the others",
                    self.count
                );
                GgufError::new(error.path, GgufErrorKind::Split(message))
            }
            kind => GgufError::new(error.path, kind),
        }
    }

    fn open_all(&self, inputs: &Inputs) -> Result<Vec<Part>, GgufError> {
        let mut parts = Vec::new();
        for number in 1..=self.count {
            let path = self.part_path(number);
            let part = Part::open(inputs, &path).map_err(|e| self.missing(number, e))?;
            let split_error = |message: String| GgufError::new(&path, GgufErrorKind::Split(message));
            let meta = &part.header.metadata;
            let no = meta.uint("split.no").map_err(|e| GgufError::new(&path, e))?;
            let count = meta.uint("split.count").map_err(|e| GgufError::new(&path, e))?;
            if (no, count) != (number as u64 - 1, self.count as u64) {
                return Err(split_error(format!(
                    "says it is part {} of {count}, its name says part {number} of {}; {FETCH_PARTS}",
                    no.saturating_add(1),
                    self.count
                )));
            }
            parts.push(part);
        }
        let found: usize = parts.iter().map(|part| part.header.tensors.len()).sum();
        if let Ok(expected) = parts[0].header.metadata.uint("split.tensors.count")
            && expected != found as u64
        {
            let message =
                format!("the parts hold {found} tensors, split.tensors.count says {expected}; {FETCH_PARTS}");
            return Err(GgufError::new(&parts[0].path, GgufErrorKind::Split(message)));
        }
        Ok(parts)
    }
}
