//! Activations in 8 bits, laid out as the kernels read them.

use crate::model::arithmetic::Quantized;
use crate::quant::levels::{GROUP, SPAN};

/// Columns that share a scale of the activations.
pub const SCALED: usize = 32;
/// Columns whose products one lane adds up.
pub const LANE: usize = 4;
/// Tokens of a panel.
pub const PANEL: usize = 16;
/// Columns that a vector of AVX2 holds.
pub const COLUMNS: usize = 32;
/// Lanes of a vector of AVX2, and tokens in half a panel.
pub const LANES: usize = 8;
/// Rows that are multiplied with a panel at once.
pub const PANEL_ROWS: usize = 4;

/// A token's columns of a span.
#[derive(Clone)]
pub struct TokenSpan {
    levels: [i8; SPAN],
    scales: [f32; SPAN / SCALED],
    /// The scale times the sum of the levels, by group.
    sums: [f32; SPAN / GROUP],
    /// The sum of the levels, by group.
    totals: [i16; SPAN / GROUP],
}

impl TokenSpan {
    const ZERO: TokenSpan = TokenSpan {
        levels: [0; SPAN],
        scales: [0.0; SPAN / SCALED],
        sums: [0.0; SPAN / GROUP],
        totals: [0; SPAN / GROUP],
    };

    /// The spans of a row.
    pub fn of(row: &Quantized) -> Vec<TokenSpan> {
        let mut spans = vec![TokenSpan::ZERO; row.levels.len().div_ceil(SPAN)];
        let scaled = row.levels.as_chunks::<SCALED>().0.iter().zip(&row.scales);
        for (i, (levels, &scale)) in scaled.enumerate() {
            let (span, at) = (&mut spans[i * SCALED / SPAN], i * SCALED % SPAN);
            span.levels[at..][..SCALED].copy_from_slice(levels);
            span.scales[at / SCALED] = scale;
            for (g, levels) in (at / GROUP..).zip(levels.chunks_exact(GROUP)) {
                let total = levels.iter().map(|level| i16::from(*level)).sum();
                span.sums[g] = scale * f32::from(total);
                span.totals[g] = total;
            }
        }
        spans
    }
}

/// Sixteen tokens' columns of a span, for products with some rows at once.
#[derive(Clone)]
#[repr(align(64))]
pub struct PanelSpan {
    /// By four columns: those of each token.
    pub levels: [[i8; PANEL * LANE]; SPAN / LANE],
    /// By 32 columns, one a token.
    pub scales: [[f32; PANEL]; SPAN / SCALED],
    /// The scale times the sum of the levels, by group, one a token.
    pub sums: [[f32; PANEL]; SPAN / GROUP],
    /// The sums of the levels, by pair of groups, two a token.
    pub totals: [[i16; 2 * PANEL]; SPAN / GROUP / 2],
}

impl PanelSpan {
    const ZERO: PanelSpan = PanelSpan {
        levels: [[0; PANEL * LANE]; SPAN / LANE],
        scales: [[0.0; PANEL]; SPAN / SCALED],
        sums: [[0.0; PANEL]; SPAN / GROUP],
        totals: [[0; 2 * PANEL]; SPAN / GROUP / 2],
    };

    /// The spans of up to sixteen tokens, `spans` of them; the other tokens are zero.
    pub fn of(tokens: &[Vec<TokenSpan>], spans: usize) -> Vec<PanelSpan> {
        let mut panel = vec![PanelSpan::ZERO; spans];
        for (t, token) in tokens.iter().enumerate() {
            for (panel, span) in panel.iter_mut().zip(token) {
                for (panel, levels) in panel.levels.iter_mut().zip(span.levels.as_chunks::<LANE>().0) {
                    panel[t * LANE..][..LANE].copy_from_slice(levels);
                }
                for (panel, scale) in panel.scales.iter_mut().zip(&span.scales) {
                    panel[t] = *scale;
                }
                for (panel, sum) in panel.sums.iter_mut().zip(&span.sums) {
                    panel[t] = *sum;
                }
                for (panel, totals) in panel.totals.iter_mut().zip(span.totals.as_chunks::<2>().0) {
                    panel[2 * t..][..2].copy_from_slice(totals);
                }
            }
        }
        panel
    }
}
