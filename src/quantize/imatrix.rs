//! Importance matrices: for each tensor, how much each column of its rows matters, as `llama-imatrix` measures it.
//!
//! Two formats are read. The present one is a GGUF file with two tensors for each weight, `NAME.in_sum2` (sums of squared
//! activations) and `NAME.counts` (how many were summed, one number for each expert). The legacy one is a plain sequence,
//! little-endian: a count of entries; for each the length of its name, the name, a number of calls, a number of values and
//! the values; at the end, optionally, the number of chunks and the length and name of the data set.
//! Both are brought to means, in the arithmetic of `llama-quantize`.
//!
//! Only the ratios of an entry's means count. Where they are so large or so small that the sums over a block would leave
//! f32, which makes `llama-quantize` write zeros, they are scaled by a power of two, which changes no other bit. An entry
//! of zeros alone has no ratios: it counts as none.

use crate::gguf::{Array, Gguf, GgufError, Metadata};
use crate::io::kind::FileKind;
use crate::io::{Inputs, ReadError};
use crate::quant::GgmlType;
use crate::text::escape;
use bstr::{BStr, BString, ByteSlice};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The suffixes of the two tensors of an entry.
const SUMS: &str = ".in_sum2";
const COUNTS: &str = ".counts";

/// A weight for each column of each tensor that was measured.
#[derive(Debug)]
pub struct ImportanceMatrix {
    entries: HashMap<BString, Vec<f32>>,
    /// The texts that it was measured on.
    pub datasets: Vec<BString>,
    /// How many chunks of text were run; 0 if the file does not say.
    pub chunks: u32,
}

/// An importance matrix that cannot be read, with its path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportanceError {
    /// The container is no well-formed GGUF, or lacks a key.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The file could not be opened or read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ReadError,
    },
    /// What the file holds is no importance matrix.
    #[error("{}: {message}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and with what entry.
        message: String,
    },
}

impl ImportanceError {
    /// The file that it is about, where it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            ImportanceError::Gguf(error) => Some(&error.path),
            ImportanceError::Read { path, .. } | ImportanceError::Content { path, .. } => Some(path),
        }
    }
}

impl ImportanceMatrix {
    /// Reads the file at `path`, of either format.
    pub fn open(inputs: &Inputs, path: &Path) -> Result<ImportanceMatrix, ImportanceError> {
        let read = |source| ImportanceError::Read {
            path: path.to_owned(),
            source,
        };
        let map = inputs.map(path).map_err(read)?;
        let file = map.whole().map_err(read)?;
        let content = |message| ImportanceError::Content {
            path: path.to_owned(),
            message,
        };
        let mut matrix = match FileKind::of_bytes(file) {
            Some(FileKind::Gguf) => from_gguf(&Gguf::open(inputs, path)?, content)?,
            Some(kind) => return Err(content(format!("this is {kind}, {NO_MATRIX}"))),
            None => Legacy { left: file }.read().map_err(content)?,
        };
        if matrix.entries.is_empty() {
            return Err(content("it holds no entries".to_owned()));
        }
        matrix
            .entries
            .values_mut()
            .for_each(|means| bring_near_one(means));
        Ok(matrix)
    }

    /// Number of tensors that were measured.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none was, which [`ImportanceMatrix::open`] does not let pass.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The weights for a tensor, if it was measured: one a column, none negative, and for each expert its own, one after
    /// another. All may be zero.
    pub fn get(&self, tensor: &str) -> Option<&[f32]> {
        self.entries.get(BStr::new(tensor)).map(Vec::as_slice)
    }
}

/// What something is that is no importance matrix, and a hint.
const NO_MATRIX: &str = "no importance matrix; give --imatrix the file that llama-imatrix wrote";

/// Scales means by a power of two where their products may leave f32, so that the largest is in 1..2.
fn bring_near_one(means: &mut [f32]) {
    // Up to there `llama-quantize` fits well enough that its bytes count.
    const LARGE: f32 = (1_u64 << 50) as f32;
    let largest = means.iter().copied().fold(0.0, f32::max);
    if largest > 0.0 && !(1.0 / LARGE..=LARGE).contains(&largest) {
        let power = f64::from(largest).log2().floor();
        let scale = (-power).exp2();
        for mean in means {
            *mean = (f64::from(*mean) * scale) as f32;
        }
    }
}

/// Says which of an entry's numbers is negative or none at all, for which no measurement can be the cause.
fn check_numbers(name: &BStr, what: &str, numbers: &[f32]) -> Result<(), String> {
    match numbers.iter().position(|v| !(*v >= 0.0 && v.is_finite())) {
        None => Ok(()),
        Some(at) => Err(format!(
            "entry {} holds {} as {what} {at}, where none can be negative or no number; make the matrix again",
            escape(name),
            numbers[at],
        )),
    }
}

