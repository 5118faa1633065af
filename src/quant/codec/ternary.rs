//! TQ1_0, TQ2_0, Q1_0, Q2_0: one or two bits an element and one scale. Read only.
//!
//! | type | elements | block | value |
//! |---|---|---|---|
//! | TQ1_0 | 256 | five levels a byte in base 3 (48 bytes), four a byte (4 bytes), d: f16 | d * (q - 1) |
//! | TQ2_0 | 256 | levels (64 bytes, stripes of 32), d: f16 | d * (q - 1) |
//! | Q1_0 | 128 | d: f16, levels (16 bytes, bit after bit) | d or -d |
//! | Q2_0 | 64 | d: f16, levels (16 bytes, four consecutive ones a byte) | d * (q - 1) |
//!
//! Layouts: `ggml-common.h`.

use super::number::read_f16;
use super::{decode_blocks, planes};
use crate::quant::Codec;
use fearless_simd::Simd;

pub(in crate::quant) static TQ1_0: Codec = Codec {
    decode: decode_blocks!(decode_tq1_0),
    encode: None,
};

pub(in crate::quant) static TQ2_0: Codec = Codec {
    decode: decode_blocks!(decode_tq2_0),
    encode: None,
};

pub(in crate::quant) static Q1_0: Codec = Codec {
    decode: decode_blocks!(decode_q1_0),
    encode: None,
};

pub(in crate::quant) static Q2_0: Codec = Codec {
    decode: decode_blocks!(decode_q2_0),
    encode: None,
};

#[inline(always)]
fn decode_tq1_0<S: Simd>(simd: S, block: &[u8; 54], out: &mut [f32; 256]) {
    let (first, rest) = out.split_at_mut(5 * 32);
    let (second, last) = rest.split_at_mut(5 * 16);
    base_three(&block[..32], first);
    base_three(&block[32..48], second);
    base_three(&block[48..52], last);
    planes::scale(simd, out, read_f16([block[52], block[53]]));
}

#[inline(always)]
fn decode_tq2_0<S: Simd>(simd: S, block: &[u8; 66], out: &mut [f32; 256]) {
    let levels = planes::unpack::<2, 32, 256>(&block[..64]);
    planes::scaled(simd, &levels, 1, read_f16([block[64], block[65]]), out);
}

#[inline(always)]
fn decode_q1_0<S: Simd>(simd: S, &[d0, d1, ref levels @ ..]: &[u8; 18], out: &mut [f32; 128]) {
    for (v, q) in out.iter_mut().zip(planes::unpack::<1, 1, 128>(levels)) {
        *v = if q == 0 { -1.0 } else { 1.0 };
    }
    planes::scale(simd, out, read_f16([d0, d1]));
}

#[inline(always)]
fn decode_q2_0<S: Simd>(simd: S, &[d0, d1, ref levels @ ..]: &[u8; 18], out: &mut [f32; 64]) {
    planes::scaled(
        simd,
        &planes::unpack::<2, 1, 64>(levels),
        1,
        read_f16([d0, d1]),
        out,
    );
}

/// Runs of levels in base 3, less 1 each, the first run in the highest digits. A byte is a fraction of 256, rounded up, so that
/// multiplying by 3 moves the next digit over the top.
#[inline(always)]
fn base_three(bytes: &[u8], out: &mut [f32]) {
    let mut power = 1u8;
    for run in out.chunks_exact_mut(bytes.len()) {
        for (byte, v) in bytes.iter().zip(run) {
            let digit = (u16::from(byte.wrapping_mul(power)) * 3) >> 8;
            *v = f32::from(digit) - 1.0;
        }
        power = power.wrapping_mul(3);
    }
}
