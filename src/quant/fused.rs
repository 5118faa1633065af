//! Blocks that are multiplied while they are decoded: their numbers go from registers into the products, and are never
//! written.
//!
//! A chunk of 32 columns is decoded from 32 levels of a byte each, which a vector of eight lanes holds as words. Of these
//! vector `k` of four takes byte `k`: the columns are taken in strides, `k`, `k + 4`, and so on, and no byte leaves its word.
//! On vectors of sixteen lanes the columns stay in their order, and most formats look their levels up in a register.

use super::product::CHUNK;
use super::simd::has_sixteen_lanes;
use fearless_simd::{Bytes, Simd, SimdBase, SimdFloat, SimdFrom, SimdInt, f32x8, f32x16, i32x8, u8x32};

/// Vectors of a chunk in strides, each of [`LANES`] columns.
pub(crate) const VECTORS: usize = 4;
/// Columns of such a vector.
pub(crate) const LANES: usize = CHUNK / VECTORS;

/// Where a chunk's columns are in its vectors: what stands at `LANES * k + j` is column `VECTORS * j + k`.
#[inline(always)]
pub(crate) fn strided(columns: &[f32; CHUNK]) -> [f32; CHUNK] {
    std::array::from_fn(|at| columns[VECTORS * (at % LANES) + at / LANES])
}

/// Formats of which a block has `BYTES` bytes and `UNITS` units, each of `CHUNKS` chunks that share bytes. The numbers are, bit
/// for bit, those of their decoder.
pub(crate) trait Fused<const BYTES: usize, const UNITS: usize, const CHUNKS: usize> {
    /// What a block's levels are multiplied with and moved by.
    type Scales: Copy + Default + Send + Sync;
    /// Levels that are put together while they are bytes, for vectors of sixteen lanes: fewer steps than lane by lane. Most
    /// formats have none.
    type Levels: Copy + Default;

    /// The scales of a block.
    fn scales<S: Simd>(simd: S, block: &[u8; BYTES]) -> Self::Scales;

    /// The levels of a block.
    #[inline(always)]
    fn levels<S: Simd>(_simd: S, _block: &[u8; BYTES]) -> Self::Levels {
        Self::Levels::default()
    }

    /// The chunks of a unit, for vectors of eight lanes.
    fn unit<S: Simd>(simd: S, block: &[u8; BYTES], scales: &Self::Scales, unit: usize) -> [Chunk<S>; CHUNKS];

    /// The numbers of a unit in their order, for vectors of sixteen lanes.
    fn numbers<S: Simd>(
        simd: S,
        block: &[u8; BYTES],
        scales: &Self::Scales,
        levels: &Self::Levels,
        unit: usize,
    ) -> [InOrder<S>; CHUNKS];
}

/// A chunk's numbers in their order.
pub(crate) type InOrder<S> = [f32x16<S>; 2];

/// What the scale of [`Chunk::scaled`] is multiplied with.
const TOP: f32 = 1.0 / 16_777_216.0;

/// [`TOP`], or 1 where [`Fused::numbers`] is used.
#[inline(always)]
pub(super) fn top<S: Simd>(simd: S) -> f32 {
    if has_sixteen_lanes(simd) { 1.0 } else { TOP }
}

/// Some columns in a vector's registers, not yet numbers.
#[derive(Clone, Copy)]
pub(crate) struct Chunk<S: Simd> {
    /// Of signed bytes.
    levels: i32x8<S>,
    scale: f32x8<S>,
    offset: Option<f32x8<S>>,
}

impl<S: Simd> Chunk<S> {
    /// Signed bytes times a scale. They are taken as the highest bytes of words, 2^24 times as large: `scale` is to be the
    /// scale times [`TOP`].
    #[inline(always)]
    pub(super) fn scaled(levels: i32x8<S>, scale: f32x8<S>) -> Chunk<S> {
        Chunk {
            levels,
            scale,
            offset: None,
        }
    }

    /// Signed bytes times a scale, plus an offset. The product must be exact: it is not rounded before the sum is.
    #[inline(always)]
    pub(super) fn scaled_and_moved(levels: i32x8<S>, scale: f32x8<S>, offset: f32x8<S>) -> Chunk<S> {
        Chunk {
            levels,
            scale,
            offset: Some(offset),
        }
    }

    /// Vector `k` of [`VECTORS`].
    #[inline(always)]
    pub(crate) fn numbers(self, k: usize) -> f32x8<S> {
        match self.offset {
            // By shifts: raised and shifted, one token of Q4_K takes a seventh longer.
            Some(offset) => {
                let above = 24 - 8 * k as u32;
                let levels: f32x8<S> = ((self.levels << above) >> 24).to_float();
                levels.mul_add(self.scale, offset)
            }
            None => {
                let levels: f32x8<S> = self.raised(k).to_float();
                levels * self.scale
            }
        }
    }

    /// Byte `k` of each word as its highest, the others 0: one instruction each.
    #[inline(always)]
    fn raised(self, k: usize) -> i32x8<S> {
        const HIGHEST: usize = VECTORS - 1;
        match k {
            0 => self.levels << 24,
            HIGHEST => self.levels & i32::from_le_bytes([0, 0, 0, 0xff]),
            _ => {
                let bytes: u8x32<S> = self.levels.bitcast();
                // From a place with the top bit set comes zero.
                let places = std::array::from_fn(|at| match at % VECTORS {
                    HIGHEST => (at % 16 - HIGHEST + k) as u8,
                    _ => 0x80,
                });
                bytes
                    .swizzle_dyn_within_blocks(u8x32::simd_from(self.levels.simd, places))
                    .bitcast()
            }
        }
    }
}

/// 32 bytes as words.
#[inline(always)]
pub(super) fn words<S: Simd>(simd: S, bytes: &[u8]) -> i32x8<S> {
    u8x32::from_slice(simd, bytes).bitcast()
}

/// What is done with a format.
pub(crate) trait Visit {
    type Output;

    fn visit<F: Fused<BYTES, UNITS, CHUNKS>, const BYTES: usize, const UNITS: usize, const CHUNKS: usize>(
        self,
    ) -> Self::Output;
}
