//! Q3_K: 16 groups of 16 elements, each group with a 6-bit scale.
//!
//! Block: third bits of the levels (32 bytes), low 2 bits (64 bytes, stripes of 32), scales (low 4 bits in 8 bytes,
//! high 2 bits in 4), d: f16. Value: d * (scale - 32) * (q - 4). Layout: `block_q3_K` of `ggml-common.h`;
//! rounding: `quantize_q3_K`.

use super::number::{nearest_int, read_f16, write_f16};
use super::search::{self, LANES};
use super::{decode_blocks, planes, scales};
use crate::quant::{Codec, Encode};
use fearless_simd::{Simd, dispatch};

const LEN: usize = 256;
const BYTES: usize = 110;
const GROUP: usize = 16;

pub(in crate::quant) static Q3_K: Codec = Codec {
    decode: decode_blocks!(decode),
    encode: Some(Encode::Any(|isa, row, importance, blocks| {
        dispatch!(isa.level(), simd => encode(simd, row, importance, blocks));
    })),
};

#[inline(always)]
fn decode<S: Simd>(simd: S, block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let (third, rest) = block.split_at(32);
    let (low, rest) = rest.split_at(64);
    let third = planes::unpack::<1, 32, LEN>(third);
    let levels = planes::joined::<2, LEN>(&planes::unpack::<2, 32, LEN>(low), &third);
    let high = planes::unpack::<2, 4, LANES>(&rest[8..12]);
    let scales = planes::joined::<4, LANES>(&planes::unpack::<4, 8, LANES>(&rest[..8]), &high);
    let d = read_f16([rest[12], rest[13]]);
    let groups = levels
        .as_chunks::<GROUP>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<GROUP>().0);
    for ((levels, out), scale) in groups.zip(scales) {
        planes::scaled(simd, levels, 4, d * (f32::from(scale) - 32.0), out);
    }
}

#[inline(always)]
fn encode<S: Simd>(simd: S, row: &[f32], importance: Option<&[f32]>, blocks: &mut [u8]) {
    let blocks = blocks.as_chunks_mut::<BYTES>().0;
    for (i, (x, block)) in row.as_chunks::<LEN>().0.iter().zip(blocks).enumerate() {
        let groups = search::columns::<S, GROUP>(simd, x);
        match importance {
            None => {
                let (scales, levels) = search::descend(simd, &groups, 4);
                encode_block(
                    simd,
                    x,
                    symmetric_scales(&scales),
                    |g, i| levels[i][g] as u8,
                    block,
                );
            }
            Some(importance) => {
                let importance = search::columns(simd, &importance[i * LEN..][..LEN]);
                let sigma2 = [2.0 * scales::sum_of_squares(x) / LEN as f32; LANES];
                let weights = search::importance_weights(simd, &groups, &importance, &sigma2);
                let found = search::symmetric(simd, &groups, &weights, 4);
                // The scales are one more group to search, in the first lane.
                let sums: [f32; LANES] = search::group_sums(simd, &weights).into();
                let outer = search::symmetric::<S, LANES>(
                    simd,
                    &search::columns(simd, &found.scales),
                    &search::columns(simd, &sums),
                    32,
                );
                let scales = found.scales.map(|scale| outer.level(0, scale));
                let level = |g: usize, i: usize| found.level(g, x[g * GROUP + i]);
                encode_block(simd, x, (outer.scales[0], scales), level, block);
            }
        }
    }
}

/// A scale that puts the largest of `values` in magnitude on -32, and the nearest levels, counted from 0.
#[inline(always)]
fn symmetric_scales(values: &[f32; LANES]) -> (f32, [u8; LANES]) {
    let largest = scales::largest(values);
    if largest == 0.0 {
        return (0.0, [0; LANES]);
    }
    let inverse = -32.0 / largest;
    let level = |v: f32| ((nearest_int(inverse * v) as i8).clamp(-32, 31) + 32) as u8;
    (1.0 / inverse, values.map(level))
}

/// `searched` is the level of an element of a group as the search for the scales left it.
#[inline(always)]
fn encode_block<S: Simd>(
    simd: S,
    x: &[f32; LEN],
    (d, scales): (f32, [u8; LANES]),
    searched: impl Fn(usize, usize) -> u8,
    block: &mut [u8; BYTES],
) {
    let d = write_f16(d);
    let mut levels = [0u8; LEN];
    for (g, (x, levels)) in x
        .as_chunks::<GROUP>()
        .0
        .iter()
        .zip(levels.as_chunks_mut::<GROUP>().0)
        .enumerate()
    {
        let scale = read_f16(d) * (f32::from(scales[g]) - 32.0);
        *levels = scales::refit(simd, x, scale, 4, |i| searched(g, i));
    }
    let (third, rest) = block.split_at_mut(32);
    planes::pack::<1, 32>(&planes::above::<2, LEN>(&levels), third);
    planes::pack::<2, 32>(&levels, &mut rest[..64]);
    planes::pack::<4, 8>(&scales, &mut rest[64..72]);
    planes::pack::<2, 4>(&planes::above::<4, LANES>(&scales), &mut rest[72..76]);
    [rest[76], rest[77]] = d;
}
