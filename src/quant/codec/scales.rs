//! The scales of a super-block's groups as small integers with a scale of their own, and the levels that fit them.

use super::number::{nearest_int, nearest_ints};
use super::search::{ALL_ZERO, load, low_bytes};
use fearless_simd::{Simd, SimdBase};

/// The sum of squares, in the order of the elements.
#[inline(always)]
pub(super) fn sum_of_squares(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |sum, v| sum + v * v)
}

/// The levels, counted from 0, that fit a scale as it is stored, or where that is zero those of the search.
#[inline(always)]
pub(super) fn refit<S: Simd, const N: usize>(
    simd: S,
    x: &[f32; N],
    scale: f32,
    zero_level: i32,
    searched: impl Fn(usize) -> u8,
) -> [u8; N] {
    let mut levels = [0; N];
    for (x, levels) in x.as_chunks().0.iter().zip(levels.as_chunks_mut().0) {
        let nearest = nearest_ints(load(simd, x) / scale);
        *levels = low_bytes(nearest.max(-zero_level).min(zero_level - 1) + zero_level);
    }
    if scale == 0.0 {
        for (i, level) in levels.iter_mut().enumerate() {
            *level = searched(i);
        }
    }
    levels
}

/// The value largest in magnitude, the first of several.
#[inline(always)]
pub(super) fn largest(values: &[f32]) -> f32 {
    let mut largest = 0.0f32;
    for v in values {
        if v.abs() > largest.abs() {
            largest = *v;
        }
    }
    largest
}

/// A scale that puts the largest of `values`, which are not negative, on `top`, and the nearest levels.
#[inline(always)]
pub(super) fn spread<const N: usize>(values: &[f32; N], top: u8) -> (f32, [u8; N]) {
    let mut highest = 0.0;
    for v in values {
        highest = if *v > highest { *v } else { highest };
    }
    let inverse = if highest > 0.0 {
        f32::from(top) / highest
    } else {
        0.0
    };
    let mut levels = [0; N];
    for (v, level) in values.iter().zip(&mut levels) {
        *level = (nearest_int(inverse * v) as u8).min(top);
    }
    (highest / f32::from(top), levels)
}

/// A scale for `values` and their levels from 0 to `top`, with the smallest error weighted by `weights`: the best of nine
/// trial scales, then, element after element, the level that is best given the others. A negative value, if the scale alone
/// is of use, has the level that ggml's byte for it wraps to where ggml reads that byte.
#[inline(always)]
pub(super) fn positive<const N: usize>(values: &[f32; N], weights: &[f32; N], top: u8) -> (f32, [u8; N]) {
    let mut highest = 0.0;
    for v in values {
        // A NaN passes, to be forgotten at the next value, as in ggml.
        highest = if highest > *v { highest } else { *v };
    }
    if highest < ALL_ZERO {
        return (0.0, [0; N]);
    }

    let mut best = (f32::INFINITY, 0.0);
    for step in [0, -4, -3, -2, -1, 1, 2, 3, 4i8] {
        let inverse = (0.1 * f32::from(step) + f32::from(top)) / highest;
        let mut error = 0.0;
        for (v, w) in values.iter().zip(weights) {
            let level = nearest_up_to(top, inverse * v);
            let level = if step == 0 { i32::from(level as u8) } else { level };
            let miss = v - 1.0 / inverse * level as f32;
            error += w * miss * miss;
        }
        if step == 0 || error < best.0 {
            best = (error, inverse);
        }
    }

    let mut levels = [0; N];
    let (mut sum_lx, mut sum_l2) = (0.0, 0.0);
    for ((v, w), level) in values.iter().zip(weights).zip(&mut levels) {
        let l = nearest_up_to(top, best.1 * v);
        *level = l as u8;
        sum_lx += w * v * l as f32;
        sum_l2 += w * l as f32 * l as f32;
    }
    for _ in 0..5 {
        let mut moved_one = false;
        for ((v, w), level) in values.iter().zip(weights).zip(&mut levels) {
            let l = f32::from(*level);
            let (rest_lx, rest_l2) = (sum_lx - w * v * l, sum_l2 - w * l * l);
            if rest_lx > 0.0 && rest_l2 > 0.0 {
                let moved = nearest_up_to(top, v * rest_l2 / rest_lx);
                let l = moved as f32;
                let (moved_lx, moved_l2) = (rest_lx + w * v * l, rest_l2 + w * l * l);
                if moved != i32::from(*level) && moved_lx * moved_lx * sum_l2 > sum_lx * sum_lx * moved_l2 {
                    (*level, sum_lx, sum_l2) = (moved as u8, moved_lx, moved_l2);
                    moved_one = true;
                }
            }
        }
        if !moved_one {
            break;
        }
    }
    (if sum_l2 > 0.0 { sum_lx / sum_l2 } else { 0.0 }, levels)
}

#[inline(always)]
fn nearest_up_to(top: u8, value: f32) -> i32 {
    nearest_int(value).min(i32::from(top))
}
