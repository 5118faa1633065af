//! Q2_K: 16 groups of 16 elements, each group with a 4-bit scale and a 4-bit minimum.
//!
//! Block: scale and minimum of each group (16 bytes, the scale in the low half), levels (64 bytes, stripes of 32), d,
//! dmin: f16. Value: d * scale * q - dmin * minimum. Layout: `block_q2_K` of `ggml-common.h`.

use super::number::read_f16;
use super::{decode_each, planes};
use crate::quant::Codec;

const LEN: usize = 256;
const BYTES: usize = 84;
const GROUP: usize = 16;

pub(in crate::quant) static Q2_K: Codec = Codec {
    decode: |path, blocks, out| decode_each(path, blocks, out, decode),
    encode: None,
};

#[inline(always)]
fn decode(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let (scales, rest) = block.split_at(16);
    let (levels, rest) = rest.split_at(64);
    let levels = planes::unpack::<2, 32, LEN>(levels);
    let (d, dmin) = (read_f16([rest[0], rest[1]]), read_f16([rest[2], rest[3]]));
    for (g, (out, levels)) in out
        .as_chunks_mut()
        .0
        .iter_mut()
        .zip(levels.as_chunks::<GROUP>().0)
        .enumerate()
    {
        let scale = d * f32::from(scales[g] & 0x0f);
        let minimum = dmin * f32::from(scales[g] >> 4);
        *out = levels.map(|q| scale * f32::from(q) - minimum);
    }
}
