//! Parses a GGUF header from bytes. Every count and length is held against what is left of the file before
//! anything is allocated.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3, either byte order.

use super::error::FormatError;
use super::limits::{DEFAULT_ALIGNMENT, MAX_ARRAY_DEPTH, MAX_DIMS, MAX_KEY_LEN, MAX_TENSOR_NAME_LEN};
use super::metadata::Metadata;
use super::value::{Array, Strings, Value, ValueType};
use crate::quant::GgmlType;
use bstr::{BStr, BString};
use byteorder::{BigEndian, ByteOrder, LittleEndian};
use std::collections::HashSet;

/// The first four bytes of every GGUF file.
pub const MAGIC: [u8; 4] = *b"GGUF";

/// Byte order of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Endian {
    /// Least significant byte first, as nearly all files are.
    #[default]
    Little,
    /// Most significant byte first (s390x and the like).
    Big,
}

/// The number that a file gives for a tensor's type, known to ggml or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeId(pub u32);

impl TypeId {
    /// The type, if it is one that ggml defines.
    pub fn known(self) -> Option<GgmlType> {
        GgmlType::from_id(self.0)
    }
}

impl From<GgmlType> for TypeId {
    fn from(ty: GgmlType) -> TypeId {
        TypeId(ty.id())
    }
}

impl std::fmt::Display for TypeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.known() {
            Some(ty) => ty.fmt(f),
            None => f.pad(&format!("unknown({})", self.0)),
        }
    }
}

/// What the header says of one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name.
    pub name: BString,
    /// Lengths, innermost first: an `[rows, cols]` matrix is `[cols, rows]` here.
    pub dims: Vec<u64>,
    /// Type.
    pub ty: TypeId,
    /// Where its data starts, counted from the start of the data section.
    pub offset: u64,
}

impl TensorInfo {
    /// Number of elements. The reader made sure that the product fits.
    pub fn elements(&self) -> u64 {
        self.dims.iter().product()
    }

    /// Elements in a row (the innermost dimension).
    pub fn row_len(&self) -> u64 {
        self.dims.first().copied().unwrap_or(1)
    }

    /// Bytes of data, where the type is known.
    pub fn size(&self) -> Option<u64> {
        self.ty.known()?.bytes(self.elements())
    }
}

/// Everything in front of the data section.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Version of the container, 2 or 3.
    pub version: u32,
    /// Byte order of header and data.
    pub endian: Endian,
    /// Keys and values in file order.
    pub metadata: Metadata,
    /// Tensors in file order.
    pub tensors: Vec<TensorInfo>,
    /// Alignment of tensor data.
    pub alignment: u64,
    /// Where the data section starts in the file.
    pub data_offset: u64,
}

