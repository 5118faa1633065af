//! Which type each tensor gets.

use super::options::OutType;
use crate::quant::GgmlType;

/// A settled output type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileType {
    /// The type of every tensor that takes the output type.
    pub main: GgmlType,
    /// The number of `general.file_type` (`enum llama_ftype`).
    pub id: u32,
    /// Type of a tied embedding.
    embedding: GgmlType,
}

impl OutType {
    /// The output type, `first` being the source type of the first matrix.
    pub(super) fn settle(self, first: Option<GgmlType>, pure: bool) -> FileType {
        let main = match self {
            OutType::Auto if first == Some(GgmlType::BF16) => GgmlType::BF16,
            OutType::Auto | OutType::F16 => GgmlType::F16,
            OutType::F32 => GgmlType::F32,
            OutType::BF16 => GgmlType::BF16,
            OutType::Q8_0 => GgmlType::Q8_0,
            OutType::Q4_0 => GgmlType::Q4_0,
        };
        let (id, embedding) = match main {
            GgmlType::F32 => (0, main),
            GgmlType::F16 => (1, main),
            GgmlType::Q4_0 => (2, if pure { main } else { GgmlType::Q6_K }),
            GgmlType::Q8_0 => (7, main),
            _ => (32, main),
        };
        FileType { main, id, embedding }
    }
}

impl FileType {
    /// The type of a tensor with rows of `row_len` elements.
    pub(super) fn of(self, is_embedding: bool, row_len: u64) -> GgmlType {
        let wanted = if is_embedding { self.embedding } else { self.main };
        // llama-quantize's and convert_hf_to_gguf's fallbacks for rows that are no whole number of blocks.
        let fallbacks: &[GgmlType] = match wanted {
            GgmlType::Q6_K => &[GgmlType::Q6_K, GgmlType::Q8_0],
            _ => std::slice::from_ref(&wanted),
        };
        fallbacks
            .iter()
            .copied()
            .find(|ty| ty.fits_row(row_len))
            .unwrap_or(GgmlType::F16)
    }
}
