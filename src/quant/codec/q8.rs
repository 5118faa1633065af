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
use super::number::{halves, inverse, read_f16, write_f16};
use super::{decode_blocks, planes};
use crate::quant::fused::{self, Chunk, top, words};
use crate::quant::levels::Levels;
use crate::quant::{Codec, Encode};
use fearless_simd::{Simd, SimdBase, dispatch, f32x8};

pub(in crate::quant) static Q8_0: Codec = Codec {
    decode: decode_blocks!(decode_q8_0, levels, 32, 8),
    encode: Some(Encode::Any(
        |isa, row, _, blocks| dispatch!(isa.level(), simd => encode(simd, row, blocks)),
    )),
};

pub(in crate::quant) static Q8_1: Codec = Codec {
    decode: decode_blocks!(decode_q8_1),
    encode: None,
};

pub(in crate::quant) static Q8_K: Codec = Codec {
    decode: decode_blocks!(decode_q8_k),
    encode: None,
};

#[inline(always)]
fn decode_q8_0<S: Simd>(simd: S, &[d0, d1, ref levels @ ..]: &[u8; 34], out: &mut [f32; LEN]) {
    planes::scaled_signed(simd, levels, read_f16([d0, d1]), out);
}

#[inline(always)]
fn levels<S: Simd>(_: S, &[d0, d1, ref levels @ ..]: &[u8; 34], place: usize, out: &mut Levels) {
    let d = read_f16([d0, d1]);
    // Signed levels, moved to be unsigned.
    out.put(place, &levels.map(|level| level ^ 0x80), d, -128.0 * d);
}

/// Blocks of Q8_0 that are multiplied while they are decoded.
pub(in crate::quant) struct Fused;

impl fused::Fused<34, 1, 1> for Fused {
    /// d, and anything.
    type Scales = [f32; 2];
    type Levels = ();

    #[inline(always)]
    fn scales<S: Simd>(simd: S, &[d0, d1, q0, q1, ..]: &[u8; 34]) -> [f32; 2] {
        halves(simd, [d0, d1, q0, q1])
    }

    #[inline(always)]
    fn unit<S: Simd>(simd: S, block: &[u8; 34], [d, _]: &[f32; 2], _: usize) -> [Chunk<S>; 1] {
        let scale = f32x8::splat(simd, *d * top(simd));
        [Chunk::scaled(words(simd, &block[2..]), scale)]
    }

    #[inline(always)]
    fn numbers<S: Simd>(
        simd: S,
        block: &[u8; 34],
        [d, _]: &[f32; 2],
        (): &(),
        _: usize,
    ) -> [fused::InOrder<S>; 1] {
        let levels = block[2..].as_chunks().0;
        [[
            planes::signed(simd, &levels[0]) * *d,
            planes::signed(simd, &levels[1]) * *d,
        ]]
    }
}

#[inline(always)]
fn decode_q8_1<S: Simd>(simd: S, &[d0, d1, _, _, ref levels @ ..]: &[u8; 36], out: &mut [f32; LEN]) {
    planes::scaled_signed(simd, levels, read_f16([d0, d1]), out);
}

#[inline(always)]
fn decode_q8_k<S: Simd>(simd: S, &[d0, d1, d2, d3, ref rest @ ..]: &[u8; 292], out: &mut [f32; 256]) {
    planes::scaled_signed(simd, &rest[..256], f32::from_le_bytes([d0, d1, d2, d3]), out);
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
