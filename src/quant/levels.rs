//! Rows taken apart into integers and what these stand for, for products of integers.

use super::simd::is_avx2;
use fearless_simd::Simd;

/// Columns that are taken apart at once: a multiple of every block's length.
pub(crate) const SPAN: usize = 256;
/// Columns that share a scale in every type.
pub(crate) const GROUP: usize = 16;

/// Some columns of a row: each is `scale * level + offset`.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(crate) struct Levels {
    pub levels: [u8; SPAN],
    /// One for every [`GROUP`] columns, as the offsets.
    pub scales: [f32; SPAN / GROUP],
    pub offsets: [f32; SPAN / GROUP],
    /// The scales and offsets of types that store them as integers, where the kernels take them so: then instead of the
    /// two above.
    pub factors: Factors,
}

/// Scales and offsets of a span that are integers times a number each.
#[derive(Debug, Clone)]
pub(crate) struct Factors {
    pub scale: f32,
    pub offset: f32,
    /// One for every [`GROUP`] columns, as the offsets.
    pub scales: [i16; SPAN / GROUP],
    pub offsets: [i16; SPAN / GROUP],
}

impl Levels {
    /// Columns that are all zero.
    pub(crate) const ZERO: Levels = Levels {
        levels: [0; SPAN],
        scales: [0.0; SPAN / GROUP],
        offsets: [0.0; SPAN / GROUP],
        factors: Factors {
            scale: 0.0,
            offset: 0.0,
            scales: [0; SPAN / GROUP],
            offsets: [0; SPAN / GROUP],
        },
    };

    /// Sets columns `at * N` and the following.
    #[inline(always)]
    pub(super) fn put<const N: usize>(&mut self, at: usize, levels: &[u8; N], scale: f32, offset: f32) {
        self.set(at, levels);
        self.scales[at * N / GROUP..][..N / GROUP].fill(scale);
        self.offsets[at * N / GROUP..][..N / GROUP].fill(offset);
    }

    /// The levels of columns `at * N` and the following.
    #[inline(always)]
    pub(super) fn set<const N: usize>(&mut self, at: usize, levels: &[u8; N]) {
        self.levels[at * N..][..N].copy_from_slice(levels);
    }
}

/// Whether the kernels of this instruction set take [`Factors`] where a type has them: AVX2's do.
#[inline(always)]
pub(super) fn wants_factors<S: Simd>(simd: S) -> bool {
    is_avx2(simd)
}

/// What a type's levels are like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Whether its scales and offsets are [`Factors`].
    pub is_factored: bool,
    /// Columns that share a scale.
    pub group: usize,
    /// Bits of a level.
    pub bits: u32,
}

/// How a type's blocks are taken apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unpack {
    pub shape: Shape,
    /// Blocks of up to [`SPAN`] columns to these.
    pub unpack: fn(isa: super::Isa, blocks: &[u8], out: &mut Levels),
}
