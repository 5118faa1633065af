//! How products are taken: in full `f32`, or as llama.cpp does it on the CPU.
//!
//! llama.cpp turns activations into the type that goes with the weights' (`vec_dot_type` of `ggml-cpu.c`, October 2026)
//! and multiplies integers where both are quantized. These sums are exact, so that rounding the activations alone gives
//! the same numbers but for the last bits of an `f32`. The sums that go with the minima of Q4_1 and Q5_1, which it rounds
//! once more, are left exact.

use super::ops::gelu_tanh;
use crate::quant::{GgmlType, Isa};
use half::{bf16, f16};
use rayon::prelude::*;
use std::sync::LazyLock;

/// How products and the GELU are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arithmetic {
    /// Every product in `f32`.
    #[default]
    F32,
    /// With activations rounded as llama.cpp rounds them, so that near-ties fall as there.
    LlamaCpp,
}

/// How keys and values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheType {
    /// As they are computed.
    #[default]
    F32,
    /// Rounded, in half the memory, as llama.cpp keeps them.
    F16,
}

impl CacheType {
    pub(super) fn ggml(self) -> GgmlType {
        match self {
            CacheType::F32 => GgmlType::F32,
            CacheType::F16 => GgmlType::F16,
        }
    }
}

/// How a model is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compute {
    /// Of products.
    pub arithmetic: Arithmetic,
    /// How keys and values are kept.
    pub cache_type: CacheType,
}

/// Which way a product is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Many tokens at once.
    Prompt,
    /// A few tokens; the result for one does not depend on the others.
    Step,
}

/// A pass in some arithmetic.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mode {
    pub pass: Pass,
    pub arithmetic: Arithmetic,
}

impl Compute {
    pub(super) fn mode(self, pass: Pass) -> Mode {
        Mode {
            pass,
            arithmetic: self.arithmetic,
        }
    }
}

impl Arithmetic {
    /// `f32` or `llama.cpp`.
    pub fn name(self) -> &'static str {
        match self {
            Arithmetic::F32 => "f32",
            Arithmetic::LlamaCpp => "llama.cpp",
        }
    }

    /// Activations as they are multiplied with weights of type `ty`; `None` where they stay as they are.
    pub(super) fn rounded(self, ty: GgmlType, isa: Isa, x: &[f32]) -> Option<Vec<f32>> {
        if self == Arithmetic::F32 || ty == GgmlType::F32 {
            return None;
        }
        let mut x = x.to_owned();
        x.par_chunks_mut(CHUNK).for_each(|x| {
            isa.run(
                #[inline(always)]
                || round(ty, x),
            );
        });
        Some(x)
    }
}

/// The GELU by llama.cpp, which looks it up in a table of `f16`, except far from zero.
#[inline(always)]
fn looked_up_gelu(x: f32) -> f32 {
    match x {
        ..=-10.0 => 0.0,
        10.0.. => x,
        _ => rounded_gelu(f16::from_f32(x)),
    }
}

/// The GELU of an `f16`, rounded to one.
fn rounded_gelu(x: f16) -> f32 {
    static TABLE: LazyLock<Vec<f32>> = LazyLock::new(|| {
        let rounded = |bits| f16::from_f32(gelu_tanh(f16::from_bits(bits).to_f32())).to_f32();
        (0..=u16::MAX).map(rounded).collect()
    });
    TABLE[usize::from(x.to_bits())]
}

/// What a gate is passed through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// The GELU in its tanh form.
    Gelu,
    /// `x / (1 + exp(-x))`.
    Silu,
}

impl Activation {
    /// `gated = activation(gated) * up`, element by element.
    pub(super) fn gate(self, gated: &mut [f32], up: &[f32], arithmetic: Arithmetic) {
        Isa::best().run(
            #[inline(always)]
            || {
                let pairs = gated.iter_mut().zip(up);
                match (self, arithmetic) {
                    (Activation::Gelu, Arithmetic::F32) => pairs.for_each(|(g, u)| *g = gelu_tanh(*g) * u),
                    (Activation::Gelu, Arithmetic::LlamaCpp) => {
                        pairs.for_each(|(g, u)| *g = looked_up_gelu(*g) * u)
                    }
                    (Activation::Silu, _) => pairs.for_each(|(g, u)| *g = *g / (1.0 + (-*g).exp()) * u),
                }
            },
        );
    }

    /// The same by all threads.
    pub(super) fn gate_all(self, gated: &mut [f32], up: &[f32], arithmetic: Arithmetic) {
        const ELEMENTS: usize = 4096;
        gated
            .par_chunks_mut(ELEMENTS)
            .zip(up.par_chunks(ELEMENTS))
            .for_each(|(gated, up)| self.gate(gated, up, arithmetic));
    }
}

/// Numbers that a thread rounds at once, whole blocks.
const CHUNK: usize = 4096;

/// Whole blocks as they go with weights of type `ty`.
#[inline(always)]
fn round(ty: GgmlType, x: &mut [f32]) {
    match ty {
        GgmlType::BF16 => x.iter_mut().for_each(|v| *v = bf16::from_f32(*v).to_f32()),
        GgmlType::F16 => x.iter_mut().for_each(|v| *v = f16::from_f32(*v).to_f32()),
        ty if has_long_blocks(ty) => {
            for block in x.as_chunks_mut::<256>().0 {
                round_block(block);
            }
        }
        _ => {
            for block in x.as_chunks_mut::<32>().0 {
                round_block(block);
            }
        }
    }
}

