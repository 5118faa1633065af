//! The searches for the scale of a group that minimises a weighted error, as ggml's quantizers make them.
//!
//! A search adds up floats in a fixed order, and that order is part of the bytes. So the vectors run across groups:
//! every lane computes one group, in exactly the order of a plain loop over its elements.
//!
//! The three searches are large. Each is compiled once for an instruction set and a length of groups, not into every
//! encoder that calls it.

use super::number::{MAGIC, centred_level, nearest_int, nearest_ints};
use fearless_simd::{Select, Simd, SimdBase, SimdFloat, SimdFrom, SimdInt, f32x16, i32x16};

/// Groups that are searched side by side.
pub(super) const LANES: usize = 16;

/// `LANES` groups of `N` elements with the groups as columns: row `i` holds element `i` of each.
pub(super) type Groups<const N: usize> = [[f32; LANES]; N];

/// Groups whose largest magnitude is below this are all zero.
pub(super) const ALL_ZERO: f32 = 1e-15;

/// The squares of all elements.
#[inline(always)]
pub(super) fn squares<const N: usize>(x: &Groups<N>) -> Groups<N> {
    let mut squares = *x;
    for v in squares.as_flattened_mut() {
        *v *= *v;
    }
    squares
}

/// Groups that lie one after another, to columns. Missing groups are zero.
#[inline(always)]
pub(super) fn columns<S: Simd, const N: usize>(simd: S, x: &[f32]) -> Groups<N> {
    let mut groups = [[0.0; LANES]; N];
    for (part, columns) in groups.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let mut rows = [f32x16::splat(simd, 0.0); LANES];
        for (row, group) in rows.iter_mut().zip(x.as_chunks::<N>().0) {
            *row = load(simd, &group.as_chunks().0[part]);
        }
        for (column, row) in columns.iter_mut().zip(transposed(rows)) {
            *column = row.into();
        }
    }
    groups
}

/// Each round interleaves the first half of the rows with the second, which rotates the bits of an element's place, row
/// and column, by one.
#[inline(always)]
fn transposed<S: Simd>(mut rows: [f32x16<S>; LANES]) -> [f32x16<S>; LANES] {
    for _ in 0..LANES.ilog2() {
        let before = rows;
        for i in 0..LANES / 2 {
            let (first, second) = (before[i], before[i + LANES / 2]);
            rows[2 * i] = first.zip_low(second);
            rows[2 * i + 1] = first.zip_high(second);
        }
    }
    rows
}

/// The weights that an importance matrix gives: its own, times sqrt(`sigma2` + x^2), where `sigma2` is a mean square
/// for each group.
#[inline(always)]
pub(super) fn importance_weights<S: Simd, const N: usize>(
    simd: S,
    x: &Groups<N>,
    importance: &Groups<N>,
    sigma2: &[f32; LANES],
) -> Groups<N> {
    let sigma2 = f32x16::from_slice(simd, sigma2);
    let mut weights = *importance;
    for (x, w) in x.iter().zip(&mut weights) {
        let x = load(simd, x);
        *w = (load(simd, w) * (sigma2 + x * x).sqrt()).into();
    }
    weights
}

/// The sum of each group, in the order of its elements.
#[inline(always)]
pub(super) fn group_sums<S: Simd, const N: usize>(simd: S, x: &Groups<N>) -> f32x16<S> {
    let mut sums = f32x16::splat(simd, 0.0);
    for row in x {
        sums += load(simd, row);
    }
    sums
}

/// The scales found for `LANES` groups whose levels run from -`zero_level` to `zero_level` - 1.
pub(super) struct Symmetric {
    /// What a level is multiplied with.
    pub scales: [f32; LANES],
    /// What an element is multiplied with to find its level; 0 where the whole group is zero.
    inverses: [f32; LANES],
    zero_level: i32,
}

impl Symmetric {
    /// The level of element `x` of group `lane`, counted from 0.
    #[inline(always)]
    pub(super) fn level(&self, lane: usize, x: f32) -> u8 {
        match self.inverses[lane] {
            0.0 => 0,
            inverse => centred_level(inverse * x, self.zero_level),
        }
    }
}

