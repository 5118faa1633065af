//! A tensor of an output file: its place, its type, and where its numbers come from.

use super::Rows;
use crate::gguf::{self, FormatError, Gguf, GgufError, TensorInfo, TensorSpec};
use crate::io::mapped::MappedFile;
use crate::quant::GgmlType;
use crate::text::escape;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// Where the numbers of an output tensor come from.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    /// In words: the checkpoint's tensor, the target's, or how it is computed.
    pub origin: String,
    /// The file, for messages.
    pub path: &'a Path,
    /// Type of the elements.
    pub ty: GgmlType,
    /// The elements.
    pub data: Data<'a>,
    /// Whether they are in the other byte order than the output's; then the type stays as it is.
    pub swap: bool,
    /// In which order the rows go into the output, where it is another.
    pub rows: Option<Rows>,
}

impl<'a> Source<'a> {
    /// A tensor of the GGUF at `path`, under this name in words.
    pub(crate) fn of_gguf(origin: impl Into<String>, path: &'a Path, tensor: gguf::Tensor<'a>) -> Source<'a> {
        Source {
            origin: origin.into(),
            path,
            ty: tensor.ty,
            data: Data::Mapped {
                file: tensor.file,
                bytes: tensor.data,
            },
            swap: false,
            rows: None,
        }
    }

    /// Numbers computed for the output; `path` is the input that asks for them.
    pub(crate) fn computed(path: &'a Path, numbers: &[f32]) -> Source<'a> {
        Source {
            origin: "computed".to_owned(),
            path,
            ty: GgmlType::F32,
            data: Data::Computed(numbers.iter().flat_map(|v| v.to_le_bytes()).collect()),
            swap: false,
            rows: None,
        }
    }

    /// The elements in the order of the output, where they are here.
    pub(crate) fn in_order(&self) -> Option<Cow<'_, [u8]>> {
        let data = self.data.here()?;
        let Some(rows) = self.rows else {
            return Some(Cow::Borrowed(data));
        };
        let mut bytes = Vec::with_capacity(data.len());
        rows.gather(data, 0, data.len(), &mut bytes)?;
        Some(Cow::Owned(bytes))
    }
}

/// The elements of a source.
#[derive(Debug, Clone)]
pub enum Data<'a> {
    /// As they stand in a file.
    Mapped {
        /// The file.
        file: &'a MappedFile,
        /// The part of it.
        bytes: &'a [u8],
    },
    /// Made for this output.
    Computed(Vec<u8>),
    /// Not here: such a plan can be looked at, and not be carried out.
    Elsewhere,
}

impl Data<'_> {
    /// The bytes, where they are here.
    pub fn here(&self) -> Option<&[u8]> {
        match self {
            Data::Mapped { bytes, .. } => Some(bytes),
            Data::Computed(bytes) => Some(bytes),
            Data::Elsewhere => None,
        }
    }
}

/// A tensor of the output.
#[derive(Debug, Clone)]
pub struct PlannedTensor<'a> {
    /// Name in the output.
    pub name: String,
    /// Lengths, innermost first.
    pub dims: Vec<u64>,
    /// Type in the output.
    pub ty: GgmlType,
    /// Where its numbers come from.
    pub source: Source<'a>,
    /// How blocks are fitted to them.
    pub fit: Fit<'a>,
    /// The type that it would have, did its rows divide into blocks of it.
    pub wanted: GgmlType,
}

/// How blocks are fitted to numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fit<'a> {
    /// As ggml does it.
    Plain,
    /// As ggml does it with a weight for each column of the rows; in turn for each matrix of a stack of them. Where all
    /// weights of a matrix are zero it is fitted without.
    Importance(&'a [f32]),
    /// In Q4_0 such that weights on the grid of a quantization-aware training keep their values.
    Grid,
}

