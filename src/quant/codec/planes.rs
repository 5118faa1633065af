//! Levels of a few bits packed into bytes, the one way in which almost all formats do it.
//!
//! A stripe of `STRIPE` bytes holds `8 / BITS` runs of `STRIPE` levels: the first run in the low bits of its bytes, the
//! next one above it. Q4_0 is one stripe of 16 bytes with 4 bits a level; Q2_K has two stripes of 32 bytes with 2 bits.

use crate::quant::fused::words;
use crate::quant::simd::is_avx2;
use fearless_simd::{
    Bytes, Select, Simd, SimdBase, SimdFrom, SimdInt, f32x8, f32x16, i32x8, i32x16, u8x16, u8x32,
};

/// The levels in `bytes`.
#[inline(always)]
pub(super) fn unpack<const BITS: usize, const STRIPE: usize, const LEN: usize>(bytes: &[u8]) -> [u8; LEN] {
    let mut levels = [0; LEN];
    let stripes = bytes.as_chunks::<STRIPE>().0;
    for (stripe, levels) in stripes.iter().zip(levels.chunks_exact_mut(STRIPE * 8 / BITS)) {
        for (run, levels) in levels.as_chunks_mut::<STRIPE>().0.iter_mut().enumerate() {
            for (byte, level) in stripe.iter().zip(levels) {
                *level = (byte >> (run * BITS)) & (0xff >> (8 - BITS));
            }
        }
    }
    levels
}

/// The 32 levels in a stripe of 16 bytes with 4 bits a level, in a vector.
#[inline(always)]
pub(super) fn nibbles<S: Simd>(simd: S, stripe: &[u8]) -> i32x8<S> {
    let stripe = u8x16::from_slice(simd, stripe);
    let twice: i32x8<S> = simd.combine_u8x16(stripe, stripe).bitcast();
    let runs = i32x8::simd_from(simd, [0, 0, 0, 0, 4, 4, 4, 4]);
    (twice >> runs) & 0x0f0f_0f0f
}

/// Of 32 bits each in all bits of a byte.
#[inline(always)]
pub(super) fn spread_bits<S: Simd>(simd: S, bits: &[u8]) -> u8x32<S> {
    let bits = i32::from_le_bytes([bits[0], bits[1], bits[2], bits[3]]);
    let all: u8x32<S> = i32x8::splat(simd, bits).bitcast();
    let (byte, bit) = (
        std::array::from_fn(|i| i as u8 / 8),
        std::array::from_fn(|i| 1 << (i % 8)),
    );
    let bytes = all.swizzle_dyn_within_blocks(u8x32::simd_from(simd, byte));
    let bit = u8x32::simd_from(simd, bit);
    (bytes & bit)
        .simd_eq(bit)
        .select(u8x32::splat(simd, 0xff), u8x32::splat(simd, 0))
}

/// The low `BITS` bits of each level into `bytes`.
#[inline(always)]
pub(super) fn pack<const BITS: usize, const STRIPE: usize>(levels: &[u8], bytes: &mut [u8]) {
    let stripes = bytes.as_chunks_mut::<STRIPE>().0;
    for (stripe, levels) in stripes.iter_mut().zip(levels.chunks_exact(STRIPE * 8 / BITS)) {
        *stripe = [0; STRIPE];
        for (run, levels) in levels.as_chunks::<STRIPE>().0.iter().enumerate() {
            for (byte, level) in stripe.iter_mut().zip(levels) {
                *byte |= (level & (0xff >> (8 - BITS))) << (run * BITS);
            }
        }
    }
}

/// The bits of each level from bit `BITS` up.
#[inline(always)]
pub(super) fn above<const BITS: usize, const LEN: usize>(levels: &[u8; LEN]) -> [u8; LEN] {
    let mut above = *levels;
    for level in &mut above {
        *level >>= BITS;
    }
    above
}

/// Levels whose low `BITS` bits and the bits above them are stored apart.
#[inline(always)]
pub(super) fn joined<const BITS: usize, const LEN: usize>(low: &[u8; LEN], high: &[u8; LEN]) -> [u8; LEN] {
    let mut levels = *low;
    for (level, high) in levels.iter_mut().zip(high) {
        *level |= high << BITS;
    }
    levels
}