/// Whether activations become Q8_K beside weights of this type, and not Q8_0.
fn has_long_blocks(ty: GgmlType) -> bool {
    ty.block_len() == 256
}

/// A row of activations in 8 bits.
pub(super) struct Quantized {
    pub levels: Vec<i8>,
    /// One for every 32 columns.
    pub scales: Vec<f32>,
}

impl Quantized {
    /// A row that goes with quantized weights of type `ty`, a whole number of their blocks.
    pub fn new(ty: GgmlType, isa: Isa, x: &[f32]) -> Quantized {
        let (mut levels, mut scales) = (vec![0; x.len()], vec![0.0; x.len() / 32]);
        isa.run(
            #[inline(always)]
            || match has_long_blocks(ty) {
                true => quantize::<256>(x, &mut levels, &mut scales),
                false => quantize::<32>(x, &mut levels, &mut scales),
            },
        );
        Quantized { levels, scales }
    }
}

#[inline(always)]
fn quantize<const LEN: usize>(x: &[f32], levels: &mut [i8], scales: &mut [f32]) {
    let blocks = x.as_chunks::<LEN>().0.iter();
    let blocks = blocks.zip(levels.as_chunks_mut::<LEN>().0);
    for ((x, levels), scales) in blocks.zip(scales.chunks_exact_mut(LEN / 32)) {
        scales.fill(quantize_block(x, levels));
    }
}

/// A block of Q8_0, 32 long, or of Q8_K, 256 long, to levels and their scale. The levels are to nearest, ties to even. The
/// scale of the one is an `f16`; in the other the element largest in magnitude, the first of equals, becomes -127.
#[inline(always)]
fn quantize_block<const LEN: usize>(x: &[f32; LEN], levels: &mut [i8; LEN]) -> f32 {
    // Magnitudes compare as their bits do, which a vector does faster.
    let bits = x
        .iter()
        .fold(0, |largest, v| largest.max(v.to_bits() & 0x7fff_ffff));
    if bits == 0 {
        *levels = [0; LEN];
        return 0.0;
    }
    let magnitude = f32::from_bits(bits);
    let is_short = LEN == 32;
    let inverse = match is_short {
        true => 127.0 / magnitude,
        false => -127.0 / first_of_magnitude(x, magnitude),
    };
    for (level, v) in levels.iter_mut().zip(x) {
        *level = (v * inverse).round_ties_even().min(127.0) as i8;
    }
    match is_short {
        true => f16::from_f32(magnitude / 127.0).to_f32(),
        false => 1.0 / inverse,
    }
}

/// The first element of this magnitude, which is among them.
#[inline(always)]
fn first_of_magnitude(x: &[f32], magnitude: f32) -> f32 {
    let has = |value: f32| x.iter().fold(false, |has, v| has | (*v == value));
    match (has(magnitude), has(-magnitude)) {
        (true, false) => magnitude,
        (false, true) => -magnitude,
        _ => x
            .iter()
            .copied()
            .find(|v| v.abs() == magnitude)
            .unwrap_or(magnitude),
    }
}

/// A block to Q8_0 or Q8_K and back.
#[inline(always)]
fn round_block<const LEN: usize>(x: &mut [f32; LEN]) {
    let mut levels = [0; LEN];
    let scale = quantize_block(x, &mut levels);
    for (v, level) in x.iter_mut().zip(levels) {
        *v = scale * f32::from(level);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q8_0_has_a_half_scale_and_q8_k_a_negative_one() {
        let mut block = [0.0; 32];
        (block[3], block[7], block[8]) = (2.0, -1.0, 0.5 * 2.0 / 127.0);
        round_block::<32>(&mut block);
        let d = f16::from_f32(2.0 / 127.0).to_f32();
        // 63.5 and 0.5 go to the even neighbour.
        assert_eq!((block[3], block[7], block[8]), (127.0 * d, -64.0 * d, 0.0));

        let mut block = [0.0; 256];
        (block[0], block[1], block[2]) = (1.0, -2.0, 2.0);
        round_block::<256>(&mut block);
        let d = 1.0 / (-127.0 / -2.0f32);
        // The first of the largest has level -127; 1.0 is at 63.5, which goes to 64.
        assert_eq!((block[0], block[1], block[2]), (d * 64.0, d * -127.0, d * 127.0));
    }

    #[test]
    fn each_type_has_its_partner() {
        let x: Vec<f32> = (0..256).map(|i| (i as f32 * 0.37).sin()).collect();
        let rounded = |ty| Arithmetic::LlamaCpp.rounded(ty, Isa::best(), &x);
        assert_eq!(rounded(GgmlType::F32), None);
        assert_eq!(Arithmetic::F32.rounded(GgmlType::Q4_K, Isa::best(), &x), None);
        let kinds = [GgmlType::BF16, GgmlType::F16, GgmlType::Q4_0, GgmlType::Q4_K];
        for (i, a) in kinds.iter().enumerate() {
            for b in &kinds[i + 1..] {
                assert_ne!(rounded(*a), rounded(*b), "{a} {b}");
            }
        }
        assert_eq!(rounded(GgmlType::Q8_0), rounded(GgmlType::IQ4_NL));
        assert_eq!(rounded(GgmlType::IQ4_XS), rounded(GgmlType::Q6_K));
    }
}
