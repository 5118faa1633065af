//! One safetensors file: its header, checked, over a memory map.
//!
//! Format: <https://github.com/huggingface/safetensors#format>. Eight bytes of header length, a JSON object, then the
//! tensors without gaps. The dtypes are the `safetensors` crate's; the header is walked here so that an error can name
//! its tensor and a name that stands twice is seen.

use super::error::{CheckpointError, CheckpointErrorKind};
use crate::mapped::MappedFile;
use crate::quant::GgmlType;
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;
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
}

#[derive(Debug)]
struct Entry {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    range: Range<usize>,
}

/// A tensor of a checkpoint with its bytes.
#[derive(Debug, Clone, Copy)]
pub struct SourceTensor<'a> {
    /// Name in the checkpoint.
    pub name: &'a str,
    /// Element type as the file gives it.
    pub dtype: Dtype,
    /// Lengths, outermost first.
    pub shape: &'a [usize],
    /// Little-endian elements.
    pub data: &'a [u8],
    /// The file that holds it.
    pub path: &'a Path,
}

impl SourceTensor<'_> {
    /// The ggml type with the same bytes, for the dtypes that have one.
    pub fn ggml_type(&self) -> Option<GgmlType> {
        Some(match self.dtype {
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

    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|&n| n as u64).product()
    }
}

