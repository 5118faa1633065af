//! The search for the scale of a group whose runs are points of a grid of magnitudes, with the signs beside: IQ2 and IQ3.
//!
//! As ggml does it: for each of a few trial scales the nearest levels, in place of a run of levels that is no point of the
//! grid the best of the points near it, and of all trials the one whose levels, rescaled by least squares, leave the
//! smallest weighted error. Sums are added up in the order of the elements, which is part of the bytes; hence a vector's
//! lanes are trials.

use super::grid::{self, Map, level, pattern_of};
use super::{LEN, RUN as SIGNS, RUNS};
use crate::quant::codec::number::{nearest_int, nearest_ints};
use crate::quant::codec::scales;
use crate::quant::codec::search::LANES;
use fearless_simd::{Select, Simd, SimdBase, SimdFrom, SimdInt, SimdMask, f32x16, i32x16};

/// The most runs that a group has.
const GROUP_RUNS: usize = 8;

/// What tells the types apart.
pub(super) struct Kind {
    /// Levels of the grid: level `l` stands for 2 * `l` + 1.
    pub levels: u8,
    /// Whether the signs of 8 elements must have an even number of negatives.
    pub even_signs: bool,
    /// Times the mean square of a block: what is added to the square of an element in its weight.
    pub sigma2: f32,
    /// That part of it where no importance matrix is given.
    pub unweighted_sigma2: f32,
    /// Groups whose largest magnitude is below this are all zero.
    pub all_zero: f32,
    /// The trials put the largest element on the highest level and up to `reach` times `step` above and below it.
    pub reach: i8,
    pub step: f32,
    /// Whether the trials start from a scale fitted to levels without a grid.
    pub fit_first: bool,
    /// Which runs are fitted again to the scale that was found.
    pub refit: Refit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Refit {
    All,
    /// All if the best trial had a run off the grid, or if no trial was better than none.
    AllIfOffGrid,
    /// Those that were off the grid in the best trial.
    OffGrid,
}

/// What is found for a block.
pub(super) struct Found {
    /// A scale for each group, not negative.
    pub scales: [f32; LEN / 16],
    /// The index of each run's point. Runs may be of 4 elements.
    pub points: [u16; LEN / 4],
    /// A bit for each element, set where it is negative.
    pub signs: [u8; RUNS],
}

/// The best scales, points and signs of a block in groups of `N`, whose grid has runs of `RUN`.
pub(super) fn search<S: Simd, const N: usize, const RUN: usize, const LEVELS: usize>(
    simd: S,
    kind: &Kind,
    map: &Map<RUN>,
    x: &[f32; LEN],
    importance: Option<&[f32; LEN]>,
) -> Found {
    simd.vectorize(
        #[inline(always)]
        || search_block::<S, N, RUN, LEVELS>(simd, kind, map, x, importance),
    )
}

#[inline(always)]
fn search_block<S: Simd, const N: usize, const RUN: usize, const LEVELS: usize>(
    simd: S,
    kind: &Kind,
    map: &Map<RUN>,
    x: &[f32; LEN],
    importance: Option<&[f32; LEN]>,
) -> Found {
    let mut found = Found {
        scales: [0.0; LEN / 16],
        points: [0; LEN / 4],
        signs: [0; RUNS],
    };
    let weights = weights(kind, x, importance);
    let groups = x.as_chunks::<N>().0.iter().zip(weights.as_chunks::<N>().0);
    let codes = found
        .points
        .chunks_mut(N / RUN)
        .zip(found.signs.chunks_mut(N / SIGNS));
    for (((x, w), (points, signs)), scale) in groups.zip(codes).zip(&mut found.scales) {
        let mut magnitudes = *x;
        let mut negatives = [0; GROUP_RUNS];
        let runs = magnitudes.as_chunks_mut().0.iter_mut().zip(w.as_chunks().0);
        for ((x, w), negatives) in runs.zip(&mut negatives) {
            *negatives = split_signs(kind, x, w);
        }
        let Some(fit) = fit::<S, N, RUN, LEVELS>(simd, kind, map, &magnitudes, w) else {
            continue;
        };
        *scale = fit.scale.abs();
        for (point, pattern) in points.iter_mut().zip(fit.patterns) {
            *point = map.index(pattern);
        }
        for (sign, negatives) in signs.iter_mut().zip(negatives) {
            *sign = if fit.scale < 0.0 { !negatives } else { negatives };
        }
    }
    found
}

/// How much the error of each element counts.
#[inline(always)]
fn weights(kind: &Kind, x: &[f32; LEN], importance: Option<&[f32; LEN]>) -> [f32; LEN] {
    let sigma2 = kind.sigma2 * scales::sum_of_squares(x) / LEN as f32;
    let mut weights = *x;
    match importance {
        Some(importance) => {
            for (w, importance) in weights.iter_mut().zip(importance) {
                *w = importance * (sigma2 + *w * *w).sqrt();
            }
        }
        None if kind.unweighted_sigma2 == 0.0 => {
            for w in &mut weights {
                *w *= *w;
            }
        }
        None => {
            for w in &mut weights {
                *w = kind.unweighted_sigma2 * sigma2 + *w * *w;
            }
        }
    }
    weights
}

/// Leaves the magnitudes in `x` and tells the signs. Where their number must be even and is not, the element that matters
/// least gets the wrong one.
#[inline(always)]
fn split_signs(kind: &Kind, x: &mut [f32; SIGNS], w: &[f32; SIGNS]) -> u8 {
    let mut negatives = 0u8;
    for (i, v) in x.iter_mut().enumerate() {
        negatives |= u8::from(*v < 0.0) << i;
        *v = v.abs();
    }
    if kind.even_signs && negatives.count_ones() % 2 == 1 {
        let mut least = (0, w[0] * x[0] * x[0]);
        for (i, (v, w)) in x.iter().zip(w).enumerate() {
            let weight = w * v * v;
            if weight < least.1 {
                least = (i, weight);
            }
        }
        x[least.0] = -x[least.0];
        negatives ^= 1 << least.0;
    }
    negatives
}

/// What is found for a group.
struct Fit {
    /// Negative if it is better to turn all signs around.
    scale: f32,
    patterns: [u16; GROUP_RUNS],
}

#[inline(always)]
fn fit<S: Simd, const N: usize, const RUN: usize, const LEVELS: usize>(
    simd: S,
    kind: &Kind,
    map: &Map<RUN>,
    x: &[f32; N],
    w: &[f32; N],
) -> Option<Fit> {
    let highest = x
        .iter()
        .fold(x[0], |highest, v| if highest > *v { highest } else { *v });
    if highest < kind.all_zero {
        return None;
    }
    let top = f32::from(2 * kind.levels - 1);
    let (mut scale, mut highest) = (highest / top, highest);
    if kind.fit_first {
        scale = scales::positive(x, w, kind.levels + 1).0;
        highest = scale * f32::from(kind.levels);
        if highest <= 0.0 {
            return None;
        }
    }
    let roots = w.map(f32::sqrt);
    let runs = || {
        let roots = roots.as_chunks::<RUN>().0;
        x.as_chunks::<RUN>().0.iter().zip(roots).enumerate()
    };

    let mut patterns = [0; GROUP_RUNS];
    // A bit for each run.
    let mut off_grid = if kind.refit == Refit::OffGrid { 0 } else { u8::MAX };
    let mut best = 0.0;
    let mut first = -kind.reach;
    while first <= kind.reach {
        let count = LANES.min((kind.reach - first) as usize + 1);
        let mut inverses = [0.0; LANES];
        for (lane, inverse) in inverses.iter_mut().enumerate() {
            *inverse = (top + (f32::from(first) + lane as f32) * kind.step) / highest;
        }
        let inverse = f32x16::simd_from(simd, inverses);
        let scales = f32x16::splat(simd, 1.0) / inverse;
        let mut tried = [i32x16::splat(simd, 0); GROUP_RUNS];
        let mut off = [0; GROUP_RUNS];
        for (k, (x, roots)) in runs() {
            (tried[k], off[k]) =
                snap_trials::<S, RUN, LEVELS>(simd, kind, map, x, roots, inverse, scales, count);
        }
        let (sum_qx, sum_q2) = trial_sums::<S, N, RUN, LEVELS>(simd, x, w, &tried);
        for lane in 0..count {
            if sum_q2[lane] > 0.0 && sum_qx[lane] * sum_qx[lane] > best * sum_q2[lane] {
                scale = sum_qx[lane] / sum_q2[lane];
                best = scale * sum_qx[lane];
                off_grid = 0;
                for k in 0..N / RUN {
                    patterns[k] = tried[k][lane] as u16;
                    off_grid |= ((off[k] >> lane & 1) as u8) << k;
                }
            }
        }
        first += LANES as i8;
    }

    if scale > 0.0 && (kind.refit == Refit::All || off_grid != 0) {
        for (k, (x, roots)) in runs() {
            if kind.refit != Refit::OffGrid || off_grid >> k & 1 != 0 {
                patterns[k] = snap::<RUN, LEVELS>(kind, map, x, roots, scale);
            }
        }
        let (mut sum_qx, mut sum_q2) = (0.0, 0.0);
        for (i, (x, w)) in x.iter().zip(w).enumerate() {
            let q = (2 * level::<RUN, LEVELS>(patterns[i / RUN], i % RUN) + 1) as f32;
            sum_qx += w * x * q;
            sum_q2 += w * q * q;
        }
        if sum_q2 > 0.0 {
            scale = sum_qx / sum_q2;
        }
    }
    Some(Fit { scale, patterns })
}

/// The sums of w * x * q and of w * q * q over what the levels of each trial stand for.
#[inline(always)]
fn trial_sums<S: Simd, const N: usize, const RUN: usize, const LEVELS: usize>(
    simd: S,
    x: &[f32; N],
    w: &[f32; N],
    patterns: &[i32x16<S>; GROUP_RUNS],
) -> ([f32; LANES], [f32; LANES]) {
    let mut sum_qx = f32x16::splat(simd, 0.0);
    let mut sum_q2 = sum_qx;
    let runs = x.as_chunks::<RUN>().0.iter().zip(w.as_chunks::<RUN>().0);
    for ((x, w), pattern) in runs.zip(patterns) {
        for (i, (x, w)) in x.iter().zip(w).enumerate() {
            let level = (*pattern >> (i * 16 / RUN) as u32) & (LEVELS - 1) as i32;
            let q = (level + level + 1).to_float::<f32x16<S>>();
            sum_qx += q * (w * x);
            sum_q2 += q * *w * q;
        }
    }
    (sum_qx.into(), sum_q2.into())
}

/// The point for a run in each of `count` trials, as a pattern, and a bit for each where the nearest levels are none.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn snap_trials<S: Simd, const RUN: usize, const LEVELS: usize>(
    simd: S,
    kind: &Kind,
    map: &Map<RUN>,
    x: &[f32; RUN],
    roots: &[f32; RUN],
    inverse: f32x16<S>,
    scale: f32x16<S>,
    count: usize,
) -> (i32x16<S>, u64) {
    let top = i32::from(kind.levels) - 1;
    let mut nearest = i32x16::splat(simd, 0);
    for (i, x) in x.iter().enumerate() {
        let level = nearest_ints((inverse * *x - 1.0) * 0.5).max(0).min(top);
        nearest |= level << (i * 16 / RUN) as u32;
    }
    let mut points = nearest;
    let mut off = 0;
    let mut terms = None;
    let mut pending = (1u64 << count) - 1;
    // Trials beside each other often have the same levels.
    while pending != 0 {
        let pattern = nearest[pending.trailing_zeros() as usize];
        let same = nearest.simd_eq(pattern);
        let lanes = same.to_bitmask() & pending;
        pending &= !lanes;
        if let Some(neighbours) = map.neighbours(pattern as u16) {
            off |= lanes;
            let terms = terms.get_or_insert_with(
                #[inline(always)]
                || terms_of_trials::<S, RUN, LEVELS>(simd, kind, x, roots, scale),
            );
            points = same.select(nearest_in_trials(simd, neighbours, terms), points);
        }
    }
    (points, off)
}

