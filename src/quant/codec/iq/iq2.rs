//! IQ2_XXS, IQ2_XS, IQ2_S: runs of 8 elements, each a point of a grid with three levels.

use super::grid::{self, Map};
use super::search::{Kind, Refit, codes_of_scales, search};
use super::{
    LEN, RUN, block_of, decode_runs, even_signs, half_group_scale, seven_bits, signed_run, u16_at, u32_at,
};
use crate::quant::codec::number::{read_f16, write_f16};
use crate::quant::codec::planes;
use crate::quant::{Codec, Encode};
use fearless_simd::{Simd, dispatch};

pub(in crate::quant) static IQ2_XXS: Codec = Codec {
    decode: decode_runs!(66, decode_xxs),
    encode: Some(Encode::Weighted(|isa, row, importance, blocks| {
        dispatch!(isa.level(), simd => encode_xxs(simd, row, importance, blocks));
    })),
};

pub(in crate::quant) static IQ2_XS: Codec = Codec {
    decode: decode_runs!(74, decode_xs),
    encode: Some(Encode::Weighted(|isa, row, importance, blocks| {
        dispatch!(isa.level(), simd => encode_xs(simd, row, importance, blocks));
    })),
};

pub(in crate::quant) static IQ2_S: Codec = Codec {
    decode: decode_runs!(82, decode_s),
    encode: Some(Encode::Any(|isa, row, importance, blocks| {
        dispatch!(isa.level(), simd => encode_s(simd, row, importance, blocks));
    })),
};

const XXS_KIND: Kind = Kind {
    levels: 3,
    even_signs: true,
    sigma2: 1.0,
    unweighted_sigma2: 0.0,
    all_zero: 1e-15,
    reach: 6,
    step: 0.1,
    fit_first: true,
    refit: Refit::All,
};

const XS_KIND: Kind = Kind {
    reach: 9,
    fit_first: false,
    refit: Refit::OffGrid,
    ..XXS_KIND
};

const S_KIND: Kind = Kind {
    even_signs: false,
    sigma2: 2.0,
    unweighted_sigma2: 0.25,
    all_zero: 1e-8,
    ..XS_KIND
};

/// d: f16; for each group four indices (bytes) and a u32 of 4 x 7 signs and a 4-bit scale.
#[inline(always)]
fn decode_xxs(block: &[u8; 66], run: usize) -> [f32; RUN] {
    let d = read_f16([block[0], block[1]]);
    let group = &block[2 + 8 * (run / 4)..][..8];
    let tail = u32_at(group, 1);
    let scale = d * (0.5 + (tail >> 28) as f32) * 0.25;
    let point = grid::IQ2_XXS.point(usize::from(group[run % 4]));
    signed_run(scale, point, even_signs(tail >> (7 * (run % 4))))
}

#[inline(always)]
fn encode_xxs<S: Simd>(simd: S, row: &[f32], importance: &[f32], blocks: &mut [u8]) {
    let map: &Map<8> = &grid::IQ2_XXS_MAP;
    let x = row
        .as_chunks::<LEN>()
        .0
        .iter()
        .zip(importance.as_chunks::<LEN>().0);
    for ((x, importance), block) in x.zip(blocks.as_chunks_mut::<66>().0) {
        *block = [0; 66];
        let found = search::<S, 32, 8, 4>(simd, &XXS_KIND, map, x, Some(importance));
        let Some((d, codes)) = codes_of_scales(&found.scales, 15) else {
            continue;
        };
        [block[0], block[1]] = write_f16(d);
        let groups = found
            .points
            .as_chunks::<4>()
            .0
            .iter()
            .zip(found.signs.as_chunks().0);
        for (((points, signs), code), group) in groups.zip(codes).zip(block[2..].as_chunks_mut().0) {
            let [i0, i1, i2, i3] = points.map(|point| point as u8);
            let [t0, t1, t2, t3] = (seven_bits(signs) | u32::from(code) << 28).to_le_bytes();
            *group = [i0, i1, i2, i3, t0, t1, t2, t3];
        }
    }
}

/// d: f16; for each run a u16 of a 9-bit index and 7 signs; for each half group a 4-bit scale.
#[inline(always)]
fn decode_xs(block: &[u8; 74], run: usize) -> [f32; RUN] {
    let d = read_f16([block[0], block[1]]);
    let code = u16_at(&block[2..], run);
    let scale = d * (0.5 + half_group_scale(&block[66..], run)) * 0.25;
    let point = grid::IQ2_XS.point(usize::from(code & 0x1ff));
    signed_run(scale, point, even_signs(u32::from(code >> 9)))
}

#[inline(always)]
fn encode_xs<S: Simd>(simd: S, row: &[f32], importance: &[f32], blocks: &mut [u8]) {
    let map: &Map<8> = &grid::IQ2_XS_MAP;
    let x = row
        .as_chunks::<LEN>()
        .0
        .iter()
        .zip(importance.as_chunks::<LEN>().0);
    for ((x, importance), block) in x.zip(blocks.as_chunks_mut::<74>().0) {
        *block = [0; 74];
        let found = search::<S, 16, 8, 4>(simd, &XS_KIND, map, x, Some(importance));
        let Some((d, codes)) = codes_of_scales(&found.scales, 15) else {
            continue;
        };
        [block[0], block[1]] = write_f16(d);
        let (runs, scales) = block[2..].split_at_mut(64);
        for ((point, signs), run) in found.points.iter().zip(found.signs).zip(runs.as_chunks_mut().0) {
            *run = (point | u16::from(signs) << 9).to_le_bytes();
        }
        planes::pack::<4, 1>(&codes, scales);
    }
}

/// d: f16; low 8 bits of the indices (32 bytes); signs (32 bytes); high 2 bits of the indices (8 bytes); for each half
/// group a 4-bit scale.
#[inline(always)]
fn decode_s(block: &[u8; 82], run: usize) -> [f32; RUN] {
    let d = read_f16([block[0], block[1]]);
    let high = usize::from(block[66 + run / 4] >> (2 * (run % 4)) & 3);
    let scale = d * (0.5 + half_group_scale(&block[74..], run)) * 0.25;
    let point = grid::IQ2_S.point(usize::from(block[2 + run]) | high << 8);
    signed_run(scale, point, block[34 + run])
}

#[inline(always)]
fn encode_s<S: Simd>(simd: S, row: &[f32], importance: Option<&[f32]>, blocks: &mut [u8]) {
    let map: &Map<8> = &grid::IQ2_S_MAP;
    for (i, (x, block)) in row
        .as_chunks::<LEN>()
        .0
        .iter()
        .zip(blocks.as_chunks_mut::<82>().0)
        .enumerate()
    {
        *block = [0; 82];
        let found = search::<S, 16, 8, 4>(simd, &S_KIND, map, x, block_of(importance, i));
        for (run, (point, signs)) in found.points.iter().zip(found.signs).enumerate() {
            block[2 + run] = *point as u8;
            block[34 + run] = signs;
            block[66 + run / 4] |= ((point >> 8) as u8) << (2 * (run % 4));
        }
        let Some((d, codes)) = codes_of_scales(&found.scales, 15) else {
            continue;
        };
        [block[0], block[1]] = write_f16(d * 0.9875);
        planes::pack::<4, 1>(&codes, &mut block[74..]);
    }
}