impl SafetensorsFile {
    /// Maps the file and checks its header: sizes, offsets without overlap or gap, unique names, known dtypes.
    pub fn open(path: &Path) -> Result<SafetensorsFile, CheckpointError> {
        let map = MappedFile::open(path).map_err(|e| CheckpointError::new(path, e))?;
        let tensors = parse(&map).map_err(|kind| CheckpointError {
            path: path.to_owned(),
            kind,
        })?;
        Ok(SafetensorsFile {
            path: path.to_owned(),
            map,
            tensors,
        })
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors in the order of the header.
    pub fn tensors(&self) -> impl Iterator<Item = SourceTensor<'_>> {
        self.tensors.iter().map(|entry| SourceTensor {
            name: &entry.name,
            dtype: entry.dtype,
            shape: &entry.shape,
            data: &self.map[entry.range.clone()],
            path: &self.path,
        })
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<Entry>, CheckpointErrorKind> {
    if bytes.starts_with(b"GGUF") {
        return Err(CheckpointErrorKind::IsGguf);
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
    let RawHeader(raw) =
        serde_json::from_slice(json).map_err(|e| CheckpointErrorKind::HeaderJson(e.to_string()))?;
    let data_start = bytes.len() - data.len();
    let mut entries: Vec<Entry> = Vec::with_capacity(raw.len());
    let mut seen = std::collections::HashSet::new();
    for (name, info) in raw {
        if name == "__metadata__" {
            continue;
        }
        if !seen.insert(name.clone()) {
            return Err(CheckpointErrorKind::DuplicateTensor { name });
        }
        entries.push(entry(name, info, data_start, bytes.len())?);
    }
    check_coverage(&entries, data_start, bytes.len())?;
    Ok(entries)
}

/// One tensor's description, its byte range made absolute.
fn entry(name: String, info: Value, data_start: usize, file: usize) -> Result<Entry, CheckpointErrorKind> {
    if let Some(dtype) = info.get("dtype")
        && Dtype::deserialize(dtype).is_err()
    {
        let dtype = dtype.as_str().map_or_else(|| dtype.to_string(), str::to_owned);
        return Err(CheckpointErrorKind::Dtype { name, dtype });
    }
    let TensorInfo {
        dtype,
        shape,
        data_offsets: (start, end),
    } = match TensorInfo::deserialize(info) {
        Ok(info) => info,
        Err(e) => {
            return Err(CheckpointErrorKind::TensorInfo {
                name,
                message: e.to_string(),
            });
        }
    };
    let bits = shape
        .iter()
        .try_fold(1_u64, |n, &dim| n.checked_mul(dim as u64))
        .and_then(|elements| elements.checked_mul(dtype.bitsize() as u64));
    let Some(expected) = bits.map(|bits| bits.div_ceil(8)) else {
        return Err(CheckpointErrorKind::TensorInfo {
            name,
            message: format!("shape {shape:?} overflows"),
        });
    };
    if start > end {
        let message = format!("offsets [{start}, {end}] run backwards");
        return Err(CheckpointErrorKind::TensorInfo { name, message });
    }
    let found = (end - start) as u64;
    if found != expected {
        let dtype = dtype.to_string();
        return Err(CheckpointErrorKind::TensorSize {
            name,
            dtype,
            shape,
            expected,
            found,
        });
    }
    match (data_start.checked_add(start), data_start.checked_add(end)) {
        (Some(start), Some(end)) if end <= file => Ok(Entry {
            name,
            dtype,
            shape,
            range: start..end,
        }),
        _ => {
            let end = (data_start as u64).saturating_add(end as u64);
            Err(CheckpointErrorKind::OutOfFile {
                name,
                end,
                file: file as u64,
            })
        }
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
                first: previous.name.clone(),
                second: entry.name.clone(),
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

/// The header's entries in order, names that stand twice included.
struct RawHeader(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<RawHeader, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("an object with an entry for each tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
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

    #[track_caller]
    fn refused(header: &str, data_len: usize, message: &str) {
        let error = parse(&file(header, data_len))
            .expect_err("should be refused")
            .to_string();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn a_whole_file_is_read_in_header_order() {
        let header = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]},
                         "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        let entries = parse(&file(header, 8)).unwrap();
        let names: Vec<&str> = entries.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
    }

    #[test]
    fn broken_headers_are_named() {
        let one = |info: &str| format!(r#"{{"a":{info}}}"#);
        refused(
            &one(r#"{"dtype":"Q4","shape":[1],"data_offsets":[0,4]}"#),
            4,
            "unknown dtype Q4",
        );
        refused(
            &one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,4]}"#),
            4,
            "takes 8 bytes",
        );
        refused(
            &one(r#"{"dtype":"F32","shape":[1],"data_offsets":[4,0]}"#),
            4,
            "run backwards",
        );
        refused(
            &one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#),
            4,
            "truncated",
        );
        refused(
            &one(r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#),
            5,
            "belong to no tensor",
        );
        refused(
            &one(r#"{"dtype":"F32","shape":[1],"data_offsets":[1,5]}"#),
            5,
            "belong to no tensor",
        );
        refused(
            &one(r#"{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}"#),
            4,
            "tensor a",
        );
        let huge = usize::MAX;
        refused(
            &one(&format!(
                r#"{{"dtype":"F32","shape":[{huge},{huge}],"data_offsets":[0,4]}}"#
            )),
            4,
            "overflows",
        );
        let a = r#""dtype":"F32","shape":[1],"data_offsets":[0,4]"#;
        refused(&format!(r#"{{"a":{{{a}}},"a":{{{a}}}}}"#), 4, "a stands twice");
        refused(&format!(r#"{{"a":{{{a}}},"b":{{{a}}}}}"#), 4, "a and b overlap");
        refused("[]", 0, "not valid JSON");
    }

    #[test]
    fn a_header_length_beyond_the_file_is_refused() {
        let mut bytes = file("{}", 0);
        bytes[0] = 200;
        assert!(matches!(
            parse(&bytes),
            Err(CheckpointErrorKind::HeaderLength {
                claimed: 200,
                left: 2
            })
        ));
        assert!(matches!(
            parse(&[1, 2]),
            Err(CheckpointErrorKind::TooShort { len: 2 })
        ));
        assert!(matches!(
            parse(b"GGUF\x03\0\0\0\0"),
            Err(CheckpointErrorKind::IsGguf)
        ));
    }
}
