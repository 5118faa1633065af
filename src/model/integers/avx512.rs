//! The products on AVX-512 with VNNI, as llama.cpp takes them, only here all types are taken apart into levels, scales
//! and offsets first.

use super::spans::{LANE, PANEL, PANEL_ROWS, PanelSpan, SCALED};
use crate::quant::levels::{GROUP, Levels, SPAN};
use fearless_simd::{SimdBase, SimdFrom, f32x16, i8x64};
use std::arch::x86_64::*;

fearless_simd::kernel!(
    /// Adds the products of rows, whose scales are those of `group` columns, with the same span of two panels to `sums`.
    pub fn panel_span(
        avx512: Avx512,
        rows: &[Levels; PANEL_ROWS],
        group: usize,
        left: &PanelSpan,
        right: &PanelSpan,
        sums: &mut [[[f32; PANEL]; 2]; PANEL_ROWS],
    ) {
        let mut held = [[_mm512_setzero_ps(); 2]; PANEL_ROWS];
        for g in 0..SPAN / group {
            let mut products = [[_mm512_setzero_si512(); 2]; PANEL_ROWS];
            for k in g * group / LANE..(g + 1) * group / LANE {
                let k = k % (SPAN / LANE);
                let x_left: __m512i = i8x64::from_slice(avx512, &left.levels[k]).into();
                let x_right: __m512i = i8x64::from_slice(avx512, &right.levels[k]).into();
                for (products, row) in products.iter_mut().zip(rows) {
                    let weights = _mm512_set1_epi32(i32::from_le_bytes(row.levels.as_chunks().0[k]));
                    *products = [
                        _mm512_dpbusd_epi32(products[0], weights, x_left),
                        _mm512_dpbusd_epi32(products[1], weights, x_right),
                    ];
                }
            }
            let (first, scaled) = (g * group / GROUP, g * group / SCALED);
            let mut x_scales = [_mm512_setzero_ps(); 2];
            let mut x_sums = [_mm512_setzero_ps(); 2];
            for ((x, scales), sums) in [left, right].into_iter().zip(&mut x_scales).zip(&mut x_sums) {
                *scales = f32x16::from_slice(avx512, &x.scales[scaled]).into();
                for part in &x.sums[first..first + group / GROUP] {
                    *sums = _mm512_add_ps(*sums, f32x16::from_slice(avx512, part).into());
                }
            }
            for ((held, products), row) in held.iter_mut().zip(&products).zip(rows) {
                let scale = _mm512_set1_ps(row.scales[first]);
                let offset = _mm512_set1_ps(row.offsets[first]);
                for v in 0..2 {
                    let product = _mm512_mul_ps(_mm512_cvtepi32_ps(products[v]), scale);
                    held[v] = _mm512_fmadd_ps(offset, x_sums[v], held[v]);
                    held[v] = _mm512_fmadd_ps(product, x_scales[v], held[v]);
                }
            }
        }
        for (sums, held) in sums.iter_mut().zip(held) {
            for (sums, held) in sums.iter_mut().zip(held) {
                *sums = (f32x16::from_slice(avx512, sums) + f32x16::simd_from(avx512, held)).into();
            }
        }
    }
);
