//! GGUF files on disk: one file, or a split model (`NAME-00001-of-00003.gguf`) read as one.

use super::error::{GgufError, GgufErrorKind};
use super::header::{Endian, TensorInfo};
use super::metadata::{KeyError, Metadata};
use super::part::{Part, RawTensor};
use super::reader::LongArrays;
use super::split::{Absent, FETCH_PARTS, SplitName};
use crate::io::Inputs;
use crate::io::mapped::MappedFile;
use crate::quant::GgmlType;
use crate::text::escape;
use bstr::{BStr, BString};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

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

impl Gguf {
    /// Opens the model that `path` belongs to. Any part of a split model will do; the others must lie beside it.
    /// All tensor ranges are checked; data is not read.
    pub fn open(inputs: &Inputs, path: &Path) -> Result<Gguf, GgufError> {
        Gguf::look(inputs, path)?.checked()
    }

    /// The same, if all tensors lie in their files.
    pub(super) fn checked(self) -> Result<Gguf, GgufError> {
        for part in &self.parts {
            let checked = part.header.check_ranges(part.file_len());
            checked.map_err(|e| GgufError::new(&part.path, e))?;
        }
        Ok(self)
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
        Gguf::of_parts(parts, missing)
    }

    /// A model of parts in their order.
    pub(super) fn of_parts(parts: Vec<Part>, missing: Vec<PathBuf>) -> Result<Gguf, GgufError> {
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

    /// The same model with other metadata, as if it stood in the first file.
    pub(crate) fn with_metadata(&self, metadata: Metadata) -> Gguf {
        let mut parts = self.parts.clone();
        if let Some(first) = parts.first_mut() {
            first.header.metadata = metadata;
        }
        Gguf {
            parts,
            index: self.index.clone(),
            missing: self.missing.clone(),
        }
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
