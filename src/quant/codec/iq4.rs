//! IQ4_NL and IQ4_XS: 4-bit levels on an uneven grid.
//!
//! IQ4_NL: 32 elements; d: f16, levels (16 bytes). Value: d * GRID[q].
//! IQ4_XS: 8 groups of 32 elements; d: f16, high 2 bits of the scales (u16), low 4 bits (4 bytes), levels (128 bytes,
//! stripes of 16). Value: d * (scale - 32) * GRID[q]. Layouts: `ggml-common.h`; rounding: `quantize_iq4_nl`,
//! `quantize_iq4_xs`.

use super::number::{halves, nearest_int, read_f16, write_f16};
use super::search::{self, ALL_ZERO, Groups, LANES, load};
use super::{decode_blocks, lookup, planes, scales};
use crate::quant::fused::{self, Chunk, top};
use crate::quant::levels::Levels;
use crate::quant::{Codec, Encode};
use fearless_simd::{
    Bytes, Select, Simd, SimdBase, SimdFrom, SimdInt, dispatch, f32x8, f32x16, i8x16, i32x8, u8x16, u8x32,
};

const GROUP: usize = 32;
const NL_BYTES: usize = 18;
/// Of a block of IQ4_XS.
const LEN: usize = 256;
const XS_BYTES: usize = 136;
/// Of a block of IQ4_XS.
const GROUPS: usize = LEN / GROUP;

/// What the levels stand for (`kvalues_iq4nl` of `ggml-common.h`).
const GRID: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

pub(in crate::quant) static IQ4_NL: Codec = Codec {
    decode: decode_blocks!(decode_nl, levels_nl, 32, 8),
    encode: Some(Encode::Any(|isa, row, importance, blocks| {
        dispatch!(isa.level(), simd => encode_nl(simd, row, importance, blocks));
    })),
};

pub(in crate::quant) static IQ4_XS: Codec = Codec {
    decode: decode_blocks!(decode_xs, levels_xs, 32, 8),
    encode: Some(Encode::Any(|isa, row, importance, blocks| {
        dispatch!(isa.level(), simd => encode_xs(simd, row, importance, blocks));
    })),
};

#[inline(always)]
fn decode_nl<S: Simd>(simd: S, &[d0, d1, ref levels @ ..]: &[u8; NL_BYTES], out: &mut [f32; GROUP]) {
    planes::scaled_signed(simd, &points(simd, levels), read_f16([d0, d1]), out);
}

#[inline(always)]
fn levels_nl<S: Simd>(simd: S, &[d0, d1, ref levels @ ..]: &[u8; NL_BYTES], place: usize, out: &mut Levels) {
    put(points(simd, levels), place, read_f16([d0, d1]), out);
}

#[inline(always)]
fn decode_xs<S: Simd>(simd: S, block: &[u8; XS_BYTES], out: &mut [f32; LEN]) {
    let out = out.as_chunks_mut::<GROUP>().0;
    each_group(
        simd,
        block,
        #[inline(always)]
        |g, levels, scale| planes::scaled_signed(simd, &points(simd, levels), scale, &mut out[g]),
    );
}

#[inline(always)]
fn levels_xs<S: Simd>(simd: S, block: &[u8; XS_BYTES], _: usize, out: &mut Levels) {
    each_group(
        simd,
        block,
        #[inline(always)]
        |g, levels, scale| put(points(simd, levels), g, scale, out),
    );
}

/// Blocks of IQ4_NL that are multiplied while they are decoded.
pub(in crate::quant) struct FusedNl;

impl fused::Fused<NL_BYTES, 1, 1> for FusedNl {
    /// d, and anything.
    type Scales = [f32; 2];
    type Levels = ();

    #[inline(always)]
    fn scales<S: Simd>(simd: S, &[d0, d1, q0, q1, ..]: &[u8; NL_BYTES]) -> [f32; 2] {
        halves(simd, [d0, d1, q0, q1])
    }

    #[inline(always)]
    fn unit<S: Simd>(simd: S, block: &[u8; NL_BYTES], [d, _]: &[f32; 2], _: usize) -> [Chunk<S>; 1] {
        [chunk(simd, &block[2..], *d * top(simd))]
    }

