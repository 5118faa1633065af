//! Q8_0, Q8_1, Q8_K: a byte an element.
//!
//! | type | elements | block | value |
//! |---|---|---|---|
//! | Q8_0 | 32 | d: f16, levels (32 signed bytes) | d * q |
//! | Q8_1 | 32 | d: f16, d times the sum of the levels: f16, levels | d * q |
//! | Q8_K | 256 | d: f32, levels (256 signed bytes), sums of 16 levels each (16 i16) | d * q |
//!
//! Only Q8_0 is stored in files; the other two are what llama.cpp multiplies with. Layouts: `ggml-common.h`; rounding:
//! `quantize_q8_0`, halves away from zero.

use super::number::{inverse, largest_magnitude, read_f16, write_f16};
use super::{decode_each, encode_each};
use crate::quant::Codec;

const LEN: usize = 32;

pub(in crate::quant) static Q8_0: Codec = Codec {
    decode: |path, blocks, out| {
        decode_each(
            path,
            blocks,
            out,
            #[inline(always)]
            |&[d0, d1, ref levels @ ..]: &[u8; 34], out: &mut [f32; LEN]| {
                scaled(read_f16([d0, d1]), levels, out);
            },
        );
    },
    encode: Some(|path, row, _, blocks| {
        encode_each(
            path,
            row,
            blocks,
            #[inline(always)]
            |row: &[f32; LEN], [d0, d1, levels @ ..]: &mut [u8; 34]| {
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

pub(in crate::quant) static Q8_1: Codec = Codec {
    decode: |path, blocks, out| {
        decode_each(
            path,
            blocks,
            out,
            #[inline(always)]
            |block: &[u8; 36], out: &mut [f32; LEN]| scaled(read_f16([block[0], block[1]]), &block[4..], out),
        );
    },
    encode: None,
};

pub(in crate::quant) static Q8_K: Codec = Codec {
    decode: |path, blocks, out| {
        decode_each(
            path,
            blocks,
            out,
            #[inline(always)]
            |&[d0, d1, d2, d3, ref levels @ ..]: &[u8; 292], out: &mut [f32; 256]| {
                scaled(f32::from_le_bytes([d0, d1, d2, d3]), levels, out);
            },
        );
    },
    encode: None,
};

#[inline(always)]
fn scaled(d: f32, levels: &[u8], out: &mut [f32]) {
    for (v, q) in out.iter_mut().zip(levels) {
        *v = f32::from(*q as i8) * d;
    }
}

/// The nearest integer, halves away from zero: the number before 1/2 carries every half over and nothing below it.
#[inline(always)]
fn round_half_away(value: f32) -> i32 {
    (value + 0.5f32.next_down().copysign(value)) as i32
}
