//! Parses a GGUF header from bytes. Every count and length is held against what is left of the file before
//! anything is allocated.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3, either byte order.

use super::error::FormatError;
use super::header::{Endian, Header, TensorInfo, TypeId};
use super::limits::{
    DEFAULT_ALIGNMENT, MAX_ARRAY_DEPTH, MAX_DIMS, MAX_HEADER_LEN, MAX_KEY_LEN, MAX_KEYS, MAX_NESTED_ARRAYS,
    MAX_TENSOR_NAME_LEN, MAX_TENSORS,
};
use super::metadata::Metadata;
use super::value::{Array, Strings, Value, ValueType};
use crate::text::escape;
use ahash::{AHasher, RandomState};
use bstr::BStr;
use byteorder::{BigEndian, ByteOrder, LittleEndian};
use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

/// The first four bytes of every GGUF file.
pub const MAGIC: [u8; 4] = *b"GGUF";

impl Header {
    /// Parses the header at the start of `bytes`, the whole file. Tensor data is not touched and tensor ranges are not
    /// checked; that is [`Header::check_ranges`].
    pub fn parse(bytes: &[u8]) -> Result<Header, FormatError> {
        Header::parse_front(bytes, bytes.len(), LongArrays::Kept).map(|(header, _)| header)
    }

    /// [`Header::parse`] of a file of `file_len` bytes of which `bytes` is the front. Where the header goes on behind that
    /// it is [`FormatError::Truncated`] with how far it goes at least. Where long arrays are passed over, a fingerprint of
    /// the metadata stands beside the header, that of two files alike where all but `general.*` is the same.
    pub(super) fn parse_front(
        bytes: &[u8],
        file_len: usize,
        long_arrays: LongArrays,
    ) -> Result<(Header, Option<u64>), FormatError> {
        let mut cursor = Cursor {
            bytes,
            file_len,
            pos: 0,
            endian: Endian::Little,
            nested_arrays: 0,
            long_arrays,
            fingerprint: (long_arrays == LongArrays::Emptied).then(|| FINGERPRINTS.build_hasher()),
        };
        let magic = &bytes[..bytes.len().min(MAGIC.len())];
        if magic != MAGIC {
            return Err(FormatError::Magic(magic.to_vec()));
        }
        cursor.pos = MAGIC.len();
        let (version, endian) = cursor.version()?;
        cursor.endian = endian;

        // The smallest tensor takes a name length, a dimension count, a type and an offset; the smallest key its
        // length, a type and one byte.
        let tensor_count = cursor.count("tensors", 8 + 4 + 4 + 8, MAX_TENSORS)?;
        let key_count = cursor.count("metadata keys", 8 + 4 + 1, MAX_KEYS)?;
        let metadata = cursor.metadata(key_count)?;
        let alignment = alignment(&metadata)?;
        let tensors = cursor.tensors(tensor_count)?;
        // Cannot overflow: the header's length and the alignment are far below 64 bits.
        let data_offset = (cursor.pos as u64).next_multiple_of(alignment);
        let header = Header {
            version,
            endian,
            metadata,
            tensors,
            alignment,
            data_offset,
        };
        Ok((header, cursor.fingerprint.map(|hasher| hasher.finish())))
    }
}

/// Fingerprints are compared within the process only.
static FINGERPRINTS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

fn alignment(metadata: &Metadata) -> Result<u64, FormatError> {
    match metadata.get("general.alignment") {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(&Value::U32(value)) if value.is_power_of_two() => Ok(value.into()),
        Some(Value::U32(value)) => Err(FormatError::Alignment(value.to_string())),
        Some(other) => Err(FormatError::Alignment(format!(
            "a value of type {}",
            other.type_name()
        ))),
    }
}

/// What becomes of long arrays, which are vocabularies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LongArrays {
    /// They are read.
    Kept,
    /// They are passed over, and are empty ones of their type in what is read: for a look at many files.
    Emptied,
}

/// Longest array that counts as none of a vocabulary: longer than any with an entry for each layer.
const LONG: u64 = 4096;