    #[inline(always)]
    fn numbers<S: Simd>(
        simd: S,
        block: &[u8; NL_BYTES],
        [d, _]: &[f32; 2],
        (): &(),
        _: usize,
    ) -> [fused::InOrder<S>; 1] {
        [looked_up(simd, &block[2..], *d)]
    }
}

/// Blocks of IQ4_XS that are multiplied while they are decoded.
pub(in crate::quant) struct FusedXs;

impl fused::Fused<XS_BYTES, GROUPS, 1> for FusedXs {
    /// Times [`top`].
    type Scales = [f32; GROUPS];
    type Levels = ();

    #[inline(always)]
    fn scales<S: Simd>(simd: S, block: &[u8; XS_BYTES]) -> [f32; GROUPS] {
        let [d, _] = halves(simd, [block[0], block[1], block[2], block[3]]);
        scales_xs(simd, block, d * top(simd))
    }

    #[inline(always)]
    fn unit<S: Simd>(simd: S, block: &[u8; XS_BYTES], scales: &[f32; GROUPS], unit: usize) -> [Chunk<S>; 1] {
        let levels = &block[8 + GROUP / 2 * unit..][..GROUP / 2];
        [chunk(simd, levels, scales[unit])]
    }

    #[inline(always)]
    fn numbers<S: Simd>(
        simd: S,
        block: &[u8; XS_BYTES],
        scales: &[f32; GROUPS],
        (): &(),
        unit: usize,
    ) -> [fused::InOrder<S>; 1] {
        let levels = &block[8 + GROUP / 2 * unit..][..GROUP / 2];
        [looked_up(simd, levels, scales[unit])]
    }
}

/// The points of packed levels with their scale times [`top`].
#[inline(always)]
fn chunk<S: Simd>(simd: S, levels: &[u8], scale: f32) -> Chunk<S> {
    let grid = i8x16::simd_from(simd, GRID);
    let levels: u8x32<S> = planes::nibbles(simd, levels).bitcast();
    let points = simd.combine_i8x16(grid, grid).swizzle_dyn_within_blocks(levels);
    Chunk::scaled(points.bitcast(), f32x8::splat(simd, scale))
}

/// The numbers of packed levels.
#[inline(always)]
fn looked_up<S: Simd>(simd: S, levels: &[u8], scale: f32) -> [f32x16<S>; 2] {
    let table = f32x16::simd_from(simd, GRID.map(f32::from)) * scale;
    let levels = lookup::bytes(simd, levels);
    [lookup::of_16(table, levels), lookup::of_16(table, levels >> 4)]
}

/// Shows the packed levels of each group and their scale.
#[inline(always)]
fn each_group<S: Simd>(simd: S, block: &[u8; XS_BYTES], mut show: impl FnMut(usize, &[u8; GROUP / 2], f32)) {
    let levels = block[8..].as_chunks().0;
    let d = read_f16([block[0], block[1]]);
    for (g, (levels, scale)) in levels.iter().zip(scales_xs(simd, block, d)).enumerate() {
        show(g, levels, scale);
    }
}

/// The scales of all groups.
#[inline(always)]
fn scales_xs<S: Simd>(simd: S, block: &[u8; XS_BYTES], d: f32) -> [f32; GROUPS] {
    // A lane's low bits come to its lowest byte, the high ones of all groups to the next two; from a place with the top bit
    // set comes zero.
    const PLACES: [u8; 4 * GROUPS] = {
        let mut places = [0x80; 4 * GROUPS];
        let mut g = 0;
        while g < GROUPS {
            places[4 * g] = (4 + g / 2) as u8;
            places[4 * g + 1] = 2;
            places[4 * g + 2] = 3;
            g += 1;
        }
        places
    };
    // How far down the bits of a lane are to go.
    const LOW: [i32; GROUPS] = [0, 4, 0, 4, 0, 4, 0, 4];
    const HIGH: [i32; GROUPS] = [4, 6, 8, 10, 12, 14, 16, 18];
    let head = u8x32::block_splat(u8x16::from_slice(simd, &block[..16]));
    let lanes: i32x8<S> = head
        .swizzle_dyn_within_blocks(u8x32::simd_from(simd, PLACES))
        .bitcast();
    let low = lanes >> i32x8::simd_from(simd, LOW);
    let high = lanes >> i32x8::simd_from(simd, HIGH);
    let scales = (low & 0x0f | high & 0x30) - 32;
    (scales.to_float::<f32x8<S>>() * d).into()
}