impl Header {
    /// Parses the header at the start of `bytes`, the whole file. Tensor data is not touched and tensor ranges are not
    /// checked; that is [`Header::check_ranges`].
    pub fn parse(bytes: &[u8]) -> Result<Header, FormatError> {
        let mut cursor = Cursor {
            bytes,
            pos: 0,
            endian: Endian::Little,
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
        let tensor_count = cursor.count("tensors", 8 + 4 + 4 + 8)?;
        let key_count = cursor.count("metadata keys", 8 + 4 + 1)?;
        let metadata = cursor.metadata(key_count)?;
        let alignment = alignment(&metadata)?;
        let tensors = cursor.tensors(tensor_count)?;
        let data_offset = (cursor.pos as u64)
            .checked_next_multiple_of(alignment)
            .ok_or_else(|| FormatError::Truncated {
                what: "data section".to_owned(),
                offset: cursor.pos,
                need: alignment,
                left: bytes.len() - cursor.pos,
            })?;
        Ok(Header {
            version,
            endian,
            metadata,
            tensors,
            alignment,
            data_offset,
        })
    }

    /// The first tensor range that is misaligned, outside a file of `file_len` bytes, or overlapping another.
    /// Tensors of unknown type have no known size and are checked for their start only.
    pub fn check_ranges(&self, file_len: u64) -> Result<(), FormatError> {
        self.range_faults(file_len).next().map_or(Ok(()), Err)
    }

    /// Every tensor range that is misaligned, outside a file of `file_len` bytes, or overlapping another.
    pub fn range_faults(&self, file_len: u64) -> impl Iterator<Item = FormatError> {
        let mut faults = Vec::new();
        let mut ranges = Vec::with_capacity(self.tensors.len());
        for info in &self.tensors {
            let name = || escape(&info.name);
            if !info.offset.is_multiple_of(self.alignment) {
                faults.push(FormatError::Misaligned {
                    name: name(),
                    offset: info.offset,
                    alignment: self.alignment,
                });
            }
            let start = self.data_offset.saturating_add(info.offset);
            let end = start.saturating_add(info.size().unwrap_or(0));
            if end > file_len {
                faults.push(FormatError::OutOfFile {
                    name: name(),
                    start,
                    end,
                    file: file_len,
                });
            }
            ranges.push((start, end, info));
        }
        ranges.sort_by_key(|&(start, end, _)| (start, end));
        for pair in ranges.windows(2) {
            let ((_, end, first), (start, second_end, second)) = (pair[0], pair[1]);
            if start < end && start < second_end {
                faults.push(FormatError::Overlap {
                    first: escape(&first.name),
                    second: escape(&second.name),
                    offset: start,
                });
            }
        }
        faults.into_iter()
    }
}

/// Bytes as they can be shown in a message: valid UTF-8 as it is, control characters and the rest escaped.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || is_invisible(c) {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// Characters that change how a terminal shows what follows (direction marks, zero-width characters).
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn alignment(metadata: &Metadata) -> Result<u64, FormatError> {
    match metadata.get("general.alignment") {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(&Value::U32(value)) if value.is_power_of_two() => Ok(value.into()),
        Some(Value::U32(value)) => Err(FormatError::Alignment(value.to_string())),
        Some(other) => Err(FormatError::Alignment(format!("a {}", other.type_name()))),
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    pos: usize,
    endian: Endian,
}

/// A label for error messages, made only when there is an error.
type Label<'l> = &'l dyn Fn() -> String;

impl<'a> Cursor<'a> {
    fn left(&self) -> usize {
        self.bytes.len() - self.pos
    }

    /// The only way forward: the next `need` bytes, if the file has them.
    fn take(&mut self, need: u64, what: Label) -> Result<&'a [u8], FormatError> {
        let left = self.left();
        match usize::try_from(need) {
            Ok(n) if n <= left => {
                let taken = &self.bytes[self.pos..self.pos + n];
                self.pos += n;
                Ok(taken)
            }
            _ => Err(FormatError::Truncated {
                what: what(),
                offset: self.pos,
                need,
                left,
            }),
        }
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

    /// A count of things that take at least `min_bytes` each.
    fn count(&mut self, what: &str, min_bytes: u64) -> Result<u64, FormatError> {
        let offset = self.pos;
        let count = self.u64(&|| format!("number of {what}"))?;
        self.check_count(count, min_bytes, offset, &|| what.to_owned())?;
        Ok(count)
    }

    fn check_count(&self, count: u64, min_bytes: u64, offset: usize, what: Label) -> Result<(), FormatError> {
        if count
            .checked_mul(min_bytes)
            .is_none_or(|need| need > self.left() as u64)
        {
            return Err(FormatError::Count {
                what: what(),
                count,
                offset,
                left: self.left(),
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
        match element {
            ValueType::String => {
                let mut strings = Strings::with_capacity(count as usize);
                for _ in 0..count {
                    strings.push(self.string(usize::MAX, what)?);
                }
                Ok(Array::String(strings))
            }
            ValueType::Array => {
                let mut arrays = Vec::new();
                for _ in 0..count {
                    arrays.push(self.array(key, depth + 1)?);
                }
                Ok(Array::Array(arrays))
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
        let mut tensors = Vec::with_capacity(count as usize);
        let mut seen = HashSet::with_capacity(count as usize);
        for index in 0..count {
            let offset = self.pos;
            let info = self.tensor(index)?;
            if !seen.insert(info.name.clone()) {
                return Err(FormatError::DuplicateTensor {
                    name: escape(&info.name),
                    offset,
                });
            }
            tensors.push(info);
        }
        Ok(tensors)
    }

    fn tensor(&mut self, index: u64) -> Result<TensorInfo, FormatError> {
        let name = self.string(MAX_TENSOR_NAME_LEN, &|| format!("name of tensor {index}"))?;
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
