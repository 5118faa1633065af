//! Q6_K: 16 groups of 16 elements, each group with an 8-bit scale, the scales with one f16.
//!
//! Block: low 4 bits of the levels (128 bytes, stripes of 64), high 2 bits (64 bytes, stripes of 32), scales (16 signed
//! bytes), d: f16. Value: d * scale * (q - 32). Layout: `block_q6_K` of `ggml-common.h`; rounding: `quantize_q6_K`.

use super::number::{halves, nearest_int, read_f16, write_f16};
use super::planes::{halves_of, twice};
use super::search::{self, ALL_ZERO, LANES};
use super::{decode_blocks, planes, scales};
use crate::quant::fused::{self, Chunk, top, words};
use crate::quant::levels::{Factors, Levels, wants_factors};
use crate::quant::product::CHUNK;
use crate::quant::{Codec, Encode};
use fearless_simd::{Bytes, Simd, SimdBase, dispatch, f32x4, f32x16, i8x32, i32x16, u8x64};

const LEN: usize = 256;
const BYTES: usize = 210;
const GROUP: usize = 16;
/// The level of 0.
const ZERO: u8 = 32;
/// Elements whose levels share their stripes.
const HALF: usize = LEN / 2;

pub(in crate::quant) static Q6_K: Codec = Codec {
    decode: decode_blocks!(decode, levels, 16, 6, factored = true),
    encode: Some(Encode::Any(|isa, row, importance, blocks| {
        dispatch!(isa.level(), simd => encode(simd, row, importance, blocks));
    })),
};

#[inline(always)]
fn decode<S: Simd>(simd: S, block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let out = out.as_chunks_mut::<GROUP>().0;
    each_group(
        simd,
        block,
        #[inline(always)]
        |g, levels, scale| planes::scaled(simd, levels, ZERO, scale, &mut out[g]),
    );
}

#[inline(always)]
fn levels<S: Simd>(simd: S, block: &[u8; BYTES], _: usize, out: &mut Levels) {
    if wants_factors(simd) {
        let (d, packed) = head(block);
        let scales = std::array::from_fn(|g| i16::from(packed[g] as i8));
        out.factors = Factors {
            scale: d,
            offset: d,
            scales,
            offsets: scales.map(|scale| -i16::from(ZERO) * scale),
        };
        each_levels(
            block,
            #[inline(always)]
            |g, levels| out.set(g, levels),
        );
        return;
    }
    each_group(
        simd,
        block,
        #[inline(always)]
        |g, levels, scale| out.put(g, levels, scale, -f32::from(ZERO) * scale),
    );
}

/// Blocks that are multiplied while they are decoded.
pub(in crate::quant) struct Fused;

impl fused::Fused<BYTES, 2, 4> for Fused {
    /// Times [`top`].
    type Scales = [f32; LEN / GROUP];
    /// Of each group, signed.
    type Levels = [[u8; GROUP]; LEN / GROUP];

    #[inline(always)]
    fn scales<S: Simd>(simd: S, block: &[u8; BYTES]) -> [f32; LEN / GROUP] {
        let [_, d] = halves(simd, [block[206], block[207], block[208], block[209]]);
        scales_of(simd, d * top(simd), packed_scales(block))
    }

    #[inline(always)]
    fn levels<S: Simd>(simd: S, block: &[u8; BYTES]) -> Self::Levels {
        let (low, rest) = block.split_at(128);
        let mut levels = [[0; GROUP]; LEN / GROUP];
        for half in 0..2 {
            let low: i32x16<S> = u8x64::from_slice(simd, &low[64 * half..][..64]).bitcast();
            let high = twice(simd, &rest[CHUNK * half..][..CHUNK]);
            // The chunks of a half have their bits two places apart.
            let pairs = [
                low & 0x0f0f_0f0f | (high << halves_of(simd, 4, 2)) & 0x3030_3030,
                (low >> 4) & 0x0f0f_0f0f | (high >> halves_of(simd, 0, 2)) & 0x3030_3030,
            ];
            for (i, pair) in pairs.into_iter().enumerate() {
                let four = &mut levels[8 * half + 4 * i..][..4];
                (pair.bitcast::<u8x64<S>>() - ZERO).store_slice(four.as_flattened_mut());
            }
        }
        levels
    }

    #[inline(always)]
    fn unit<S: Simd>(
        simd: S,
        block: &[u8; BYTES],
        scales: &[f32; LEN / GROUP],
        unit: usize,
    ) -> [Chunk<S>; 4] {
        let levels = signed_levels(simd, block, unit);
        std::array::from_fn(
            #[inline(always)]
            |i| {
                let low = f32x4::splat(simd, scales[8 * unit + 2 * i]);
                let high = f32x4::splat(simd, scales[8 * unit + 2 * i + 1]);
                Chunk::scaled(levels[i].bitcast(), simd.combine_f32x4(low, high))
            },
        )
    }

