//! One safetensors file: its header, checked, and the data that is asked for.
//!
//! Format: <https://github.com/huggingface/safetensors#format>. Eight bytes of header length, a JSON object, then the
//! tensors without gaps. The dtypes are the `safetensors` crate's; the header is walked here so that an error can name
//! its tensor and a name that stands twice is seen.

use super::error::{CheckpointError, CheckpointErrorKind};
use crate::io::kind::{FileKind, Wanted, WrongKind};
use crate::io::mapped::MappedFile;
use crate::io::{Inputs, ReadError};
use crate::quant::GgmlType;
use crate::text::escape;
use safetensors::Dtype;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Largest header, as the safetensors library has it.
const MAX_HEADER_LEN: u64 = 100_000_000;
/// Bytes in front of the header that say how long it is.
const LENGTH: usize = 8;
/// Bytes that are read first: most headers are shorter.
const FRONT: usize = 64 << 10;

/// A safetensors file.
#[derive(Debug)]
pub struct SafetensorsFile {
    path: PathBuf,
    len: u64,
    /// `None` where the header alone was wanted.
    map: Option<MappedFile>,
    tensors: Vec<Entry>,
    metadata: Vec<(String, String)>,
    data_start: u64,
}

/// The type of a tensor's elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ElementType {
    /// One that the format defines.
    Known(Dtype),
    /// Another word in its place. Such a tensor can be listed, but its length cannot be checked nor its data read.
    Unknown(String),
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ElementType::Known(dtype) => dtype.fmt(f),
            ElementType::Unknown(word) => f.write_str(&escape(word.as_bytes())),
        }
    }
}

#[derive(Debug)]
struct Entry {
    name: String,
    dtype: ElementType,
    shape: Vec<usize>,
    range: Range<usize>,
}

/// What is known of a tensor of a checkpoint by the header.
#[derive(Debug, Clone, Copy)]
pub struct TensorHead<'a> {
    /// Name in the checkpoint.
    pub name: &'a str,
    /// Element type as the file gives it.
    pub dtype: &'a ElementType,
    /// Lengths, outermost first.
    pub shape: &'a [usize],
    /// Bytes of its data.
    pub size: u64,
    /// Where the data starts in the file.
    pub offset: u64,
    /// The file that holds it.
    pub path: &'a Path,
    map: Option<&'a MappedFile>,
}

impl<'a> TensorHead<'a> {
    /// Whether its data is not here: it travels when it is asked for, or cannot be had.
    pub fn is_distant(&self) -> bool {
        self.map.is_none_or(MappedFile::is_distant)
    }

    /// Its little-endian elements, and the file that they are mapped from, where they are here.
    pub fn here(&self) -> Option<(&'a MappedFile, &'a [u8])> {
        let map = self.map.filter(|map| !map.is_distant())?;
        let data = map.bytes(self.offset..self.offset.saturating_add(self.size));
        Some((map, data.ok()??))
    }

    /// Its little-endian elements, fetched if need be.
    pub fn data(&self) -> Result<&'a [u8], CheckpointError> {
        self.data_in(0..self.size)
    }

    /// These bytes of its data, which lie within it: of a file elsewhere no others travel.
    pub fn data_in(&self, range: Range<u64>) -> Result<&'a [u8], CheckpointError> {
        let fail = |error: ReadError| CheckpointError::new(self.path, error);
        let map = self.map.ok_or_else(|| fail(ReadError::Distant))?;
        let in_file = |at: u64| self.offset.saturating_add(at.min(self.size));
        let data = map.bytes(in_file(range.start)..in_file(range.end));
        // The header was held against the file's length.
        Ok(data.map_err(|error| fail(error.into()))?.unwrap_or_default())
    }

    /// The ggml type with the same bytes, for the dtypes that have one.
    pub fn ggml_type(&self) -> Option<GgmlType> {
        let ElementType::Known(dtype) = self.dtype else {
            return None;
        };
        Some(match dtype {
            Dtype::F32 => GgmlType::F32,
            Dtype::F16 => GgmlType::F16,
            Dtype::BF16 => GgmlType::BF16,
            Dtype::F64 => GgmlType::F64,
            Dtype::I8 => GgmlType::I8,
            Dtype::I16 => GgmlType::I16,
            Dtype::I32 => GgmlType::I32,
            Dtype::I64 => GgmlType::I64,
            _ => return None,
        })
    }

    /// The name without what other programs put in front; see [`super::Checkpoint::tensor`].
    pub fn plain_name(&self) -> Cow<'_, str> {
        plain_name(self.name)
    }

    /// Whether the checkpoint's name of the tensor fits, with or without what stands in front.
    pub(crate) fn is_called(&self, fits: impl Fn(&str) -> bool) -> bool {
        let plain = self.plain_name();
        let bare = plain.strip_prefix(MODEL);
        [Some(plain.as_ref()), bare].into_iter().flatten().any(fits)
    }

    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|&n| n as u64).product()
    }
}

