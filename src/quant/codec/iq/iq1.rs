//! IQ1_S, IQ1_M: runs of 8 elements, each a point of a grid with the levels -1, 0 and 1, all of it shifted up or down by an
//! eighth.
//!
//! A group's scale is searched for without the grid: with its elements sorted, every way to give the lowest of them level
//! -1 and the highest level 1 is tried, for each shift. Then runs that are no point of the grid get one.

use super::grid::{self, Map, level, pattern_of};
use super::search::codes_of_scales;
use super::{LEN, RUN, block_of, decode_runs, u16_at};
use crate::quant::codec::number::{f16_bits, f16_value, read_f16, write_f16};
use crate::quant::codec::scales;
use crate::quant::codec::search::LANES;
use crate::quant::{Codec, Encode};
use fearless_simd::{Simd, SimdBase, SimdMask, dispatch, f32x16};

pub(in crate::quant) static IQ1_S: Codec = Codec {
    decode: decode_runs!(50, decode_s),
    encode: Some(Encode::Weighted(|isa, row, importance, blocks| {
        dispatch!(isa.level(), simd => encode_s(simd, row, importance, blocks));
    })),
};

pub(in crate::quant) static IQ1_M: Codec = Codec {
    decode: decode_runs!(56, decode_m),
    encode: Some(Encode::Any(|isa, row, importance, blocks| {
        dispatch!(isa.level(), simd => encode_m(simd, row, importance, blocks));
    })),
};

/// What the levels stand for with the grid shifted up, and down.
const UP: [f32; 3] = [-0.875, 0.125, 1.125];
const DOWN: [f32; 3] = [-1.125, -0.125, 0.875];

#[inline(always)]
fn shifted(down: bool) -> &'static [f32; 3] {
    if down { &DOWN } else { &UP }
}

/// d: f16; low 8 bits of the indices (32 bytes); for each group a u16 of 4 x 3 high bits, a 3-bit scale and the
/// direction of the shift.
#[inline(always)]
fn decode_s(block: &[u8; 50], run: usize) -> [f32; RUN] {
    let d = read_f16([block[0], block[1]]);
    let tail = u16_at(&block[34..], run / 4);
    let index = usize::from(block[2 + run]) | usize::from(tail >> (3 * (run % 4)) & 7) << 8;
    shifted_run(d * f32::from(2 * (tail >> 12 & 7) + 1), index, tail & 0x8000 != 0)
}

#[inline(always)]
fn encode_s<S: Simd>(simd: S, row: &[f32], importance: &[f32], blocks: &mut [u8]) {
    /// Elements with one scale and shift.
    const GROUP: usize = 32;
    let map: &Map<8> = &grid::IQ1_MAP;
    let x = row
        .as_chunks::<LEN>()
        .0
        .iter()
        .zip(importance.as_chunks::<LEN>().0);
    for ((x, importance), block) in x.zip(blocks.as_chunks_mut::<50>().0) {
        *block = [0; 50];
        let weights = weights(x, Some(importance));
        let (low, tails) = block[2..].split_at_mut(32);
        let mut scales = [0.0; LEN / GROUP];
        let mut down = [false; LEN / GROUP];
        let groups = x
            .as_chunks::<GROUP>()
            .0
            .iter()
            .zip(weights.as_chunks::<GROUP>().0);
        let codes = low.as_chunks_mut::<4>().0.iter_mut().zip(tails.as_chunks_mut().0);
        for (g, ((x, w), (low, tail))) in groups.zip(codes).enumerate() {
            if is_zero(x, 1e-12) {
                continue;
            }
            let sorted = Sorted::new(x);
            let split = simd.vectorize(
                #[inline(always)]
                || split_s(simd, &sorted, w),
            );
            let Some((mut split, mut is_down)) = split else {
                continue;
            };
            let mut levels = sorted.levels(&split);
            if split.scale < 0.0 {
                levels = levels.map(|level| 2 - level);
                (split.scale, is_down) = (-split.scale, !is_down);
            }
            let (points, scale) = snap(map, x, w, &levels, split.scale, |_| shifted(is_down));
            let mut high = 0;
            for (k, (low, point)) in low.iter_mut().zip(points).enumerate() {
                let index = map.index(point);
                *low = index as u8;
                high |= (index >> 8) << (3 * k);
            }
            *tail = high.to_le_bytes();
            (scales[g], down[g]) = (scale, is_down);
        }
        let Some((d, codes)) = codes_of_scales(&scales, 7) else {
            continue;
        };
        for ((tail, code), down) in tails.as_chunks_mut().0.iter_mut().zip(codes).zip(down) {
            let code = u16::from(code) | u16::from(down) << 3;
            *tail = (u16::from_le_bytes(*tail) | code << 12).to_le_bytes();
        }
        [block[0], block[1]] = write_f16(d * 1.125);
    }
}

