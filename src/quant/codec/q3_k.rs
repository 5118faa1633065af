//! Q3_K: 16 groups of 16 elements, each group with a 6-bit scale.
//!
//! Block: third bits of the levels (32 bytes), low 2 bits (64 bytes, stripes of 32), scales (low 4 bits in 8 bytes,
//! high 2 bits in 4), d: f16. Value: d * (scale - 32) * (q - 4). Layout: `block_q3_K` of `ggml-common.h`.

use super::number::read_f16;
use super::{decode_each, planes};
use crate::quant::Codec;

const LEN: usize = 256;
const BYTES: usize = 110;
const GROUP: usize = 16;

pub(in crate::quant) static Q3_K: Codec = Codec {
    decode: |path, blocks, out| decode_each(path, blocks, out, decode),
    encode: None,
};

#[inline(always)]
fn decode(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let (third, rest) = block.split_at(32);
    let (low, rest) = rest.split_at(64);
    let third = planes::unpack::<1, 32, LEN>(third);
    let low = planes::unpack::<2, 32, LEN>(low);
    let scale_low = planes::unpack::<4, 8, 16>(&rest[..8]);
    let scale_high = planes::unpack::<2, 4, 16>(&rest[8..12]);
    let d = read_f16([rest[12], rest[13]]);
    for (g, out) in out.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
        let scale = d * (f32::from(scale_low[g] | scale_high[g] << 4) - 32.0);
        for (i, v) in out.iter_mut().enumerate() {
            let at = g * GROUP + i;
            *v = scale * (f32::from(low[at] | third[at] << 2) - 4.0);
        }
    }
}
