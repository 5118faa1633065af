//! Q4_0, Q4_1, Q5_0, Q5_1: 32 elements of 4 or 5 bits with one scale, without a super-block.
//!
//! Block: d: f16; for the types without a zero level m: f16; for 5 bits the fifth bits, a u32 with bit `i` for element
//! `i`; low 4 bits (16 bytes, one stripe). Value: d * (q - half of the levels), or d * q + m. Layouts: `ggml-common.h`;
//! rounding: `quantize_q4_0` and so on.

use super::block32::{Block32, LEN};
use super::number::{halves, inverse, read_f16, write_f16};
use super::search::{self, Groups, LANES, Trials};
use super::{decode_blocks, lookup, planes, scales};
use crate::quant::fused::{self, Chunk, top};
use crate::quant::levels::Levels;
use crate::quant::{Codec, Encode};
use fearless_simd::{
    Bytes, Simd, SimdBase, SimdFloat, SimdFrom, SimdMask, dispatch, f32x8, f32x16, i32x16, u8x32,
};

macro_rules! codec {
    ($name:ident, centred = $centred:literal, bits = $bits:literal, bytes = $bytes:literal) => {
        pub(in crate::quant) static $name: Codec = Codec {
            decode: decode_blocks!(
                decode::<_, $centred, $bits, $bytes>,
                levels::<_, $centred, $bits, $bytes>,
                32,
                $bits
            ),
            encode: Some(Encode::Any(|isa, row, importance, blocks| {
                dispatch!(isa.level(), simd => {
                    encode::<_, $centred, $bits, $bytes>(simd, row, importance, blocks);
                });
            })),
        };
    };
}

codec!(Q4_0, centred = true, bits = 4, bytes = 18);
codec!(Q4_1, centred = false, bits = 4, bytes = 20);
codec!(Q5_0, centred = true, bits = 5, bytes = 22);
codec!(Q5_1, centred = false, bits = 5, bytes = 24);

/// What a block holds.
struct Fit {
    d: f32,
    /// 0 for the types with a zero level.
    m: f32,
    levels: [u8; LEN],
}

#[inline(always)]
fn decode<S: Simd, const CENTRED: bool, const BITS: usize, const BYTES: usize>(
    simd: S,
    block: &[u8; BYTES],
    out: &mut [f32; LEN],
) {
    let (levels, d, m) = taken_apart::<CENTRED, BITS, BYTES>(block);
    if CENTRED {
        planes::scaled(simd, &levels, 1 << (BITS - 1), d, out);
    } else {
        planes::scaled_and_moved(simd, &levels, d, m, out);
    }
}

#[inline(always)]
fn levels<S: Simd, const CENTRED: bool, const BITS: usize, const BYTES: usize>(
    _: S,
    block: &[u8; BYTES],
    place: usize,
    out: &mut Levels,
) {
    let (levels, d, m) = taken_apart::<CENTRED, BITS, BYTES>(block);
    let offset = if CENTRED {
        -((1 << (BITS - 1)) as f32) * d
    } else {
        m
    };
    out.put(place, &levels, d, offset);
}

/// Blocks that are multiplied while they are decoded.
pub(in crate::quant) struct Fused<const CENTRED: bool, const BITS: usize>;

