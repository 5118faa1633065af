//! Rows taken apart into integers and what these stand for, for products of integers.

/// Columns that are taken apart at once: a multiple of every block's length.
pub(crate) const SPAN: usize = 256;
/// Columns that share a scale in every type.
pub(crate) const GROUP: usize = 16;

/// Some columns of a row: each is `scale * level + offset`.
#[derive(Debug, Clone)]
pub(crate) struct Levels {
    pub levels: [u8; SPAN],
    /// One for every [`GROUP`] columns, as the offsets.
    pub scales: [f32; SPAN / GROUP],
    pub offsets: [f32; SPAN / GROUP],
}

impl Levels {
    /// Columns that are all zero.
    pub(crate) const ZERO: Levels = Levels {
        levels: [0; SPAN],
        scales: [0.0; SPAN / GROUP],
        offsets: [0.0; SPAN / GROUP],
    };

    /// Sets columns `at * N` and the following.
    #[inline(always)]
    pub(super) fn put<const N: usize>(&mut self, at: usize, levels: &[u8; N], scale: f32, offset: f32) {
        self.levels[at * N..][..N].copy_from_slice(levels);
        self.scales[at * N / GROUP..][..N / GROUP].fill(scale);
        self.offsets[at * N / GROUP..][..N / GROUP].fill(offset);
    }
}

/// What a type's levels are like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
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