/// Tries 19 scales around the one that puts the element largest in magnitude on level -`zero_level`, and takes for each
/// group the one whose levels, rescaled by least squares, leave the smallest error weighted by `weights`.
pub(super) fn symmetric<S: Simd, const N: usize>(
    simd: S,
    x: &Groups<N>,
    weights: &Groups<N>,
    zero_level: i32,
) -> Symmetric {
    simd.vectorize(
        #[inline(always)]
        || search_symmetric(simd, x, weights, zero_level),
    )
}

#[inline(always)]
fn search_symmetric<S: Simd, const N: usize>(
    simd: S,
    x: &Groups<N>,
    weights: &Groups<N>,
    zero_level: i32,
) -> Symmetric {
    let top = zero_level as f32;
    let zero = f32x16::splat(simd, 0.0);
    let (amax, extreme) = extremes(simd, x);
    let mut inverses = f32x16::splat(simd, -top) / extreme;
    let (sum_lx, sum_l2) = level_sums(x, weights, inverses, top);
    let mut scales = sum_l2.simd_eq(0.0).select(zero, sum_lx / sum_l2);
    let mut best = scales * sum_lx;
    for step in (-9..=9i8).filter(|step| *step != 0) {
        let inverse = f32x16::splat(simd, -(top + 0.1 * f32::from(step))) / extreme;
        let (sum_lx, sum_l2) = level_sums(x, weights, inverse, top);
        let better = sum_l2.simd_gt(0.0) & (sum_lx * sum_lx).simd_gt(best * sum_l2);
        scales = better.select(sum_lx / sum_l2, scales);
        best = better.select(scales * sum_lx, best);
        inverses = better.select(inverse, inverses);
    }

    let all_zero = amax.simd_lt(ALL_ZERO);
    Symmetric {
        scales: all_zero.select(zero, scales).into(),
        inverses: all_zero.select(zero, inverses).into(),
        zero_level,
    }
}

/// The sums of w * x * l and of w * l * l over the levels l that `inverse` gives.
#[inline(always)]
fn level_sums<S: Simd, const N: usize>(
    x: &Groups<N>,
    weights: &Groups<N>,
    inverse: f32x16<S>,
    top: f32,
) -> (f32x16<S>, f32x16<S>) {
    let simd = inverse.simd;
    let zero = f32x16::splat(simd, 0.0);
    let (mut sum_lx, mut sum_l2) = (zero, zero);
    for (x, w) in x.iter().zip(weights) {
        let (x, w) = (load(simd, x), load(simd, w));
        // `nearest_int` without leaving the floats, since the product is at most `top` + 1.
        let level = inverse * x + MAGIC - MAGIC;
        let level = level.max(-top).min(top - 1.0);
        sum_lx += w * x * level;
        sum_l2 += w * level * level;
    }
    (sum_lx, sum_l2)
}

/// The scales and minima found for `LANES` groups whose levels run from 0 to `top_level`.
pub(super) struct Affine {
    /// What a level is multiplied with.
    pub scales: [f32; LANES],
    /// What is then subtracted; never negative.
    pub minima: [f32; LANES],
    /// The best trial: its levels are the distances from `lowest`, multiplied with this; 0 in a flat group.
    inverses: [f32; LANES],
    lowest: [f32; LANES],
    top_level: i32,
}

impl Affine {
    /// The level of element `x` of group `lane`.
    #[inline(always)]
    pub(super) fn level(&self, lane: usize, x: f32) -> u8 {
        nearest_int(self.inverses[lane] * (x - self.lowest[lane])).clamp(0, self.top_level) as u8
    }

    /// The levels of group `lane` that fit scale and minimum as they are stored, or where that scale is zero those of
    /// the search.
    #[inline(always)]
    pub(super) fn refit<S: Simd, const N: usize>(
        &self,
        simd: S,
        lane: usize,
        x: &[f32; N],
        scale: f32,
        minimum: f32,
    ) -> [u8; N] {
        let mut levels = [0; N];
        for (x, levels) in x.as_chunks().0.iter().zip(levels.as_chunks_mut().0) {
            let nearest = nearest_ints((load(simd, x) + minimum) / scale);
            *levels = low_bytes(nearest.max(0).min(self.top_level));
        }
        if scale == 0.0 {
            for (v, level) in x.iter().zip(&mut levels) {
                *level = self.level(lane, *v);
            }
        }
        levels
    }
}

/// How [`affine`] searches: trial `i` of `steps` + 1 has the top level + `first` + `step` * i levels across a group's range.
#[derive(Clone, Copy)]
pub(super) struct Trials {
    pub first: f32,
    pub step: f32,
    pub steps: u8,
}