impl<const CENTRED: bool, const BITS: usize, const BYTES: usize> fused::Fused<BYTES, 1, 1>
    for Fused<CENTRED, BITS>
{
    /// d, and m or anything.
    type Scales = [f32; 2];
    type Levels = ();

    #[inline(always)]
    fn scales<S: Simd>(simd: S, block: &[u8; BYTES]) -> [f32; 2] {
        halves(simd, [block[0], block[1], block[2], block[3]])
    }

    #[inline(always)]
    fn unit<S: Simd>(simd: S, block: &[u8; BYTES], [d, m]: &[f32; 2], _: usize) -> [Chunk<S>; 1] {
        let (head, stripe) = block.split_at(BYTES - LEN / 2);
        let mut levels: u8x32<S> = planes::nibbles(simd, stripe).bitcast();
        if BITS == 5 {
            levels |= planes::spread_bits(simd, &head[head.len() - 4..]) & 0x10;
        }
        let splat = |v: f32| f32x8::splat(simd, v);
        [match CENTRED {
            true => Chunk::scaled((levels - (1 << (BITS - 1))).bitcast(), splat(*d * top(simd))),
            // 11 bits of d and 5 of the level: an exact product.
            false => Chunk::scaled_and_moved(levels.bitcast(), splat(*d), splat(*m)),
        }]
    }

    #[inline(always)]
    fn numbers<S: Simd>(
        simd: S,
        block: &[u8; BYTES],
        [d, m]: &[f32; 2],
        (): &(),
        _: usize,
    ) -> [fused::InOrder<S>; 1] {
        let (head, stripe) = block.split_at(BYTES - LEN / 2);
        let low = lookup::bytes(simd, stripe);
        let levels = [low, low >> 4];
        if BITS == 4 {
            let table = table::<S, CENTRED, BITS>(simd, 0, *d, *m);
            return [[lookup::of_16(table, levels[0]), lookup::of_16(table, levels[1])]];
        }
        let tables = [
            table::<S, CENTRED, BITS>(simd, 0, *d, *m),
            table::<S, CENTRED, BITS>(simd, 16, *d, *m),
        ];
        let bits = &head[head.len() - 4..];
        let bits = i32::from_le_bytes([bits[0], bits[1], bits[2], bits[3]]);
        let lanes = i32x16::simd_from(simd, std::array::from_fn(|i| i as i32));
        // Element `i` of a half has its bit at `i + 4`.
        let fifth = [bits.rotate_left(4), bits.rotate_right(12)];
        let mut numbers = [f32x16::splat(simd, 0.0); 2];
        for half in 0..2 {
            let fifth = i32x16::splat(simd, fifth[half]) >> lanes;
            numbers[half] = lookup::of_32(tables, levels[half] & 0x0f | fifth & !0x0f);
        }
        [numbers]
    }
}

/// The numbers of sixteen levels from `first` on.
#[inline(always)]
fn table<S: Simd, const CENTRED: bool, const BITS: usize>(simd: S, first: i32, d: f32, m: f32) -> f32x16<S> {
    match CENTRED {
        true => lookup::levels(simd, first - (1 << (BITS - 1))) * d,
        // 11 bits of d and 5 of the level: an exact product.
        false => lookup::levels(simd, first).mul_add(f32x16::splat(simd, d), f32x16::splat(simd, m)),
    }
}

/// Levels, d, and m, 0 for the types with a zero level.
#[inline(always)]
fn taken_apart<const CENTRED: bool, const BITS: usize, const BYTES: usize>(
    block: &[u8; BYTES],
) -> ([u8; LEN], f32, f32) {
    let (head, nibbles) = block.split_at(block.len() - LEN / 2);
    let mut levels = planes::unpack::<4, 16, LEN>(nibbles);
    if BITS == 5 {
        let bits = &head[head.len() - 4..];
        let bits = u32::from_le_bytes([bits[0], bits[1], bits[2], bits[3]]);
        for (i, level) in levels.iter_mut().enumerate() {
            *level |= ((bits.wrapping_shr(i as u32) & 1) as u8) << 4;
        }
    }
    let m = if CENTRED {
        0.0
    } else {
        read_f16([head[2], head[3]])
    };
    (levels, read_f16([head[0], head[1]]), m)
}

#[inline(always)]
fn write<S: Simd, const CENTRED: bool, const BITS: usize>(simd: S, fit: &Fit, block: &mut [u8]) {
    let (head, nibbles) = block.split_at_mut(block.len() - LEN / 2);
    planes::pack::<4, 16>(&fit.levels, nibbles);
    if BITS == 5 {
        let bits = u8x32::from_slice(simd, &fit.levels).simd_ge(0x10).to_bitmask();
        let at = head.len() - 4;
        head[at..].copy_from_slice(&(bits as u32).to_le_bytes());
    }
    head[..2].copy_from_slice(&write_f16(fit.d));
    if !CENTRED {
        head[2..4].copy_from_slice(&write_f16(fit.m));
    }
}

