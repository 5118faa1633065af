//! What can be wrong with the bytes of a GGUF file.

use super::metadata::KeyError;
use crate::io::ReadError;
use crate::io::kind::WrongKind;
use std::path::PathBuf;

/// A GGUF file that cannot be read, with its path.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kind}", path.display())]
pub struct GgufError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub kind: GgufErrorKind,
}

impl GgufError {
    pub(crate) fn new(path: impl Into<PathBuf>, kind: impl Into<GgufErrorKind>) -> GgufError {
        GgufError {
            path: path.into(),
            kind: kind.into(),
        }
    }

    /// What the operating system said, where that is the cause.
    pub(crate) fn read(&self) -> Option<&ReadError> {
        match &self.kind {
            GgufErrorKind::Read(error) => Some(error),
            _ => None,
        }
    }
}

/// What is wrong with a GGUF file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufErrorKind {
    /// The file could not be opened or read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The bytes are no well-formed GGUF.
    #[error("{}; {}", .0, .0.hint())]
    Format(#[from] FormatError),
    /// A key that is needed is missing or of the wrong type.
    #[error("{0}; convert the model again with a current converter")]
    Key(#[from] KeyError),
    /// It is no GGUF, or one that holds something else than is needed.
    #[error(transparent)]
    Kind(#[from] WrongKind),
    /// The data is big-endian, which only the container code reads.
    #[error("the file is big-endian; rewrite it with `gguf-conv migrate` before its tensors are read")]
    BigEndian,
    /// The parts of a split model do not belong together.
    #[error("{0}")]
    Split(String),
}

/// A well-formedness rule that the bytes break. Offsets count from the start of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum FormatError {
    #[error("not a GGUF file: it starts with \"{}\" where \"GGUF\" should stand", .0.escape_ascii())]
    Magic(Vec<u8>),
    #[error("GGUF version {0} is not one that can be read (2 and 3 are)")]
    Version(u32),
    #[error("file ends too early: {what} at offset {offset} needs {need} bytes, {left} are left")]
    Truncated {
        what: String,
        offset: usize,
        need: u64,
        left: usize,
    },
    #[error("header claims {count} {what}, more than the {left} bytes behind offset {offset} can hold")]
    Count {
        what: String,
        count: u64,
        offset: usize,
        left: usize,
    },
    #[error("header claims {count} {what} at offset {offset}; at most {limit} are read")]
    TooMany {
        what: String,
        count: u64,
        offset: usize,
        limit: u64,
    },
    #[error("{what} at offset {offset} makes the header longer than the {limit} bytes that are read")]
    HeaderLength {
        what: String,
        offset: usize,
        limit: usize,
    },
    #[error("{what} at offset {offset} is {len} bytes long; at most {limit} are allowed")]
    TooLong {
        what: String,
        offset: usize,
        len: u64,
        limit: usize,
    },
    #[error("metadata key {index} at offset {offset} is empty")]
    EmptyKey { index: u64, offset: usize },
    #[error("metadata key {key} stands twice, again at offset {offset}")]
    DuplicateKey { key: String, offset: usize },
    #[error("metadata key {key} has the unknown value type {id} at offset {offset}")]
    ValueType { key: String, id: u32, offset: usize },
    #[error("metadata key {key} nests arrays deeper than {limit} levels at offset {offset}")]
    Nesting {
        key: String,
        offset: usize,
        limit: usize,
    },
    #[error("general.alignment must be a u32 power of two, the file has {0}")]
    Alignment(String),
    #[error("tensor {name} stands twice, again at offset {offset}")]
    DuplicateTensor { name: String, offset: usize },
    #[error("tensor {name} has {count} dimensions at offset {offset}; at most {limit} are allowed")]
    Dimensions {
        name: String,
        count: u32,
        offset: usize,
        limit: usize,
    },
    #[error("tensor {name} has dimension {axis} = {value}, which is no valid length")]
    Dimension { name: String, axis: usize, value: i64 },
    #[error("tensor {name} has a shape whose size overflows")]
    ShapeOverflow { name: String },
    #[error("tensor {name} of type {ty} has rows of {row} elements, no multiple of its block of {block}")]
    BlockLength {
        name: String,
        ty: &'static str,
        row: u64,
        block: usize,
    },
    #[error("tensor {name} starts at data offset {offset}, which is not aligned to {alignment}")]
    Misaligned {
        name: String,
        offset: u64,
        alignment: u64,
    },
    #[error("tensor {name} lies at {start}..{end}, beyond the end of the file at {file}")]
    OutOfFile {
        name: String,
        start: u64,
        end: u64,
        file: u64,
    },
    #[error("tensors {first} and {second} overlap at offset {offset}")]
    Overlap {
        first: String,
        second: String,
        offset: u64,
    },
    #[error("tensor {name} has the unknown type {id}")]
    TensorType { name: String, id: u32 },
    #[error("tensor name {name} is no UTF-8")]
    TensorName { name: String },
}

impl FormatError {
    /// The tensor whose place in the file is wrong, escaped.
    pub fn misplaced(&self) -> Option<&str> {
        match self {
            FormatError::Misaligned { name, .. } | FormatError::OutOfFile { name, .. } => Some(name),
            FormatError::Overlap { second, .. } => Some(second),
            _ => None,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        const DAMAGED: &str = "the file is damaged: download it again, or convert the model again";
        match self {
            FormatError::Magic(_) => "give a .gguf file",
            FormatError::Version(1) => "convert the model again with a current converter",
            FormatError::Version(_) => "the file is damaged, or newer than this program",
            FormatError::Truncated { .. } | FormatError::Count { .. } | FormatError::OutOfFile { .. } => {
                "the file is cut short or damaged: download it again"
            }
            FormatError::TensorType {
                id: 97..=99 | 133..=199 | 202..=399,
                ..
            } => {
                "it is one of ik_llama.cpp's own, which llama.cpp does not load: get the model in another type"
            }
            FormatError::TensorType { .. } => "a newer version of this program may know it",
            FormatError::ValueType { .. }
            | FormatError::TensorName { .. }
            | FormatError::TooMany { .. }
            | FormatError::HeaderLength { .. }
            | FormatError::TooLong { .. }
            | FormatError::Nesting { .. }
            | FormatError::EmptyKey { .. }
            | FormatError::DuplicateKey { .. }
            | FormatError::Alignment(_)
            | FormatError::DuplicateTensor { .. }
            | FormatError::Dimensions { .. }
            | FormatError::Dimension { .. }
            | FormatError::ShapeOverflow { .. }
            | FormatError::BlockLength { .. }
            | FormatError::Misaligned { .. }
            | FormatError::Overlap { .. } => DAMAGED,
        }
    }
}
