//! The searches for the scale of a group that minimises a weighted error, as ggml's quantizers make them.
//!
//! A search adds up floats in a fixed order, and that order is part of the bytes. So the vectors run across groups:
//! every lane computes one group, in exactly the order of a plain loop over its elements.

use super::number::{MAGIC, nearest_int};
use fearless_simd::{Select, Simd, SimdBase, f32x16};

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
    let (mut amax, mut extreme) = (zero, zero);
    for row in x {
        let x = f32x16::from_slice(simd, row);
        let larger = x.abs().simd_gt(amax);
        amax = larger.select(x.abs(), amax);
        extreme = larger.select(x, extreme);
    }

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
