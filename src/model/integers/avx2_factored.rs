//! The products on AVX2 for types whose scales are integers times one number a span (see [`Factors`]), beside activations
//! with one scale a span: the sum of a span stays an integer to its end.

use super::spans::{COLUMNS, LANE, LANES, PANEL, PANEL_ROWS, PanelSpan, StepSpan};
use crate::quant::levels::{Factors, GROUP, Levels, SPAN};
use fearless_simd::{Avx2, SimdBase, SimdFrom, f32x8, i8x32, i16x16, u8x32};
use std::arch::x86_64::*;
use std::hint::black_box;

/// Vectors of columns in a span.
const PARTS: usize = SPAN / COLUMNS;

/// Adds the products of rows with the same span of some tokens to `sums`, `[rows, tokens]`, lanes of which each sum is the
/// total.
#[target_feature(enable = "avx2,fma")]
pub fn step(avx2: Avx2, rows: &[Levels], x: &[StepSpan], sums: &mut [[f32; 16]]) {
    for (row, sums) in rows.iter().zip(sums.chunks_exact_mut(x.len())) {
        let factors = &row.factors;
        let offsets: __m256i = i16x16::simd_from(avx2, factors.offsets).into();
        let mut scales = [_mm256_setzero_si256(); PARTS];
        for (scales, [first, second]) in scales.iter_mut().zip(factors.scales.as_chunks().0) {
            *scales = _mm256_set_m128i(_mm_set1_epi16(*second), _mm_set1_epi16(*first));
        }
        for (x, sum) in x.iter().zip(sums) {
            let mut products = _mm256_setzero_si256();
            for (part, scales) in scales.iter().enumerate() {
                let levels: __m256i =
                    u8x32::from_slice(avx2, &row.levels[COLUMNS * part..][..COLUMNS]).into();
                let x: __m256i = i8x32::from_slice(avx2, &x.levels[COLUMNS * part..][..COLUMNS]).into();
                let scaled = _mm256_madd_epi16(_mm256_maddubs_epi16(levels, x), *scales);
                products = _mm256_add_epi32(products, scaled);
            }
            let moved = _mm256_madd_epi16(offsets, i16x16::simd_from(avx2, x.totals).into());
            let (low, _) = sum.split_at_mut(LANES);
            let held = f32x8::from_slice(avx2, low).into();
            let x_scale = _mm256_set1_ps(x.scales[0]);
            let held = add_scaled(factors, [products, moved], x_scale, held);
            f32x8::simd_from(avx2, held).store_slice(low);
        }
    }
}

/// One panel, of which `FOLD` products are added in 16 bits. The loops count, for iterators that are not inlined are not
/// compiled for AVX2 either: a fourth of the speed.
#[target_feature(enable = "avx2,fma")]
pub fn panel<const FOLD: usize>(
    avx2: Avx2,
    rows: &[Levels; PANEL_ROWS],
    x: &PanelSpan,
    v: usize,
    sums: &mut [[[f32; PANEL]; 2]; PANEL_ROWS],
) {
    let mut products = [[_mm256_setzero_si256(); 2]; PANEL_ROWS];
    for fold in 0..SPAN / LANE / FOLD {
        let mut short = [[_mm256_setzero_si256(); 2]; PANEL_ROWS];
        // Unrolled, more would be held than there are registers.
        let folded = if FOLD > 2 { black_box(FOLD) } else { FOLD };
        for k in fold * FOLD..fold * FOLD + folded {
            let k = k % (SPAN / LANE);
            let (left, right) = x.levels[k].split_at(COLUMNS);
            let left = i8x32::from_slice(avx2, left).into();
            let right = i8x32::from_slice(avx2, right).into();
            for r in 0..PANEL_ROWS {
                let columns = rows[r].levels.as_chunks().0[k];
                let levels = _mm256_set1_epi32(i32::from_le_bytes(columns));
                short[r][0] = _mm256_add_epi16(short[r][0], _mm256_maddubs_epi16(levels, left));
                short[r][1] = _mm256_add_epi16(short[r][1], _mm256_maddubs_epi16(levels, right));
            }
        }
        let group = fold * FOLD * LANE / GROUP;
        for r in 0..PANEL_ROWS {
            let scale = _mm256_set1_epi16(rows[r].factors.scales[group]);
            for half in 0..2 {
                let scaled = _mm256_madd_epi16(short[r][half], scale);
                products[r][half] = _mm256_add_epi32(products[r][half], scaled);
            }
        }
    }
    for r in 0..PANEL_ROWS {
        let mut moved = [_mm256_setzero_si256(); 2];
        for (pair, totals) in x.totals.iter().enumerate() {
            let (left, right) = totals.split_at(PANEL);
            let [first, second] = rows[r].factors.offsets.as_chunks().0[pair];
            let offsets = _mm256_set1_epi32(i32::from(second) << 16 | i32::from(first.cast_unsigned()));
            let left = _mm256_madd_epi16(i16x16::from_slice(avx2, left).into(), offsets);
            let right = _mm256_madd_epi16(i16x16::from_slice(avx2, right).into(), offsets);
            moved[0] = _mm256_add_epi32(moved[0], left);
            moved[1] = _mm256_add_epi32(moved[1], right);
        }
        for half in 0..2 {
            let sums = &mut sums[r][v][LANES * half..][..LANES];
            let x_scales = f32x8::from_slice(avx2, &x.scales[0][LANES * half..][..LANES]).into();
            let held = f32x8::from_slice(avx2, sums).into();
            let held = add_scaled(&rows[r].factors, [products[r][half], moved[half]], x_scales, held);
            f32x8::simd_from(avx2, held).store_slice(sums);
        }
    }
}

/// `held` and what the integers of a row's products and offsets stand for.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn add_scaled(factors: &Factors, [products, moved]: [__m256i; 2], x_scale: __m256, held: __m256) -> __m256 {
    let scale = _mm256_mul_ps(_mm256_set1_ps(factors.scale), x_scale);
    let offset = _mm256_mul_ps(_mm256_set1_ps(factors.offset), x_scale);
    let held = _mm256_fmadd_ps(_mm256_cvtepi32_ps(moved), offset, held);
    _mm256_fmadd_ps(_mm256_cvtepi32_ps(products), scale, held)
}
