//! Products of 8-bit integers with AVX-512's VNNI: how llama.cpp multiplies quantized weights, only here all types are taken
//! apart into levels, scales and offsets first. The sums of integers are exact, so these products are those of the
//! rounded activations (see [`super::arithmetic`]) but for the last bits of an `f32`.

use super::arithmetic::Quantized;
use crate::quant::levels::{GROUP, Levels, SPAN};
use fearless_simd::{SimdBase, SimdFrom, f32x16, i8x64, u8x64};
use std::arch::x86_64::*;

/// Columns that share a scale of the activations.
const SCALED: usize = 32;
/// Columns whose products one lane adds up.
const LANE: usize = 4;
/// Tokens of a panel.
pub const PANEL: usize = 16;
/// Rows that [`panel_span`] takes.
pub const PANEL_ROWS: usize = 4;

/// A token's columns of a span, for products with one row after the other.
#[derive(Clone)]
pub struct StepSpan {
    levels: [i8; SPAN],
    /// By lane.
    scales: [f32; SPAN / LANE],
    /// The scale times the sum of the levels, by group.
    sums: [f32; SPAN / GROUP],
}

impl StepSpan {
    const ZERO: StepSpan = StepSpan {
        levels: [0; SPAN],
        scales: [0.0; SPAN / LANE],
        sums: [0.0; SPAN / GROUP],
    };

    /// The spans of a row.
    pub fn of(row: &Quantized) -> Vec<StepSpan> {
        let mut spans = vec![StepSpan::ZERO; row.levels.len().div_ceil(SPAN)];
        let scaled = row.levels.as_chunks::<SCALED>().0.iter().zip(&row.scales);
        for (i, (levels, &scale)) in scaled.enumerate() {
            let (span, at) = (&mut spans[i * SCALED / SPAN], i * SCALED % SPAN);
            span.levels[at..][..SCALED].copy_from_slice(levels);
            span.scales[at / LANE..][..SCALED / LANE].fill(scale);
            for (sum, levels) in span.sums[at / GROUP..].iter_mut().zip(levels.chunks_exact(GROUP)) {
                let total: i32 = levels.iter().map(|level| i32::from(*level)).sum();
                *sum = scale * total as f32;
            }
        }
        spans
    }
}

/// Sixteen tokens' columns of a span, for products with some rows at once.
#[derive(Clone)]
pub struct PanelSpan {
    /// By four columns: those of each token.
    levels: [[i8; PANEL * LANE]; SPAN / LANE],
    /// By 32 columns, one a token.
    scales: [[f32; PANEL]; SPAN / SCALED],
    /// The scale times the sum of the levels, by group, one a token.
    sums: [[f32; PANEL]; SPAN / GROUP],
}

impl PanelSpan {
    const ZERO: PanelSpan = PanelSpan {
        levels: [[0; PANEL * LANE]; SPAN / LANE],
        scales: [[0.0; PANEL]; SPAN / SCALED],
        sums: [[0.0; PANEL]; SPAN / GROUP],
    };

    /// The spans of up to sixteen tokens, `spans` of them; the other tokens are zero.
    pub fn of(tokens: &[Vec<StepSpan>], spans: usize) -> Vec<PanelSpan> {
        let mut panel = vec![PanelSpan::ZERO; spans];
        for (t, token) in tokens.iter().enumerate() {
            for (panel, span) in panel.iter_mut().zip(token) {
                for (panel, levels) in panel.levels.iter_mut().zip(span.levels.as_chunks::<LANE>().0) {
                    panel[t * LANE..][..LANE].copy_from_slice(levels);
                }
                for (panel, scale) in panel
                    .scales
                    .iter_mut()
                    .zip(span.scales.iter().step_by(SCALED / LANE))
                {
                    panel[t] = *scale;
                }
                for (panel, sum) in panel.sums.iter_mut().zip(&span.sums) {
                    panel[t] = *sum;
                }
            }
        }
        panel
    }
}

fearless_simd::kernel!(
    /// Adds the products of rows with the same span of some tokens to `sums`, `[rows, tokens]`, lanes of which each sum
    /// is the total.
    pub fn step_span(avx512: Avx512, rows: &[Levels], x: &[StepSpan], sums: &mut [[f32; 16]]) {
        const PARTS: usize = SPAN / 64;
        let lane = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
        for (row, sums) in rows.iter().zip(sums.chunks_exact_mut(x.len())) {
            let scales: __m512 = f32x16::from_slice(avx512, &row.scales).into();
            let offsets: __m512 = f32x16::from_slice(avx512, &row.offsets).into();
            let mut levels = [_mm512_setzero_si512(); PARTS];
            let mut spread = [scales; PARTS];
            for part in 0..PARTS {
                levels[part] = u8x64::from_slice(avx512, &row.levels[64 * part..][..64]).into();
                let group = _mm512_add_epi32(lane, _mm512_set1_epi32(4 * part as i32));
                spread[part] = _mm512_permutexvar_ps(group, scales);
            }
            for (x, sum) in x.iter().zip(sums) {
                let mut held: __m512 = f32x16::from_slice(avx512, sum).into();
                for part in 0..PARTS {
                    let x_levels: __m512i = i8x64::from_slice(avx512, &x.levels[64 * part..][..64]).into();
                    let x_scales: __m512 = f32x16::from_slice(avx512, &x.scales[16 * part..][..16]).into();
                    let product = _mm512_dpbusd_epi32(_mm512_setzero_si512(), levels[part], x_levels);
                    let scale = _mm512_mul_ps(spread[part], x_scales);
                    held = _mm512_fmadd_ps(_mm512_cvtepi32_ps(product), scale, held);
                }
                let x_sums: __m512 = f32x16::from_slice(avx512, &x.sums).into();
                held = _mm512_fmadd_ps(offsets, x_sums, held);
                *sum = f32x16::simd_from(avx512, held).into();
            }
        }
    }
);

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