/// `scale` times each level less `zero`. On vectors by hand, here and in the next functions: the compiler would convert
/// one by one, or run its vectors across blocks.
#[inline(always)]
pub(super) fn scaled<S: Simd>(simd: S, levels: &[u8], zero: u8, scale: f32, out: &mut [f32]) {
    for (levels, out) in levels.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        *out = (sixteen(simd, levels, zero) * scale).into();
    }
}

/// `scale` times each signed byte.
#[inline(always)]
pub(super) fn scaled_signed<S: Simd>(simd: S, bytes: &[u8], scale: f32, out: &mut [f32]) {
    for (bytes, out) in bytes.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        *out = (signed(simd, bytes) * scale).into();
    }
}

/// `scale` times each level, plus `offset`.
#[inline(always)]
pub(super) fn scaled_and_moved<S: Simd>(simd: S, levels: &[u8], scale: f32, offset: f32, out: &mut [f32]) {
    for (levels, out) in levels.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        *out = (sixteen(simd, levels, 0) * scale + offset).into();
    }
}

/// Multiplies each number with `scale`.
#[inline(always)]
pub(super) fn scale<S: Simd>(simd: S, numbers: &mut [f32], scale: f32) {
    for run in numbers.as_chunks_mut::<16>().0 {
        *run = (f32x16::simd_from(simd, *run) * scale).into();
    }
}

/// Sixteen signed bytes as numbers, fastest where they lie in memory.
#[inline(always)]
pub(super) fn signed<S: Simd>(simd: S, bytes: &[u8; 16]) -> f32x16<S> {
    let mut numbers = [0.0; 16];
    for (v, byte) in numbers.iter_mut().zip(bytes) {
        *v = f32::from(*byte as i8);
    }
    f32x16::simd_from(simd, numbers)
}

/// Sixteen levels less `zero`, as numbers; each difference fits into a signed byte.
#[inline(always)]
pub(super) fn sixteen<S: Simd>(simd: S, levels: &[u8; 16], zero: u8) -> f32x16<S> {
    match is_avx2(simd) {
        true => spread(simd, levels, zero),
        false => signed(simd, &std::array::from_fn(|i| levels[i].wrapping_sub(zero))),
    }
}

/// 32 bytes as words, in each half of a vector.
#[inline(always)]
pub(super) fn twice<S: Simd>(simd: S, bytes: &[u8]) -> i32x16<S> {
    simd.combine_i32x8(words(simd, bytes), words(simd, bytes))
}

/// So much in each lane of the first half of a vector, and of the second.
#[inline(always)]
pub(super) fn halves_of<S: Simd>(simd: S, first: i32, second: i32) -> i32x16<S> {
    simd.combine_i32x8(i32x8::splat(simd, first), i32x8::splat(simd, second))
}

/// [`sixteen`] for AVX2, where to widen bytes that are in a register takes three times as long as to move them within its
/// halves.
#[inline(always)]
fn spread<S: Simd>(simd: S, levels: &[u8; 16], zero: u8) -> f32x16<S> {
    let levels = u8x16::simd_from(simd, *levels);
    let twice = simd.combine_u8x16(levels, levels);
    let from = |first: u8| -> f32x8<S> {
        // Each to the lowest byte of four; from a place with the top bit set comes zero.
        let places = std::array::from_fn(|i| if i % 4 == 0 { first + (i / 4) as u8 } else { 0x80 });
        let bytes = twice.swizzle_dyn_within_blocks(u8x32::simd_from(simd, places));
        let numbers: i32x8<S> = bytes.bitcast();
        (numbers - i32::from(zero)).to_float()
    };
    simd.combine_f32x8(from(0), from(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_runs_from_the_low_bits_up() {
        let levels: [u8; 16] = std::array::from_fn(|i| i as u8 % 4);
        let mut bytes = [0xff; 4];
        pack::<2, 2>(&levels, &mut bytes);
        // Elements 0, 2, 4, 6 and 1, 3, 5, 7 share the first stripe.
        assert_eq!(
            bytes,
            [0b10_00_10_00, 0b11_01_11_01, 0b10_00_10_00, 0b11_01_11_01]
        );
        assert_eq!(unpack::<2, 2, 16>(&bytes), levels);
    }
}
