//! MXFP4 and NVFP4: 4-bit floats (E2M1) with a power of two or an 8-bit float as scale. Read only.
//!
//! MXFP4: 32 elements; scale: E8M0 byte, levels (16 bytes). NVFP4: 4 groups of 16 elements; scales: 4 unsigned E4M3
//! bytes, levels (32 bytes, stripes of 8). Layouts: `ggml-common.h`; scales: `ggml-impl.h`.

use super::{decode_blocks, planes};
use crate::quant::Codec;
use fearless_simd::Simd;

/// The values of E2M1, doubled to be integers; the scales are halved in turn.
#[rustfmt::skip]
const DOUBLED: [f32; 16] = [0., 1., 2., 3., 4., 6., 8., 12., 0., -1., -2., -3., -4., -6., -8., -12.];

pub(in crate::quant) static MXFP4: Codec = Codec {
    decode: decode_blocks!(decode_mxfp4),
    encode: None,
};

pub(in crate::quant) static NVFP4: Codec = Codec {
    decode: decode_blocks!(decode_nvfp4),
    encode: None,
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