/// What each level adds to the error of a run, by element.
#[inline(always)]
fn terms_of_trials<S: Simd, const RUN: usize, const LEVELS: usize>(
    simd: S,
    kind: &Kind,
    x: &[f32; RUN],
    roots: &[f32; RUN],
    scale: f32x16<S>,
) -> [[f32x16<S>; LEVELS]; RUN] {
    let mut terms = [[f32x16::splat(simd, 0.0); LEVELS]; RUN];
    for ((x, root), terms) in x.iter().zip(roots).zip(&mut terms) {
        for (l, term) in (0..kind.levels).zip(terms) {
            let miss = scale * f32::from(2 * l + 1) - *x;
            *term = miss * *root * miss;
        }
    }
    terms
}

/// [`grid::nearest`] for each trial.
#[inline(always)]
fn nearest_in_trials<S: Simd, const RUN: usize, const LEVELS: usize>(
    simd: S,
    neighbours: &[u16],
    terms: &[[f32x16<S>; LEVELS]; RUN],
) -> i32x16<S> {
    let mut best = f32x16::splat(simd, f32::MAX);
    let mut points = i32x16::splat(simd, i32::from(neighbours[0]));
    for neighbour in neighbours {
        let mut sum = terms[0][level::<RUN, LEVELS>(*neighbour, 0)];
        for (i, terms) in terms.iter().enumerate().skip(1) {
            sum += terms[level::<RUN, LEVELS>(*neighbour, i)];
        }
        let closer = sum.simd_lt(best);
        best = closer.select(sum, best);
        points = closer.select(i32x16::splat(simd, i32::from(*neighbour)), points);
    }
    points
}

