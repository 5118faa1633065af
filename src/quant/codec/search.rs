//! The searches for the scale of a group that minimises a weighted error, as ggml's quantizers make them.
//!
//! A search adds up floats in a fixed order, and that order is part of the bytes. So the vectors run across groups:
//! every lane computes one group, in exactly the order of a plain loop over its elements.

use super::number::{MAGIC, nearest_int};
use fearless_simd::{Bytes, Select, Simd, SimdBase, SimdFloat, SimdInt, f32x16, i32x16};

/// Groups that are searched side by side.
pub(super) const LANES: usize = 16;

/// `LANES` groups of `N` elements with the groups as columns: row `i` holds element `i` of each.
pub(super) type Groups<const N: usize> = [[f32; LANES]; N];

/// Groups whose largest magnitude is below this are all zero.
pub(super) const ALL_ZERO: f32 = 1e-15;

/// Groups that lie one after another, to columns. Missing groups are zero.
#[inline(always)]
pub(super) fn columns<const N: usize>(x: &[f32]) -> Groups<N> {
    let mut groups = [[0.0; LANES]; N];
    for (lane, group) in x.as_chunks::<N>().0.iter().enumerate().take(LANES) {
        for (row, v) in groups.iter_mut().zip(group) {
            row[lane] = *v;
        }
    }
    groups
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
        let x = f32x16::from_slice(simd, x);
        *w = (f32x16::from_slice(simd, w) * (sigma2 + x * x).sqrt()).into();
    }
    weights
}

/// The sum of squares, in the order of the elements.
#[inline(always)]
pub(super) fn sum_of_squares(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |sum, v| sum + v * v)
}

/// The sum of each group, in the order of its elements.
#[inline(always)]
pub(super) fn group_sums<S: Simd, const N: usize>(simd: S, x: &Groups<N>) -> f32x16<S> {
    x.iter().fold(f32x16::splat(simd, 0.0), |sum, row| {
        sum + f32x16::from_slice(simd, row)
    })
}

/// The scales found for `LANES` groups whose levels run from -`top` to `top` - 1.
pub(super) struct Symmetric {
    /// What a level is multiplied with.
    pub scales: [f32; LANES],
    /// What an element is multiplied with to find its level; 0 where the whole group is zero.
    inverses: [f32; LANES],
    top: i32,
}

impl Symmetric {
    /// The level of element `x` of group `lane`, counted from 0.
    #[inline(always)]
    pub(super) fn level(&self, lane: usize, x: f32) -> u8 {
        match self.inverses[lane] {
            0.0 => 0,
            inverse => (nearest_int(inverse * x).clamp(-self.top, self.top - 1) + self.top) as u8,
        }
    }
}

/// Tries 19 scales around the one that puts the element largest in magnitude on level -`TOP`, and takes for each
/// group the one whose levels, rescaled by least squares, leave the smallest error weighted by `weights`.
#[inline(always)]
pub(super) fn symmetric<S: Simd, const TOP: i32, const N: usize>(
    simd: S,
    x: &Groups<N>,
    weights: &Groups<N>,
) -> Symmetric {
    let top = TOP as f32;
    let zero = f32x16::splat(simd, 0.0);
    let (amax, extreme) = extremes(simd, x);
    let mut inverses = f32x16::splat(simd, -top) / extreme;
    let (sum_lx, sum_l2) = level_sums::<S, TOP, N>(x, weights, inverses);
    let mut scales = sum_l2.simd_eq(0.0).select(zero, sum_lx / sum_l2);
    let mut best = scales * sum_lx;
    for step in (-9..=9i8).filter(|step| *step != 0) {
        let inverse = f32x16::splat(simd, -(top + 0.1 * f32::from(step))) / extreme;
        let (sum_lx, sum_l2) = level_sums::<S, TOP, N>(x, weights, inverse);
        let better = sum_l2.simd_gt(0.0) & (sum_lx * sum_lx).simd_gt(best * sum_l2);
        scales = better.select(sum_lx / sum_l2, scales);
        best = better.select(scales * sum_lx, best);
        inverses = better.select(inverse, inverses);
    }

    let all_zero = amax.simd_lt(ALL_ZERO);
    Symmetric {
        scales: all_zero.select(zero, scales).into(),
        inverses: all_zero.select(zero, inverses).into(),
        top: TOP,
    }
}

