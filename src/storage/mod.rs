//! A model's weights on disk, whatever the container: GGUF (one file or split) or safetensors (one file, shards, a
//! folder), told apart by content.

pub(crate) mod deviation;
mod error;
pub mod stats;

pub use error::StorageError;

use crate::checkpoint::{CheckpointError, CheckpointHead, SafetensorsFile, TensorHead};
use crate::gguf::{
    Array, Endian, Gguf, GgufError, Metadata, Part, TensorInfo, ValueType, can_swap, little_endian_scalars,
    swap_blocks,
};
use crate::io::Inputs;
use crate::io::kind::{FileKind, Wanted, WrongKind};
use crate::quant::{CHUNK, GgmlType};
use crate::text::escape;
use bstr::BStr;
use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A model's weights.
#[derive(Debug)]
pub enum ModelFile {
    /// GGUF: one file, or all parts of a split model.
    Gguf(Gguf),
    /// Safetensors: one file, shards, or a checkpoint folder.
    Safetensors(CheckpointHead),
}

/// A tensor of either container.
#[derive(Debug, Clone)]
pub struct ModelTensor<'a> {
    /// Name.
    pub name: &'a BStr,
    /// Type in the container's own words: `Q8_0`, `BF16`, `unknown(99)`.
    pub type_name: String,
    /// Lengths, innermost first.
    pub dims: Vec<u64>,
    /// The file that holds it, counted among [`ModelFile::files`].
    pub file: usize,
    /// Where its data starts, counted from the start of the data section.
    pub offset: u64,
    /// Where its data starts in the file.
    pub file_offset: u64,
    /// Bytes of data; `None` for GGUF types that nobody knows.
    pub size: Option<u64>,
    source: Source<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    Gguf(&'a Part, &'a TensorInfo),
    Safetensors(TensorHead<'a>),
}

/// One of the files that hold a model's weights.
#[derive(Debug, Clone, Copy)]
pub struct WeightFile<'a> {
    /// Where it lies.
    pub path: &'a Path,
    /// Its length in bytes.
    pub len: u64,
    container: Container<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Container<'a> {
    Gguf(&'a Part),
    Safetensors(&'a SafetensorsFile),
}

impl<'a> WeightFile<'a> {
    /// All of it. Refused where it lies elsewhere.
    pub fn bytes(&self) -> Result<&'a [u8], StorageError> {
        Ok(match self.container {
            Container::Gguf(part) => part.bytes()?,
            Container::Safetensors(file) => file.bytes()?,
        })
    }
}

impl ModelFile {
    /// Opens a file or checkpoint folder and checks where its tensors lie.
    pub fn open(inputs: &Inputs, path: &Path) -> Result<ModelFile, StorageError> {
        ModelFile::open_with(inputs, path, Gguf::open, CheckpointHead::open)
    }

    /// [`ModelFile::open`], but with tensor ranges of a GGUF as they are, and of a model in several files no more than
    /// what is there; see [`Gguf::look_at_part`] and [`CheckpointHead::look_at_part`].
    pub fn look(inputs: &Inputs, path: &Path) -> Result<ModelFile, StorageError> {
        ModelFile::open_with(inputs, path, Gguf::look_at_part, CheckpointHead::look_at_part)
    }