/// What stands in front of a name where the weights were saved with the head around the model.
pub(super) const MODEL: &str = "model.";

/// A tensor's name without the prefixes under which other programs keep a drafter or the text part of a model: every
/// `language_model.` (as llama.cpp's converter drops them), and `mtp.` in front of the rest.
pub fn plain_name(name: &str) -> Cow<'_, str> {
    const NESTED: &str = "language_model.";
    const MERGED: &str = "mtp.";
    match name.contains(NESTED) {
        true => {
            let name = name.replace(NESTED, "");
            Cow::Owned(name.strip_prefix(MERGED).unwrap_or(&name).to_owned())
        }
        false => Cow::Borrowed(name.strip_prefix(MERGED).unwrap_or(name)),
    }
}

impl SafetensorsFile {
    /// Maps the file and checks its header: sizes, offsets without overlap or gap, unique names, known dtypes. Of a file
    /// elsewhere the header travels.
    pub fn open(inputs: &Inputs, path: &Path) -> Result<SafetensorsFile, CheckpointError> {
        let map = inputs.map(path).map_err(|e| CheckpointError::new(path, e))?;
        let parsed = read(&map).map_err(|kind| CheckpointError::new(path, kind))?;
        Ok(SafetensorsFile {
            path: path.to_owned(),
            len: map.len() as u64,
            map: Some(map),
            tensors: parsed.tensors,
            metadata: parsed.metadata,
            data_start: parsed.data_start as u64,
        })
    }

    /// The same, but no data can be read.
    pub(super) fn without_data(mut self) -> SafetensorsFile {
        self.map = None;
        self
    }

    /// Whether its data is not here.
    pub(super) fn is_distant(&self) -> bool {
        self.map.as_ref().is_none_or(MappedFile::is_distant)
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes.
    pub fn file_len(&self) -> u64 {
        self.len
    }

    /// The whole file. Refused where it lies elsewhere.
    pub fn bytes(&self) -> Result<&[u8], CheckpointError> {
        let map = self.map.as_ref().ok_or(ReadError::Distant);
        let bytes = map.and_then(MappedFile::whole);
        bytes.map_err(|error| CheckpointError::new(&self.path, error))
    }

    /// Where the data section starts in the file.
    pub fn data_start(&self) -> u64 {
        self.data_start
    }

    /// The strings under `__metadata__`, in the order of the header.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    /// The tensors in the order of the header.
    pub fn tensors(&self) -> impl Iterator<Item = TensorHead<'_>> {
        self.tensors.iter().map(|entry| TensorHead {
            name: &entry.name,
            dtype: &entry.dtype,
            shape: &entry.shape,
            size: (entry.range.end - entry.range.start) as u64,
            offset: entry.range.start as u64,
            path: &self.path,
            map: self.map.as_ref(),
        })
    }
}

/// A header that was found to be sound.
struct Parsed {
    tensors: Vec<Entry>,
    metadata: Vec<(String, String)>,
    data_start: usize,
}

/// Reads the header of a file, and no more.
fn read(map: &MappedFile) -> Result<Parsed, CheckpointErrorKind> {
    let front = |len: usize| {
        let bytes = map.bytes(0..len.min(map.len()) as u64);
        bytes.map(Option::unwrap_or_default).map_err(ReadError::from)
    };
    let data_start = data_start(front(FRONT)?, map.len())?;
    parse(front(data_start)?, data_start, map.len())
}

/// Where the data starts in a file of this length and this front.
fn data_start(front: &[u8], file: usize) -> Result<usize, CheckpointErrorKind> {
    if let Some(found) = FileKind::of_bytes(front).filter(|found| *found != FileKind::Safetensors) {
        let wanted = Wanted::Checkpoint;
        return Err(WrongKind { found, wanted }.into());
    }
    let length = front
        .first_chunk::<LENGTH>()
        .ok_or(CheckpointErrorKind::TooShort { len: file })?;
    let claimed = u64::from_le_bytes(*length);
    let left = file.saturating_sub(LENGTH);
    if claimed > left as u64 {
        return Err(CheckpointErrorKind::HeaderLength { claimed, left });
    }
    if claimed > MAX_HEADER_LEN {
        return Err(CheckpointErrorKind::HeaderLimit {
            claimed,
            limit: MAX_HEADER_LEN,
        });
    }
    Ok(LENGTH + claimed as usize)
}

fn parse(front: &[u8], data_start: usize, file: usize) -> Result<Parsed, CheckpointErrorKind> {
    let json = front.get(LENGTH..data_start).unwrap_or_default();
    let invalid = |e: serde_json::Error| CheckpointErrorKind::HeaderJson(e.to_string());
    let RawHeader(raw) = serde_json::from_slice(json).map_err(invalid)?;
    let mut tensors: Vec<Entry> = Vec::new();
    let mut metadata = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for (name, info) in raw {
        if !seen.insert(name.clone()) {
            return Err(CheckpointErrorKind::DuplicateTensor {
                name: escape(name.as_bytes()),
            });
        }
        if name == "__metadata__" {
            metadata = strings(info)?;
        } else {
            tensors.push(entry(name, info, data_start, file)?);
        }
    }
    check_coverage(&tensors, data_start, file)?;
    Ok(Parsed {
        tensors,
        metadata,
        data_start,
    })
}

