//! MXFP4 and NVFP4: 4-bit floats (E2M1) with a power of two or an 8-bit float as scale.
//!
//! MXFP4: 32 elements; scale: E8M0 byte, levels (16 bytes). NVFP4: 4 groups of 16 elements; scales: 4 unsigned E4M3
//! bytes, levels (32 bytes, stripes of 8). Layouts: `ggml-common.h`; scales: `ggml-impl.h`; rounding: `quantize_mxfp4`,
//! `quantize_nvfp4`.

use super::search::low_bytes;
use super::{decode_blocks, planes};
use crate::quant::{Codec, Encode};
use fearless_simd::{Select, Simd, SimdBase, SimdFloat, SimdFrom, dispatch, f32x16};

/// The values of E2M1, doubled to be integers; the scales are halved in turn.
#[rustfmt::skip]
const DOUBLED: [f32; 16] = [0., 1., 2., 3., 4., 6., 8., 12., 0., -1., -2., -3., -4., -6., -8., -12.];

pub(in crate::quant) static MXFP4: Codec = Codec {
    decode: decode_blocks!(decode_mxfp4),
    encode: Some(Encode::Any(|isa, row, _, blocks| {
        dispatch!(isa.level(), simd => encode_mxfp4(simd, row, blocks));
    })),
};

pub(in crate::quant) static NVFP4: Codec = Codec {
    decode: decode_blocks!(decode_nvfp4),
    encode: Some(Encode::Any(|isa, row, _, blocks| {
        dispatch!(isa.level(), simd => encode_nvfp4(simd, row, blocks));
    })),
};

#[inline(always)]
fn decode_mxfp4<S: Simd>(simd: S, &[exponent, ref levels @ ..]: &[u8; 17], out: &mut [f32; 32]) {
    for (v, q) in out.iter_mut().zip(planes::unpack::<4, 16, 32>(levels)) {
        *v = DOUBLED[usize::from(q)];
    }
    planes::scale(simd, out, half_of_e8m0(exponent));
}

#[inline(always)]
fn decode_nvfp4<S: Simd>(simd: S, &[s0, s1, s2, s3, ref levels @ ..]: &[u8; 36], out: &mut [f32; 64]) {
    for (v, q) in out.iter_mut().zip(planes::unpack::<4, 8, 64>(levels)) {
        *v = DOUBLED[usize::from(q)];
    }
    for (group, scale) in out.as_chunks_mut::<16>().0.iter_mut().zip([s0, s1, s2, s3]) {
        planes::scale(simd, group, half_of_e4m3(scale));
    }
}

/// 2^(`exponent` - 128). ggml gives the byte 255, a NaN by the format's specification, no special meaning.
#[inline(always)]
fn half_of_e8m0(exponent: u8) -> f32 {
    f32::from_bits(match exponent {
        0 => 0x0020_0000,
        1 => 0x0040_0000,
        normal => u32::from(normal - 1) << 23,
    })
}

/// Half of an E4M3's value without its sign bit. 0x7f, the format's NaN, counts as 0.
#[inline(always)]
fn half_of_e4m3(bits: u8) -> f32 {
    let (exponent, fraction) = (bits >> 3 & 0x0f, f32::from(bits & 7));
    match (bits, exponent) {
        (0x7f, _) => 0.0,
        (_, 0) => fraction / 1024.0,
        _ => (8.0 + fraction) * f32::from_bits((u32::from(exponent) + 127 - 11) << 23),
    }
}

#[inline(always)]
fn encode_mxfp4<S: Simd>(simd: S, row: &[f32], blocks: &mut [u8]) {
    for (x, block) in row.as_chunks::<32>().0.iter().zip(blocks.as_chunks_mut::<17>().0) {
        let exponent = e8m0(largest_magnitude(x));
        let mut levels = [0; 32];
        for (x, levels) in x.as_chunks().0.iter().zip(levels.as_chunks_mut().0) {
            *levels = nearest(simd, x, half_of_e8m0(exponent));
        }
        block[0] = exponent;
        planes::pack::<4, 16>(&levels, &mut block[1..]);
    }
}

#[inline(always)]
fn encode_nvfp4<S: Simd>(simd: S, row: &[f32], blocks: &mut [u8]) {
    for (x, block) in row.as_chunks::<64>().0.iter().zip(blocks.as_chunks_mut::<36>().0) {
        let (scales, bytes) = block.split_at_mut(4);
        let mut levels = [0; 64];
        let groups = x.as_chunks().0.iter().zip(levels.as_chunks_mut().0);
        for ((x, levels), scale) in groups.zip(scales) {
            *scale = e4m3(largest_magnitude(x) / 6.0);
            *levels = nearest(simd, x, half_of_e4m3(*scale));
        }
        planes::pack::<4, 8>(&levels, bytes);
    }
}

#[inline(always)]
fn largest_magnitude(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |largest, v| v.abs().max(largest))
}

/// The levels whose values, times `half`, are nearest; of two as near that of the smaller magnitude.
#[inline(always)]
fn nearest<S: Simd>(simd: S, x: &[f32; 16], half: f32) -> [u8; 16] {
    let x = f32x16::simd_from(simd, *x);
    let magnitude = x.abs();
    let mut level = f32x16::splat(simd, 0.0);
    let mut best = magnitude;
    for (i, value) in (1u8..8).zip(&DOUBLED[1..8]) {
        let miss = (f32x16::splat(simd, value * half) - magnitude).abs();
        let closer = miss.simd_lt(best);
        level = closer.select(f32x16::splat(simd, f32::from(i)), level);
        best = closer.select(miss, best);
    }
    let signed = x.simd_lt(0.0) & level.simd_gt(0.0);
    low_bytes(signed.select(level + 8.0, level).to_int())
}

/// The exponent whose largest value, 6 times its power of two, is in the binade of `largest`, as ggml finds it: by a logarithm
/// that is rounded to f32, and modulo 256.
#[inline(always)]
fn e8m0(largest: f32) -> u8 {
    if largest == 0.0 {
        return 0;
    }
    ((f64::from(largest).log2() as f32).floor() as i32 as u8).wrapping_add(127 - 2)
}

/// The unsigned E4M3 nearest to `value`, which is not negative, halves up. ggml leaves the highest exponent but its
/// largest number, 448, unused: that stands for everything that rounds to 256 or more.
#[inline(always)]
fn e4m3(value: f32) -> u8 {
    const LARGEST: u8 = 0x7e;
    let bits = value.to_bits();
    let smallest_normal = f32::from_bits((127 - 6) << 23);
    if value < smallest_normal {
        // Multiples of 2^-9. What would round to the first normal number stays below it.
        return ((value * 512.0 + 0.5) as u8).min(7);
    }
    // Three bits of the fraction stay. A carry runs into the exponent.
    let rounded = ((bits + (1 << 19)) >> 20) - ((127 - 7) << 3);
    if rounded < 15 << 3 { rounded as u8 } else { LARGEST }
}
