//! F32, F16, BF16: types without blocks, little-endian.
//!
//! Narrowing rounds to nearest, ties to even. A NaN stays a NaN (made quiet in BF16, as ggml does).

use crate::quant::Codec;
use half::{bf16, f16};

pub(in crate::quant) static F32: Codec = Codec {
    decode: |blocks, out| {
        for (bytes, v) in blocks.as_chunks().0.iter().zip(out) {
            *v = f32::from_le_bytes(*bytes);
        }
    },
    encode: Some(|row, _, blocks| {
        for (v, bytes) in row.iter().zip(blocks.as_chunks_mut().0) {
            *bytes = v.to_le_bytes();
        }
    }),
};

pub(in crate::quant) static F16: Codec = Codec {
    decode: |blocks, out| {
        for (bytes, v) in blocks.as_chunks().0.iter().zip(out) {
            *v = f16::from_le_bytes(*bytes).to_f32();
        }
    },
    encode: Some(|row, _, blocks| {
        for (v, bytes) in row.iter().zip(blocks.as_chunks_mut().0) {
            *bytes = f16::from_f32(*v).to_le_bytes();
        }
    }),
};

pub(in crate::quant) static BF16: Codec = Codec {
    decode: |blocks, out| {
        for (bytes, v) in blocks.as_chunks().0.iter().zip(out) {
            *v = bf16::from_le_bytes(*bytes).to_f32();
        }
    },
    encode: Some(|row, _, blocks| {
        for (v, bytes) in row.iter().zip(blocks.as_chunks_mut().0) {
            *bytes = bf16::from_f32(*v).to_le_bytes();
        }
    }),
};
