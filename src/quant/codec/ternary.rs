//! TQ1_0, TQ2_0, Q1_0, Q2_0: one or two bits an element and one scale.
//!
//! | type | elements | block | value |
//! |---|---|---|---|
//! | TQ1_0 | 256 | five levels a byte in base 3 (48 bytes), four a byte (4 bytes), d: f16 | d * (q - 1) |
//! | TQ2_0 | 256 | levels (64 bytes, stripes of 32), d: f16 | d * (q - 1) |
//! | Q1_0 | 128 | d: f16, levels (16 bytes, bit after bit) | d or -d |
//! | Q2_0 | 64 | d: f16, levels (16 bytes, four consecutive ones a byte) | d * (q - 1) |
//!
//! Layouts: `ggml-common.h`; rounding: `quantize_tq1_0` and so on. The scale is the largest magnitude, for Q1_0 the mean one;
//! the level that Q2_0 has above it is never written.

use super::block32::{self, Block32};
use super::number::{inverse, read_f16, write_f16};
use super::{decode_blocks, planes};
use crate::quant::{Codec, Encode};
use fearless_simd::{Simd, dispatch};

pub(in crate::quant) static TQ1_0: Codec = Codec {
    decode: decode_blocks!(decode_tq1_0),
    encode: Some(Encode::Any(|isa, row, _, blocks| {
        dispatch!(isa.level(), simd => encode_tq1_0(simd, row, blocks));
    })),
};

pub(in crate::quant) static TQ2_0: Codec = Codec {
    decode: decode_blocks!(decode_tq2_0),
    encode: Some(Encode::Any(|isa, row, _, blocks| {
        dispatch!(isa.level(), simd => encode_tq2_0(simd, row, blocks));
    })),
};

pub(in crate::quant) static Q1_0: Codec = Codec {
    decode: decode_blocks!(decode_q1_0),
    encode: Some(Encode::Any(|isa, row, _, blocks| {
        dispatch!(isa.level(), simd => encode_q1_0(simd, row, blocks));
    })),
};

pub(in crate::quant) static Q2_0: Codec = Codec {
    decode: decode_blocks!(decode_q2_0),
    encode: Some(Encode::Any(|isa, row, _, blocks| {
        dispatch!(isa.level(), simd => encode_q2_0(simd, row, blocks));
    })),
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

#[inline(always)]
fn encode_tq1_0<S: Simd>(simd: S, row: &[f32], blocks: &mut [u8]) {
    for (x, block) in row.as_chunks().0.iter().zip(blocks.as_chunks_mut::<54>().0) {
        let (d, levels) = ternary::<S, 256>(simd, x, 1);
        let (first, rest) = levels.split_at(5 * 32);
        let (second, last) = rest.split_at(5 * 16);
        in_base_three(first, &mut block[..32]);
        in_base_three(second, &mut block[32..48]);
        in_base_three(last, &mut block[48..52]);
        [block[52], block[53]] = write_f16(d);
    }
}

#[inline(always)]
fn encode_tq2_0<S: Simd>(simd: S, row: &[f32], blocks: &mut [u8]) {
    for (x, block) in row.as_chunks().0.iter().zip(blocks.as_chunks_mut::<66>().0) {
        let (d, levels) = ternary::<S, 256>(simd, x, 1);
        planes::pack::<2, 32>(&levels, &mut block[..64]);
        [block[64], block[65]] = write_f16(d);
    }
}

#[inline(always)]
fn encode_q2_0<S: Simd>(simd: S, row: &[f32], blocks: &mut [u8]) {
    for (x, block) in row.as_chunks().0.iter().zip(blocks.as_chunks_mut::<18>().0) {
        let (d, levels) = ternary::<S, 64>(simd, x, 0);
        [block[0], block[1]] = write_f16(d);
        planes::pack::<2, 1>(&levels, &mut block[2..]);
    }
}

#[inline(always)]
fn encode_q1_0<S: Simd>(_: S, row: &[f32], blocks: &mut [u8]) {
    for (x, block) in row
        .as_chunks::<128>()
        .0
        .iter()
        .zip(blocks.as_chunks_mut::<18>().0)
    {
        let sum = x.iter().fold(0.0, |sum, v| sum + v.abs());
        [block[0], block[1]] = write_f16(sum / 128.0);
        planes::pack::<1, 1>(&x.map(|v| u8::from(v >= 0.0)), &mut block[2..]);
    }
}

/// The largest magnitude as the scale, and the level of each element, 1 for zero. All are at `without_scale` where the
/// inverse of the scale is no number.
#[inline(always)]
fn ternary<S: Simd, const LEN: usize>(simd: S, x: &[f32; LEN], without_scale: u8) -> (f32, [u8; LEN]) {
    let mut levels = [without_scale; LEN];
    let parts = x.as_chunks::<{ block32::LEN }>().0;
    let largest = parts.iter().fold(0.0f32, |largest, x| {
        largest.max(Block32::load(simd, x).largest_magnitude())
    });
    if let Some(inverse) = inverse(largest) {
        for (x, levels) in parts.iter().zip(levels.as_chunks_mut().0) {
            *levels = Block32::load(simd, x)
                .round_half_away(inverse)
                .map(|level| level.wrapping_add(1));
        }
    }
    (largest, levels)
}

/// Runs of levels to bytes as [`base_three`] reads them; a fifth run that is not there counts as zeros.
#[inline(always)]
fn in_base_three(levels: &[u8], bytes: &mut [u8]) {
    let stripe = bytes.len();
    for (i, byte) in bytes.iter_mut().enumerate() {
        let digit = |run: usize| u16::from(levels.get(run * stripe + i).copied().unwrap_or(0));
        let number = (0..5).fold(0, |number, run| 3 * number + digit(run));
        *byte = (number * 256).div_ceil(243) as u8;
    }
}