    fn open_with(
        inputs: &Inputs,
        path: &Path,
        gguf: impl Fn(&Inputs, &Path) -> Result<Gguf, GgufError>,
        checkpoint: impl Fn(&Inputs, &Path) -> Result<CheckpointHead, CheckpointError>,
    ) -> Result<ModelFile, StorageError> {
        let fail = |source| StorageError::Read {
            path: path.to_owned(),
            source,
        };
        let kind = match inputs.is_folder(path).map_err(fail)? {
            true => Some(FileKind::Folder),
            false => {
                let map = inputs.map(path).map_err(fail)?;
                FileKind::of_bytes(map.start().map_err(|error| fail(error.into()))?)
            }
        };
        match kind {
            Some(FileKind::Gguf) => Ok(ModelFile::Gguf(gguf(inputs, path)?)),
            // JSON may be the index of shards.
            Some(FileKind::Folder | FileKind::Safetensors | FileKind::Json | FileKind::Config) => {
                Ok(ModelFile::Safetensors(checkpoint(inputs, path)?))
            }
            Some(found) => Err(StorageError::Kind {
                path: path.to_owned(),
                kind: WrongKind {
                    found,
                    wanted: Wanted::Weights,
                },
            }),
            None => Err(StorageError::NoModel {
                path: path.to_owned(),
            }),
        }
    }

    /// Files of the model that are not there; see [`ModelFile::look`].
    pub fn missing(&self) -> &[PathBuf] {
        match self {
            ModelFile::Gguf(gguf) => gguf.missing(),
            ModelFile::Safetensors(checkpoint) => checkpoint.missing(),
        }
    }

    /// Whether any of it lies elsewhere, so that only headers are sure to be here.
    pub fn is_distant(&self) -> bool {
        match self {
            ModelFile::Gguf(gguf) => gguf.is_distant(),
            ModelFile::Safetensors(checkpoint) => checkpoint.is_distant(),
        }
    }

    /// What the user gave, or the first part of a split model.
    pub fn path(&self) -> &Path {
        match self {
            ModelFile::Gguf(gguf) => gguf.path(),
            ModelFile::Safetensors(checkpoint) => checkpoint.path(),
        }
    }

    /// The files that hold the weights.
    pub fn files(&self) -> Vec<WeightFile<'_>> {
        match self {
            ModelFile::Gguf(gguf) => {
                let parts = gguf.parts().iter();
                let files = parts.map(|part| WeightFile {
                    path: &part.path,
                    len: part.file_len(),
                    container: Container::Gguf(part),
                });
                files.collect()
            }
            ModelFile::Safetensors(checkpoint) => {
                let files = checkpoint.files().iter();
                let files = files.map(|file| WeightFile {
                    path: file.path(),
                    len: file.file_len(),
                    container: Container::Safetensors(file),
                });
                files.collect()
            }
        }
    }

    /// The metadata of a GGUF; the strings under `__metadata__` of the first safetensors file.
    pub fn metadata(&self) -> Cow<'_, Metadata> {
        match self {
            ModelFile::Gguf(gguf) => Cow::Borrowed(gguf.metadata()),
            ModelFile::Safetensors(checkpoint) => {
                let mut metadata = Metadata::default();
                for (key, value) in checkpoint.files().first().map_or(&[][..], |file| file.metadata()) {
                    metadata.set(key.as_str(), value.as_str());
                }
                Cow::Owned(metadata)
            }
        }
    }

    /// All tensors, file by file, in the order of the headers.
    pub fn tensors(&self) -> Vec<ModelTensor<'_>> {
        match self {
            ModelFile::Gguf(gguf) => gguf_tensors(gguf),
            ModelFile::Safetensors(checkpoint) => checkpoint
                .files()
                .iter()
                .enumerate()
                .flat_map(|(at, file)| {
                    let data_start = file.data_start();
                    let tensor = move |tensor| ModelTensor::of_safetensors(at, data_start, tensor);
                    file.tensors().map(tensor)
                })
                .collect(),
        }
    }
}

/// All tensors of a GGUF, part by part.
pub(crate) fn gguf_tensors(gguf: &Gguf) -> Vec<ModelTensor<'_>> {
    let mut tensors = Vec::new();
    for (file, part) in gguf.parts().iter().enumerate() {
        let infos = part.header.tensors.iter();
        tensors.extend(infos.map(|info| ModelTensor::of_gguf(file, part, info)));
    }
    tensors
}

