//! IQ3_XXS, IQ3_S: runs of 8 elements, each two points of a grid with eight levels.

use super::grid::{self, Grid, Map};
use super::search::{Kind, Refit, codes_of_scales, search};
use super::{LEN, RUN, block_of, decode_runs, even_signs, seven_bits, signed_run, u32_at};
use crate::quant::codec::number::{read_f16, write_f16};
use crate::quant::codec::planes;
use crate::quant::{Codec, Encode};
use fearless_simd::{Simd, dispatch};

pub(in crate::quant) static IQ3_XXS: Codec = Codec {
    decode: decode_runs!(98, decode_xxs),
    encode: Some(Encode::Any(|isa, row, importance, blocks| {
        dispatch!(isa.level(), simd => encode_xxs(simd, row, importance, blocks));
    })),
};

pub(in crate::quant) static IQ3_S: Codec = Codec {
    decode: decode_runs!(110, decode_s),
    encode: Some(Encode::Any(|isa, row, importance, blocks| {
        dispatch!(isa.level(), simd => encode_s(simd, row, importance, blocks));
    })),
};

const XXS_KIND: Kind = Kind {
    levels: 8,
    even_signs: true,
    sigma2: 2.0,
    unweighted_sigma2: 0.0,
    all_zero: 1e-8,
    reach: 15,
    step: 0.2,
    fit_first: false,
    refit: Refit::OffGrid,
};

const S_KIND: Kind = Kind {
    even_signs: false,
    // Only zero itself is below.
    all_zero: f32::from_bits(1),
    reach: 9,
    refit: Refit::AllIfOffGrid,
    ..XXS_KIND
};

/// d: f16; two indices a run (64 bytes); for each group a u32 of 4 x 7 signs and a 4-bit scale.
#[inline(always)]
fn decode_xxs(block: &[u8; 98], run: usize) -> [f32; RUN] {
    let d = read_f16([block[0], block[1]]);
    let tail = u32_at(&block[66..], run / 4);
    let scale = d * (0.5 + (tail >> 28) as f32) * 0.5;
    let index = |half: usize| usize::from(block[2 + 2 * run + half]);
    let point = two_points(&grid::IQ3_XXS, index(0), index(1));
    signed_run(scale, point, even_signs(tail >> (7 * (run % 4))))
}

#[inline(always)]
fn encode_xxs<S: Simd>(simd: S, row: &[f32], importance: Option<&[f32]>, blocks: &mut [u8]) {
    let map: &Map<4> = &grid::IQ3_XXS_MAP;
    let blocks = blocks.as_chunks_mut::<98>().0;
    for (i, (x, block)) in row.as_chunks::<LEN>().0.iter().zip(blocks).enumerate() {
        *block = [0; 98];
        let found = search::<S, 32, 4, 8>(simd, &XXS_KIND, map, x, block_of(importance, i));
        let Some((d, codes)) = codes_of_scales(&found.scales, 15) else {
            continue;
        };
        [block[0], block[1]] = write_f16(d * 1.0125);
        let (indices, tails) = block[2..].split_at_mut(64);
        for (index, point) in indices.iter_mut().zip(found.points) {
            *index = point as u8;
        }
        let groups = found.signs.as_chunks().0.iter().zip(codes);
        for ((signs, code), tail) in groups.zip(tails.as_chunks_mut().0) {
            *tail = (seven_bits(signs) | u32::from(code) << 28).to_le_bytes();
        }
    }
}

/// d: f16; low 8 bits of two indices a run (64 bytes), their ninth bits (8 bytes); signs (32 bytes); for each group a
/// 4-bit scale.
#[inline(always)]
fn decode_s(block: &[u8; 110], run: usize) -> [f32; RUN] {
    let d = read_f16([block[0], block[1]]);
    let index = |half: usize| {
        let at = 2 * run + half;
        usize::from(block[2 + at]) | usize::from(block[66 + at / 8] >> (at % 8) & 1) << 8
    };
    let scale = block[106 + run / 8] >> (run / 4 % 2 * 4) & 0x0f;
    let point = two_points(&grid::IQ3_S, index(0), index(1));
    signed_run(d * f32::from(1 + 2 * scale), point, block[74 + run])
}

#[inline(always)]
fn encode_s<S: Simd>(simd: S, row: &[f32], importance: Option<&[f32]>, blocks: &mut [u8]) {
    let map: &Map<4> = &grid::IQ3_S_MAP;
    let blocks = blocks.as_chunks_mut::<110>().0;
    for (i, (x, block)) in row.as_chunks::<LEN>().0.iter().zip(blocks).enumerate() {
        *block = [0; 110];
        let found = search::<S, 32, 4, 8>(simd, &S_KIND, map, x, block_of(importance, i));
        // ggml leaves no room for the low bits and the signs of a group of zeros: those of the groups behind it move up,
        // and are read as another group's. Only their ninth bits stay in place.
        let groups = found
            .points
            .as_chunks::<8>()
            .0
            .iter()
            .zip(found.signs.as_chunks::<4>().0);
        let mut written = 0;
        for (g, (x, (points, signs))) in x.as_chunks::<32>().0.iter().zip(groups).enumerate() {
            if x.iter().all(|v| *v == 0.0) {
                continue;
            }
            for (k, point) in points.iter().enumerate() {
                block[2 + 8 * written + k] = *point as u8;
                block[66 + g] |= ((point >> 8) as u8) << k;
            }
            block[74 + 4 * written..][..4].copy_from_slice(signs);
            written += 1;
        }
        let Some((d, codes)) = codes_of_scales(&found.scales, 15) else {
            continue;
        };
        [block[0], block[1]] = write_f16(d * 1.033);
        planes::pack::<4, 1>(&codes[..8], &mut block[106..]);
    }
}

#[inline(always)]
fn two_points(grid: &Grid<8>, first: usize, second: usize) -> [f32; RUN] {
    let (first, second) = (grid.point::<4>(first), grid.point::<4>(second));
    std::array::from_fn(|i| if i < 4 { first[i] } else { second[i - 4] })
}