    #[inline(always)]
    fn numbers<S: Simd>(
        simd: S,
        _: &[u8; BYTES],
        scales: &[f32; LEN / GROUP],
        levels: &Self::Levels,
        unit: usize,
    ) -> [fused::InOrder<S>; 4] {
        let mut numbers = [[f32x16::splat(simd, 0.0); 2]; 4];
        for (i, numbers) in numbers.iter_mut().enumerate() {
            for (half, numbers) in numbers.iter_mut().enumerate() {
                let group = 8 * unit + 2 * i + half;
                *numbers = planes::signed(simd, &levels[group]) * scales[group];
            }
        }
        numbers
    }
}

/// The levels of a half, from -32 up.
#[inline(always)]
fn signed_levels<S: Simd>(simd: S, block: &[u8; BYTES], half: usize) -> [i8x32<S>; 4] {
    let (low, rest) = block.split_at(128);
    let (first, second) = low[64 * half..][..64].split_at(CHUNK);
    let (first, second) = (words(simd, first), words(simd, second));
    let high = words(simd, &rest[CHUNK * half..][..CHUNK]);
    let levels = [
        first & 0x0f0f_0f0f | (high << 4) & 0x3030_3030,
        second & 0x0f0f_0f0f | (high << 2) & 0x3030_3030,
        (first >> 4) & 0x0f0f_0f0f | high & 0x3030_3030,
        (second >> 4) & 0x0f0f_0f0f | (high >> 2) & 0x3030_3030,
    ];
    std::array::from_fn(
        #[inline(always)]
        |i| levels[i].bitcast::<i8x32<S>>() - i8x32::splat(simd, ZERO as i8),
    )
}

/// Shows the levels of each group and their scale.
#[inline(always)]
fn each_group<S: Simd>(simd: S, block: &[u8; BYTES], mut show: impl FnMut(usize, &[u8; GROUP], f32)) {
    let (d, packed) = head(block);
    let scales = scales_of(simd, d, packed);
    each_levels(
        block,
        #[inline(always)]
        |g, levels| show(g, levels, scales[g]),
    );
}

/// The scales of all groups.
#[inline(always)]
fn scales_of<S: Simd>(simd: S, d: f32, packed: [u8; LEN / GROUP]) -> [f32; LEN / GROUP] {
    // All at once: one by one they would take longer than the levels.
    (planes::signed(simd, &packed) * d).into()
}

/// d and the scales, signed bytes.
#[inline(always)]
fn head(block: &[u8; BYTES]) -> (f32, [u8; LEN / GROUP]) {
    (read_f16([block[208], block[209]]), packed_scales(block))
}

#[inline(always)]
fn packed_scales(block: &[u8; BYTES]) -> [u8; LEN / GROUP] {
    std::array::from_fn(|g| block[192 + g])
}

/// Shows the levels of each group.
#[inline(always)]
fn each_levels(block: &[u8; BYTES], mut show: impl FnMut(usize, &[u8; GROUP])) {
    let (low, rest) = block.split_at(128);
    let (high, _) = rest.split_at(64);
    let halves = low.as_chunks::<64>().0.iter().zip(high.as_chunks::<32>().0);
    for (half, (low, high)) in halves.enumerate() {
        let high = planes::unpack::<2, 32, HALF>(high);
        let levels = planes::joined::<4, HALF>(&planes::unpack::<4, 64, HALF>(low), &high);
        for (i, levels) in levels.as_chunks::<GROUP>().0.iter().enumerate() {
            let g = half * HALF / GROUP + i;
            show(g, levels);
        }
    }
}

#[inline(always)]
fn encode<S: Simd>(simd: S, row: &[f32], importance: Option<&[f32]>, blocks: &mut [u8]) {
    let blocks = blocks.as_chunks_mut::<BYTES>().0;
    for (i, (x, block)) in row.as_chunks::<LEN>().0.iter().zip(blocks).enumerate() {
        let groups = search::columns::<S, GROUP>(simd, x);
        let weights = match importance {
            Some(importance) => search::columns(simd, &importance[i * LEN..][..LEN]),
            None => search::squares(&groups),
        };
        let found = search::symmetric(simd, &groups, &weights, 32);
        encode_block(simd, x, &found, block);
    }
}

#[inline(always)]
fn encode_block<S: Simd>(simd: S, x: &[f32; LEN], found: &search::Symmetric, block: &mut [u8; BYTES]) {
    let largest = scales::largest(&found.scales);
    if largest.abs() < ALL_ZERO {
        *block = [0; BYTES];
        return;
    }
    let inverse = -128.0 / largest;
    let d = write_f16(1.0 / inverse);
    let scales: [i8; LANES] = found.scales.map(|s| nearest_int(inverse * s).min(127) as i8);

    let mut levels = [0u8; LEN];
    for (g, (x, levels)) in x
        .as_chunks::<GROUP>()
        .0
        .iter()
        .zip(levels.as_chunks_mut::<GROUP>().0)
        .enumerate()
    {
        let d = read_f16(d) * f32::from(scales[g]);
        *levels = scales::refit(simd, x, d, 32, |i| found.level(g, x[i]));
    }
    let (low, rest) = block.split_at_mut(128);
    let (high, rest) = rest.split_at_mut(64);
    planes::pack::<4, 64>(&levels, low);
    planes::pack::<2, 32>(&planes::above::<4, LEN>(&levels), high);
    for (byte, scale) in rest.iter_mut().zip(scales) {
        *byte = scale as u8;
    }
    [rest[16], rest[17]] = d;
}
