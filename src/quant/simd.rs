//! The instruction sets that the codecs are compiled for, and the choice among them while the program runs.
//!
//! The codecs are written once, as plain loops and as loops over [`fearless_simd`]'s vectors, and are compiled for every
//! instruction set below. None of them reassociates a sum or fuses a multiplication with an addition, so that all
//! give the same bytes; the tests hold every set to those of the first.

use fearless_simd::{Level, Simd, SimdBase, dispatch};

/// Whether this is AVX2, alone in that its vectors have eight lanes.
#[inline(always)]
pub(crate) fn is_avx2<S: Simd>(_: S) -> bool {
    S::f32s::LEN == 8
}

/// Whether a vector has eight lanes or more.
#[inline(always)]
pub(crate) fn has_wide_vectors<S: Simd>(_: S) -> bool {
    S::f32s::LEN >= 8
}

/// Whether this is AVX-512.
#[inline(always)]
pub(crate) fn has_sixteen_lanes<S: Simd>(_: S) -> bool {
    S::f32s::LEN == 16
}

/// Whether there are 32 registers of vectors and not 16.
#[inline(always)]
pub(crate) fn has_many_registers<S: Simd>(simd: S) -> bool {
    has_sixteen_lanes(simd) || cfg!(target_arch = "aarch64")
}

/// An instruction set that the codecs can run on here.
#[derive(Debug, Clone, Copy)]
pub struct Isa(Level);

impl Isa {
    /// What every processor of this target has: SSE2 on x86-64, NEON on aarch64.
    pub fn portable() -> Isa {
        Isa(Level::baseline())
    }

    /// The widest set that this processor has.
    pub fn best() -> Isa {
        Isa(Level::new())
    }

    /// Every set that this processor has, the portable one first and the best last.
    pub fn available() -> Vec<Isa> {
        let mut sets = vec![Isa::portable()];
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        {
            let best = Level::new();
            sets.extend(best.as_sse2().map(|token| Isa(Level::Sse2(token))));
            sets.extend(best.as_sse4_2().map(|token| Isa(Level::Sse4_2(token))));
            sets.extend(best.as_avx2().map(|token| Isa(Level::Avx2(token))));
            sets.extend(best.as_avx512().map(|token| Isa(Level::Avx512(token))));
        }
        #[cfg(target_arch = "aarch64")]
        sets.extend(Level::new().as_neon().map(|token| Isa(Level::Neon(token))));
        sets.dedup_by_key(|isa| isa.name());
        sets
    }

    /// The set's name: `AVX2`.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Level::Sse2(_) => "SSE2",
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Level::Sse4_2(_) => "SSE4.2",
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Level::Avx2(_) => "AVX2",
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Level::Avx512(_) => "AVX-512",
            #[cfg(target_arch = "aarch64")]
            Level::Neon(_) => "NEON",
            _ => "scalar",
        }
    }

    pub(crate) fn level(self) -> Level {
        self.0
    }

    /// Runs `work` compiled for this set. Only code that is inlined into `work` is: hence `#[inline(always)]` on it
    /// and on what it calls.
    #[inline(always)]
    pub(crate) fn run<R>(self, work: impl FnOnce() -> R) -> R {
        dispatch!(self.0, _simd => work())
    }
}
