//! Levels that are looked up among the numbers they stand for, sixteen at a time: what a register of AVX-512 holds.

use fearless_simd::{Simd, SimdFrom, f32x16, i32x16};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_mm512_permutex2var_ps, _mm512_permutexvar_ps};

/// The first sixteen bytes, one a lane.
#[inline(always)]
pub(super) fn bytes<S: Simd>(simd: S, bytes: &[u8]) -> i32x16<S> {
    let bytes = &bytes[..16];
    let mut lanes = [0; 16];
    for (lane, byte) in lanes.iter_mut().zip(bytes) {
        *lane = i32::from(*byte);
    }
    i32x16::simd_from(simd, lanes)
}

/// Sixteen levels from `first` on, as numbers.
#[inline(always)]
pub(super) fn levels<S: Simd>(simd: S, first: i32) -> f32x16<S> {
    let mut levels = [0.0; 16];
    for (i, level) in levels.iter_mut().enumerate() {
        *level = (first + i as i32) as f32;
    }
    f32x16::simd_from(simd, levels)
}

/// For each lane the number in the table that its low 4 bits say.
#[inline(always)]
pub(super) fn of_16<S: Simd>(table: f32x16<S>, at: i32x16<S>) -> f32x16<S> {
    let simd = table.simd;
    let (table, at): ([f32; 16], [i32; 16]) = (table.into(), at.into());
    #[cfg(target_arch = "x86_64")]
    if let Some(avx512) = simd.level().as_avx512() {
        fearless_simd::kernel!(
            #[inline(always)]
            fn found(avx512: Avx512, table: [f32; 16], at: [i32; 16]) -> [f32; 16] {
                let (table, at) = (f32x16::simd_from(avx512, table), i32x16::simd_from(avx512, at));
                let found = _mm512_permutexvar_ps(at.into(), table.into());
                f32x16::simd_from(avx512, found).into()
            }
        );
        return f32x16::simd_from(simd, found(avx512, table, at));
    }
    f32x16::simd_from(simd, at.map(|at| table[(at & 0x0f) as usize]))
}

/// For each lane the number in two tables, one behind the other, that its low 5 bits say.
#[inline(always)]
pub(super) fn of_32<S: Simd>(tables: [f32x16<S>; 2], at: i32x16<S>) -> f32x16<S> {
    let simd = at.simd;
    let (low, high): ([f32; 16], [f32; 16]) = (tables[0].into(), tables[1].into());
    let at: [i32; 16] = at.into();
    #[cfg(target_arch = "x86_64")]
    if let Some(avx512) = simd.level().as_avx512() {
        fearless_simd::kernel!(
            #[inline(always)]
            fn found(avx512: Avx512, low: [f32; 16], high: [f32; 16], at: [i32; 16]) -> [f32; 16] {
                let (low, high) = (f32x16::simd_from(avx512, low), f32x16::simd_from(avx512, high));
                let at = i32x16::simd_from(avx512, at);
                let found = _mm512_permutex2var_ps(low.into(), at.into(), high.into());
                f32x16::simd_from(avx512, found).into()
            }
        );
        return f32x16::simd_from(simd, found(avx512, low, high, at));
    }
    f32x16::simd_from(
        simd,
        at.map(|at| if at & 0x10 == 0 { low } else { high }[(at & 0x0f) as usize]),
    )
}