/// The sums of w * x * l and of w * l * l over the levels l that `inverse` gives.
#[inline(always)]
fn level_sums<S: Simd, const TOP: i32, const N: usize>(
    x: &Groups<N>,
    weights: &Groups<N>,
    inverse: f32x16<S>,
) -> (f32x16<S>, f32x16<S>) {
    let simd = inverse.simd;
    let top = TOP as f32;
    let zero = f32x16::splat(simd, 0.0);
    let (mut sum_lx, mut sum_l2) = (zero, zero);
    for (x, w) in x.iter().zip(weights) {
        let (x, w) = (f32x16::from_slice(simd, x), f32x16::from_slice(simd, w));
        // `nearest_int` without leaving the floats, since the product is at most `TOP` + 1.
        let level = inverse * x + MAGIC - MAGIC;
        let level = level.max(-top).min(top - 1.0);
        sum_lx += w * x * level;
        sum_l2 += w * level * level;
    }
    (sum_lx, sum_l2)
}

/// The scales and minima found for `LANES` groups whose levels run from 0 to `top`.
pub(super) struct Affine {
    /// What a level is multiplied with.
    pub scales: [f32; LANES],
    /// What is then subtracted; never negative.
    pub minima: [f32; LANES],
    /// The best trial: its levels are the distances from `lowest`, multiplied with this; 0 in a flat group.
    inverses: [f32; LANES],
    lowest: [f32; LANES],
    top: i32,
}

impl Affine {
    /// The level of element `x` of group `lane`.
    #[inline(always)]
    pub(super) fn level(&self, lane: usize, x: f32) -> u8 {
        nearest_int(self.inverses[lane] * (x - self.lowest[lane])).clamp(0, self.top) as u8
    }

    /// The levels of group `lane` that fit scale and minimum as they are stored, or where that scale is zero those of
    /// the search.
    #[inline(always)]
    pub(super) fn refit<const N: usize>(
        &self,
        lane: usize,
        x: &[f32; N],
        scale: f32,
        minimum: f32,
    ) -> [u8; N] {
        if scale == 0.0 {
            x.map(|v| self.level(lane, v))
        } else {
            x.map(|v| nearest_int((v + minimum) / scale).clamp(0, self.top) as u8)
        }
    }
}

/// The levels, counted from 0, that fit a scale as it is stored, or where that is zero those of the search.
#[inline(always)]
pub(super) fn refit<const TOP: i32, const N: usize>(
    x: &[f32; N],
    scale: f32,
    searched: impl Fn(usize) -> u8,
) -> [u8; N] {
    if scale == 0.0 {
        std::array::from_fn(searched)
    } else {
        x.map(|v| (nearest_int(v / scale).clamp(-TOP, TOP - 1) + TOP) as u8)
    }
}

/// The value largest in magnitude, the first of several.
#[inline(always)]
pub(super) fn largest(values: &[f32]) -> f32 {
    values.iter().fold(
        0.0,
        |largest: f32, v| if v.abs() > largest.abs() { *v } else { largest },
    )
}

/// A scale that puts the largest of `values`, which are not negative, on `TOP`, and the nearest levels.
#[inline(always)]
pub(super) fn spread<const TOP: u8, const N: usize>(values: &[f32; N]) -> (f32, [u8; N]) {
    let top = f32::from(TOP);
    let highest = values
        .iter()
        .fold(0.0, |highest, v| if *v > highest { *v } else { highest });
    let inverse = if highest > 0.0 { top / highest } else { 0.0 };
    (
        highest / top,
        values.map(|v| (nearest_int(inverse * v) as u8).min(TOP)),
    )
}

/// How [`affine`] searches: trial `i` of `steps` + 1 has `TOP` + `first` + `step` * i levels across a group's range.
#[derive(Clone, Copy)]
pub(super) struct Trials {
    pub first: f32,
    pub step: f32,
    pub steps: u8,
    /// Errors count by magnitude, not squared.
    pub absolute: bool,
}

