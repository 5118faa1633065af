//! F32, F16, BF16: types without blocks, little-endian.
//!
//! Narrowing rounds to nearest, ties to even. A NaN stays a NaN (made quiet, as ggml does).

use super::number::{read_f16, write_f16};
use super::{decode_each, encode_each};
use crate::quant::Codec;

pub(in crate::quant) static F32: Codec = Codec {
    decode: |path, blocks, out| decode_each(path, blocks, out, |b, [v]| *v = f32::from_le_bytes(*b)),
    encode: Some(|path, row, _, blocks| encode_each(path, row, blocks, |[v], b| *b = v.to_le_bytes())),
};

pub(in crate::quant) static F16: Codec = Codec {
    decode: |path, blocks, out| decode_each(path, blocks, out, |b, [v]| *v = read_f16(*b)),
    encode: Some(|path, row, _, blocks| encode_each(path, row, blocks, |[v], b| *b = write_f16(*v))),
};

pub(in crate::quant) static BF16: Codec = Codec {
    decode: |path, blocks, out| {
        decode_each(path, blocks, out, |b, [v]| {
            *v = f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16);
        });
    },
    encode: Some(|path, row, _, blocks| {
        encode_each(path, row, blocks, |[v], b| *b = bf16_bits(*v).to_le_bytes());
    }),
};

/// The bf16 nearest to `value`, ties to even, as bits.
#[inline(always)]
fn bf16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    let quiet = (bits >> 16) | 0x40;
    (if value.is_nan() { quiet } else { rounded }) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    #[test]
    fn bf16_rounds_as_the_half_crate_does() {
        for high in 0..=u16::MAX {
            for low in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let value = f32::from_bits(u32::from(high) << 16 | low);
                assert_eq!(bf16_bits(value), bf16::from_f32(value).to_bits(), "{value:?}");
            }
        }
    }
}