impl Trials {
    /// Where an importance matrix is given, for all types.
    pub(super) const WEIGHTED: Trials = Trials {
        first: -0.9,
        step: 0.05,
        steps: 36,
    };
}

/// Tries scales around the one that spreads the levels over the range of a group, fits scale and minimum to the
/// levels of each by least squares, and takes the one that leaves the smallest error weighted by `weights`: the sum of
/// squares, or of magnitudes if `ABSOLUTE`.
pub(super) fn affine<S: Simd, const ABSOLUTE: bool, const N: usize>(
    simd: S,
    x: &Groups<N>,
    weights: &Groups<N>,
    top_level: i32,
    trials: Trials,
) -> Affine {
    simd.vectorize(
        #[inline(always)]
        || search_affine::<S, ABSOLUTE, N>(simd, x, weights, top_level, trials),
    )
}

#[inline(always)]
fn search_affine<S: Simd, const ABSOLUTE: bool, const N: usize>(
    simd: S,
    x: &Groups<N>,
    weights: &Groups<N>,
    top_level: i32,
    trials: Trials,
) -> Affine {
    let top = top_level as f32;
    let zero = f32x16::splat(simd, 0.0);

    let (mut lowest, mut highest) = (load(simd, &x[0]), load(simd, &x[0]));
    let mut sum_w = load(simd, &weights[0]);
    let mut sum_x = sum_w * lowest;
    for (x, w) in x.iter().zip(weights).skip(1) {
        let (x, w) = (load(simd, x), load(simd, w));
        // Comparisons, since of two zeros the first must stay: its sign reaches the block.
        lowest = x.simd_lt(lowest).select(x, lowest);
        highest = x.simd_gt(highest).select(x, highest);
        sum_w += w;
        sum_x += w * x;
    }
    lowest = lowest.simd_gt(zero).select(zero, lowest);
    let flat = highest.simd_eq(lowest);

    let mut inverses = f32x16::splat(simd, top) / (highest - lowest);
    let mut scales = f32x16::splat(simd, 1.0) / inverses;
    let mut levels = [zero; N];
    for (x, level) in x.iter().zip(&mut levels) {
        *level = clamped(inverses * (load(simd, x) - lowest), 0.0, top);
    }
    let mut best = affine_error::<S, ABSOLUTE, N>(x, weights, &levels, scales, lowest);
    // Each trial starts from the minimum of the best one before it.
    let mut low = lowest;
    for i in 0..=trials.steps {
        let inverse = f32x16::splat(simd, trials.first + trials.step * f32::from(i) + top) / (highest - low);
        let (mut sum_l, mut sum_l2, mut sum_xl) = (zero, zero, zero);
        for ((x, w), level) in x.iter().zip(weights).zip(&mut levels) {
            *level = clamped(inverse * (load(simd, x) - low), 0.0, top);
            let wl = load(simd, w) * *level;
            sum_l += wl;
            sum_l2 += wl * *level;
            sum_xl += wl * load(simd, x);
        }
        let determinant = sum_w * sum_l2 - sum_l * sum_l;
        let scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
        let offset = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
        let above = offset.simd_gt(0.0);
        let scale = above.select(sum_xl / sum_l2, scale);
        let offset = above.select(zero, offset);
        let error = affine_error::<S, ABSOLUTE, N>(x, weights, &levels, scale, offset);
        let better = determinant.simd_gt(0.0) & error.simd_lt(best);
        best = better.select(error, best);
        scales = better.select(scale, scales);
        inverses = better.select(inverse, inverses);
        lowest = better.select(low, lowest);
        low = better.select(offset, low);
    }

    Affine {
        scales: flat.select(zero, scales).into(),
        minima: (-low).into(),
        inverses: flat.select(zero, inverses).into(),
        lowest: lowest.into(),
        top_level,
    }
}

/// The error that `levels` leave with these scales and minima.
#[inline(always)]
fn affine_error<S: Simd, const ABSOLUTE: bool, const N: usize>(
    x: &Groups<N>,
    weights: &Groups<N>,
    levels: &[f32x16<S>; N],
    scales: f32x16<S>,
    low: f32x16<S>,
) -> f32x16<S> {
    let simd = scales.simd;
    let mut sum = f32x16::splat(simd, 0.0);
    for ((x, w), level) in x.iter().zip(weights).zip(levels) {
        let miss = scales * *level + low - load(simd, x);
        let miss = if ABSOLUTE { miss.abs() } else { miss * miss };
        sum += load(simd, w) * miss;
    }
    sum
}