impl Trials {
    /// Where an importance matrix is given, for all types.
    pub(super) const WEIGHTED: Trials = Trials {
        first: -0.9,
        step: 0.05,
        steps: 36,
        absolute: false,
    };
}

/// Tries scales around the one that spreads the levels over the range of a group, fits scale and minimum to the
/// levels of each by least squares, and takes the one that leaves the smallest error weighted by `weights`.
#[inline(always)]
pub(super) fn affine<S: Simd, const TOP: i32, const N: usize>(
    simd: S,
    x: &Groups<N>,
    weights: &Groups<N>,
    trials: Trials,
) -> Affine {
    let top = TOP as f32;
    let zero = f32x16::splat(simd, 0.0);
    let load = |row: &[f32; LANES]| f32x16::from_slice(simd, row);

    let (mut lowest, mut highest) = (load(&x[0]), load(&x[0]));
    let mut sum_w = load(&weights[0]);
    let mut sum_x = sum_w * lowest;
    for (x, w) in x.iter().zip(weights).skip(1) {
        let (x, w) = (load(x), load(w));
        // Comparisons, since of two zeros the first must stay: its sign reaches the block.
        lowest = x.simd_lt(lowest).select(x, lowest);
        highest = x.simd_gt(highest).select(x, highest);
        sum_w += w;
        sum_x += w * x;
    }
    lowest = lowest.simd_gt(zero).select(zero, lowest);
    let flat = highest.simd_eq(lowest);

    let level_of =
        |x: f32x16<S>, inverse: f32x16<S>, low: f32x16<S>| nearest(inverse * (x - low)).max(zero).min(top);
    let error = |levels: &[f32x16<S>; N], scale: f32x16<S>, low: f32x16<S>| {
        let mut sum = zero;
        for ((x, w), level) in x.iter().zip(weights).zip(levels) {
            let miss = scale * *level + low - load(x);
            let miss = if trials.absolute { miss.abs() } else { miss * miss };
            sum += load(w) * miss;
        }
        sum
    };

    let mut inverses = f32x16::splat(simd, top) / (highest - lowest);
    let mut scales = f32x16::splat(simd, 1.0) / inverses;
    let mut levels = x.map(|row| level_of(load(&row), inverses, lowest));
    let mut best = error(&levels, scales, lowest);
    // Each trial starts from the minimum of the best one before it.
    let mut low = lowest;
    for i in 0..=trials.steps {
        let inverse = f32x16::splat(simd, trials.first + trials.step * f32::from(i) + top) / (highest - low);
        let (mut sum_l, mut sum_l2, mut sum_xl) = (zero, zero, zero);
        for ((x, w), level) in x.iter().zip(weights).zip(&mut levels) {
            *level = level_of(load(x), inverse, low);
            let wl = load(w) * *level;
            sum_l += wl;
            sum_l2 += wl * *level;
            sum_xl += wl * load(x);
        }
        let determinant = sum_w * sum_l2 - sum_l * sum_l;
        let scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
        let offset = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
        let above = offset.simd_gt(0.0);
        let scale = above.select(sum_xl / sum_l2, scale);
        let offset = above.select(zero, offset);
        let error = error(&levels, scale, offset);
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
        top: TOP,
    }
}

