//! IQ1, IQ2 and IQ3: groups of 4 or 8 elements that are points of a fixed grid. Read only.
//!
//! A block is 256 elements in 8 groups of 32, a group four runs of 8. A run's point is looked up by an index; its signs
//! or a shift come from bits beside the index, its scale from the group or the half group. Layouts: `ggml-common.h`.
//!
//! `grids.bin` holds the grids of that file, as `gguf` 0.19 packs them: a little-endian u16 a point, with 2 bits for
//! each of 8 elements, or 4 for each of 4, in the order of the table in [`Grid`].

use super::decode_blocks;
use super::number::{f16_value, read_f16};
use crate::quant::Codec;

const LEN: usize = 256;
/// Elements a run, which one or two grid points make.
const RUN: usize = 8;
const RUNS: usize = LEN / RUN;

static POINTS: &[u8; 2 * 4608] = include_bytes!("grids.bin");

/// Where a grid starts in [`POINTS`], and what its levels stand for.
struct Grid<const LEVELS: usize> {
    start: usize,
    values: [i8; LEVELS],
}

#[rustfmt::skip]
mod grids {
    use super::Grid;
    pub const IQ2_XXS: Grid<4> = Grid { start: 0, values: [8, 25, 43, 0] };
    pub const IQ2_XS: Grid<4> = Grid { start: 256, values: [8, 25, 43, 0] };
    pub const IQ2_S: Grid<4> = Grid { start: 768, values: [8, 25, 43, 0] };
    pub const IQ1: Grid<4> = Grid { start: 1792, values: [-1, 0, 1, 0] };
    pub const IQ3_XXS: Grid<8> = Grid { start: 3840, values: [4, 12, 20, 28, 36, 44, 52, 62] };
    pub const IQ3_S: Grid<8> = Grid { start: 4096, values: [1, 3, 5, 7, 9, 11, 13, 15] };
}

impl<const LEVELS: usize> Grid<LEVELS> {
    /// Point `index`, whose `N` elements take 16 / `N` bits each.
    #[inline(always)]
    fn point<const N: usize>(&self, index: usize) -> [f32; N] {
        let at = 2 * (self.start + index);
        let levels = u16::from_le_bytes([POINTS[at], POINTS[at + 1]]);
        std::array::from_fn(|i| f32::from(self.values[usize::from(levels >> (i * 16 / N)) % LEVELS]))
    }
}

/// Scale, magnitudes and signs of a run to its elements.
#[inline(always)]
fn signed_run(scale: f32, magnitudes: [f32; RUN], signs: u8) -> [f32; RUN] {
    let mut i = 0;
    magnitudes.map(|magnitude| {
        let negative = signs >> i & 1 != 0;
        i += 1;
        scale * if negative { -magnitude } else { magnitude }
    })
}

/// Seven sign bits and an eighth that makes the number of negatives even.
#[inline(always)]
fn even_signs(seven: u32) -> u8 {
    let seven = (seven & 0x7f) as u8;
    seven | ((seven.count_ones() & 1) as u8) << 7
}

/// The half of `scales[run / 4]` that belongs to run `run`: a scale for each pair of runs.
#[inline(always)]
fn half_group_scale(scales: &[u8], run: usize) -> f32 {
    f32::from(scales[run / 4] >> (run / 2 % 2 * 4) & 0x0f)
}

fn u16_at(bytes: &[u8], index: usize) -> u16 {
    u16::from_le_bytes([bytes[2 * index], bytes[2 * index + 1]])
}

fn u32_at(bytes: &[u8], index: usize) -> u32 {
    u32::from(u16_at(bytes, 2 * index)) | u32::from(u16_at(bytes, 2 * index + 1)) << 16
}

/// A codec that reads a block run by run.
macro_rules! by_runs {
    ($name:ident, $bytes:literal, $decode:path) => {
        pub(in crate::quant) static $name: Codec = Codec {
            decode: decode_blocks!(|_, block: &[u8; $bytes], out: &mut [f32; LEN]| {
                for (run, out) in (0..RUNS).zip(out.as_chunks_mut::<RUN>().0) {
                    *out = $decode(block, run);
                }
            }),
            encode: None,
        };
    };
}

by_runs!(IQ2_XXS, 66, iq2_xxs);
by_runs!(IQ2_XS, 74, iq2_xs);
by_runs!(IQ2_S, 82, iq2_s);
by_runs!(IQ3_XXS, 98, iq3_xxs);
by_runs!(IQ3_S, 110, iq3_s);
by_runs!(IQ1_S, 50, iq1_s);
by_runs!(IQ1_M, 56, iq1_m);

/// d: f16; for each group four indices (bytes) and a u32 of 4 x 7 signs and a 4-bit scale.
#[inline(always)]
fn iq2_xxs(block: &[u8; 66], run: usize) -> [f32; RUN] {
    let d = read_f16([block[0], block[1]]);
    let group = &block[2 + 8 * (run / 4)..][..8];
    let tail = u32_at(group, 1);
    let scale = d * (0.5 + (tail >> 28) as f32) * 0.25;
    let point = grids::IQ2_XXS.point(usize::from(group[run % 4]));
    signed_run(scale, point, even_signs(tail >> (7 * (run % 4))))
}

