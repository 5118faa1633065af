//! The one table of tensor types. Ids, names, block sizes and codecs are listed here and nowhere else.
//!
//! Ids and block layouts are those of `enum ggml_type` and the block structs of ggml
//! (`ggml.h` and `ggml-common.h` as shipped with llama.cpp in October 2026).

use super::fused::Visit;
use super::{Codec, codec};

/// One row of the table: everything the program knows of a tensor type.
#[derive(Debug)]
struct Row {
    ty: GgmlType,
    name: &'static str,
    block_len: usize,
    block_bytes: usize,
    codec: &'static Codec,
}

macro_rules! table {
    ($($ty:ident = $id:literal, $block_len:literal, $block_bytes:literal, $codec:expr;)*) => {
        /// A tensor type that ggml defines.
        #[allow(non_camel_case_types, missing_docs)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum GgmlType { $($ty = $id),* }

        const TABLE: &[Row] = &[$(Row {
            ty: GgmlType::$ty,
            name: stringify!($ty),
            block_len: $block_len,
            block_bytes: $block_bytes,
            codec: $codec,
        }),*];

        impl GgmlType {
            fn row(self) -> &'static Row {
                match self { $(GgmlType::$ty => const { &TABLE[index_of($id)] }),* }
            }
        }
    };
}

/// Position of the row with this id; evaluated at compile time only.
const fn index_of(id: u32) -> usize {
    let mut i = 0;
    while TABLE[i].ty as u32 != id {
        i += 1;
    }
    i
}

table! {
    // type = id, elements a block, bytes a block, codec
    F32     =  0,   1,   4, &codec::float::F32;
    F16     =  1,   1,   2, &codec::float::F16;
    Q4_0    =  2,  32,  18, &codec::legacy::Q4_0;
    Q4_1    =  3,  32,  20, &codec::legacy::Q4_1;
    Q5_0    =  6,  32,  22, &codec::legacy::Q5_0;
    Q5_1    =  7,  32,  24, &codec::legacy::Q5_1;
    Q8_0    =  8,  32,  34, &codec::q8::Q8_0;
    Q8_1    =  9,  32,  36, &codec::q8::Q8_1;
    Q2_K    = 10, 256,  84, &codec::q2_k::Q2_K;
    Q3_K    = 11, 256, 110, &codec::q3_k::Q3_K;
    Q4_K    = 12, 256, 144, &codec::q45_k::Q4_K;
    Q5_K    = 13, 256, 176, &codec::q45_k::Q5_K;
    Q6_K    = 14, 256, 210, &codec::q6_k::Q6_K;
    Q8_K    = 15, 256, 292, &codec::q8::Q8_K;
    IQ2_XXS = 16, 256,  66, &codec::iq::IQ2_XXS;
    IQ2_XS  = 17, 256,  74, &codec::iq::IQ2_XS;
    IQ3_XXS = 18, 256,  98, &codec::iq::IQ3_XXS;
    IQ1_S   = 19, 256,  50, &codec::iq::IQ1_S;
    IQ4_NL  = 20,  32,  18, &codec::iq4::IQ4_NL;
    IQ3_S   = 21, 256, 110, &codec::iq::IQ3_S;
    IQ2_S   = 22, 256,  82, &codec::iq::IQ2_S;
    IQ4_XS  = 23, 256, 136, &codec::iq4::IQ4_XS;
    I8      = 24,   1,   1, &codec::int::I8;
    I16     = 25,   1,   2, &codec::int::I16;
    I32     = 26,   1,   4, &codec::int::I32;
    I64     = 27,   1,   8, &codec::int::I64;
    F64     = 28,   1,   8, &codec::int::F64;
    IQ1_M   = 29, 256,  56, &codec::iq::IQ1_M;
    BF16    = 30,   1,   2, &codec::float::BF16;
    TQ1_0   = 34, 256,  54, &codec::ternary::TQ1_0;
    TQ2_0   = 35, 256,  66, &codec::ternary::TQ2_0;
    MXFP4   = 39,  32,  17, &codec::fp4::MXFP4;
    NVFP4   = 40,  64,  36, &codec::fp4::NVFP4;
    Q1_0    = 41, 128,  18, &codec::ternary::Q1_0;
    Q2_0    = 42,  64,  18, &codec::ternary::Q2_0;
}