/// Low 8 bits of the indices (32 bytes); for each run 3 high bits and the direction of the shift; four u16 of 4 x 3-bit
/// scales, one for each half group, whose high 4 bits together are d: f16.
#[inline(always)]
fn decode_m(block: &[u8; 56], run: usize) -> [f32; RUN] {
    let scales = &block[48..];
    let d = f16_value((0..4).fold(0, |d, i| d | u16_at(scales, i) >> 12 << (4 * i)));
    let scale = u16_at(scales, run / 8) >> (3 * (run / 2 % 4)) & 7;
    let high = block[32 + run / 2] >> (run % 2 * 4);
    let index = usize::from(block[run]) | usize::from(high & 7) << 8;
    shifted_run(d * f32::from(2 * scale + 1), index, high & 8 != 0)
}

#[inline(always)]
fn encode_m<S: Simd>(simd: S, row: &[f32], importance: Option<&[f32]>, blocks: &mut [u8]) {
    /// Elements with one scale; each half has a shift.
    const GROUP: usize = 16;
    const GROUPS: usize = LEN / GROUP;
    let map: &Map<8> = &grid::IQ1_MAP;
    let blocks = blocks.as_chunks_mut::<56>().0;
    for (i, (x, block)) in row.as_chunks::<LEN>().0.iter().zip(blocks).enumerate() {
        *block = [0; 56];
        let weights = weights(x, block_of(importance, i));
        let mut scales = [0.0; GROUPS];
        let mut points = [[grid::IQ1.pattern(0); 2]; GROUPS];
        let mut down = [[false; 2]; GROUPS];
        let groups = || {
            x.as_chunks::<GROUP>()
                .0
                .iter()
                .zip(weights.as_chunks::<GROUP>().0)
        };
        for (g, (x, w)) in groups().enumerate() {
            if is_zero(x, 1e-7) {
                continue;
            }
            let sorted = Sorted::new(x);
            let split = simd.vectorize(
                #[inline(always)]
                || split_m(simd, &sorted, w),
            );
            let Some((mut split, mut are_down)) = split else {
                continue;
            };
            let mut levels = sorted.levels(&split);
            if split.scale < 0.0 {
                levels = levels.map(|level| 2 - level);
                (split.scale, are_down) = (-split.scale, are_down.map(|down| !down));
            }
            let (snapped, scale) = snap(map, x, w, &levels, split.scale, |k| shifted(are_down[k]));
            points[g] = [snapped[0], snapped[1]];
            (scales[g], down[g]) = (scale, are_down);
            for (k, point) in points[g].iter().enumerate() {
                let index = map.index(*point);
                block[2 * g + k] = index as u8;
                block[32 + g] |= ((index >> 8) as u8) << (4 * k);
            }
        }
        let Some((mut d, codes)) = codes_of_scales(&scales, 7) else {
            continue;
        };
        // The scale of the scales that is best given all else.
        let (mut sum_qx, mut sum_q2) = (0.0, 0.0);
        for (g, (x, w)) in groups().enumerate() {
            for (i, (x, w)) in x.iter().zip(w).enumerate() {
                let shifted = shifted(down[g][i / RUN]);
                let q = shifted[level::<RUN, 4>(points[g][i / RUN], i % RUN).min(2)]
                    * f32::from(2 * codes[g] + 1);
                sum_qx += w * q * x;
                sum_q2 += w * q * q;
            }
            for (k, down) in down[g].iter().enumerate() {
                block[32 + g] |= u8::from(*down) << (4 * k + 3);
            }
        }
        if sum_q2 > 0.0 {
            d = sum_qx / sum_q2;
        }
        let d = f16_bits(d * 1.1125);
        let quarters = codes.as_chunks::<4>().0.iter().zip(block[48..].as_chunks_mut().0);
        for (i, (codes, quarter)) in quarters.enumerate() {
            let scales = codes
                .iter()
                .rev()
                .fold(0, |scales, code| scales << 3 | u16::from(*code));
            *quarter = (scales | d >> (4 * i) << 12).to_le_bytes();
        }
    }
}

