//! Lays a GGUF file out: the header's bytes and where each tensor goes. Writing the data is the caller's part, at the
//! offsets given here, in any order.

use super::header::{Endian, Header, TensorInfo, TypeId};
use super::limits::DEFAULT_ALIGNMENT;
use super::metadata::Metadata;
use super::reader::MAGIC;
use super::value::{Array, Value};
use bstr::BString;
use byteorder::{BigEndian, ByteOrder, LittleEndian, WriteBytesExt};
use std::io;

/// A tensor to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Name.
    pub name: BString,
    /// Lengths, innermost first.
    pub dims: Vec<u64>,
    /// Type.
    pub ty: TypeId,
    /// Bytes of data.
    pub size: u64,
}

/// Where everything goes in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The bytes in front of the data section, without the padding up to it.
    pub header: Vec<u8>,
    /// Where each tensor's data starts, counted from the start of the file.
    pub offsets: Vec<u64>,
    /// Length of the whole file. What lies between header and tensors, and behind each tensor up to the alignment,
    /// the last one too, is zero.
    pub file_len: u64,
}

/// A file that the format cannot express.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// `general.alignment` is no u32 power of two.
    #[error("general.alignment must be a u32 power of two")]
    Alignment,
    /// The sizes add up to more than 64 bits hold.
    #[error("the file would be larger than 64-bit offsets can express")]
    TooLarge,
}

impl Layout {
    /// Lays out a little-endian file of version 3.
    pub fn new(metadata: &Metadata, tensors: &[TensorSpec]) -> Result<Layout, LayoutError> {
        Layout::with_endian(metadata, tensors, Endian::Little)
    }

    /// Lays out a file of version 3 whose header, and data in time, are in the given byte order.
    pub fn with_endian(
        metadata: &Metadata,
        tensors: &[TensorSpec],
        endian: Endian,
    ) -> Result<Layout, LayoutError> {
        let alignment = match metadata.get("general.alignment") {
            None => DEFAULT_ALIGNMENT,
            Some(&Value::U32(value)) if value.is_power_of_two() => value.into(),
            Some(_) => return Err(LayoutError::Alignment),
        };
        let mut relative = Vec::with_capacity(tensors.len());
        let mut data_len = 0_u64;
        for tensor in tensors {
            relative.push(data_len);
            data_len = data_len
                .checked_add(tensor.size)
                .and_then(|end| end.checked_next_multiple_of(alignment))
                .ok_or(LayoutError::TooLarge)?;
        }
        let infos: Vec<TensorInfo> = tensors
            .iter()
            .zip(&relative)
            .map(|(tensor, &offset)| TensorInfo {
                name: tensor.name.clone(),
                dims: tensor.dims.clone(),
                ty: tensor.ty,
                offset,
            })
            .collect();
        // Writing to a Vec cannot fail.
        let mut header = Vec::new();
        match endian {
            Endian::Little => write_infos::<LittleEndian>(&mut header, 3, metadata, &infos),
            Endian::Big => write_infos::<BigEndian>(&mut header, 3, metadata, &infos),
        }
        .map_err(|_| LayoutError::TooLarge)?;

        let data_offset = (header.len() as u64).next_multiple_of(alignment);
        let file_len = data_offset.checked_add(data_len).ok_or(LayoutError::TooLarge)?;
        let offsets = relative.iter().map(|offset| data_offset + offset).collect();
        Ok(Layout {
            header,
            offsets,
            file_len,
        })
    }
}

impl Header {
    /// The bytes of this header with other metadata, without the padding up to the data: tensors, byte order and version
    /// stay as they are.
    pub fn with_metadata(&self, metadata: &Metadata) -> Vec<u8> {
        let mut out = Vec::new();
        // Writing to a Vec cannot fail.
        let _ = match self.endian {
            Endian::Little => write_infos::<LittleEndian>(&mut out, self.version, metadata, &self.tensors),
            Endian::Big => write_infos::<BigEndian>(&mut out, self.version, metadata, &self.tensors),
        };
        out
    }
}

