//! Q4_0, Q4_1, Q5_0, Q5_1, Q8_0: 32 elements and one scale, without a super-block.
//!
//! | type | block | value |
//! |---|---|---|
//! | Q4_0 | d: f16, 16 bytes of nibbles | d * (q - 8) |
//! | Q4_1 | d, m: f16, 16 bytes of nibbles | d * q + m |
//! | Q5_0 | d: f16, fifth bits: u32, 16 bytes of nibbles | d * (q - 16) |
//! | Q5_1 | d, m: f16, fifth bits: u32, 16 bytes of nibbles | d * q + m |
//! | Q8_0 | d: f16, 32 signed bytes | d * q |
//!
//! Byte `i` of the nibbles holds element `i` in its low half and element `i + 16` in its high half; bit `i` of the fifth
//! bits belongs to element `i`. Layouts: `ggml-common.h`; rounding: the `quantize_row_*_ref` of `ggml-quants.c`.

use super::number::{read_f16, write_f16};
use super::{decode_each, encode_each, planes};
use crate::quant::Codec;

/// Elements a block.
const LEN: usize = 32;

pub(in crate::quant) static Q4_0: Codec = Codec {
    decode: |path, blocks, out| {
        decode_each(
            path,
            blocks,
            out,
            #[inline(always)]
            |&[d0, d1, ref nibbles @ ..]: &[u8; 18], out| {
                let d = read_f16([d0, d1]);
                *out = planes::unpack::<4, 16, LEN>(nibbles).map(|q| (f32::from(q) - 8.0) * d);
            },
        );
    },
    encode: Some(|path, row, _, blocks| {
        encode_each(
            path,
            row,
            blocks,
            #[inline(always)]
            |row, [d0, d1, nibbles @ ..]: &mut [u8; 18]| {
                let (d, levels) = symmetric::<8>(row);
                [*d0, *d1] = write_f16(d);
                planes::pack::<4, 16>(&levels, nibbles);
            },
        );
    }),
};

pub(in crate::quant) static Q4_1: Codec = Codec {
    decode: |path, blocks, out| {
        decode_each(
            path,
            blocks,
            out,
            #[inline(always)]
            |&[d0, d1, m0, m1, ref nibbles @ ..]: &[u8; 20], out| {
                let (d, m) = (read_f16([d0, d1]), read_f16([m0, m1]));
                *out = planes::unpack::<4, 16, LEN>(nibbles).map(|q| f32::from(q) * d + m);
            },
        );
    },
    encode: None,
};

pub(in crate::quant) static Q5_0: Codec = Codec {
    decode: |path, blocks, out| {
        decode_each(
            path,
            blocks,
            out,
            #[inline(always)]
            |&[d0, d1, h0, h1, h2, h3, ref nibbles @ ..]: &[u8; 22], out| {
                let d = read_f16([d0, d1]);
                let fifth = u32::from_le_bytes([h0, h1, h2, h3]);
                *out = unpack(nibbles, fifth).map(|q| (f32::from(q) - 16.0) * d);
            },
        );
    },
    encode: None,
};

pub(in crate::quant) static Q5_1: Codec = Codec {
    decode: |path, blocks, out| {
        decode_each(
            path,
            blocks,
            out,
            #[inline(always)]
            |&[d0, d1, m0, m1, h0, h1, h2, h3, ref nibbles @ ..]: &[u8; 24], out| {
                let (d, m) = (read_f16([d0, d1]), read_f16([m0, m1]));
                let fifth = u32::from_le_bytes([h0, h1, h2, h3]);
                *out = unpack(nibbles, fifth).map(|q| f32::from(q) * d + m);
            },
        );
    },
    encode: None,
};

pub(in crate::quant) static Q8_0: Codec = Codec {
    decode: |path, blocks, out| {
        decode_each(
            path,
            blocks,
            out,
            #[inline(always)]
            |&[d0, d1, ref levels @ ..]: &[u8; 34], out: &mut [f32; LEN]| {
                let d = read_f16([d0, d1]);
                for (v, q) in out.iter_mut().zip(levels) {
                    *v = f32::from(*q as i8) * d;
                }
            },
        );
    },
    encode: Some(|path, row, _, blocks| {
        encode_each(
            path,
            row,
            blocks,
            #[inline(always)]
            |row, [d0, d1, levels @ ..]: &mut [u8; 34]| {
                let d = largest_magnitude(row) / 127.0;
                [*d0, *d1] = write_f16(d);
                let id = inverse(d).unwrap_or(0.0);
                for (q, v) in levels.iter_mut().zip(row) {
                    *q = round_half_away(v * id) as u8;
                }
            },
        );
    }),
};

/// The levels in the nibbles, with a fifth bit above each.
#[inline(always)]
fn unpack(nibbles: &[u8; LEN / 2], fifth: u32) -> [u8; LEN] {
    let mut levels = planes::unpack::<4, 16, LEN>(nibbles);
    for (i, level) in levels.iter_mut().enumerate() {
        *level |= ((fifth >> i & 1) as u8) << 4;
    }
    levels
}

/// Scale and levels from 0 to 2 * `ZERO` - 1 such that the element largest in magnitude falls on level 0: the range
/// reaches one step further below zero than above.
#[inline(always)]
fn symmetric<const ZERO: u8>(x: &[f32; LEN]) -> (f32, [u8; LEN]) {
    let zero = f32::from(ZERO);
    let amax = largest_magnitude(x);
    // Of two equal in magnitude the first decides.
    let (mut above, mut below) = (false, false);
    for v in x {
        above |= *v == amax;
        below |= *v == -amax;
    }
    let negative = if above && below {
        x.iter().find(|v| v.abs() == amax).is_some_and(|v| *v < 0.0)
    } else {
        below
    };
    let extreme = if negative { -amax } else { amax };
    let d = extreme / -zero;
    let Some(id) = inverse(d) else {
        return (d, [0; LEN]);
    };
    // The sum is positive, so that truncation rounds to nearest.
    (
        d,
        x.map(|v| ((v * id + (zero + 0.5)) as i32 as u8).min(2 * ZERO - 1)),
    )
}

/// 1 / `d`, where 0 stands for the inverse of 0; `None` where it overflows. ggml's conversion of the then infinite
/// quotients gives level 0 for every element.
#[inline(always)]
fn inverse(d: f32) -> Option<f32> {
    let id = if d == 0.0 { 0.0 } else { 1.0 / d };
    id.is_finite().then_some(id)
}

/// The largest magnitude. Without a NaN the bits of magnitudes are in the order of their values.
#[inline(always)]
fn largest_magnitude(x: &[f32; LEN]) -> f32 {
    let bits = x
        .iter()
        .fold(0, |largest, v| (v.to_bits() & 0x7fff_ffff).max(largest));
    f32::from_bits(bits)
}

/// The nearest integer, halves away from zero: the number before 1/2 carries every half over and nothing below it.
#[inline(always)]
fn round_half_away(value: f32) -> i32 {
    (value + 0.5f32.next_down().copysign(value)) as i32
}