/// A point of the grid, all of it shifted.
#[inline(always)]
fn shifted_run(scale: f32, index: usize, down: bool) -> [f32; RUN] {
    let shift = if down { -0.125 } else { 0.125 };
    grid::IQ1.point(index).map(|v| scale * (v + shift))
}

/// How much the error of each element counts.
#[inline(always)]
fn weights(x: &[f32; LEN], importance: Option<&[f32; LEN]>) -> [f32; LEN] {
    let Some(importance) = importance else {
        return x.map(|v| v * v);
    };
    let sigma2 = 2.0 * scales::sum_of_squares(x) / LEN as f32;
    let mut weights = *importance;
    for (w, v) in weights.iter_mut().zip(x) {
        *w *= (sigma2 + v * v).sqrt();
    }
    weights
}

#[inline(always)]
fn is_zero(x: &[f32], below: f32) -> bool {
    x.iter().fold(0.0f32, |highest, v| highest.max(v.abs())) < below
}

/// A group's elements in ascending order, equal ones in the order of their places.
struct Sorted<const N: usize> {
    x: [f32; N],
    places: [usize; N],
}

/// The first `low` elements in order have level 0, those from `high` on level 2.
struct Split {
    low: usize,
    high: usize,
    scale: f32,
}

impl<const N: usize> Sorted<N> {
    #[inline(always)]
    fn new(x: &[f32; N]) -> Sorted<N> {
        let mut keys = [0; N];
        for (i, (v, key)) in x.iter().zip(&mut keys).enumerate() {
            // Zeros of both signs are equal.
            let bits = (v + 0.0).to_bits();
            let ordered = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
            *key = u64::from(ordered) << 32 | i as u64;
        }
        keys.sort_unstable();
        let places = keys.map(|key| key as u32 as usize % N);
        Sorted {
            x: places.map(|place| x[place]),
            places,
        }
    }

    #[inline(always)]
    fn levels(&self, split: &Split) -> [u8; N] {
        let mut levels = [1; N];
        for (i, place) in self.places.iter().enumerate() {
            levels[*place] = if i < split.low {
                0
            } else if i < split.high {
                1
            } else {
                2
            };
        }
        levels
    }
}

/// Sums up to each element in order, padded so that vectors can start anywhere among them.
type Sums = [f32; 32 + 1 + LANES];

/// The best of some splits so far.
struct Best {
    score: f32,
    split: Option<Split>,
}

impl Best {
    const NONE: Best = Best {
        score: -f32::MAX,
        split: None,
    };

    /// Takes the split if it is better, and tells so.
    #[inline(always)]
    fn offer(&mut self, sum_qx: f32, sum_q2: f32, low: usize, high: usize) -> bool {
        let better = sum_q2 > 0.0 && sum_qx * sum_qx > self.score * sum_q2;
        if better {
            let scale = sum_qx / sum_q2;
            self.score = scale * sum_qx;
            self.split = Some(Split { low, high, scale });
        }
        better
    }
}