fn write_infos<E: ByteOrder>(
    out: &mut Vec<u8>,
    version: u32,
    metadata: &Metadata,
    tensors: &[TensorInfo],
) -> io::Result<()> {
    out.extend(MAGIC);
    out.write_u32::<E>(version)?;
    out.write_u64::<E>(tensors.len() as u64)?;
    out.write_u64::<E>(metadata.len() as u64)?;
    write_metadata::<E>(out, metadata)?;
    for tensor in tensors {
        write_string::<E>(out, &tensor.name)?;
        out.write_u32::<E>(tensor.dims.len() as u32)?;
        for &dim in &tensor.dims {
            out.write_u64::<E>(dim)?;
        }
        out.write_u32::<E>(tensor.ty.0)?;
        out.write_u64::<E>(tensor.offset)?;
    }
    Ok(())
}

fn write_metadata<E: ByteOrder>(out: &mut Vec<u8>, metadata: &Metadata) -> io::Result<()> {
    metadata
        .iter()
        .try_for_each(|(key, value)| write_entry::<E>(out, key, value))
}

/// Metadata in a form that does not depend on byte order, version, order of keys or the cutting of a split model: keys
/// with their values as a little-endian file holds them, sorted by key, without `split.*`.
pub fn canonical_metadata(metadata: &Metadata) -> Vec<u8> {
    let mut entries: Vec<_> = metadata
        .iter()
        .filter(|(key, _)| !key.starts_with(b"split."))
        .collect();
    entries.sort_by_key(|(key, _)| *key);
    let mut out = Vec::new();
    for (key, value) in entries {
        // Writing to a Vec cannot fail.
        let _ = write_entry::<LittleEndian>(&mut out, key, value);
    }
    out
}

fn write_entry<E: ByteOrder>(out: &mut Vec<u8>, key: &[u8], value: &Value) -> io::Result<()> {
    write_string::<E>(out, key)?;
    out.write_u32::<E>(value.value_type() as u32)?;
    write_value::<E>(out, value)
}

fn write_string<E: ByteOrder>(out: &mut Vec<u8>, string: &[u8]) -> io::Result<()> {
    out.write_u64::<E>(string.len() as u64)?;
    out.extend(string);
    Ok(())
}

fn write_value<E: ByteOrder>(out: &mut Vec<u8>, value: &Value) -> io::Result<()> {
    match value {
        Value::U8(v) => out.push(*v),
        Value::I8(v) => out.write_i8(*v)?,
        Value::Bool(v) => out.push((*v).into()),
        Value::U16(v) => out.write_u16::<E>(*v)?,
        Value::I16(v) => out.write_i16::<E>(*v)?,
        Value::U32(v) => out.write_u32::<E>(*v)?,
        Value::I32(v) => out.write_i32::<E>(*v)?,
        Value::F32(v) => out.write_f32::<E>(*v)?,
        Value::U64(v) => out.write_u64::<E>(*v)?,
        Value::I64(v) => out.write_i64::<E>(*v)?,
        Value::F64(v) => out.write_f64::<E>(*v)?,
        Value::String(v) => write_string::<E>(out, v)?,
        Value::Array(v) => write_array::<E>(out, v)?,
    }
    Ok(())
}

fn write_array<E: ByteOrder>(out: &mut Vec<u8>, array: &Array) -> io::Result<()> {
    out.write_u32::<E>(array.element_type() as u32)?;
    out.write_u64::<E>(array.len() as u64)?;
    match array {
        Array::U8(v) => out.extend(v),
        Array::I8(v) => out.extend(v.iter().map(|&x| x as u8)),
        Array::Bool(v) => out.extend(v.iter().map(|&x| u8::from(x))),
        Array::U16(v) => v.iter().try_for_each(|&x| out.write_u16::<E>(x))?,
        Array::I16(v) => v.iter().try_for_each(|&x| out.write_i16::<E>(x))?,
        Array::U32(v) => v.iter().try_for_each(|&x| out.write_u32::<E>(x))?,
        Array::I32(v) => v.iter().try_for_each(|&x| out.write_i32::<E>(x))?,
        Array::F32(v) => v.iter().try_for_each(|&x| out.write_f32::<E>(x))?,
        Array::U64(v) => v.iter().try_for_each(|&x| out.write_u64::<E>(x))?,
        Array::I64(v) => v.iter().try_for_each(|&x| out.write_i64::<E>(x))?,
        Array::F64(v) => v.iter().try_for_each(|&x| out.write_f64::<E>(x))?,
        Array::String(v) => v.iter().try_for_each(|s| write_string::<E>(out, s))?,
        Array::Array(v) => v.iter().try_for_each(|a| write_array::<E>(out, a))?,
    }
    Ok(())
}