/// d: f16; for each run a u16 of a 9-bit index and 7 signs; for each half group a 4-bit scale.
#[inline(always)]
fn iq2_xs(block: &[u8; 74], run: usize) -> [f32; RUN] {
    let d = read_f16([block[0], block[1]]);
    let code = u16_at(&block[2..], run);
    let scale = d * (0.5 + half_group_scale(&block[66..], run)) * 0.25;
    let point = grids::IQ2_XS.point(usize::from(code & 0x1ff));
    signed_run(scale, point, even_signs(u32::from(code >> 9)))
}

/// d: f16; low 8 bits of the indices (32 bytes); signs (32 bytes); high 2 bits of the indices (8 bytes); for each half
/// group a 4-bit scale.
#[inline(always)]
fn iq2_s(block: &[u8; 82], run: usize) -> [f32; RUN] {
    let d = read_f16([block[0], block[1]]);
    let high = usize::from(block[66 + run / 4] >> (2 * (run % 4)) & 3);
    let scale = d * (0.5 + half_group_scale(&block[74..], run)) * 0.25;
    let point = grids::IQ2_S.point(usize::from(block[2 + run]) | high << 8);
    signed_run(scale, point, block[34 + run])
}

/// d: f16; two indices a run (64 bytes); for each group a u32 of 4 x 7 signs and a 4-bit scale.
#[inline(always)]
fn iq3_xxs(block: &[u8; 98], run: usize) -> [f32; RUN] {
    let d = read_f16([block[0], block[1]]);
    let tail = u32_at(&block[66..], run / 4);
    let scale = d * (0.5 + (tail >> 28) as f32) * 0.5;
    let index = |half: usize| usize::from(block[2 + 2 * run + half]);
    let point = two_points(&grids::IQ3_XXS, index(0), index(1));
    signed_run(scale, point, even_signs(tail >> (7 * (run % 4))))
}

/// d: f16; low 8 bits of two indices a run (64 bytes), their ninth bits (8 bytes); signs (32 bytes); for each group a
/// 4-bit scale.
#[inline(always)]
fn iq3_s(block: &[u8; 110], run: usize) -> [f32; RUN] {
    let d = read_f16([block[0], block[1]]);
    let index = |half: usize| {
        let at = 2 * run + half;
        usize::from(block[2 + at]) | usize::from(block[66 + at / 8] >> (at % 8) & 1) << 8
    };
    let scale = block[106 + run / 8] >> (run / 4 % 2 * 4) & 0x0f;
    let point = two_points(&grids::IQ3_S, index(0), index(1));
    signed_run(d * f32::from(1 + 2 * scale), point, block[74 + run])
}

#[inline(always)]
fn two_points(grid: &Grid<8>, first: usize, second: usize) -> [f32; RUN] {
    let (first, second) = (grid.point::<4>(first), grid.point::<4>(second));
    std::array::from_fn(|i| if i < 4 { first[i] } else { second[i - 4] })
}

/// d: f16; low 8 bits of the indices (32 bytes); for each group a u16 of 4 x 3 high bits, a 3-bit scale and the
/// direction of the shift.
#[inline(always)]
fn iq1_s(block: &[u8; 50], run: usize) -> [f32; RUN] {
    let d = read_f16([block[0], block[1]]);
    let tail = u16_at(&block[34..], run / 4);
    let index = usize::from(block[2 + run]) | usize::from(tail >> (3 * (run % 4)) & 7) << 8;
    shifted_run(d * f32::from(2 * (tail >> 12 & 7) + 1), index, tail & 0x8000 != 0)
}

/// Low 8 bits of the indices (32 bytes); for each run 3 high bits and the direction of the shift; four u16 of 4 x 3-bit
/// scales, one for each half group, whose high 4 bits together are d: f16.
#[inline(always)]
fn iq1_m(block: &[u8; 56], run: usize) -> [f32; RUN] {
    let scales = &block[48..];
    let d = f16_value((0..4).fold(0, |d, i| d | u16_at(scales, i) >> 12 << (4 * i)));
    let scale = u16_at(scales, run / 8) >> (3 * (run / 2 % 4)) & 7;
    let high = block[32 + run / 2] >> (run % 2 * 4);
    let index = usize::from(block[run]) | usize::from(high & 7) << 8;
    shifted_run(d * f32::from(2 * scale + 1), index, high & 8 != 0)
}

/// A point of the IQ1 grid, all of it shifted by an eighth.
#[inline(always)]
fn shifted_run(scale: f32, index: usize, down: bool) -> [f32; RUN] {
    let shift = if down { -0.125 } else { 0.125 };
    grids::IQ1.point(index).map(|v| scale * (v + shift))
}