/// What a GGUF without entries is.
fn kind(metadata: &Metadata) -> String {
    let text = |key| metadata.string(key).ok().map(|text| escape(text));
    let (ty, architecture) = (text("general.type"), text("general.architecture"));
    if [&ty, &architecture].contains(&&Some("imatrix".to_owned())) {
        return "it holds no entries".to_owned();
    }
    let ty = ty.unwrap_or_else(|| "model".to_owned());
    let of = architecture.map(|name| format!(" of architecture {name}"));
    format!("this is a {ty}{}, {NO_MATRIX}", of.unwrap_or_default())
}

fn from_gguf(
    gguf: &Gguf,
    content: impl Fn(String) -> ImportanceError,
) -> Result<ImportanceMatrix, ImportanceError> {
    let metadata = gguf.metadata();
    let is_part = |name: &[u8]| name.ends_with(SUMS.as_bytes()) || name.ends_with(COUNTS.as_bytes());
    if !gguf.tensors().any(|tensor| is_part(tensor.name.as_bytes())) {
        return Err(content(kind(metadata)));
    }
    let datasets = match gguf.key(metadata.array("imatrix.datasets"))? {
        Array::String(names) => names.iter().map(ToOwned::to_owned).collect(),
        _ => Vec::new(),
    };
    let chunks = gguf.key(metadata.uint("imatrix.chunk_count"))?;
    gguf.key(metadata.uint("imatrix.chunk_size"))?;

    let numbers = |name: &BStr, suffix: &str| {
        let full = [name.as_bytes(), suffix.as_bytes()].concat();
        let tensor = match std::str::from_utf8(&full) {
            Ok(full) => gguf.tensor(full)?,
            Err(_) => None,
        };
        let missing = || content(format!("entry {} has no tensor {}", escape(name), escape(&full)));
        let tensor = tensor.ok_or_else(missing)?;
        if tensor.ty != GgmlType::F32 {
            return Err(content(format!(
                "tensor {} is {}, not F32",
                escape(&full),
                tensor.ty
            )));
        }
        let (numbers, _) = tensor.data.as_chunks();
        Ok(numbers
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect::<Vec<_>>())
    };

    let mut entries = HashMap::new();
    for tensor in gguf.tensors() {
        let name = tensor.name.as_bytes();
        let name = name
            .strip_suffix(SUMS.as_bytes())
            .or_else(|| name.strip_suffix(COUNTS.as_bytes()));
        let Some(name) = name.map(BStr::new) else { continue };
        if entries.contains_key(name) {
            continue;
        }
        let (mut values, counts) = (numbers(name, SUMS)?, numbers(name, COUNTS)?);
        if counts.is_empty() || values.is_empty() || values.len() % counts.len() != 0 {
            let (sums, counts) = (values.len(), counts.len());
            let name = escape(name);
            return Err(content(format!(
                "entry {name} has {sums} sums for {counts} counts"
            )));
        }
        check_numbers(name, "count", &counts).map_err(&content)?;
        let columns = values.len() / counts.len();
        for values in values.chunks_exact(columns) {
            check_numbers(name, "sum of column", values).map_err(&content)?;
        }
        for (values, count) in values.chunks_exact_mut(columns).zip(counts) {
            let count = count.round();
            for v in values {
                // An expert that was never called: all columns alike.
                *v = if count > 0.0 { *v / count } else { 1.0 };
            }
        }
        entries.insert(name.to_owned(), values);
    }
    Ok(ImportanceMatrix {
        entries,
        datasets,
        chunks: chunks.try_into().unwrap_or(u32::MAX),
    })
}

/// What is left of a legacy file.
struct Legacy<'a> {
    left: &'a [u8],
}

impl<'a> Legacy<'a> {
    fn read(mut self) -> Result<ImportanceMatrix, String> {
        let count = self.number("the number of entries")?;
        let mut entries = HashMap::new();
        for i in 0..count {
            let name = self.string(&format!("the name of entry {}", i + 1))?;
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default().as_bstr();
            let of = |what: &str| format!("{what} of entry {}", escape(name));
            let calls = self.number(&of("the number of calls"))?;
            let len = self.number(&of("the number of values"))?;
            if len == 0 {
                return Err(format!("entry {} holds no values", escape(name)));
            }
            let bytes = self.take(u64::from(len) * 4, &of("the values"))?;
            let scale = if calls > 0 { calls as f32 } else { 1.0 };
            let mut values: Vec<f32> = bytes
                .as_chunks()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect();
            check_numbers(name, "sum of column", &values)?;
            values.iter_mut().for_each(|v| *v /= scale);
            entries.insert(name.to_owned(), values);
        }
        let chunks = self.number("the number of chunks").unwrap_or(0);
        let dataset = self
            .string("the name of the data set")
            .ok()
            .filter(|name| !name.is_empty());
        Ok(ImportanceMatrix {
            entries,
            datasets: dataset.map(BString::from).into_iter().collect(),
            chunks,
        })
    }

