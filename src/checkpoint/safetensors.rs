//! One safetensors file: its header, checked, over a memory map.
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

/// A safetensors file.
#[derive(Debug)]
pub struct SafetensorsFile {
    path: PathBuf,
    map: MappedFile,
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

/// A tensor of a checkpoint with its bytes.
#[derive(Debug, Clone, Copy)]
pub struct SourceTensor<'a> {
    /// Name in the checkpoint.
    pub name: &'a str,
    /// Element type as the file gives it.
    pub dtype: &'a ElementType,
    /// Lengths, outermost first.
    pub shape: &'a [usize],
    /// Little-endian elements.
    pub data: &'a [u8],
    /// Where the data starts in the file.
    pub offset: u64,
    /// The file that holds it.
    pub path: &'a Path,
    /// The same, mapped.
    pub file: &'a MappedFile,
}

impl SourceTensor<'_> {
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
    /// Maps the file and checks its header: sizes, offsets without overlap or gap, unique names, known dtypes.
    pub fn open(inputs: &Inputs, path: &Path) -> Result<SafetensorsFile, CheckpointError> {
        let map = inputs.map(path).map_err(|e| CheckpointError::new(path, e))?;
        if map.is_distant() {
            return Err(CheckpointError::new(path, ReadError::Distant));
        }
        let parsed = parse(&map).map_err(|kind| CheckpointError::new(path, kind))?;
        Ok(SafetensorsFile {
            path: path.to_owned(),
            map,
            tensors: parsed.tensors,
            metadata: parsed.metadata,
            data_start: parsed.data_start as u64,
        })
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
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
    pub fn tensors(&self) -> impl Iterator<Item = SourceTensor<'_>> {
        self.tensors.iter().map(|entry| SourceTensor {
            name: &entry.name,
            dtype: &entry.dtype,
            shape: &entry.shape,
            data: &self.map[entry.range.clone()],
            offset: entry.range.start as u64,
            path: &self.path,
            file: &self.map,
        })
    }
}

/// A header that was found to be sound.
struct Parsed {
    tensors: Vec<Entry>,
    metadata: Vec<(String, String)>,
    data_start: usize,
}

fn parse(bytes: &[u8]) -> Result<Parsed, CheckpointErrorKind> {
    if let Some(found) = FileKind::of_bytes(bytes).filter(|found| *found != FileKind::Safetensors) {
        let wanted = Wanted::Checkpoint;
        return Err(WrongKind { found, wanted }.into());
    }
    let (length, rest) = bytes
        .split_first_chunk::<8>()
        .ok_or(CheckpointErrorKind::TooShort { len: bytes.len() })?;
    let claimed = u64::from_le_bytes(*length);
    if claimed > rest.len() as u64 {
        return Err(CheckpointErrorKind::HeaderLength {
            claimed,
            left: rest.len(),
        });
    }
    if claimed > MAX_HEADER_LEN {
        return Err(CheckpointErrorKind::HeaderLimit {
            claimed,
            limit: MAX_HEADER_LEN,
        });
    }
    let (json, data) = rest.split_at(claimed as usize);
    let invalid = |e: serde_json::Error| CheckpointErrorKind::HeaderJson(e.to_string());
    let RawHeader(raw) = serde_json::from_slice(json).map_err(invalid)?;
    let data_start = bytes.len() - data.len();
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
            tensors.push(entry(name, info, data_start, bytes.len())?);
        }
    }
    check_coverage(&tensors, data_start, bytes.len())?;
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

    #[test]
    fn a_whole_file_is_read_in_header_order() {
        let header = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]},
                         "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        let parsed = parse(&file(header, 8)).unwrap();
        let names: Vec<&str> = parsed.tensors.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
    }

    #[test]
    fn unknown_types_are_listed_and_metadata_kept() {
        let header =
            r#"{"__metadata__":{"z":"1","a":"2"},"a":{"dtype":"F19","shape":[3],"data_offsets":[0,7]}}"#;
        let parsed = parse(&file(header, 7)).unwrap();
        assert_eq!(parsed.tensors[0].dtype, ElementType::Unknown("F19".to_owned()));
        let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(parsed.metadata, [entry("z", "1"), entry("a", "2")]);
    }
}