/// Scales and levels for `LANES` groups of Q3_K: starting from the scale that puts the element largest in magnitude
/// on level -`zero_level`, moves one element after another to the level that is best given the others, five times over.
/// The levels are counted from 0.
pub(super) fn descend<S: Simd, const N: usize>(
    simd: S,
    x: &Groups<N>,
    zero_level: i32,
) -> ([f32; LANES], Groups<N>) {
    simd.vectorize(
        #[inline(always)]
        || search_descending(simd, x, zero_level),
    )
}

#[inline(always)]
fn search_descending<S: Simd, const N: usize>(
    simd: S,
    x: &Groups<N>,
    zero_level: i32,
) -> ([f32; LANES], Groups<N>) {
    let top = zero_level as f32;
    let zero = f32x16::splat(simd, 0.0);

    let (amax, extreme) = extremes(simd, x);
    let inverse = f32x16::splat(simd, -top) / extreme;
    let mut levels = [zero; N];
    for (x, level) in x.iter().zip(&mut levels) {
        *level = clamped(inverse * load(simd, x), -top, top - 1.0);
    }
    let (mut sum_lx, mut sum_l2) = (zero, zero);
    for (x, level) in x.iter().zip(&levels) {
        let (x, w) = (load(simd, x), load(simd, x) * load(simd, x));
        sum_lx += w * x * *level;
        sum_l2 += w * *level * *level;
    }
    // A group that a round leaves as it was stays so in the next; hence no early end for single groups.
    for _ in 0..5 {
        for (x, level) in x.iter().zip(&mut levels) {
            let (x, w) = (load(simd, x), load(simd, x) * load(simd, x));
            let rest_lx = sum_lx - w * x * *level;
            let rest_l2 = sum_l2 - w * *level * *level;
            let moved = clamped(x * rest_l2 / rest_lx, -top, top - 1.0);
            let moved_lx = rest_lx + w * x * moved;
            let moved_l2 = rest_l2 + w * moved * moved;
            let better = rest_lx.simd_gt(0.0)
                & !moved.simd_eq(*level)
                & moved_l2.simd_gt(0.0)
                & (moved_lx * moved_lx * sum_l2).simd_gt(sum_lx * sum_lx * moved_l2);
            *level = better.select(moved, *level);
            sum_lx = better.select(moved_lx, sum_lx);
            sum_l2 = better.select(moved_l2, sum_l2);
        }
    }
    let scales = sum_l2.simd_gt(0.0).select(sum_lx / sum_l2, zero);
    let all_zero = amax.simd_lt(ALL_ZERO);
    let mut counted = [[0.0; LANES]; N];
    for (level, counted) in levels.iter().zip(&mut counted) {
        *counted = all_zero.select(zero, *level + top).into();
    }
    (all_zero.select(zero, scales).into(), counted)
}

/// The largest magnitude of each group, and the first element that has it.
#[inline(always)]
pub(super) fn extremes<S: Simd, const N: usize>(simd: S, x: &Groups<N>) -> (f32x16<S>, f32x16<S>) {
    let zero = f32x16::splat(simd, 0.0);
    let (mut amax, mut extreme) = (zero, zero);
    for row in x {
        let x = load(simd, row);
        let larger = x.abs().simd_gt(amax);
        amax = larger.select(x.abs(), amax);
        extreme = larger.select(x, extreme);
    }
    (amax, extreme)
}

/// The low byte of each lane.
#[inline(always)]
pub(super) fn low_bytes<S: Simd>(lanes: i32x16<S>) -> [u8; LANES] {
    let lanes: [i32; LANES] = lanes.into();
    let mut bytes = [0; LANES];
    for (byte, lane) in bytes.iter_mut().zip(lanes) {
        *byte = lane as u8;
    }
    bytes
}

/// One element of each group.
#[inline(always)]
pub(super) fn load<S: Simd>(simd: S, row: &[f32; LANES]) -> f32x16<S> {
    f32x16::simd_from(simd, *row)
}

/// The nearest integers, brought into a range.
#[inline(always)]
fn clamped<S: Simd>(value: f32x16<S>, low: f32, high: f32) -> f32x16<S> {
    nearest_ints(value).to_float::<f32x16<S>>().max(low).min(high)
}
