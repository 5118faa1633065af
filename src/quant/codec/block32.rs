//! The 32 numbers of a small block as vectors: what the formats with one scale a block are computed with.

use fearless_simd::{Simd, SimdBase, SimdFloat, SimdMask, SimdNarrow, SimdSplit, f32x16, i16x32, i32x16};

/// Elements a block.
pub(super) const LEN: usize = 32;

/// The elements of a block: the first half and the second.
#[derive(Clone, Copy)]
pub(super) struct Block32<S: Simd>([f32x16<S>; 2]);

impl<S: Simd> Block32<S> {
    #[inline(always)]
    pub(super) fn load(simd: S, x: &[f32; LEN]) -> Block32<S> {
        let (first, second) = x.split_at(LEN / 2);
        Block32([f32x16::from_slice(simd, first), f32x16::from_slice(simd, second)])
    }

    #[inline(always)]
    pub(super) fn largest_magnitude(self) -> f32 {
        let [first, second] = self.0;
        first.abs().max(second.abs()).reduce_max()
    }

    /// The smallest and the largest element. Of two zeros either may be meant.
    #[inline(always)]
    pub(super) fn range(self) -> (f32, f32) {
        let [first, second] = self.0;
        (first.min(second).reduce_min(), first.max(second).reduce_max())
    }

    /// Whether an element equals `value`.
    #[inline(always)]
    pub(super) fn contains(self, value: f32) -> bool {
        let [first, second] = self.0;
        (first.simd_eq(value) | second.simd_eq(value)).any_true()
    }

    #[inline(always)]
    pub(super) fn less(self, value: f32) -> Block32<S> {
        let [first, second] = self.0;
        Block32([first - value, second - value])
    }

    /// Elements times `factor`, rounded to the nearest integer, halves away from zero; the integers must fit a byte.
    #[inline(always)]
    pub(super) fn round_half_away(self, factor: f32) -> [u8; LEN] {
        // The number before 1/2 carries every half over the next integer, and nothing below it.
        let almost_half = f32x16::splat(self.0[0].simd, 0.5f32.next_down());
        let [first, second] = self.0;
        let (first, second) = (first * factor, second * factor);
        narrow(
            (first + almost_half.copysign(first)).to_int(),
            (second + almost_half.copysign(second)).to_int(),
        )
    }

    /// Elements times `factor` plus `offset`, which together are not negative, with the fraction cut off and no higher
    /// than `top`.
    #[inline(always)]
    pub(super) fn truncate(self, factor: f32, offset: f32, top: i32) -> [u8; LEN] {
        let [first, second] = self.0;
        narrow(
            (first * factor + offset).to_int::<i32x16<S>>().min(top),
            (second * factor + offset).to_int::<i32x16<S>>().min(top),
        )
    }
}

/// The low byte of each integer, which must fit it with its sign.
#[inline(always)]
fn narrow<S: Simd>(first: i32x16<S>, second: i32x16<S>) -> [u8; LEN] {
    let words: i16x32<S> = first.saturating_narrow(second);
    let (first, second) = words.split();
    let signed: [i8; LEN] = first.saturating_narrow(second).into();
    let mut bytes = [0; LEN];
    for (byte, signed) in bytes.iter_mut().zip(signed) {
        *byte = signed as u8;
    }
    bytes
}
