//! The products on AVX2, which adds the products of neighbouring bytes in 16 bits: as many of them as fit are added there
//! before they are widened.

use super::avx2_factored;
use super::spans::{COLUMNS, LANE, LANES, PANEL, PANEL_ROWS, PanelSpan, SCALED};
use crate::quant::levels::{GROUP, Levels, Shape};
use fearless_simd::{Avx2, SimdBase, SimdFrom, f32x8, i8x32};
use std::arch::x86_64::*;

fearless_simd::kernel!(
    /// Adds the products of rows of some shape with the same span of two panels to `sums`.
    pub fn panel_span(
        avx2: Avx2,
        rows: &[Levels; PANEL_ROWS],
        shape: Shape,
        left: &PanelSpan,
        right: &PanelSpan,
        sums: &mut [[[f32; PANEL]; 2]; PANEL_ROWS],
    ) {
        for (v, x) in [left, right].into_iter().enumerate() {
            // `FOLD * 2 * highest level * 127` fits into 16 bits.
            match shape.bits {
                ..=4 => narrow_panel::<8>(avx2, rows, shape, x, v, sums),
                5 => narrow_panel::<4>(avx2, rows, shape, x, v, sums),
                6 => narrow_panel::<2>(avx2, rows, shape, x, v, sums),
                _ => panel::<1, true>(avx2, rows, shape.group, x, v, sums),
            }
        }
    }
);

/// One panel with levels of less than 8 bits, as all types with factors have.
#[target_feature(enable = "avx2,fma")]
fn narrow_panel<const FOLD: usize>(
    avx2: Avx2,
    rows: &[Levels; PANEL_ROWS],
    shape: Shape,
    x: &PanelSpan,
    v: usize,
    sums: &mut [[[f32; PANEL]; 2]; PANEL_ROWS],
) {
    match shape.is_factored {
        true => avx2_factored::panel::<FOLD>(avx2, rows, x, v, sums),
        false => panel::<FOLD, false>(avx2, rows, shape.group, x, v, sums),
    }
}

/// One panel, of which `FOLD` products are added in 16 bits.
#[target_feature(enable = "avx2,fma")]
fn panel<const FOLD: usize, const WIDE: bool>(
    avx2: Avx2,
    rows: &[Levels; PANEL_ROWS],
    group: usize,
    x: &PanelSpan,
    v: usize,
    sums: &mut [[[f32; PANEL]; 2]; PANEL_ROWS],
) {
    let mut held = [[_mm256_setzero_ps(); 2]; PANEL_ROWS];
    for (g, x_levels) in x.levels.chunks_exact(group / LANE).enumerate() {
        let mut totals = [[_mm256_setzero_si256(); 2]; PANEL_ROWS];
        for (fold, x_levels) in x_levels.chunks_exact(FOLD).enumerate() {
            let mut short = [[[_mm256_setzero_si256(); 2]; 2]; PANEL_ROWS];
            for (k, x_levels) in x_levels.iter().enumerate() {
                let x_levels: [__m256i; 2] = std::array::from_fn(|half| {
                    i8x32::from_slice(avx2, &x_levels[COLUMNS * half..][..COLUMNS]).into()
                });
                for (short, row) in short.iter_mut().zip(rows) {
                    let columns = row.levels.as_chunks().0[g * group / LANE + fold * FOLD + k];
                    let weights = _mm256_set1_epi32(i32::from_le_bytes(columns));
                    for (short, x_levels) in short.iter_mut().zip(x_levels) {
                        let [low, high] = products::<WIDE>(weights, x_levels);
                        short[0] = _mm256_add_epi16(short[0], low);
                        if WIDE {
                            short[1] = high;
                        }
                    }
                }
            }
            for (totals, short) in totals.as_flattened_mut().iter_mut().zip(short.as_flattened()) {
                *totals = _mm256_add_epi32(*totals, widened::<WIDE>(*short));
            }
        }
        let (first, scaled) = (g * group / GROUP, g * group / SCALED);
        for half in 0..2 {
            let tokens = |of: &[f32; PANEL]| -> __m256 {
                f32x8::from_slice(avx2, &of[LANES * half..][..LANES]).into()
            };
            let x_scales = tokens(&x.scales[scaled]);
            let mut x_sums = _mm256_setzero_ps();
            for part in &x.sums[first..first + group / GROUP] {
                x_sums = _mm256_add_ps(x_sums, tokens(part));
            }
            for ((held, totals), row) in held.iter_mut().zip(&totals).zip(rows) {
                let product = _mm256_mul_ps(
                    _mm256_cvtepi32_ps(totals[half]),
                    _mm256_set1_ps(row.scales[first]),
                );
                held[half] = _mm256_fmadd_ps(_mm256_set1_ps(row.offsets[first]), x_sums, held[half]);
                held[half] = _mm256_fmadd_ps(product, x_scales, held[half]);
            }
        }
    }
    for (sums, held) in sums.iter_mut().zip(held) {
        for (sums, held) in sums[v].chunks_exact_mut(LANES).zip(held) {
            (f32x8::from_slice(avx2, sums) + f32x8::simd_from(avx2, held)).store_slice(sums);
        }
    }
}

/// The products of neighbouring columns, added in 16 bits. Levels of 8 bits (`WIDE`) are cut: the products of their lower
/// bits, and those of their top bit, else zero.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn products<const WIDE: bool>(levels: __m256i, x: __m256i) -> [__m256i; 2] {
    if !WIDE {
        return [_mm256_maddubs_epi16(levels, x), _mm256_setzero_si256()];
    }
    let top = _mm256_set1_epi8(i8::MIN);
    [
        _mm256_maddubs_epi16(_mm256_andnot_si256(top, levels), x),
        _mm256_maddubs_epi16(_mm256_and_si256(top, levels), x),
    ]
}

/// Neighbours added in 32 bits.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn widened<const WIDE: bool>([low, high]: [__m256i; 2]) -> __m256i {
    let ones = _mm256_set1_epi16(1);
    let low = _mm256_madd_epi16(low, ones);
    match WIDE {
        true => _mm256_add_epi32(low, _mm256_madd_epi16(high, ones)),
        false => low,
    }
}
