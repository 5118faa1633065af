//! Q4_K and Q5_K: 8 groups of 32 elements, each group with a 6-bit scale and a 6-bit minimum.
//!
//! Block: d, dmin: f16, scales and minima (12 bytes), for Q5_K the fifth bits of the levels (32 bytes), low 4 bits
//! (128 bytes, stripes of 32). Value: d * scale * q - dmin * minimum. Layouts: `block_q4_K` and `block_q5_K` of
//! `ggml-common.h`.

use super::number::read_f16;
use super::{decode_each, planes};
use crate::quant::Codec;

const LEN: usize = 256;
const GROUP: usize = 32;
const GROUPS: usize = LEN / GROUP;
/// d, dmin, scales and minima.
const HEAD: usize = 16;

pub(in crate::quant) static Q4_K: Codec = Codec {
    decode: |path, blocks, out| {
        decode_each(
            path,
            blocks,
            out,
            #[inline(always)]
            |block: &[u8; 144], out| {
                let levels = planes::unpack::<4, 32, LEN>(&block[HEAD..]);
                decode(&block[..HEAD], &levels, out);
            },
        );
    },
    encode: None,
};

pub(in crate::quant) static Q5_K: Codec = Codec {
    decode: |path, blocks, out| {
        decode_each(
            path,
            blocks,
            out,
            #[inline(always)]
            |block: &[u8; 176], out| {
                let mut levels = planes::unpack::<4, 32, LEN>(&block[HEAD + 32..]);
                let fifth = planes::unpack::<1, 32, LEN>(&block[HEAD..HEAD + 32]);
                for (level, bit) in levels.iter_mut().zip(fifth) {
                    *level |= bit << 4;
                }
                decode(&block[..HEAD], &levels, out);
            },
        );
    },
    encode: None,
};

#[inline(always)]
fn decode(head: &[u8], levels: &[u8; LEN], out: &mut [f32; LEN]) {
    let (d, dmin) = (read_f16([head[0], head[1]]), read_f16([head[2], head[3]]));
    for (g, (out, levels)) in out
        .as_chunks_mut()
        .0
        .iter_mut()
        .zip(levels.as_chunks::<GROUP>().0)
        .enumerate()
    {
        let (scale, minimum) = read_scale(&head[4..], g);
        let (scale, minimum) = (d * f32::from(scale), dmin * f32::from(minimum));
        *out = levels.map(|q| scale * f32::from(q) - minimum);
    }
}

/// Scale and minimum of group `g`. The first four groups have theirs in the low 6 bits of bytes 0 to 3 and 4 to 7; the
/// other four have their low 4 bits together in bytes 8 to 11 and their high 2 bits above those of the first four.
#[inline(always)]
fn read_scale(packed: &[u8], g: usize) -> (u8, u8) {
    if g < GROUPS / 2 {
        (packed[g] & 0x3f, packed[g + 4] & 0x3f)
    } else {
        let low = packed[g + 4];
        (
            low & 0x0f | packed[g - 4] >> 6 << 4,
            low >> 4 | packed[g] >> 6 << 4,
        )
    }
}