impl<'a> PlannedTensor<'a> {
    /// A tensor whose blocks are fitted as ggml does it.
    pub fn new(
        name: impl Into<String>,
        dims: Vec<u64>,
        ty: GgmlType,
        source: Source<'a>,
    ) -> PlannedTensor<'a> {
        PlannedTensor {
            name: name.into(),
            dims,
            ty,
            source,
            fit: Fit::Plain,
            wanted: ty,
        }
    }

    /// Whether its numbers are encoded in blocks anew.
    pub fn is_quantized_anew(&self) -> bool {
        self.ty.is_quantized() && self.source.ty != self.ty
    }

    /// What the layout needs to know.
    pub fn spec(&self) -> TensorSpec {
        TensorSpec {
            name: self.name.as_str().into(),
            dims: self.dims.clone(),
            ty: self.ty.into(),
            // A row that does not divide into blocks makes the layout fail.
            size: self.size().unwrap_or(u64::MAX),
        }
    }

    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.dims.iter().product()
    }

    /// Bytes of data in the output; `None` where the elements do not divide into blocks.
    pub fn size(&self) -> Option<u64> {
        self.ty.bytes(self.elements())
    }

    /// Elements a row.
    pub fn row_len(&self) -> u64 {
        self.dims.first().copied().unwrap_or(1)
    }

    /// Elements of one matrix of a stack of them, or of all.
    pub(super) fn matrix_len(&self) -> usize {
        let rows = self.dims.get(1).copied().unwrap_or(1);
        self.row_len().saturating_mul(rows) as usize
    }

    /// Of the matrices that it has weights for, how many have zeros alone.
    pub fn matrices_without_importance(&self) -> usize {
        let Fit::Importance(weights) = self.fit else {
            return 0;
        };
        let matrices = weights.chunks(self.row_len().max(1) as usize);
        matrices
            .filter(|matrix| matrix.iter().all(|weight| *weight == 0.0))
            .count()
    }

    /// The weights of the columns for the matrix that holds this element, if they say anything.
    pub(super) fn importance_at(&self, element: usize) -> Option<&'a [f32]> {
        let Fit::Importance(weights) = self.fit else {
            return None;
        };
        let columns = self.row_len() as usize;
        let matrix = element / self.matrix_len().max(1);
        let weights = weights.get(matrix * columns..(matrix + 1) * columns)?;
        weights.iter().any(|weight| *weight > 0.0).then_some(weights)
    }
}

/// Which tensors have another type than was wanted since their rows do not divide into blocks of it, counted by types, and
/// what that costs.
pub fn told_of_fallbacks(tensors: &[PlannedTensor]) -> Vec<String> {
    let mut counts: BTreeMap<(GgmlType, GgmlType), (usize, u64)> = BTreeMap::new();
    for tensor in tensors.iter().filter(|tensor| tensor.ty != tensor.wanted) {
        let (count, elements) = counts.entry((tensor.wanted, tensor.ty)).or_default();
        *count += 1;
        *elements += tensor.elements();
    }
    let all: u64 = tensors.iter().map(PlannedTensor::elements).sum();
    let told = counts.into_iter().map(|((wanted, ty), (count, elements))| {
        let cost = (ty.bits_per_weight() - wanted.bits_per_weight()) * elements as f64 / all.max(1) as f64;
        let (verb, rows) = if count == 1 {
            ("is", "its rows do")
        } else {
            ("are", "their rows do")
        };
        format!(
            "{count} of {} tensors {verb} {ty} in place of {wanted}: {rows} not divide into blocks of {}; \
             {:.2} bits per weight in place of {:.2}, {cost:+.2} over the whole file",
            tensors.len(),
            wanted.block_len(),
            ty.bits_per_weight(),
            wanted.bits_per_weight(),
        )
    });
    told.collect()
}

/// Tensors of a GGUF as they are, but for their lengths, which `dims` tells.
pub(crate) fn kept<'a>(
    gguf: &'a Gguf,
    infos: impl Iterator<Item = &'a TensorInfo>,
    dims: impl Fn(&TensorInfo) -> Vec<u64>,
) -> Result<Vec<PlannedTensor<'a>>, GgufError> {
    let mut tensors = Vec::new();
    for info in infos {
        let name = std::str::from_utf8(&info.name).map_err(|_| {
            let name = escape(&info.name);
            gguf.error(FormatError::TensorName { name })
        })?;
        if let Some(tensor) = gguf.tensor(name)? {
            let source = Source::of_gguf(name, gguf.path(), tensor);
            tensors.push(PlannedTensor::new(name, dims(info), tensor.ty, source));
        }
    }
    Ok(tensors)
}
