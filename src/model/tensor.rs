//! Tensors in their stored form.

use crate::quant::GgmlType;

/// A tensor as it is stored. Nothing is decoded until rows are asked for.
#[derive(Debug, Clone)]
pub struct Tensor<'a> {
    /// Type of the elements.
    pub ty: GgmlType,
    /// Lengths, outermost first: a matrix is `[rows, cols]`.
    pub shape: Vec<usize>,
    /// The blocks of one row behind those of the other.
    pub data: &'a [u8],
}

impl Tensor<'_> {
    /// The elements of a tensor of 32- or 64-bit integers; `None` for other types.
    pub fn integers(&self) -> Option<Vec<i64>> {
        match self.ty {
            GgmlType::I32 => {
                let elements = self.data.as_chunks().0.iter();
                Some(elements.map(|b| i32::from_le_bytes(*b).into()).collect())
            }
            GgmlType::I64 => {
                let elements = self.data.as_chunks().0.iter();
                Some(elements.map(|b| i64::from_le_bytes(*b)).collect())
            }
            _ => None,
        }
    }
}