    fn take(&mut self, len: u64, what: &str) -> Result<&'a [u8], String> {
        let left = self.left.len();
        let split = usize::try_from(len)
            .ok()
            .and_then(|len| self.left.split_at_checked(len));
        let (taken, rest) = split.ok_or_else(|| {
            format!("{what} needs {len} bytes, {left} are left; it is truncated or no importance matrix")
        })?;
        self.left = rest;
        Ok(taken)
    }

    /// A count: a signed number that is not negative.
    fn number(&mut self, what: &str) -> Result<u32, String> {
        let bytes = self.take(4, what)?;
        let number = i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        u32::try_from(number).map_err(|_| format!("{what} is {number}; it is no importance matrix"))
    }

    fn string(&mut self, what: &str) -> Result<&'a [u8], String> {
        let len = self.number(&format!("the length of {what}"))?;
        self.take(u64::from(len), what)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::gguf::{Layout, TensorSpec, Value};
    use std::io::Write;

    fn open(bytes: &[u8]) -> Result<ImportanceMatrix, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let opened = ImportanceMatrix::open(&Inputs::new(), file.path());
        opened.map_err(|e| e.to_string().replace(&file.path().display().to_string(), "F"))
    }

    fn legacy(entries: &[(&str, i32, &[f32])], tail: &[u8]) -> Vec<u8> {
        let mut bytes = (entries.len() as i32).to_le_bytes().to_vec();
        for (name, calls, values) in entries {
            bytes.extend((name.len() as i32).to_le_bytes());
            bytes.extend(name.as_bytes());
            bytes.extend(calls.to_le_bytes());
            bytes.extend((values.len() as i32).to_le_bytes());
            bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        }
        bytes.extend(tail);
        bytes
    }

    #[test]
    fn legacy_values_are_divided_by_the_calls() {
        let tail = [&7i32.to_le_bytes()[..], &4i32.to_le_bytes(), b"text"].concat();
        let bytes = legacy(&[("a.weight", 3, &[1.0, 2.0]), ("b.weight", 0, &[5.0])], &tail);
        let matrix = open(&bytes).unwrap();
        assert_eq!(matrix.get("a.weight"), Some(&[1.0 / 3.0, 2.0 / 3.0][..]));
        assert_eq!(matrix.get("b.weight"), Some(&[5.0][..]));
        assert_eq!((matrix.len(), matrix.get("c.weight")), (2, None));
        assert_eq!((matrix.chunks, matrix.datasets), (7, vec![BString::from("text")]));
    }

    #[test]
    fn a_legacy_file_cut_anywhere_is_an_error_or_whole_without_its_tail() {
        let tail = [&7i32.to_le_bytes()[..], &4i32.to_le_bytes(), b"text"].concat();
        let bytes = legacy(&[("a.weight", 3, &[1.0, 2.0])], &tail);
        for len in 0..bytes.len() {
            let opened = open(&bytes[..len]);
            assert_eq!(
                opened.is_ok(),
                len >= bytes.len() - tail.len(),
                "{len}: {opened:?}"
            );
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let huge = [&1i32.to_le_bytes()[..], &i32::MAX.to_le_bytes()].concat();
        assert!(
            open(&huge)
                .unwrap_err()
                .contains("needs 2147483647 bytes, 0 are left")
        );
        let negative = (-1i32).to_le_bytes();
        assert!(
            open(&negative)
                .unwrap_err()
                .contains("the number of entries is -1")
        );
        assert!(open(&0i32.to_le_bytes()).unwrap_err().contains("no entries"));
        let strangers: [(&[u8], &str); 3] = [
            (b"PK\x03\x04", "F: this is a zip archive"),
            (
                b"\x10\0\0\0\0\0\0\0{\"a\":1}",
                "F: this is a safetensors file, no importance matrix",
            ),
            (&gguf(&[]), "F: it holds no entries"),
        ];
        for (bytes, expected) in strangers {
            let told = open(bytes).unwrap_err();
            assert!(told.starts_with(expected), "{told}");
        }
    }

    #[test]
    fn numbers_that_nobody_measured_are_refused_with_their_column() {
        for (bad, shown) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf"), (-0.5, "-0.5")] {
            let told = format!("F: entry a holds {shown} as sum of column 1,");
            let old = legacy(&[("a", 1, &[1.0, bad])], &[]);
            assert!(open(&old).unwrap_err().starts_with(&told));
            let f32_ = GgmlType::F32;
            let new = gguf(&[
                ("a.in_sum2", f32_, &[1.0, 1.0, 1.0, bad]),
                ("a.counts", f32_, &[1.0, 1.0]),
            ]);
            assert!(open(&new).unwrap_err().starts_with(&told));
            let counts = gguf(&[("a.in_sum2", f32_, &[1.0, 1.0]), ("a.counts", f32_, &[1.0, bad])]);
            assert!(
                open(&counts)
                    .unwrap_err()
                    .starts_with(&format!("F: entry a holds {shown} as count 1,"))
            );
        }
    }

    #[test]
    fn means_that_leave_f32_in_sums_are_scaled_by_a_power_of_two() {
        let read = |values: &[f32]| {
            let matrix = open(&legacy(&[("a", 1, values)], &[])).unwrap();
            matrix.get("a").unwrap().to_vec()
        };
        for kept in [[1e6, 3.0, 0.0], [1e-6, 1e-13, 0.0], [0.0; 3]] {
            assert_eq!(read(&kept), kept);
        }
        let two = |power| 2f64.powi(power) as f32;
        assert_eq!(read(&[1.5 * two(127), two(120), 0.0]), [1.5, two(-7), 0.0]);
        assert_eq!(read(&[1.25 * two(-120), two(-130)]), [1.25, two(-10)]);
    }

    fn gguf(tensors: &[(&str, GgmlType, &[f32])]) -> Vec<u8> {
        let mut metadata = Metadata::default();
        let mut datasets = crate::gguf::Strings::default();
        datasets.push(b"text");
        metadata.set("general.architecture", Value::String("imatrix".into()));
        metadata.set("imatrix.datasets", Value::Array(Array::String(datasets)));
        metadata.set("imatrix.chunk_count", Value::U32(2));
        metadata.set("imatrix.chunk_size", Value::U32(512));
        let specs = tensors.iter().map(|(name, ty, values)| TensorSpec {
            name: (*name).into(),
            dims: vec![values.len() as u64],
            ty: (*ty).into(),
            size: ty.bytes(values.len() as u64).unwrap(),
        });
        let layout = Layout::new(&metadata, &specs.collect::<Vec<_>>()).unwrap();
        let mut bytes = layout.header.clone();
        for (i, (_, ty, values)) in tensors.iter().enumerate() {
            bytes.resize(layout.offsets[i] as usize, 0);
            let mut data = vec![0; ty.bytes(values.len() as u64).unwrap() as usize];
            match ty {
                GgmlType::F32 => data = values.iter().flat_map(|v| v.to_le_bytes()).collect(),
                _ => ty.encode(values, values.len(), None, &mut data).unwrap(),
            }
            bytes.extend(data);
        }
        bytes
    }

    #[test]
    fn gguf_sums_are_divided_by_the_counts_of_each_expert() {
        let (f32_, sums) = (GgmlType::F32, [2.0, 4.0, 9.0, 9.0, 3.0, 6.0]);
        let bytes = gguf(&[("e.in_sum2", f32_, &sums), ("e.counts", f32_, &[2.0, 0.0, 3.0])]);
        let matrix = open(&bytes).unwrap();
        assert_eq!(matrix.get("e"), Some(&[1.0, 2.0, 1.0, 1.0, 1.0, 2.0][..]));
        assert_eq!((matrix.chunks, matrix.datasets), (2, vec![BString::from("text")]));
    }

    #[test]
    fn gguf_entries_must_be_whole() {
        let f32_ = GgmlType::F32;
        let refused = |tensors: &[(&str, GgmlType, &[f32])]| open(&gguf(tensors)).unwrap_err();
        assert_eq!(
            refused(&[("e.in_sum2", f32_, &[1.0])]),
            "F: entry e has no tensor e.counts"
        );
        assert_eq!(
            refused(&[("e.counts", f32_, &[1.0])]),
            "F: entry e has no tensor e.in_sum2"
        );
        let uneven: &[_] = &[("e.in_sum2", f32_, &[1.0; 5][..]), ("e.counts", f32_, &[1.0; 2])];
        assert_eq!(refused(uneven), "F: entry e has 5 sums for 2 counts");
        let halves: &[_] = &[
            ("e.in_sum2", GgmlType::F16, &[1.0][..]),
            ("e.counts", f32_, &[1.0]),
        ];
        assert_eq!(refused(halves), "F: tensor e.in_sum2 is F16, not F32");
        assert_eq!(refused(&[("other", f32_, &[1.0])]), "F: it holds no entries");
    }
}