struct Cursor<'a> {
    /// The front of the file, or all of it.
    bytes: &'a [u8],
    file_len: usize,
    pos: usize,
    endian: Endian,
    /// Arrays within arrays so far.
    nested_arrays: u64,
    long_arrays: LongArrays,
    fingerprint: Option<AHasher>,
}

/// A label for error messages, made only when there is an error.
type Label<'l> = &'l dyn Fn() -> String;

impl<'a> Cursor<'a> {
    /// Bytes of the file that are left.
    fn left(&self) -> usize {
        self.file_len - self.pos
    }

    /// The only way forward: the next `need` bytes, if the file has them and a header may be so long.
    fn take(&mut self, need: u64, what: Label) -> Result<&'a [u8], FormatError> {
        let left = self.bytes.len() - self.pos;
        if need > left as u64 {
            return Err(FormatError::Truncated {
                what: what(),
                offset: self.pos,
                need,
                left,
            });
        }
        if need > MAX_HEADER_LEN.saturating_sub(self.pos) as u64 {
            return Err(FormatError::HeaderLength {
                what: what(),
                offset: self.pos,
                limit: MAX_HEADER_LEN,
            });
        }
        // At most `left`, which is a usize.
        let taken = &self.bytes[self.pos..][..need as usize];
        self.pos += taken.len();
        Ok(taken)
    }

    fn u32(&mut self, what: Label) -> Result<u32, FormatError> {
        let bytes = self.take(4, what)?;
        Ok(match self.endian {
            Endian::Little => LittleEndian::read_u32(bytes),
            Endian::Big => BigEndian::read_u32(bytes),
        })
    }

    fn u64(&mut self, what: Label) -> Result<u64, FormatError> {
        let bytes = self.take(8, what)?;
        Ok(match self.endian {
            Endian::Little => LittleEndian::read_u64(bytes),
            Endian::Big => BigEndian::read_u64(bytes),
        })
    }

    /// The version tells the byte order: the number is small in the right one.
    fn version(&mut self) -> Result<(u32, Endian), FormatError> {
        let raw = self.u32(&|| "version".to_owned())?;
        match (raw, raw.swap_bytes()) {
            (2 | 3, _) => Ok((raw, Endian::Little)),
            (_, swapped @ (2 | 3)) => Ok((swapped, Endian::Big)),
            _ => Err(FormatError::Version(raw)),
        }
    }

    /// A count of things that take at least `min_bytes` each and may be `limit` at most.
    fn count(&mut self, what: &str, min_bytes: u64, limit: u64) -> Result<u64, FormatError> {
        let offset = self.pos;
        let count = self.u64(&|| format!("number of {what}"))?;
        check_limit(count, limit, offset, &|| what.to_owned())?;
        self.check_count(count, min_bytes, offset, &|| what.to_owned())?;
        Ok(count)
    }

    /// Holds a count against what is left of the file, and of the longest header.
    fn check_count(&self, count: u64, min_bytes: u64, offset: usize, what: Label) -> Result<(), FormatError> {
        let need = count.checked_mul(min_bytes);
        if need.is_none_or(|need| need > self.left() as u64) {
            return Err(FormatError::Count {
                what: what(),
                count,
                offset,
                left: self.left(),
            });
        }
        if need.is_none_or(|need| need > MAX_HEADER_LEN.saturating_sub(self.pos) as u64) {
            return Err(FormatError::HeaderLength {
                what: what(),
                offset,
                limit: MAX_HEADER_LEN,
            });
        }
        Ok(())
    }

    fn string(&mut self, limit: usize, what: Label) -> Result<&'a [u8], FormatError> {
        let offset = self.pos;
        let len = self.u64(what)?;
        if len > limit as u64 {
            return Err(FormatError::TooLong {
                what: what(),
                offset,
                len,
                limit,
            });
        }
        self.take(len, what)
    }

    fn metadata(&mut self, count: u64) -> Result<Metadata, FormatError> {
        let mut metadata = Metadata::default();
        for index in 0..count {
            let offset = self.pos;
            let key = self.string(MAX_KEY_LEN, &|| format!("metadata key {index}"))?;
            if key.is_empty() {
                return Err(FormatError::EmptyKey { index, offset });
            }
            if metadata.contains_bytes(BStr::new(key)) {
                return Err(FormatError::DuplicateKey {
                    key: escape(key),
                    offset,
                });
            }
            let type_offset = self.pos;
            let id = self.u32(&|| format!("value type of {}", escape(key)))?;
            let value_type = ValueType::from_id(id).ok_or_else(|| FormatError::ValueType {
                key: escape(key),
                id,
                offset: type_offset,
            })?;
            let value = self.value(value_type, key)?;
            if let Some(hasher) = self
                .fingerprint
                .as_mut()
                .filter(|_| !key.starts_with(b"general."))
            {
                hasher.write(&self.bytes[offset..self.pos]);
            }
            metadata.set(key, value);
        }
        Ok(metadata)
    }

    fn value(&mut self, value_type: ValueType, key: &[u8]) -> Result<Value, FormatError> {
        let what: Label = &|| format!("value of {}", escape(key));
        match value_type {
            ValueType::String => Ok(Value::String(self.string(usize::MAX, what)?.into())),
            ValueType::Array => Ok(Value::Array(self.array(key, 1)?)),
            scalar => {
                let array = self.scalars(scalar, 1, what)?;
                // A run of one scalar always has its one element.
                array.get(0).ok_or_else(|| FormatError::Truncated {
                    what: what(),
                    offset: self.pos,
                    need: scalar.min_bytes() as u64,
                    left: self.left(),
                })
            }
        }
    }

    fn array(&mut self, key: &[u8], depth: usize) -> Result<Array, FormatError> {
        let what: Label = &|| format!("array {}", escape(key));
        if depth > MAX_ARRAY_DEPTH {
            return Err(FormatError::Nesting {
                key: escape(key),
                offset: self.pos,
                limit: MAX_ARRAY_DEPTH,
            });
        }
        let type_offset = self.pos;
        let id = self.u32(what)?;
        let element = ValueType::from_id(id).ok_or_else(|| FormatError::ValueType {
            key: escape(key),
            id,
            offset: type_offset,
        })?;
        let offset = self.pos;
        let count = self.u64(what)?;
        self.check_count(count, element.min_bytes() as u64, offset, &|| {
            format!("elements of array {}", escape(key))
        })?;
        let is_passed_over = self.long_arrays == LongArrays::Emptied && count > LONG;
        match element {
            ValueType::String if is_passed_over => {
                for _ in 0..count {
                    self.string(usize::MAX, what)?;
                }
                Ok(Array::String(Strings::default()))
            }
            ValueType::String => {
                let mut strings = Strings::with_capacity(count as usize);
                for _ in 0..count {
                    strings.push(self.string(usize::MAX, what)?);
                }
                Ok(Array::String(strings))
            }
            ValueType::Array => {
                self.nested_arrays = self.nested_arrays.saturating_add(count);
                check_limit(self.nested_arrays, MAX_NESTED_ARRAYS, offset, &|| {
                    format!("arrays within array {}", escape(key))
                })?;
                let mut arrays = Vec::new();
                for _ in 0..count {
                    arrays.push(self.array(key, depth + 1)?);
                }
                Ok(Array::Array(arrays))
            }
            scalar if is_passed_over => {
                self.take(count * scalar.min_bytes() as u64, what)?;
                self.scalars(scalar, 0, what)
            }
            scalar => self.scalars(scalar, count, what),
        }
    }

    /// A run of `count` scalars, which [`Cursor::check_count`] has found to fit or which is one.
    fn scalars(&mut self, ty: ValueType, count: u64, what: Label) -> Result<Array, FormatError> {
        let bytes = self.take(count * ty.min_bytes() as u64, what)?;
        Ok(match self.endian {
            Endian::Little => scalars::<LittleEndian>(ty, bytes),
            Endian::Big => scalars::<BigEndian>(ty, bytes),
        })
    }

    fn tensors(&mut self, count: u64) -> Result<Vec<TensorInfo>, FormatError> {
        // Not reserved ahead: what the file holds may be far less than what fits in it.
        let mut tensors = Vec::new();
        let mut seen = HashSet::new();
        for index in 0..count {
            let offset = self.pos;
            let name = self.string(MAX_TENSOR_NAME_LEN, &|| format!("name of tensor {index}"))?;
            if !seen.insert(name) {
                return Err(FormatError::DuplicateTensor {
                    name: escape(name),
                    offset,
                });
            }
            tensors.push(self.tensor(name)?);
        }
        Ok(tensors)
    }

    fn tensor(&mut self, name: &'a [u8]) -> Result<TensorInfo, FormatError> {
        let what: Label = &|| format!("description of tensor {}", escape(name));
        let offset = self.pos;
        let dim_count = self.u32(what)?;
        if dim_count as usize > MAX_DIMS {
            return Err(FormatError::Dimensions {
                name: escape(name),
                count: dim_count,
                offset,
                limit: MAX_DIMS,
            });
        }
        let dims = (0..dim_count)
            .map(|_| self.u64(what))
            .collect::<Result<Vec<u64>, _>>()?;
        let ty = TypeId(self.u32(what)?);
        let info = TensorInfo {
            name: name.into(),
            dims,
            ty,
            offset: self.u64(what)?,
        };
        check_shape(&info)?;
        Ok(info)
    }
}

