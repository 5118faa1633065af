//! Q4_0, Q4_1, Q5_0, Q5_1: 32 elements and one scale, without a super-block.
//!
//! | type | block | value |
//! |---|---|---|
//! | Q4_0 | d: f16, 16 bytes of nibbles | d * (q - 8) |
//! | Q4_1 | d, m: f16, 16 bytes of nibbles | d * q + m |
//! | Q5_0 | d: f16, fifth bits: u32, 16 bytes of nibbles | d * (q - 16) |
//! | Q5_1 | d, m: f16, fifth bits: u32, 16 bytes of nibbles | d * q + m |
//!
//! Byte `i` of the nibbles holds element `i` in its low half and element `i + 16` in its high half; bit `i` of the fifth
//! bits belongs to element `i`. Layouts: `ggml-common.h`; rounding: `quantize_q4_0` and so
//! on.

use super::number::{inverse, largest_magnitude, read_f16, write_f16};
use super::search::{self, Groups, LANES, Trials};
use super::{decode_each, planes};
use crate::quant::Codec;
use fearless_simd::{Simd, dispatch};

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
    encode: Some(|path, row, importance, blocks| {
        dispatch!(path.level(), simd => {
            encode(simd, row, importance, blocks, symmetric::<8>, search_symmetric::<_, 8>, write_q4_0);
        });
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
    encode: Some(|path, row, importance, blocks| {
        dispatch!(path.level(), simd => {
            encode(simd, row, importance, blocks, affine::<15>, search_affine::<_, 15>, write_q4_1);
        });
    }),
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
    encode: Some(|path, row, importance, blocks| {
        dispatch!(path.level(), simd => {
            encode(simd, row, importance, blocks, symmetric::<16>, search_symmetric::<_, 16>, write_q5_0);
        });
    }),
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
    encode: Some(|path, row, importance, blocks| {
        dispatch!(path.level(), simd => {
            encode(simd, row, importance, blocks, affine::<31>, search_affine::<_, 31>, write_q5_1);
        });
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

/// What a block is written from.
struct Fit {
    d: f32,
    /// 0 for the types without a minimum.
    m: f32,
    levels: [u8; LEN],
}

/// Encodes each block by `plain`, or where an importance matrix is given by `weighted` with the weights it makes of the
/// row's mean square.
#[inline(always)]
fn encode<S: Simd, const BYTES: usize>(
    simd: S,
    row: &[f32],
    importance: Option<&[f32]>,
    blocks: &mut [u8],
    plain: impl Fn(&[f32; LEN]) -> Fit,
    weighted: impl Fn(S, &Groups<LEN>, &Groups<LEN>) -> [Fit; LANES],
    write: impl Fn(&Fit, &mut [u8; BYTES]),
) {
    let blocks = blocks.as_chunks_mut::<BYTES>().0;
    let Some(importance) = importance else {
        for (x, block) in row.as_chunks().0.iter().zip(blocks) {
            write(&plain(x), block);
        }
        return;
    };
    let sigma2 = [search::sum_of_squares(row) / row.len() as f32; LANES];
    let batches = row.chunks(LANES * LEN).zip(importance.chunks(LANES * LEN));
    for ((x, importance), blocks) in batches.zip(blocks.chunks_mut(LANES)) {
        let groups = search::columns(x);
        let importance = search::columns(importance);
        let weights = search::importance_weights(simd, &groups, &importance, &sigma2);
        for (fit, block) in weighted(simd, &groups, &weights).iter().zip(blocks) {
            write(fit, block);
        }
    }
}

#[inline(always)]
fn write_q4_0(fit: &Fit, [d0, d1, nibbles @ ..]: &mut [u8; 18]) {
    [*d0, *d1] = write_f16(fit.d);
    planes::pack::<4, 16>(&fit.levels, nibbles);
}

#[inline(always)]
fn write_q4_1(fit: &Fit, [d0, d1, m0, m1, nibbles @ ..]: &mut [u8; 20]) {
    [*d0, *d1] = write_f16(fit.d);
    [*m0, *m1] = write_f16(fit.m);
    planes::pack::<4, 16>(&fit.levels, nibbles);
}

#[inline(always)]
fn write_q5_0(fit: &Fit, [d0, d1, h0, h1, h2, h3, nibbles @ ..]: &mut [u8; 22]) {
    [*d0, *d1] = write_f16(fit.d);
    [*h0, *h1, *h2, *h3] = fifth_bits(&fit.levels);
    planes::pack::<4, 16>(&fit.levels, nibbles);
}

#[inline(always)]
fn write_q5_1(fit: &Fit, [d0, d1, m0, m1, h0, h1, h2, h3, nibbles @ ..]: &mut [u8; 24]) {
    [*d0, *d1] = write_f16(fit.d);
    [*m0, *m1] = write_f16(fit.m);
    [*h0, *h1, *h2, *h3] = fifth_bits(&fit.levels);
    planes::pack::<4, 16>(&fit.levels, nibbles);
}

/// The fifth bit of each level, as in [`unpack`].
#[inline(always)]
fn fifth_bits(levels: &[u8; LEN]) -> [u8; 4] {
    let bits = levels.iter().enumerate();
    bits.fold(0, |bits, (i, level)| bits | u32::from(level >> 4) << i)
        .to_le_bytes()
}

/// A scale and levels from 0 to 2 * `TOP` - 1 such that the element largest in magnitude falls on level 0: the range
/// reaches one step further below zero than above.
#[inline(always)]
fn symmetric<const TOP: i32>(x: &[f32; LEN]) -> Fit {
    let top = TOP as f32;
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
    let d = if negative { -amax } else { amax } / -top;
    // The sum is positive, so that truncation rounds to nearest.
    let levels = match inverse(d) {
        Some(id) => x.map(|v| ((v * id + (top + 0.5)) as i32).min(2 * TOP - 1) as u8),
        None => [0; LEN],
    };
    Fit { d, m: 0.0, levels }
}

/// A scale, a minimum and levels from 0 to `TOP` that span the range of the elements.
#[inline(always)]
fn affine<const TOP: i32>(x: &[f32; LEN]) -> Fit {
    let (mut low, mut high) = ([f32::MAX; 8], [f32::MIN; 8]);
    for run in x.as_chunks::<8>().0 {
        for (i, v) in run.iter().enumerate() {
            low[i] = if *v < low[i] { *v } else { low[i] };
            high[i] = if *v > high[i] { *v } else { high[i] };
        }
    }
    let mut m = low.iter().fold(f32::MAX, |m, v| if *v < m { *v } else { m });
    let high = high.iter().fold(f32::MIN, |m, v| if *v > m { *v } else { m });
    if m == 0.0 {
        // Of the zeros the first decides, since the block keeps its sign.
        m = x.iter().copied().find(|v| *v == 0.0).unwrap_or(m);
    }
    let d = (high - m) / TOP as f32;
    // Where `d` is infinite, products may be NaN, of which both the cast and ggml make level 0.
    let levels = match inverse(d) {
        Some(id) => x.map(|v| (((v - m) * id + 0.5) as i32).min(TOP) as u8),
        None => [0; LEN],
    };
    Fit { d, m, levels }
}

#[inline(always)]
fn search_symmetric<S: Simd, const TOP: i32>(
    simd: S,
    x: &Groups<LEN>,
    weights: &Groups<LEN>,
) -> [Fit; LANES] {
    let found = search::symmetric::<S, TOP, LEN>(simd, x, weights);
    std::array::from_fn(|lane| Fit {
        d: found.scales[lane],
        m: 0.0,
        levels: std::array::from_fn(|i| found.level(lane, x[i][lane])),
    })
}

#[inline(always)]
fn search_affine<S: Simd, const TOP: i32>(simd: S, x: &Groups<LEN>, weights: &Groups<LEN>) -> [Fit; LANES] {
    let found = search::affine::<S, TOP, LEN>(simd, x, weights, Trials::WEIGHTED);
    std::array::from_fn(|lane| Fit {
        d: found.scales[lane],
        m: -found.minima[lane],
        levels: std::array::from_fn(|i| found.level(lane, x[i][lane])),
    })
}