impl GgmlType {
    /// Every type, in order of id.
    pub fn all() -> impl Iterator<Item = GgmlType> {
        TABLE.iter().map(|row| row.ty)
    }

    /// The type with this id, if ggml defines it.
    pub fn from_id(id: u32) -> Option<GgmlType> {
        TABLE.iter().map(|row| row.ty).find(|ty| ty.id() == id)
    }

    /// The type with this name, in any case (`q8_0`, `Q8_0`).
    pub fn from_name(name: &str) -> Option<GgmlType> {
        TABLE
            .iter()
            .find(|row| row.name.eq_ignore_ascii_case(name))
            .map(|row| row.ty)
    }

    /// The number that stands for the type in a GGUF file.
    pub fn id(self) -> u32 {
        self as u32
    }

    /// ggml's name, in capitals: `Q8_0`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Elements a block.
    pub fn block_len(self) -> usize {
        self.row().block_len
    }

    /// Bytes a block.
    pub fn block_bytes(self) -> usize {
        self.row().block_bytes
    }

    /// Bits that an element takes, its share of the block's scales included.
    pub fn bits_per_weight(self) -> f64 {
        self.block_bytes() as f64 * 8.0 / self.block_len() as f64
    }

    /// Whether blocks hold more than one element, that is, whether values share a scale.
    pub fn is_quantized(self) -> bool {
        self.block_len() > 1
    }

    /// Whether the elements are integers, which stand for indices rather than for weights.
    pub fn is_integer(self) -> bool {
        matches!(self, GgmlType::I8 | GgmlType::I16 | GgmlType::I32 | GgmlType::I64)
    }

    /// Whether a row of this many elements divides into whole blocks.
    pub fn fits_row(self, row_len: u64) -> bool {
        row_len.is_multiple_of(self.block_len() as u64)
    }

    /// Bytes that `elements` elements take, or `None` where they are no whole number of blocks or the product overflows.
    pub fn bytes(self, elements: u64) -> Option<u64> {
        if !self.fits_row(elements) {
            return None;
        }
        (elements / self.block_len() as u64).checked_mul(self.block_bytes() as u64)
    }

    /// Shows the format to `visitor` where its blocks can be multiplied while they are decoded.
    pub(crate) fn fused<V: Visit>(self, visitor: V) -> Option<V::Output> {
        Some(match self {
            GgmlType::Q4_0 => visitor.visit::<codec::legacy::Fused<true, 4>, 18, _, _>(),
            GgmlType::Q4_1 => visitor.visit::<codec::legacy::Fused<false, 4>, 20, _, _>(),
            GgmlType::Q5_0 => visitor.visit::<codec::legacy::Fused<true, 5>, 22, _, _>(),
            GgmlType::Q5_1 => visitor.visit::<codec::legacy::Fused<false, 5>, 24, _, _>(),
            GgmlType::Q4_K => visitor.visit::<codec::q45_k::Fused, 144, _, _>(),
            GgmlType::Q5_K => visitor.visit::<codec::q45_k::Fused, 176, _, _>(),
            GgmlType::Q6_K => visitor.visit::<codec::q6_k::Fused, _, _, _>(),
            GgmlType::Q8_0 => visitor.visit::<codec::q8::Fused, _, _, _>(),
            GgmlType::IQ4_NL => visitor.visit::<codec::iq4::FusedNl, _, _, _>(),
            GgmlType::IQ4_XS => visitor.visit::<codec::iq4::FusedXs, _, _, _>(),
            _ => return None,
        })
    }

    pub(super) fn codec(self) -> &'static Codec {
        self.row().codec
    }
}

impl std::fmt::Display for GgmlType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_are_unique_and_found_again() {
        for ty in GgmlType::all() {
            assert_eq!(GgmlType::from_id(ty.id()), Some(ty));
            assert_eq!(GgmlType::from_name(&ty.name().to_lowercase()), Some(ty));
            assert_eq!(ty.row().ty, ty);
        }
        assert_eq!(GgmlType::from_id(4), None);
    }

    #[test]
    fn bytes_want_whole_blocks() {
        assert_eq!(GgmlType::Q8_0.bytes(64), Some(68));
        assert_eq!(GgmlType::Q8_0.bytes(33), None);
        assert_eq!(GgmlType::Q6_K.bytes(512), Some(420));
        assert_eq!(GgmlType::F64.bytes(u64::MAX), None);
    }
}
