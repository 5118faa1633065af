//! F32, F16, BF16: types without blocks, little-endian.
//!
//! Narrowing rounds to nearest, ties to even. A NaN stays a NaN (made quiet, as ggml does).

use super::number::{f16_bits, f16_value};
use super::{decode_elements, encode_each};
use crate::quant::{Codec, Encode};

pub(in crate::quant) static F32: Codec = Codec {
    decode: decode_elements!(f32::from_le_bytes),
    encode: Some(Encode::Any(|isa, row, _, bytes| {
        encode_each(isa, row, bytes, f32::to_le_bytes)
    })),
};

pub(in crate::quant) static F16: Codec = Codec {
    decode: decode_elements!(|b| f16_value(u16::from_le_bytes(b))),
    encode: Some(Encode::Any(|isa, row, _, bytes| {
        encode_each(isa, row, bytes, |v| f16_bits(v).to_le_bytes())
    })),
};

pub(in crate::quant) static BF16: Codec = Codec {
    decode: decode_elements!(|b| bf16_value(u16::from_le_bytes(b))),
    encode: Some(Encode::Any(|isa, row, _, bytes| {
        encode_each(isa, row, bytes, |v| bf16_bits(v).to_le_bytes())
    })),
};

#[inline(always)]
fn bf16_value(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

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
