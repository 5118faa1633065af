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

use super::block32::{Block32, LEN};
use super::decode_each;
use super::number::{inverse, read_f16, write_f16};
use crate::quant::Codec;
use fearless_simd::{Simd, dispatch};

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
    encode: Some(|path, row, _, blocks| dispatch!(path.level(), simd => encode(simd, row, blocks))),
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

#[inline(always)]
fn encode<S: Simd>(simd: S, row: &[f32], blocks: &mut [u8]) {
    for (x, block) in row.as_chunks().0.iter().zip(blocks.as_chunks_mut().0) {
        let [d0, d1, levels @ ..]: &mut [u8; 34] = block;
        let x = Block32::load(simd, x);
        let d = x.largest_magnitude() / 127.0;
        [*d0, *d1] = write_f16(d);
        *levels = x.round_half_away(inverse(d).unwrap_or(0.0));
    }
}
