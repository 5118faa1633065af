//! How products are taken: in full `f32`, or as llama.cpp does it on the CPU.
//!
//! llama.cpp turns activations into the type that goes with the weights' (`vec_dot_type` of `ggml-cpu.c`, October 2026)
//! and multiplies integers where both are quantized. These sums are exact, so that rounding the activations alone gives
//! the same numbers but for the last bits of an `f32`. The sums that go with the minima of Q4_1 and Q5_1, which it rounds
//! once more, are left exact.

use super::attention::CacheType;
use super::ops::gelu_tanh;
use crate::quant::{GgmlType, Isa};
use half::{bf16, f16};
use rayon::prelude::*;

/// How products and the GELU are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arithmetic {
    /// Every product in `f32`.
    #[default]
    F32,
    /// With activations rounded as llama.cpp rounds them, so that near-ties fall as there.
    LlamaCpp,
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
        let round: fn(&mut [f32]) = match (self, ty) {
            (Arithmetic::F32, _) | (_, GgmlType::F32) => return None,
            (_, GgmlType::BF16) => |x| x.iter_mut().for_each(|v| *v = bf16::from_f32(*v).to_f32()),
            (_, GgmlType::F16) => |x| x.iter_mut().for_each(|v| *v = f16::from_f32(*v).to_f32()),
            (_, ty) if ty.block_len() == 256 => |x| x.as_chunks_mut().0.iter_mut().for_each(round_q8_k),
            _ => |x| x.as_chunks_mut().0.iter_mut().for_each(round_q8_0),
        };
        let mut x = x.to_owned();
        x.par_chunks_mut(CHUNK).for_each(|x| isa.run(|| round(x)));
        Some(x)
    }

    /// The GELU, which llama.cpp looks up in a table of `f16`, except far from zero.
    pub(super) fn gelu(self, x: f32) -> f32 {
        match self {
            Arithmetic::F32 => gelu_tanh(x),
            Arithmetic::LlamaCpp if x <= -10.0 => 0.0,
            Arithmetic::LlamaCpp if x >= 10.0 => x,
            Arithmetic::LlamaCpp => {
                let rounded = f16::from_f32(x).to_f32();
                f16::from_f32(gelu_tanh(rounded)).to_f32()
            }
        }
    }
}

/// Numbers that a thread rounds at once, whole blocks.
const CHUNK: usize = 4096;

/// A block to Q8_0 and back: the scale an `f16`, levels to nearest, ties to even.
fn round_q8_0(x: &mut [f32; 32]) {
    let largest = x.iter().fold(0.0f32, |largest, v| largest.max(v.abs()));
    let inverse = if largest == 0.0 { 0.0 } else { 127.0 / largest };
    let scale = f16::from_f32(largest / 127.0).to_f32();
    for v in x {
        *v = scale * (*v * inverse).round_ties_even();
    }
}

/// A block to Q8_K and back: the element largest in magnitude becomes -127, the first of equals.
fn round_q8_k(x: &mut [f32; 256]) {
    let largest = x.iter().fold(0.0f32, |largest, v| match v.abs() > largest.abs() {
        true => *v,
        false => largest,
    });
    if largest == 0.0 {
        return;
    }
    let inverse = -127.0 / largest;
    for v in x {
        *v = 1.0 / inverse * (*v * inverse).round_ties_even().min(127.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q8_0_has_a_half_scale_and_q8_k_a_negative_one() {
        let mut block = [0.0; 32];
        (block[3], block[7], block[8]) = (2.0, -1.0, 0.5 * 2.0 / 127.0);
        round_q8_0(&mut block);
        let d = f16::from_f32(2.0 / 127.0).to_f32();
        // 63.5 and 0.5 go to the even neighbour.
        assert_eq!((block[3], block[7], block[8]), (127.0 * d, -64.0 * d, 0.0));

        let mut block = [0.0; 256];
        (block[0], block[1], block[2]) = (1.0, -2.0, 2.0);
        round_q8_k(&mut block);
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