impl<'a> ModelTensor<'a> {
    fn of_gguf(file: usize, part: &'a Part, info: &'a TensorInfo) -> ModelTensor<'a> {
        ModelTensor {
            name: BStr::new(&info.name),
            type_name: info.ty.to_string(),
            dims: info.dims.clone(),
            file,
            offset: info.offset,
            file_offset: part.header.range(info).0,
            size: info.size(),
            source: Source::Gguf(part, info),
        }
    }

    fn of_safetensors(file: usize, data_start: u64, tensor: TensorHead<'a>) -> ModelTensor<'a> {
        ModelTensor {
            name: BStr::new(tensor.name),
            type_name: tensor.dtype.to_string(),
            dims: tensor.shape.iter().rev().map(|&n| n as u64).collect(),
            file,
            offset: tensor.offset - data_start,
            file_offset: tensor.offset,
            size: Some(tensor.size),
            source: Source::Safetensors(tensor),
        }
    }

    /// Whether its data lies elsewhere and is fetched when it is asked for.
    pub fn is_distant(&self) -> bool {
        match self.source {
            Source::Gguf(part, _) => part.is_distant(),
            Source::Safetensors(tensor) => tensor.is_distant(),
        }
    }

    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.dims.iter().product()
    }

    /// Its ggml type, if it has one.
    pub fn ggml_type(&self) -> Option<GgmlType> {
        match self.source {
            Source::Gguf(_, info) => info.ty.known(),
            Source::Safetensors(tensor) => tensor.ggml_type(),
        }
    }

    /// Its bytes as they stand in the file.
    pub fn bytes(&self) -> Result<&'a [u8], StorageError> {
        match self.source {
            Source::Gguf(part, info) => Ok(part.raw_tensor(info)?.data),
            Source::Safetensors(tensor) => Ok(tensor.data()?),
        }
    }

    /// Its elements, where they can be read as numbers.
    pub fn numbers(&self) -> Result<Numbers<'a>, StorageError> {
        let (ty, endian) = self.readable()?;
        Ok(Numbers {
            ty,
            endian,
            elements: self.elements() as usize,
            data: self.bytes()?,
        })
    }

    /// The elements at these places, which lie within the tensor, in a type that holds them without loss. Of a tensor
    /// elsewhere no others travel but those of the same blocks.
    pub fn values(&self, places: Range<u64>) -> Result<Array, StorageError> {
        let (ty, endian) = self.readable()?;
        let (len, bytes) = (ty.block_len() as u64, ty.block_bytes() as u64);
        let blocks = places.start / len..places.end.div_ceil(len);
        let range = blocks.start * bytes..blocks.end * bytes;
        let numbers = Numbers {
            ty,
            endian,
            elements: ((blocks.end - blocks.start) * len) as usize,
            data: match self.source {
                Source::Gguf(part, info) => part.raw_range(info, range)?.data,
                Source::Safetensors(tensor) => tensor.data_in(range)?,
            },
        };
        let first = (places.start - blocks.start * len) as usize;
        let places = first..first + (places.end - places.start) as usize;
        let array = numbers.array();
        Ok(array.slice(places).unwrap_or(array))
    }

    /// Type and byte order, where its elements can be read as numbers.
    fn readable(&self) -> Result<(GgmlType, Endian), StorageError> {
        let unreadable = |why| StorageError::Unreadable {
            name: escape(self.name),
            type_name: self.type_name.clone(),
            why,
        };
        let ty = self
            .ggml_type()
            .ok_or_else(|| unreadable("it is no type of ggml"))?;
        let endian = match self.source {
            Source::Gguf(part, _) => part.header.endian,
            Source::Safetensors(_) => Endian::Little,
        };
        if endian == Endian::Big && !can_swap(ty) {
            return Err(unreadable("its big-endian form is not defined"));
        }
        Ok((ty, endian))
    }
}

