//! Small operations on rows of numbers. Sums are taken in `f64`, in an order that is always the same, and threads share
//! whole rows, so that no result depends on their number.

use crate::quant::Isa;
use rayon::prelude::*;

/// `out += factor * row`.
#[inline(always)]
pub fn add_scaled(out: &mut [f32], factor: f32, row: &[f32]) {
    for (out, v) in out.iter_mut().zip(row) {
        *out += factor * v;
    }
}

/// Divides each row of `width` elements by its root mean square (`eps` added to the mean square), in place.
pub fn rms_norm(rows: &mut [f32], width: usize, eps: f32) {
    each_row(rows, width, |row| norm(row, eps));
}

/// [`rms_norm`] over rows as long as `weight`, then times `weight`. Gemma 4 adds no 1 to the weight.
pub fn weighted_rms_norm(rows: &mut [f32], weight: &[f32], eps: f32) {
    each_row(rows, weight.len(), |row| {
        norm(row, eps);
        row.iter_mut().zip(weight).for_each(|(v, w)| *v *= w);
    });
}

fn norm(row: &mut [f32], eps: f32) {
    let sum = sum_of_squares(row);
    let scale = (1.0 / (sum / row.len() as f64 + f64::from(eps)).sqrt()) as f32;
    row.iter_mut().for_each(|v| *v *= scale);
}

/// In several sums that do not wait for each other.
fn sum_of_squares(row: &[f32]) -> f64 {
    let square = |v: f32| f64::from(v) * f64::from(v);
    let (chunks, rest) = row.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for chunk in chunks {
        for (sum, v) in sums.iter_mut().zip(chunk) {
            *sum += square(*v);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|v| square(*v)).sum::<f64>()
}

/// Elements that are worth a thread of their own.
const TASK: usize = 1 << 14;

/// Lets threads share whole rows.
fn each_row(rows: &mut [f32], width: usize, change: impl Fn(&mut [f32]) + Sync) {
    let tasks = rows.par_chunks_mut(TASK.next_multiple_of(width));
    tasks.for_each(|rows| rows.chunks_exact_mut(width).for_each(&change));
}

/// The GELU in its tanh form: `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`, rounded where transformers rounds. By one
/// exponential it would be faster, but drafters with random weights then draft other tokens.
#[inline(always)]
pub fn gelu_tanh(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    0.5 * x * (1.0 + tanh(SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x)))
}

/// The hyperbolic tangent, the nearest `f32` but for one in some millions, in operations that vectors have: as
/// `(e - 1) / (e + 1)` with `e = exp(2 x) = 2ⁿ exp(r)`.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    use std::f64::consts::{LN_2, LOG2_E};
    /// 1.5 * 2^52. Added to a small number, it leaves the nearest integer in the low bits.
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    /// From here on it rounds to 1.
    const ONE: f64 = 10.0;
    const QUOTIENTS: [f64; 9] = [
        1.0 / 10.0,
        1.0 / 9.0,
        1.0 / 8.0,
        1.0 / 7.0,
        1.0 / 6.0,
        1.0 / 5.0,
        1.0 / 4.0,
        1.0 / 3.0,
        1.0 / 2.0,
    ];
    let twice = 2.0 * f64::from(x).clamp(-ONE, ONE);
    let shifted = twice * LOG2_E + MAGIC;
    let r = twice - (shifted - MAGIC) * LN_2;
    // exp(r) - 1 by its series, whose next term is below the last bit of an f32 by a factor of thousands.
    // Its quotients are listed: with a range of divisors the compiler finds no vectors.
    let mut series = 1.0;
    for quotient in QUOTIENTS {
        series = 1.0 + series * r * quotient;
    }
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1f64.to_bits()));
    let less_one = power * (series * r) + (power - 1.0);
    (less_one / (less_one + 2.0)) as f32
}

/// `y += x`.
pub fn add(y: &mut [f32], x: &[f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
}

/// Exponentials that sum to 1, in place.
pub fn softmax(scores: &mut [f32]) {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0f64;
    for score in scores.iter_mut() {
        *score = (*score - max).exp();
        sum += f64::from(*score);
    }
    let scale = (1.0 / sum) as f32;
    scores.iter_mut().for_each(|p| *p *= scale);
}

/// Presses logits into `-cap..cap`: `cap · tanh(x / cap)`.
pub fn soft_cap(logits: &mut [f32], cap: f32) {
    logits.par_chunks_mut(TASK).for_each(|logits| {
        Isa::best().run(
            #[inline(always)]
            || logits.iter_mut().for_each(|x| *x = tanh(*x / cap) * cap),
        );
    });
}

/// `ln softmax(logits)[token]`.
pub fn log_probability(logits: &[f32], token: usize) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&x| f64::from(x - max).exp()).sum();
    f64::from(logits[token] - max) - sum.ln()
}

/// Position of the largest value, the first of equals. NaN is never the largest.
pub fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (i, v) in values.iter().enumerate() {
        if *v > values[best] || values[best].is_nan() {
            best = i;
        }
    }
    best
}

/// Positions of the `count` largest values, largest first, the first of equals first.
pub fn top(values: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    order.truncate(count);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_sums_to_one_and_keeps_order() {
        let mut p = [1.0, 3.0, 2.0, -200.0];
        softmax(&mut p);
        assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(argmax(&p), 1);
        assert_eq!(top(&p, 2), [1, 2]);
    }

    #[test]
    fn every_square_is_in_the_sum() {
        let row: Vec<f32> = (1..=19u8).map(f32::from).collect();
        assert_eq!(sum_of_squares(&row), 2470.0);
    }

    #[test]
    fn a_normed_row_has_mean_square_one() {
        let mut row = [3.0, -4.0, 0.0, 0.0];
        weighted_rms_norm(&mut row, &[1.0, 2.0, 1.0, 1.0], 0.0);
        assert!((row[0] - 1.2).abs() < 1e-6);
        assert!((row[1] + 3.2).abs() < 1e-6);
    }

    #[test]
    fn tanh_is_the_nearest_number() {
        let (mut off, mut count) = (0, 0);
        // Every magnitude from 2^-40 to 2^6.
        for bits in (87 << 23..133 << 23).step_by(397) {
            let x = f32::from_bits(bits);
            let exact = f64::from(x).tanh() as f32;
            assert!(tanh(x).to_bits().abs_diff(exact.to_bits()) <= 1, "{x}");
            assert_eq!(tanh(-x), -tanh(x));
            off += usize::from(tanh(x) != exact);
            count += 1;
        }
        assert!(off * 100_000 < count, "{off} of {count}");
        assert!(tanh(f32::NAN).is_nan());
        assert_eq!((tanh(f32::INFINITY), tanh(-0.0)), (1.0, 0.0));
    }

    #[test]
    fn gelu_at_known_points() {
        assert_eq!(gelu_tanh(0.0), 0.0);
        assert!((gelu_tanh(1.0) - 0.841_192).abs() < 1e-6);
        assert!((gelu_tanh(-1.0) + 0.158_808).abs() < 1e-6);
    }

    #[test]
    fn argmax_passes_over_nan() {
        assert_eq!(argmax(&[f32::NAN, 1.0, 2.0, f32::NAN]), 2);
    }
}
