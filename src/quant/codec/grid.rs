//! Q4_0 for weights that lie on its grid already, as quantization-aware training leaves them.
//!
//! ggml's rule puts the element largest in magnitude on level -8. A checkpoint trained with levels from -7 to 7 has it on
//! 7, so that all its steps are missed by an eighth. Here that element is tried on every level; where then some scale
//! gives back every weight, once rounded to the type that it came in, the block takes it, and the one that leaves the
//! smallest squared error otherwise.

use super::number::{f16_bits, f16_value};
use super::planes;
use crate::quant::Isa;

/// Elements a block.
const LEN: usize = 32;

/// A scale, as f16, and levels from -8 to 7.
struct Fit {
    d: u16,
    levels: [f32; LEN],
}

/// Encodes whole blocks of weights whose own type has so many `significant` bits.
pub(in crate::quant) fn encode(isa: Isa, row: &[f32], significant: u32, blocks: &mut [u8]) {
    isa.run(
        #[inline(always)]
        || {
            for (x, block) in row.as_chunks().0.iter().zip(blocks.as_chunks_mut().0) {
                let Fit { d, levels } = kept(x, significant).unwrap_or_else(
                    #[inline(always)]
                    || nearest(x),
                );
                let [d0, d1, nibbles @ ..]: &mut [u8; 18] = block;
                [*d0, *d1] = d.to_le_bytes();
                let mut stored = [0; LEN];
                for (stored, level) in stored.iter_mut().zip(levels) {
                    *stored = (level + 8.0) as u8;
                }
                planes::pack::<4, 16>(&stored, nibbles);
            }
        },
    );
}

/// How many of these blocks [`encode`] writes such that every weight is given back.
pub(in crate::quant) fn count_kept<'a>(
    isa: Isa,
    blocks: impl Iterator<Item = &'a [f32; LEN]>,
    significant: u32,
) -> u64 {
    isa.run(
        #[inline(always)]
        || {
            let kept = blocks.filter(
                #[inline(always)]
                |x| kept(x, significant).is_some(),
            );
            kept.count() as u64
        },
    )
}

/// The scales to start from: the element largest in magnitude on each level that it can have. Only one end of the range
/// reaches level -8, so that the sign counts there.
#[inline(always)]
fn starts(x: &[f32; LEN]) -> [f32; 8] {
    let mut extreme = 0.0f32;
    for v in x {
        if v.abs() > extreme.abs() {
            extreme = *v;
        }
    }
    let amax = extreme.abs();
    let mut starts = [extreme / -8.0; 8];
    for (level, start) in (1..8u8).zip(&mut starts) {
        *start = amax / f32::from(level);
    }
    starts
}

#[inline(always)]
fn levels(x: &[f32; LEN], d: f32) -> [f32; LEN] {
    let mut levels = [0.0; LEN];
    if d != 0.0 {
        for (level, v) in levels.iter_mut().zip(x) {
            *level = (v / d).round_ties_even().clamp(-8.0, 7.0);
        }
    }
    levels
}

/// The scale that fits these levels by least squares.
#[inline(always)]
fn least_squares(x: &[f32; LEN], levels: &[f32; LEN]) -> f32 {
    let (mut products, mut squares) = (0.0, 0.0);
    for (v, level) in x.iter().zip(levels) {
        products += v * level;
        squares += level * level;
    }
    if squares > 0.0 { products / squares } else { 0.0 }
}

/// The fit that gives back every weight, if there is one.
#[inline(always)]
fn kept(x: &[f32; LEN], significant: u32) -> Option<Fit> {
    if x.iter().all(|v| *v == 0.0) {
        return Some(Fit {
            d: 0,
            levels: [0.0; LEN],
        });
    }
    for start in starts(x) {
        let Some((low, high)) = scales(x, start, significant) else {
            continue;
        };
        let levels = levels(x, start);
        // Between `low` and `high` may be a single f16, and it need not be the nearest one.
        let nearest = f16_bits(least_squares(x, &levels).clamp(low, high));
        for d in [nearest, nearest.wrapping_add(1), nearest.wrapping_sub(1)] {
            let mut pairs = x.iter().zip(&levels);
            if pairs.all(|(v, level)| rounded(f16_value(d) * level, significant) == *v) {
                return Some(Fit { d, levels });
            }
        }
    }
    None
}

/// The scales from one to another that may give back every weight. Most weights lie on no grid, which the first few tell.
#[inline(always)]
fn scales(x: &[f32; LEN], start: f32, significant: u32) -> Option<(f32, f32)> {
    let (mut low, mut high) = (f32::NEG_INFINITY, f32::INFINITY);
    for v in x {
        if *v == 0.0 {
            continue;
        }
        let level = (v / start).round_ties_even().clamp(-8.0, 7.0);
        // Half of the last place.
        let half = f32::from_bits(v.to_bits() & 0x7f80_0000) / (1 << significant) as f32;
        let (a, b) = ((v - half) / level, (v + half) / level);
        // Where the level is 0, one is an infinity of the wrong sign.
        low = low.max(a.min(b));
        high = high.min(a.max(b));
        if low > high || level == 0.0 {
            return None;
        }
    }
    (low.is_finite() && high.is_finite()).then_some((low, high))
}

/// `value` to so many significant bits, ties to even.
#[inline(always)]
fn rounded(value: f32, significant: u32) -> f32 {
    let spare = 24 - significant;
    if spare == 0 {
        return value;
    }
    let bits = value.to_bits();
    let half = (1 << (spare - 1)) - 1 + (bits >> spare & 1);
    f32::from_bits((bits.wrapping_add(half) >> spare) << spare)
}

/// The fit with the smallest squared error.
#[inline(always)]
fn nearest(x: &[f32; LEN]) -> Fit {
    let starts = starts(x);
    // Where even this scale is no f16, none is.
    let d = f16_bits(starts[7]);
    let mut best = Fit {
        d,
        levels: levels(x, f16_value(d)),
    };
    let mut smallest = f32::INFINITY;
    for start in starts {
        let d = f16_bits(least_squares(x, &levels(x, start)));
        let levels = levels(x, f16_value(d));
        let mut error = 0.0;
        for (v, level) in x.iter().zip(&levels) {
            let miss = f16_value(d) * level - v;
            error += miss * miss;
        }
        if error < smallest {
            smallest = error;
            best = Fit { d, levels };
        }
    }
    best
}
