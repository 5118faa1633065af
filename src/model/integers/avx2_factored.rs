//! The products on AVX2 for types whose scales are integers times one number a span (see [`Factors`]), beside activations
//! with one scale a span: the sum of a span stays an integer to its end.

use super::spans::{COLUMNS, LANE, LANES, PANEL, PANEL_ROWS, PanelSpan};
use crate::quant::levels::{Factors, GROUP, Levels, SPAN};
use fearless_simd::{Avx2, SimdBase, SimdFrom, f32x8, i8x32, i16x16};
use std::arch::x86_64::*;
use std::hint::black_box;

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