/// The elements of a tensor, decoded chunk by chunk.
#[derive(Debug, Clone, Copy)]
pub struct Numbers<'a> {
    ty: GgmlType,
    endian: Endian,
    elements: usize,
    data: &'a [u8],
}

impl<'a> Numbers<'a> {
    /// The elements of little-endian data; `None` where the data has another length.
    pub(crate) fn new(ty: GgmlType, elements: u64, data: &'a [u8]) -> Option<Numbers<'a>> {
        (ty.bytes(elements)? == data.len() as u64).then_some(Numbers {
            ty,
            endian: Endian::Little,
            elements: elements as usize,
            data,
        })
    }

    /// Type of the elements.
    pub fn ggml_type(&self) -> GgmlType {
        self.ty
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.elements
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.elements == 0
    }

    /// Number of chunks of [`CHUNK`] elements, the last one shorter.
    pub fn chunks(&self) -> usize {
        self.elements.div_ceil(CHUNK)
    }

    /// Bytes of all.
    pub(crate) fn byte_len(&self) -> u64 {
        self.data.len() as u64
    }

    /// Number of elements in a chunk.
    fn chunk_len(&self, chunk: usize) -> usize {
        CHUNK.min(self.elements.saturating_sub(chunk.saturating_mul(CHUNK)))
    }

    /// The bytes of a chunk, little-endian. There are [`Numbers::chunks`] of them.
    pub fn bytes(&self, chunk: usize) -> Cow<'a, [u8]> {
        let bytes = |elements: usize| elements / self.ty.block_len() * self.ty.block_bytes();
        let start = bytes(chunk.saturating_mul(CHUNK).min(self.elements));
        let blocks = &self.data[start..][..bytes(self.chunk_len(chunk))];
        match self.endian {
            Endian::Little => Cow::Borrowed(blocks),
            Endian::Big => {
                let mut swapped = blocks.to_vec();
                swap_blocks(self.ty, &mut swapped);
                Cow::Owned(swapped)
            }
        }
    }

    /// Decodes a chunk into `out`, which takes its length. There are [`Numbers::chunks`] of them.
    pub fn decode(&self, chunk: usize, out: &mut Vec<f32>) {
        out.clear();
        out.resize(self.chunk_len(chunk), 0.0);
        // Length and type were checked when these numbers were made.
        let decoded = self.ty.decode(&self.bytes(chunk), out);
        debug_assert!(decoded.is_ok(), "{decoded:?}");
    }

    /// All of them, in a type that holds them without loss.
    fn array(&self) -> Array {
        let scalar = match self.ty {
            GgmlType::I8 => ValueType::I8,
            GgmlType::I16 => ValueType::I16,
            GgmlType::I32 => ValueType::I32,
            GgmlType::I64 => ValueType::I64,
            GgmlType::F64 => ValueType::F64,
            _ => {
                let (mut all, mut chunk) = (Vec::new(), Vec::new());
                for at in 0..self.chunks() {
                    self.decode(at, &mut chunk);
                    all.append(&mut chunk);
                }
                return Array::F32(all);
            }
        };
        let bytes: Vec<u8> = (0..self.chunks())
            .flat_map(|at| self.bytes(at).into_owned())
            .collect();
        little_endian_scalars(scalar, &bytes)
    }

    /// [`Numbers::decode`] without loss for the types that are wider than f32; 64-bit integers beyond 2^53 are rounded.
    pub fn decode_wide(&self, chunk: usize, narrow: &mut Vec<f32>, out: &mut Vec<f64>) {
        out.clear();
        let bytes = self.bytes(chunk);
        match self.ty {
            GgmlType::I32 => out.extend(
                bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|b| f64::from(i32::from_le_bytes(*b))),
            ),
            GgmlType::I64 => out.extend(bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64)),
            GgmlType::F64 => out.extend(bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b))),
            _ => {
                self.decode(chunk, narrow);
                out.extend(narrow.iter().map(|&v| f64::from(v)));
            }
        }
    }
}