/// The point for a run with this scale, as a pattern.
#[inline(always)]
fn snap<const RUN: usize, const LEVELS: usize>(
    kind: &Kind,
    map: &Map<RUN>,
    x: &[f32; RUN],
    roots: &[f32; RUN],
    scale: f32,
) -> u16 {
    let (inverse, top) = (1.0 / scale, i32::from(kind.levels) - 1);
    let pattern = pattern_of::<RUN>(
        #[inline(always)]
        |i| nearest_int(0.5 * (inverse * x[i] - 1.0)).clamp(0, top) as u16,
    );
    let Some(neighbours) = map.neighbours(pattern) else {
        return pattern;
    };
    let mut terms = [[0.0; LEVELS]; RUN];
    for ((x, root), terms) in x.iter().zip(roots).zip(&mut terms) {
        for (l, term) in (0..kind.levels).zip(terms) {
            let miss = scale * f32::from(2 * l + 1) - x;
            *term = root * miss * miss;
        }
    }
    grid::nearest(neighbours, &terms)
}

/// A scale for the scales, which are not negative, and their codes: code `c` stands for 2 * `c` + 1. `None` where all are
/// zero.
#[inline(always)]
pub(super) fn codes_of_scales<const N: usize>(scales: &[f32; N], top: u8) -> Option<(f32, [u8; N])> {
    let highest = scales
        .iter()
        .fold(0.0, |highest, s| if highest > *s { highest } else { *s });
    if highest == 0.0 {
        return None;
    }
    let d = highest / f32::from(2 * top + 1);
    let inverse = 1.0 / d;
    let code = |scale: f32| nearest_int(0.5 * (inverse * scale - 1.0)).clamp(0, i32::from(top)) as u8;
    Some((d, scales.map(code)))
}