/// Takes the best of the splits at `high` and further by lane, of which so many are `open`; each in several ways to shift the
/// grid, by its sums of w * q * x and of w * q * q. Tells the way of the last that was taken.
#[inline(always)]
fn offer_lanes<S: Simd, const WAYS: usize>(
    best: &mut Best,
    ways: &[(f32x16<S>, f32x16<S>); WAYS],
    low: usize,
    high: usize,
    open: usize,
) -> Option<usize> {
    let mut taken = None;
    let mut open = (1 << LANES.min(open)) - 1;
    loop {
        let mut lanes = 0;
        for (sum_qx, sum_q2) in ways {
            let better = sum_q2.simd_gt(0.0) & (*sum_qx * *sum_qx).simd_gt(*sum_q2 * best.score);
            lanes |= better.to_bitmask() & open;
        }
        if lanes == 0 {
            return taken;
        }
        let lane = lanes.trailing_zeros() as usize;
        open &= u64::MAX << 1 << lane;
        for (way, (sum_qx, sum_q2)) in ways.iter().enumerate() {
            if best.offer(sum_qx[lane], sum_q2[lane], low, high + lane) {
                taken = Some(way);
            }
        }
    }
}

#[inline(always)]
fn load<S: Simd>(simd: S, sums: &Sums, at: usize) -> f32x16<S> {
    f32x16::from_slice(simd, &sums[at..at + LANES])
}

/// The sums of w * q * x and of w * q * q over the elements in order, of which the first `low` have the first value of `q`,
/// those up to `high` and further by lane the second, the rest the third.
#[inline(always)]
fn sums_s<S: Simd>(
    simd: S,
    sum_x: &Sums,
    sum_w: &Sums,
    low: usize,
    high: usize,
    q: &[f32; 3],
) -> (f32x16<S>, f32x16<S>) {
    const N: usize = 32;
    let (high_x, high_w) = (load(simd, sum_x, high), load(simd, sum_w, high));
    let sum_qx = f32x16::splat(simd, sum_x[low] * q[0])
        + (high_x - sum_x[low]) * q[1]
        + (f32x16::splat(simd, sum_x[N]) - high_x) * q[2];
    let sum_q2 = f32x16::splat(simd, sum_w[low] * q[0] * q[0])
        + (high_w - sum_w[low]) * q[1] * q[1]
        + (f32x16::splat(simd, sum_w[N]) - high_w) * q[2] * q[2];
    (sum_qx, sum_q2)
}

/// The same for the elements of one half of a group, in the form in which ggml adds up there: the values of `q` are 1 apart.
#[inline(always)]
fn sums_m<S: Simd>(
    simd: S,
    sum_x: &Sums,
    sum_w: &Sums,
    low: usize,
    high: usize,
    q: &[f32; 3],
) -> (f32x16<S>, f32x16<S>) {
    const N: usize = 16;
    let to_both = load(simd, sum_x, high) + sum_x[low];
    let sum_qx = f32x16::splat(simd, sum_x[N] * q[2]) - to_both;
    let at_low = sum_w[N] * q[2] * q[2] + sum_w[low] * (q[0] * q[0] - q[1] * q[1]);
    let sum_q2 = load(simd, sum_w, high) * (q[1] * q[1] - q[2] * q[2]) + at_low;
    (sum_qx, sum_q2)
}

/// The best split of a group and whether the grid is shifted down for it.
#[inline(always)]
fn split_s<S: Simd>(simd: S, sorted: &Sorted<32>, w: &[f32; 32]) -> Option<(Split, bool)> {
    const N: usize = 32;
    let (mut sum_x, mut sum_w): (Sums, Sums) = ([0.0; _], [0.0; _]);
    for (j, (x, place)) in sorted.x.iter().zip(sorted.places).enumerate() {
        sum_x[j + 1] = sum_x[j] + w[place] * x;
        sum_w[j + 1] = sum_w[j] + w[place];
    }
    let (mut best, mut down) = (Best::NONE, false);
    for low in 0..=N {
        for high in (low..=N).step_by(LANES) {
            let up = sums_s(simd, &sum_x, &sum_w, low, high, &UP);
            let dn = sums_s(simd, &sum_x, &sum_w, low, high, &DOWN);
            if let Some(way) = offer_lanes(&mut best, &[up, dn], low, high, N - high + 1) {
                down = way == 1;
            }
        }
    }
    best.split.map(|split| (split, down))
}

