//! What a header says, and whether the tensor ranges that it gives make sense.

use super::error::FormatError;
use super::metadata::Metadata;
use crate::quant::GgmlType;
use crate::text::escape;
use bstr::BString;

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

    /// Lengths as ggml writes them: behind the first, those at the end that are 1 are left out.
    pub fn written_dims(&self) -> Vec<u64> {
        let last = self.dims.iter().rposition(|dim| *dim != 1).unwrap_or(0);
        match self.dims.get(..=last) {
            Some(dims) => dims.to_vec(),
            None => vec![1],
        }
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
    /// The first tensor range that is misaligned, outside a file of `file_len` bytes, or overlapping another.
    /// Tensors of unknown type have no known size and are checked for their start only.
    pub fn check_ranges(&self, file_len: u64) -> Result<(), FormatError> {
        self.range_faults(file_len).next().map_or(Ok(()), Err)
    }

    /// Every tensor range that is misaligned or outside a file of `file_len` bytes, then every one that overlaps
    /// another.
    pub fn range_faults(&self, file_len: u64) -> impl Iterator<Item = FormatError> {
        let single = self
            .tensors
            .iter()
            .flat_map(move |info| [self.misaligned(info), self.out_of_file(info, file_len)]);
        single.flatten().chain(self.overlaps())
    }

    /// Where a tensor lies in the file, from its first byte to behind its last, as far as that can be expressed. A
    /// tensor of unknown type ends where it starts.
    pub fn range(&self, info: &TensorInfo) -> (u64, u64) {
        let start = self.data_offset.saturating_add(info.offset);
        (start, start.saturating_add(info.size().unwrap_or(0)))
    }

    fn misaligned(&self, info: &TensorInfo) -> Option<FormatError> {
        (!info.offset.is_multiple_of(self.alignment)).then(|| FormatError::Misaligned {
            name: escape(&info.name),
            offset: info.offset,
            alignment: self.alignment,
        })
    }

    fn out_of_file(&self, info: &TensorInfo, file_len: u64) -> Option<FormatError> {
        let (start, end) = self.range(info);
        (end > file_len).then(|| FormatError::OutOfFile {
            name: escape(&info.name),
            start,
            end,
            file: file_len,
        })
    }

    fn overlaps(&self) -> Vec<FormatError> {
        let mut ranges: Vec<(u64, u64, &TensorInfo)> = self
            .tensors
            .iter()
            .map(|info| (self.range(info), info))
            .filter(|((start, end), _)| start < end)
            .map(|((start, end), info)| (start, end, info))
            .collect();
        ranges.sort_by_key(|&(start, end, _)| (start, end));
        let mut faults = Vec::new();
        // Of the tensors so far, the one that reaches farthest.
        let mut farthest: Option<(u64, &TensorInfo)> = None;
        for (start, end, info) in ranges {
            if let Some((_, first)) = farthest.filter(|(end, _)| start < *end) {
                faults.push(FormatError::Overlap {
                    first: escape(&first.name),
                    second: escape(&info.name),
                    offset: start,
                });
            }
            if farthest.is_none_or(|(reach, _)| end > reach) {
                farthest = Some((end, info));
            }
        }
        faults
    }
}