#[inline(always)]
fn encode<S: Simd, const CENTRED: bool, const BITS: usize, const BYTES: usize>(
    simd: S,
    row: &[f32],
    importance: Option<&[f32]>,
    blocks: &mut [u8],
) {
    let blocks = blocks.as_chunks_mut::<BYTES>().0;
    let Some(importance) = importance else {
        for (x, block) in row.as_chunks().0.iter().zip(blocks) {
            let fit = if CENTRED {
                centred(simd, x, 1 << (BITS - 1))
            } else {
                ranged(simd, x, (1 << BITS) - 1)
            };
            write::<S, CENTRED, BITS>(simd, &fit, block);
        }
        return;
    };
    let sigma2 = [scales::sum_of_squares(row) / row.len() as f32; LANES];
    let batches = row.chunks(LANES * LEN).zip(importance.chunks(LANES * LEN));
    for ((x, importance), blocks) in batches.zip(blocks.chunks_mut(LANES)) {
        let groups = search::columns(simd, x);
        let importance = search::columns(simd, importance);
        let weights = search::importance_weights(simd, &groups, &importance, &sigma2);
        let fits = if CENTRED {
            search_centred(simd, &groups, &weights, 1 << (BITS - 1))
        } else {
            search_ranged(simd, &groups, &weights, (1 << BITS) - 1)
        };
        for (fit, block) in fits.iter().zip(blocks) {
            write::<S, CENTRED, BITS>(simd, fit, block);
        }
    }
}

/// A scale and levels from 0 to 2 * `zero` - 1 such that the element largest in magnitude falls on level 0: the range
/// reaches one step further below zero than above.
#[inline(always)]
fn centred<S: Simd>(simd: S, x: &[f32; LEN], zero: i32) -> Fit {
    let block = Block32::load(simd, x);
    let amax = block.largest_magnitude();
    // Of two equal in magnitude the first decides.
    let negative = block.contains(-amax)
        && (!block.contains(amax) || x.iter().find(|v| v.abs() == amax).is_some_and(|v| *v < 0.0));
    let d = if negative { -amax } else { amax } / -(zero as f32);
    // The sums are positive, so that cutting off the fraction rounds to nearest.
    let levels = match inverse(d) {
        Some(id) => block.truncate(id, zero as f32 + 0.5, 2 * zero - 1),
        None => [0; LEN],
    };
    Fit { d, m: 0.0, levels }
}

/// A scale, a minimum and levels from 0 to `top` that span the range of the elements.
#[inline(always)]
fn ranged<S: Simd>(simd: S, x: &[f32; LEN], top: i32) -> Fit {
    let block = Block32::load(simd, x);
    let (mut m, high) = block.range();
    if m == 0.0 {
        // Of the zeros the first decides, since the block keeps its sign.
        m = x.iter().copied().find(|v| *v == 0.0).unwrap_or(m);
    }
    // Not negative, even where the zeros that end the range differ in sign.
    let d = (high - m).abs() / top as f32;
    let levels = match inverse(d) {
        Some(id) => block.less(m).truncate(id, 0.5, top),
        None => [0; LEN],
    };
    Fit { d, m, levels }
}

#[inline(always)]
fn search_centred<S: Simd>(simd: S, x: &Groups<LEN>, weights: &Groups<LEN>, zero: i32) -> [Fit; LANES] {
    let found = search::symmetric(simd, x, weights, zero);
    lanes(
        #[inline(always)]
        |lane| (found.scales[lane], 0.0),
        #[inline(always)]
        |lane, i| found.level(lane, x[i][lane]),
    )
}

#[inline(always)]
fn search_ranged<S: Simd>(simd: S, x: &Groups<LEN>, weights: &Groups<LEN>, top: i32) -> [Fit; LANES] {
    let found = search::affine::<S, false, LEN>(simd, x, weights, top, Trials::WEIGHTED);
    lanes(
        #[inline(always)]
        |lane| (found.scales[lane], -found.minima[lane]),
        #[inline(always)]
        |lane, i| found.level(lane, x[i][lane]),
    )
}

/// A fit for each lane, from its scale and minimum and the level of each of its elements.
#[inline(always)]
fn lanes(scale: impl Fn(usize) -> (f32, f32), level: impl Fn(usize, usize) -> u8) -> [Fit; LANES] {
    const ZERO: Fit = Fit {
        d: 0.0,
        m: 0.0,
        levels: [0; LEN],
    };
    let mut fits = [ZERO; LANES];
    for (lane, fit) in fits.iter_mut().enumerate() {
        (fit.d, fit.m) = scale(lane);
        for (i, q) in fit.levels.iter_mut().enumerate() {
            *q = level(lane, i);
        }
    }
    fits
}