/// Scales and levels for `LANES` groups of Q3_K: starting from the scale that puts the element largest in magnitude
/// on level -`TOP`, moves one element after another to the level that is best given the others, five times over.
/// The levels are counted from 0.
#[inline(always)]
pub(super) fn descend<S: Simd, const TOP: i32, const N: usize>(
    simd: S,
    x: &Groups<N>,
) -> ([f32; LANES], Groups<N>) {
    let top = TOP as f32;
    let zero = f32x16::splat(simd, 0.0);
    let load = |row: &[f32; LANES]| f32x16::from_slice(simd, row);

    let (amax, extreme) = extremes(simd, x);
    let inverse = f32x16::splat(simd, -top) / extreme;
    let mut levels = x.map(|row| nearest(inverse * load(&row)).max(-top).min(top - 1.0));
    let (mut sum_lx, mut sum_l2) = (zero, zero);
    for (x, level) in x.iter().zip(&levels) {
        let (x, w) = (load(x), load(x) * load(x));
        sum_lx += w * x * *level;
        sum_l2 += w * *level * *level;
    }
    // A group that a round leaves as it was stays so in the next; hence no early end for single groups.
    for _ in 0..5 {
        for (x, level) in x.iter().zip(&mut levels) {
            let (x, w) = (load(x), load(x) * load(x));
            let rest_lx = sum_lx - w * x * *level;
            let rest_l2 = sum_l2 - w * *level * *level;
            let moved = nearest(x * rest_l2 / rest_lx).max(-top).min(top - 1.0);
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
    (
        all_zero.select(zero, scales).into(),
        levels.map(|level| all_zero.select(zero, level + top).into()),
    )
}

/// A scale for the scales or minima of a block, and their levels from 0 to `TOP`, with the smallest error weighted by
/// `weights`: nine trial scales, then descent as in [`descend`].
#[inline(always)]
pub(super) fn positive<const TOP: u8, const N: usize>(x: &[f32; N], weights: &[f32; N]) -> (f32, [u8; N]) {
    let top = f32::from(TOP);
    let highest = x
        .iter()
        .fold(0.0, |highest, v| if highest > *v { highest } else { *v });
    if highest < ALL_ZERO {
        return (0.0, [0; N]);
    }
    let level_of = |v: f32| nearest_int(v).min(i32::from(TOP));
    let error = |scale: f32, levels: [f32; N]| {
        let pairs = x.iter().zip(levels).zip(weights);
        pairs.fold(0.0, |sum, ((x, level), w)| {
            let miss = x - scale * level;
            sum + w * miss * miss
        })
    };

    let mut inverse = top / highest;
    let mut best = error(
        1.0 / inverse,
        x.map(|v| f32::from(nearest_int(inverse * v) as u8)),
    );
    for step in (-4..=4i8).filter(|step| *step != 0) {
        let trial = (0.1 * f32::from(step) + top) / highest;
        let error = error(1.0 / trial, x.map(|v| level_of(trial * v) as f32));
        if error < best {
            (best, inverse) = (error, trial);
        }
    }

    let mut levels = [0u8; N];
    let (mut sum_lx, mut sum_l2) = (0.0, 0.0);
    for ((x, w), level) in x.iter().zip(weights).zip(&mut levels) {
        let l = level_of(inverse * x);
        *level = l as u8;
        sum_lx += w * x * l as f32;
        sum_l2 += w * l as f32 * l as f32;
    }
    for _ in 0..5 {
        let mut changed = false;
        for ((x, w), level) in x.iter().zip(weights).zip(&mut levels) {
            let l = f32::from(*level);
            let (rest_lx, rest_l2) = (sum_lx - w * x * l, sum_l2 - w * l * l);
            if rest_lx > 0.0 && rest_l2 > 0.0 {
                let moved = level_of(x * rest_l2 / rest_lx);
                let l = moved as f32;
                let (moved_lx, moved_l2) = (rest_lx + w * x * l, rest_l2 + w * l * l);
                if moved != i32::from(*level) && moved_lx * moved_lx * sum_l2 > sum_lx * sum_lx * moved_l2 {
                    (*level, sum_lx, sum_l2) = (moved as u8, moved_lx, moved_l2);
                    changed = true;
                }
            }
        }
        if !changed {
            break;
        }
    }
    (if sum_l2 > 0.0 { sum_lx / sum_l2 } else { 0.0 }, levels)
}

/// The largest magnitude of each group, and the first element that has it.
#[inline(always)]
pub(super) fn extremes<S: Simd, const N: usize>(simd: S, x: &Groups<N>) -> (f32x16<S>, f32x16<S>) {
    let zero = f32x16::splat(simd, 0.0);
    let (mut amax, mut extreme) = (zero, zero);
    for row in x {
        let x = f32x16::from_slice(simd, row);
        let larger = x.abs().simd_gt(amax);
        amax = larger.select(x.abs(), amax);
        extreme = larger.select(x, extreme);
    }
    (amax, extreme)
}

/// [`nearest_int`] for each lane.
#[inline(always)]
fn nearest<S: Simd>(value: f32x16<S>) -> f32x16<S> {
    let bits: i32x16<S> = (value + MAGIC).bitcast();
    ((bits & 0x007f_ffff) - 0x0040_0000).to_float()
}