fn check_limit(count: u64, limit: u64, offset: usize, what: Label) -> Result<(), FormatError> {
    if count > limit {
        return Err(FormatError::TooMany {
            what: what(),
            count,
            offset,
            limit,
        });
    }
    Ok(())
}

/// Lengths are not negative (ggml counts in i64), rows are whole blocks, and the size in bytes fits with its padding.
fn check_shape(info: &TensorInfo) -> Result<(), FormatError> {
    let name = || escape(&info.name);
    for (axis, &dim) in info.dims.iter().enumerate() {
        if i64::try_from(dim).is_err() {
            return Err(FormatError::Dimension {
                name: name(),
                axis,
                value: dim as i64,
            });
        }
    }
    // Zero in one dimension must not hide an overflow in the others.
    info.dims
        .iter()
        .try_fold(1_i64, |n, &dim| n.checked_mul((dim as i64).max(1)))
        .ok_or_else(|| FormatError::ShapeOverflow { name: name() })?;
    if let Some(ty) = info.ty.known() {
        if !ty.fits_row(info.row_len()) {
            return Err(FormatError::BlockLength {
                name: name(),
                ty: ty.name(),
                row: info.row_len(),
                block: ty.block_len(),
            });
        }
        let padded = info.size().and_then(|size| size.checked_add(u32::MAX.into()));
        if padded.is_none_or(|size| i64::try_from(size).is_err()) {
            return Err(FormatError::ShapeOverflow { name: name() });
        }
    }
    Ok(())
}

