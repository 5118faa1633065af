//! IQ4_NL and IQ4_XS: 4-bit levels on an uneven grid.
//!
//! IQ4_NL: 32 elements; d: f16, levels (16 bytes). Value: d * GRID[q].
//! IQ4_XS: 8 groups of 32 elements; d: f16, high 2 bits of the scales (u16), low 4 bits (4 bytes), levels (128 bytes,
//! stripes of 16). Value: d * (scale - 32) * GRID[q]. Layouts: `ggml-common.h`.

use super::number::read_f16;
use super::{decode_each, planes};
use crate::quant::Codec;

const GROUP: usize = 32;

/// What the levels stand for (`kvalues_iq4nl` of `ggml-common.h`).
const GRID: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

pub(in crate::quant) static IQ4_NL: Codec = Codec {
    decode: |path, blocks, out| {
        decode_each(
            path,
            blocks,
            out,
            #[inline(always)]
            |block: &[u8; 18], out| *out = decode_group(read_f16([block[0], block[1]]), &block[2..]),
        );
    },
    encode: None,
};

pub(in crate::quant) static IQ4_XS: Codec = Codec {
    decode: |path, blocks, out| {
        decode_each(
            path,
            blocks,
            out,
            #[inline(always)]
            |block: &[u8; 136], out: &mut [f32; 256]| {
                let d = read_f16([block[0], block[1]]);
                let high = u16::from_le_bytes([block[2], block[3]]);
                let (low, levels) = block[4..].split_at(4);
                let groups = out
                    .as_chunks_mut()
                    .0
                    .iter_mut()
                    .zip(levels.chunks_exact(GROUP / 2));
                for (g, (out, levels)) in groups.enumerate() {
                    let low = low[g / 2] >> (4 * (g % 2)) & 0x0f;
                    let high = (high >> (2 * g) & 3) as u8;
                    *out = decode_group(d * (f32::from(low | high << 4) - 32.0), levels);
                }
            },
        );
    },
    encode: None,
};

#[inline(always)]
fn decode_group(scale: f32, levels: &[u8]) -> [f32; GROUP] {
    planes::unpack::<4, 16, GROUP>(levels).map(|q| scale * f32::from(GRID[usize::from(q)]))
}