/// The grid's points, signed bytes, for packed levels.
#[inline(always)]
fn points<S: Simd>(simd: S, levels: &[u8; GROUP / 2]) -> [u8; GROUP] {
    let grid = i8x16::simd_from(simd, GRID);
    let mut points = planes::unpack::<4, 16, GROUP>(levels);
    for levels in points.as_chunks_mut::<16>().0 {
        let found: [i8; 16] = grid.swizzle_dyn(u8x16::simd_from(simd, *levels)).into();
        *levels = found.map(|point| point as u8);
    }
    points
}

/// Signed points, moved to be unsigned.
#[inline(always)]
fn put(points: [u8; GROUP], place: usize, scale: f32, out: &mut Levels) {
    out.put(place, &points.map(|point| point ^ 0x80), scale, -128.0 * scale);
}

#[inline(always)]
fn encode_nl<S: Simd>(simd: S, row: &[f32], importance: Option<&[f32]>, blocks: &mut [u8]) {
    let batches = row.chunks(LANES * GROUP).zip(blocks.chunks_mut(LANES * NL_BYTES));
    for (i, (x, blocks)) in batches.enumerate() {
        let groups = search::columns::<S, GROUP>(simd, x);
        let squares = search::squares(&groups);
        let weights = match importance {
            None => squares,
            Some(importance) => {
                let importance = search::columns(simd, &importance[i * LANES * GROUP..][..x.len()]);
                let sigma2 = search::group_sums(simd, &squares) * (2.0 / GROUP as f32);
                search::importance_weights(simd, &groups, &importance, &sigma2.into())
            }
        };
        let scales = search_grid(simd, &groups, &weights);
        let levels = levels(simd, &groups, scales);
        let scales: [f32; LANES] = scales.into();
        for (lane, block) in blocks.as_chunks_mut::<NL_BYTES>().0.iter_mut().enumerate() {
            [block[0], block[1]] = write_f16(scales[lane]);
            write_group(&levels, lane, &mut block[2..]);
        }
    }
}

#[inline(always)]
fn encode_xs<S: Simd>(simd: S, row: &[f32], importance: Option<&[f32]>, blocks: &mut [u8]) {
    let batches = row
        .chunks(LANES * GROUP)
        .zip(blocks.chunks_mut(LANES / GROUPS * XS_BYTES));
    for (i, (x, blocks)) in batches.enumerate() {
        let groups = search::columns::<S, GROUP>(simd, x);
        let weights = match importance {
            None => search::squares(&groups),
            Some(importance) => {
                let importance = search::columns(simd, &importance[i * LANES * GROUP..][..x.len()]);
                let mut sigma2 = [0.0; LANES];
                for (x, sigma2) in x.chunks(LEN).zip(sigma2.chunks_mut(GROUPS)) {
                    sigma2.fill(scales::sum_of_squares(x) * (2.0 / LEN as f32));
                }
                search::importance_weights(simd, &groups, &importance, &sigma2)
            }
        };
        let found: [f32; LANES] = search_grid(simd, &groups, &weights).into();

        let mut stored = found;
        let blocks = blocks.as_chunks_mut::<XS_BYTES>().0;
        for (block, scales) in blocks.iter_mut().zip(stored.as_chunks_mut::<GROUPS>().0) {
            let d = scales::largest(scales) / -32.0;
            let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
            [block[0], block[1]] = write_f16(d);
            let mut high = 0;
            for (g, scale) in scales.iter_mut().enumerate() {
                let level = nearest_int(inverse * *scale).clamp(-32, 31);
                *scale = d * level as f32;
                let code = (level + 32) as u16;
                high |= (code >> 4) << (2 * g);
                let low = (code & 0x0f) as u8;
                block[4 + g / 2] = if g % 2 == 0 {
                    low
                } else {
                    block[4 + g / 2] | low << 4
                };
            }
            [block[2], block[3]] = high.to_le_bytes();
        }
        let levels = levels(simd, &groups, f32x16::from_slice(simd, &stored));
        for (lane, bytes) in blocks
            .iter_mut()
            .flat_map(|block| block[8..].as_chunks_mut::<{ GROUP / 2 }>().0)
            .enumerate()
        {
            write_group(&levels, lane, bytes);
        }
    }
}