/// A run of scalars, little-endian.
pub(crate) fn little_endian_scalars(ty: ValueType, bytes: &[u8]) -> Array {
    scalars::<LittleEndian>(ty, bytes)
}

fn scalars<E: ByteOrder>(ty: ValueType, bytes: &[u8]) -> Array {
    fn each<T, const N: usize>(bytes: &[u8], read: impl Fn(&[u8]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| read(chunk)).collect()
    }
    match ty {
        ValueType::U8 => Array::U8(bytes.to_vec()),
        ValueType::I8 => Array::I8(bytes.iter().map(|&b| b as i8).collect()),
        ValueType::Bool => Array::Bool(bytes.iter().map(|&b| b != 0).collect()),
        ValueType::U16 => Array::U16(each::<_, 2>(bytes, E::read_u16)),
        ValueType::I16 => Array::I16(each::<_, 2>(bytes, E::read_i16)),
        ValueType::U32 => Array::U32(each::<_, 4>(bytes, E::read_u32)),
        ValueType::I32 => Array::I32(each::<_, 4>(bytes, E::read_i32)),
        ValueType::F32 => Array::F32(each::<_, 4>(bytes, E::read_f32)),
        ValueType::U64 => Array::U64(each::<_, 8>(bytes, E::read_u64)),
        ValueType::I64 => Array::I64(each::<_, 8>(bytes, E::read_i64)),
        ValueType::F64 => Array::F64(each::<_, 8>(bytes, E::read_f64)),
        ValueType::String | ValueType::Array => Array::Array(Vec::new()),
    }
}
