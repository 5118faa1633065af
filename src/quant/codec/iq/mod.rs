//! IQ1, IQ2 and IQ3: groups of 4 or 8 elements that are points of a fixed grid.
//!
//! A block is 256 elements in 8 groups of 32, a group four runs of 8. A run's point is looked up by an index; its signs
//! or a shift come from bits beside the index, its scale from the group or the half group. Layouts: `ggml-common.h`;
//! rounding: `quantize_iq2_xxs` and so on.

mod grid;
mod iq1;
mod iq2;
mod iq3;
mod search;

pub(in crate::quant) use iq1::{IQ1_M, IQ1_S};
pub(in crate::quant) use iq2::{IQ2_S, IQ2_XS, IQ2_XXS};
pub(in crate::quant) use iq3::{IQ3_S, IQ3_XXS};

const LEN: usize = 256;
/// Elements a run, which one or two grid points make.
const RUN: usize = 8;
const RUNS: usize = LEN / RUN;

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

/// Seven bits of each run's signs, of which the eighth follows.
#[inline(always)]
fn seven_bits(signs: &[u8; 4]) -> u32 {
    signs
        .iter()
        .rev()
        .fold(0, |bits, signs| bits << 7 | u32::from(signs & 0x7f))
}

/// The weights of block `i`.
#[inline(always)]
fn block_of(importance: Option<&[f32]>, i: usize) -> Option<&[f32; LEN]> {
    importance.and_then(|weights| weights.as_chunks().0.get(i))
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

/// A decoder that reads a block run by run.
macro_rules! decode_runs {
    ($bytes:literal, $decode:path) => {
        $crate::quant::codec::decode_blocks!(
            |_, block: &[u8; $bytes], out: &mut [f32; $crate::quant::codec::iq::LEN]| {
                for (run, out) in (0..$crate::quant::codec::iq::RUNS).zip(out.as_chunks_mut().0) {
                    *out = $decode(block, run);
                }
            }
        )
    };
}
use decode_runs;