/// The levels of group `lane` as they are stored.
#[inline(always)]
fn write_group(levels: &Groups<GROUP>, lane: usize, bytes: &mut [u8]) {
    let mut group = [0; GROUP];
    for (level, row) in group.iter_mut().zip(levels) {
        *level = row[lane] as u8;
    }
    planes::pack::<4, 16>(&group, bytes);
}

/// The indices of the grid points nearest to the elements, with these scales.
#[inline(always)]
fn levels<S: Simd>(simd: S, x: &Groups<GROUP>, scales: f32x16<S>) -> Groups<GROUP> {
    let zero = f32x16::splat(simd, 0.0);
    let inverses = scales
        .simd_eq(0.0)
        .select(zero, f32x16::splat(simd, 1.0) / scales);
    let mut levels = *x;
    for row in &mut levels {
        *row = nearest_point(inverses * load(simd, row), &INDICES).into();
    }
    levels
}

/// Tries 16 scales around the one that puts the element largest in magnitude on the grid's lowest point, and takes
/// the one whose points, rescaled by least squares, leave the smallest error weighted by `weights`.
#[inline(always)]
fn search_grid<S: Simd>(simd: S, x: &Groups<GROUP>, weights: &Groups<GROUP>) -> f32x16<S> {
    let zero = f32x16::splat(simd, 0.0);
    let one = f32x16::splat(simd, 1.0);
    let lowest = f32::from(GRID[0]);
    let (amax, extreme) = search::extremes(simd, x);

    // ggml's first trial has the opposite sign, so that the largest element falls on no point exactly.
    let (sum_qx, sum_q2) = point_sums(x, weights, one / (-extreme / lowest));
    let mut scales = sum_q2.simd_gt(0.0).select(sum_qx / sum_q2, zero);
    let mut best = scales * sum_qx;
    for step in -7..=7i8 {
        let (sum_qx, sum_q2) = point_sums(
            x,
            weights,
            f32x16::splat(simd, f32::from(step) + lowest) / extreme,
        );
        let better = sum_q2.simd_gt(0.0) & (sum_qx * sum_qx).simd_gt(best * sum_q2);
        scales = better.select(sum_qx / sum_q2, scales);
        best = better.select(scales * sum_qx, best);
    }
    amax.simd_lt(ALL_ZERO).select(zero, scales)
}

/// The sums of w * q * x and of w * q * q over the grid points q that `inverse` gives.
#[inline(always)]
fn point_sums<S: Simd>(
    x: &Groups<GROUP>,
    weights: &Groups<GROUP>,
    inverse: f32x16<S>,
) -> (f32x16<S>, f32x16<S>) {
    let simd = inverse.simd;
    let (mut sum_qx, mut sum_q2) = (f32x16::splat(simd, 0.0), f32x16::splat(simd, 0.0));
    for (x, w) in x.iter().zip(weights) {
        let (x, w) = (load(simd, x), load(simd, w));
        let q = nearest_point(inverse * x, &POINTS);
        sum_qx += w * q * x;
        sum_q2 += w * q * q;
    }
    (sum_qx, sum_q2)
}

/// [`GRID`] as floats.
const POINTS: [f32; 16] = {
    let mut points = [0.0; 16];
    let mut i = 0;
    while i < 16 {
        points[i] = GRID[i] as f32;
        i += 1;
    }
    points
};

const INDICES: [f32; 16] = [
    0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.,
];

/// What `values` holds for the grid point nearest to each lane, the higher of two that are as near; a NaN is past the
/// highest.
#[inline(always)]
fn nearest_point<S: Simd>(x: f32x16<S>, values: &[f32; 16]) -> f32x16<S> {
    let mut nearest = f32x16::splat(x.simd, values[0]);
    for i in 1..16 {
        // Exact: half of an integer.
        let middle = (POINTS[i - 1] + POINTS[i]) / 2.0;
        nearest = x
            .simd_lt(middle)
            .select(nearest, f32x16::splat(x.simd, values[i]));
    }
    nearest
}