/// The best split of a group and for each half of it whether the grid is shifted down for it.
#[inline(always)]
fn split_m<S: Simd>(simd: S, sorted: &Sorted<16>, w: &[f32; 16]) -> Option<(Split, [bool; 2])> {
    const N: usize = 16;
    // For each half, whose sums stay as they are at elements of the other.
    let (mut sum_x, mut sum_w): ([Sums; 2], [Sums; 2]) = ([[0.0; _]; 2], [[0.0; _]; 2]);
    for (j, (x, place)) in sorted.x.iter().zip(sorted.places).enumerate() {
        for half in 0..2 {
            let is_here = half == place / RUN;
            sum_x[half][j + 1] = if is_here {
                sum_x[half][j] + w[place] * x
            } else {
                sum_x[half][j]
            };
            sum_w[half][j + 1] = if is_here {
                sum_w[half][j] + w[place]
            } else {
                sum_w[half][j]
            };
        }
    }
    let (mut best, mut down) = (Best::NONE, [false; 2]);
    for low in 0..=N {
        for high in (low..=N).step_by(LANES) {
            // No closures here, which would be called rather than inlined.
            let first_up = sums_m(simd, &sum_x[0], &sum_w[0], low, high, &UP);
            let first_dn = sums_m(simd, &sum_x[0], &sum_w[0], low, high, &DOWN);
            let second_up = sums_m(simd, &sum_x[1], &sum_w[1], low, high, &UP);
            let second_dn = sums_m(simd, &sum_x[1], &sum_w[1], low, high, &DOWN);
            let both = [
                (first_up.0 + second_up.0, first_up.1 + second_up.1),
                (first_up.0 + second_dn.0, first_up.1 + second_dn.1),
                (first_dn.0 + second_up.0, first_dn.1 + second_up.1),
                (first_dn.0 + second_dn.0, first_dn.1 + second_dn.1),
            ];
            let shifts = [[false, false], [false, true], [true, false], [true, true]];
            if let Some(way) = offer_lanes(&mut best, &both, low, high, N - high + 1) {
                down = shifts[way];
            }
        }
    }
    best.split.map(|split| (split, down))
}

/// The point of each run as a pattern, and the scale, fitted again if a run was off the grid.
#[inline(always)]
fn snap<const N: usize>(
    map: &Map<8>,
    x: &[f32; N],
    w: &[f32; N],
    levels: &[u8; N],
    scale: f32,
    values: impl Fn(usize) -> &'static [f32; 3],
) -> ([u16; 4], f32) {
    let mut points = [0; 4];
    let mut off_grid = false;
    let runs = || {
        x.as_chunks::<RUN>()
            .0
            .iter()
            .zip(w.as_chunks::<RUN>().0)
            .enumerate()
    };
    for (k, (x, w)) in runs() {
        let pattern = pattern_of::<RUN>(|i| u16::from(levels[k * RUN + i]));
        points[k] = match map.neighbours(pattern) {
            None => pattern,
            Some(neighbours) => {
                off_grid = true;
                let mut terms = [[0.0; 4]; RUN];
                for ((x, w), terms) in x.iter().zip(w).zip(&mut terms) {
                    for (value, term) in values(k).iter().zip(terms) {
                        let miss = scale * value - x;
                        *term = w * miss * miss;
                    }
                }
                grid::nearest(neighbours, &terms)
            }
        };
    }
    if !off_grid {
        return (points, scale);
    }
    let (mut sum_qx, mut sum_q2) = (0.0, 0.0);
    for (k, (x, w)) in runs() {
        for (i, (x, w)) in x.iter().zip(w).enumerate() {
            let q = values(k)[level::<RUN, 4>(points[k], i).min(2)];
            sum_qx += w * q * x;
            sum_q2 += w * q * q;
        }
    }
    let fits = sum_qx > 0.0 && sum_q2 > 0.0;
    (points, if fits { sum_qx / sum_q2 } else { scale })
}