/// The entries of `__metadata__`, strings all.
fn strings(info: &RawValue) -> Result<Vec<(String, String)>, CheckpointErrorKind> {
    let map: serde_json::Map<String, Value> =
        serde_json::from_str(info.get()).map_err(|_| CheckpointErrorKind::Metadata)?;
    let string = |(key, value)| match value {
        Value::String(value) => Ok((key, value)),
        _ => Err(CheckpointErrorKind::Metadata),
    };
    map.into_iter().map(string).collect()
}

/// What a header says of a tensor.
#[derive(Deserialize)]
#[serde(expecting = "an object with dtype, shape and data_offsets")]
struct Description {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

/// One tensor's description, its byte range made absolute.
fn entry(
    name: String,
    info: &RawValue,
    data_start: usize,
    file: usize,
) -> Result<Entry, CheckpointErrorKind> {
    let shown = || escape(name.as_bytes());
    let bad = |message: String| CheckpointErrorKind::TensorInfo {
        name: shown(),
        message,
    };
    let Description {
        dtype,
        shape,
        data_offsets: (start, end),
    } = serde_json::from_str(info.get()).map_err(|e| bad(e.to_string()))?;
    let dtype = match Dtype::deserialize(Value::from(dtype.as_str())) {
        Ok(known) => ElementType::Known(known),
        Err(_) => ElementType::Unknown(dtype),
    };
    if start > end {
        return Err(bad(format!("offsets [{start}, {end}] run backwards")));
    }
    let elements = shape
        .iter()
        .try_fold(1_u64, |n, &dim| n.checked_mul(dim as u64))
        .ok_or_else(|| bad(format!("checkpoint shape {shape:?} overflows")))?;
    if let ElementType::Known(known) = dtype {
        let bits = elements.checked_mul(known.bitsize() as u64);
        let expected = bits
            .ok_or_else(|| bad(format!("checkpoint shape {shape:?} overflows")))?
            .div_ceil(8);
        let found = (end - start) as u64;
        if found != expected {
            return Err(CheckpointErrorKind::TensorSize {
                name: shown(),
                dtype: dtype.to_string(),
                shape,
                expected,
                found,
            });
        }
    }
    match (data_start.checked_add(start), data_start.checked_add(end)) {
        (Some(start), Some(end)) if end <= file => Ok(Entry {
            name,
            dtype,
            shape,
            range: start..end,
        }),
        _ => Err(CheckpointErrorKind::OutOfFile {
            name: shown(),
            end: (data_start as u64).saturating_add(end as u64),
            file: file as u64,
        }),
    }
}

/// The tensors fill the data section, each byte once.
fn check_coverage(entries: &[Entry], data_start: usize, file: usize) -> Result<(), CheckpointErrorKind> {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by_key(|entry| (entry.range.start, entry.range.end));
    let mut end = data_start;
    let mut previous: Option<&Entry> = None;
    for entry in sorted {
        let start = entry.range.start;
        if start > end {
            return Err(CheckpointErrorKind::Hole {
                offset: end as u64,
                bytes: (start - end) as u64,
            });
        }
        if let Some(previous) = previous.filter(|_| start < end) {
            return Err(CheckpointErrorKind::Overlap {
                first: escape(previous.name.as_bytes()),
                second: escape(entry.name.as_bytes()),
                offset: start as u64,
            });
        }
        end = entry.range.end;
        previous = Some(entry);
    }
    if end < file {
        return Err(CheckpointErrorKind::Hole {
            offset: end as u64,
            bytes: (file - end) as u64,
        });
    }
    Ok(())
}

/// The header's entries in order, names that stand twice included. What a name stands for is parsed later, one at a
/// time, so that a header takes little more memory than its text.
struct RawHeader<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for RawHeader<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<RawHeader<'de>, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object with an entry for each tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(RawHeader(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data_len: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data_len, 0);
        bytes
    }

    fn parsed(bytes: &[u8]) -> Parsed {
        parse(bytes, data_start(bytes, bytes.len()).unwrap(), bytes.len()).unwrap()
    }

    #[test]
    fn a_whole_file_is_read_in_header_order() {
        let header = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]},
                         "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        let parsed = parsed(&file(header, 8));
        let names: Vec<&str> = parsed.tensors.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
    }

    #[test]
    fn unknown_types_are_listed_and_metadata_kept() {
        let header =
            r#"{"__metadata__":{"z":"1","a":"2"},"a":{"dtype":"F19","shape":[3],"data_offsets":[0,7]}}"#;
        let parsed = parsed(&file(header, 7));
        assert_eq!(parsed.tensors[0].dtype, ElementType::Unknown("F19".to_owned()));
        let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(parsed.metadata, [entry("z", "1"), entry("a", "2")]);
    }
}
