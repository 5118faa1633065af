//! The few number conversions that all formats share, each with the rounding of ggml's build for x86-64.

use fearless_simd::{Bytes, Simd, f32x16, i32x16};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_mm_cvtph_ps, _mm_cvtsi32_si128, _mm_cvtss_f32, _mm_movehdup_ps};
use std::hint::select_unpredictable;

/// An f16's bits to its value; a NaN keeps its payload.
#[inline(always)]
pub(super) fn f16_value(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    // Exponent and mantissa in an f32's places.
    let placed = u32::from(bits & 0x7fff) << 13;
    // Subnormal, as the scales of K-quants often are. As an f32 it is normal, and must not be a subnormal one on the way:
    // to calculate with these costs a processor more time than to decode a block.
    // Beside 1/2 the last place of an f32 is the smallest f16; converting an integer would wait for the register that it is
    // put into.
    let subnormal = (f32::from_bits(0.5f32.to_bits() | u32::from(bits & 0x03ff)) - 0.5).to_bits();
    let normal = select_unpredictable(
        bits & 0x7c00 == 0x7c00,
        placed | 0x7f80_0000,
        placed.wrapping_add(112 << 23),
    );
    // Which it is nobody can foresee in the scales of blocks.
    let magnitude = select_unpredictable(bits & 0x7c00 == 0, subnormal, normal);
    f32::from_bits(sign | magnitude)
}

/// The f16 nearest to `value`, ties to even, as bits; past the largest it is an infinity.
#[inline(always)]
pub(super) fn f16_bits(value: f32) -> u16 {
    let sign = (value.to_bits() >> 16) & 0x8000;
    let magnitude = value.to_bits() & 0x7fff_ffff;
    // Below 2^-14 the halves are multiples of 2^-24, which is the last place of an f32 in [0.5, 1).
    let subnormal = (f32::from_bits(magnitude) + 0.5)
        .to_bits()
        .wrapping_sub(0.5f32.to_bits());
    let rebiased = magnitude.wrapping_sub(112 << 23);
    let normal = rebiased.wrapping_add(0x0fff + ((rebiased >> 13) & 1)) >> 13;
    let rounded = if magnitude > 0x7f80_0000 {
        0x7e00
    } else if magnitude >= 0x4780_0000 {
        0x7c00
    } else if magnitude < 0x3880_0000 {
        subnormal
    } else {
        normal
    };
    (sign | rounded) as u16
}

/// A little-endian f16 in a block.
#[inline(always)]
pub(super) fn read_f16(bytes: [u8; 2]) -> f32 {
    f16_value(u16::from_le_bytes(bytes))
}

/// Two neighbouring little-endian f16s, as fast as this instruction set can; of a NaN any. Both are to be kept: one alone
/// the compiler puts into a register that the processor waits for.
#[inline(always)]
pub(super) fn halves<S: Simd>(simd: S, bytes: [u8; 4]) -> [f32; 2] {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = simd.level().as_avx2() {
        fearless_simd::kernel!(
            #[inline(always)]
            fn converted(_avx2: Avx2, bits: i32) -> [f32; 2] {
                let numbers = _mm_cvtph_ps(_mm_cvtsi32_si128(bits));
                [_mm_cvtss_f32(numbers), _mm_cvtss_f32(_mm_movehdup_ps(numbers))]
            }
        );
        return converted(avx2, i32::from_le_bytes(bytes));
    }
    let [a, b, c, d] = bytes;
    [read_f16([a, b]), read_f16([c, d])]
}

/// A number as a little-endian f16 for a block.
#[inline(always)]
pub(super) fn write_f16(value: f32) -> [u8; 2] {
    f16_bits(value).to_le_bytes()
}

/// 1.5 * 2^23. Added to a number below 2^22 in magnitude, it leaves the nearest integer in the low bits.
pub(super) const MAGIC: f32 = 12_582_912.0;

/// Nearest integer, ties to even. Past 2^22 in magnitude the result wraps,
/// a NaN gives 0 and an infinity -2^22, all of which the formats' extreme blocks depend on.
#[inline(always)]
pub(super) fn nearest_int(value: f32) -> i32 {
    ((value + MAGIC).to_bits() & 0x007f_ffff) as i32 - 0x0040_0000
}

/// 1 / `d`, where 0 stands for the inverse of 0; `None` where `d` or the inverse is infinite. ggml's conversion of what
/// it then computes, which is no number, gives level 0 for every element.
#[inline(always)]
pub(super) fn inverse(d: f32) -> Option<f32> {
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    (d.is_finite() && inverse.is_finite()).then_some(inverse)
}

/// [`nearest_int`] for each lane.
#[inline(always)]
pub(super) fn nearest_ints<S: Simd>(value: f32x16<S>) -> i32x16<S> {
    ((value + MAGIC).bitcast::<i32x16<S>>() & 0x007f_ffff) - 0x0040_0000
}

/// The level nearest to `value`, which counts from `zero_level`.
#[inline(always)]
pub(super) fn centred_level(value: f32, zero_level: i32) -> u8 {
    (nearest_int(value).clamp(-zero_level, zero_level - 1) + zero_level) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    #[test]
    fn every_f16_widens_and_narrows_as_the_half_crate_does() {
        for bits in 0..=u16::MAX {
            let expected = f16::from_bits(bits);
            if expected.is_nan() {
                assert!(f16_value(bits).is_nan());
                assert_eq!(f16_bits(f16_value(bits)), bits & 0x8000 | 0x7e00);
            } else {
                assert_eq!(f16_value(bits).to_bits(), expected.to_f32_const().to_bits());
                assert_eq!(f16_bits(f16_value(bits)), bits);
            }
        }
    }

    #[test]
    fn narrowing_rounds_ties_to_even() {
        // Every f16, the points half-way to its neighbours, and the numbers beside those points.
        for bits in 0..0x7c00u16 {
            let (low, high) = (f16_value(bits), f16_value(bits + 1).min(65536.0));
            let middle = (low + high) / 2.0;
            for value in [middle.next_down(), middle, middle.next_up()] {
                assert_eq!(f16_bits(value), f16::from_f32_const(value).to_bits(), "{value}");
                assert_eq!(
                    f16_bits(-value),
                    f16::from_f32_const(-value).to_bits(),
                    "-{value}"
                );
            }
        }
        assert_eq!(f16_bits(f32::MAX), 0x7c00);
        assert_eq!(f16_bits(f32::MIN_POSITIVE), 0);
    }

    #[test]
    fn nearest_int_rounds_ties_to_even_and_wraps() {
        for (value, expected) in [(0.5, 0), (1.5, 2), (-0.5, 0), (-1.5, -2), (2.4, 2), (-7.6, -8)] {
            assert_eq!(nearest_int(value), expected, "{value}");
        }
        assert_eq!(nearest_int(f32::NAN), 0);
        assert_eq!(nearest_int(f32::INFINITY), -0x0040_0000);
        assert_eq!(nearest_int(f32::NEG_INFINITY), -0x0040_0000);
    }
}
