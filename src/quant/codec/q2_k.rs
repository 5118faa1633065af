//! Q2_K: 16 groups of 16 elements, each group with a 4-bit scale and a 4-bit minimum.
//!
//! Block: scale and minimum of each group (16 bytes, the scale in the low half), levels (64 bytes, stripes of 32), d,
//! dmin: f16. Value: d * scale * q - dmin * minimum. Layout: `block_q2_K` of `ggml-common.h`;
//! rounding: `quantize_q2_K`.

use super::number::{read_f16, write_f16};
use super::search::{self, LANES, Trials};
use super::{decode_blocks, planes, scales};
use crate::quant::{Codec, Encode};
use fearless_simd::{Simd, dispatch};

const LEN: usize = 256;
const BYTES: usize = 84;
const GROUP: usize = 16;

pub(in crate::quant) static Q2_K: Codec = Codec {
    decode: decode_blocks!(decode),
    encode: Some(Encode::Any(|isa, row, importance, blocks| {
        dispatch!(isa.level(), simd => encode(simd, row, importance, blocks));
    })),
};

#[inline(always)]
fn decode<S: Simd>(simd: S, block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let (scales, rest) = block.split_at(16);
    let (levels, rest) = rest.split_at(64);
    let levels = planes::unpack::<2, 32, LEN>(levels);
    let (d, dmin) = (read_f16([rest[0], rest[1]]), read_f16([rest[2], rest[3]]));
    let groups = levels
        .as_chunks::<GROUP>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<GROUP>().0);
    for ((levels, out), byte) in groups.zip(scales) {
        let (scale, minimum) = (d * f32::from(byte & 0x0f), dmin * f32::from(byte >> 4));
        planes::scaled_and_moved(simd, levels, scale, -minimum, out);
    }
}

#[inline(always)]
fn encode<S: Simd>(simd: S, row: &[f32], importance: Option<&[f32]>, blocks: &mut [u8]) {
    let blocks = blocks.as_chunks_mut::<BYTES>().0;
    for (i, (x, block)) in row.as_chunks::<LEN>().0.iter().zip(blocks).enumerate() {
        let groups = search::columns::<S, GROUP>(simd, x);
        match importance {
            None => {
                let mut weights = groups;
                for w in weights.as_flattened_mut() {
                    *w = w.abs();
                }
                let trials = Trials {
                    first: -0.5,
                    step: 0.1,
                    steps: 15,
                };
                let found = search::affine::<S, true, GROUP>(simd, &groups, &weights, 3, trials);
                let scales = scales::spread(&found.scales, 15);
                let minima = scales::spread(&found.minima, 15);
                encode_block(simd, x, &found, scales, minima, block);
            }
            Some(importance) => {
                let importance = search::columns(simd, &importance[i * LEN..][..LEN]);
                let sigma2 = [scales::sum_of_squares(x) / LEN as f32; LANES];
                let weights = search::importance_weights(simd, &groups, &importance, &sigma2);
                let found = search::affine::<S, false, GROUP>(simd, &groups, &weights, 3, Trials::WEIGHTED);
                let sums = search::group_sums(simd, &weights).into();
                let scales = scales::positive(&found.scales, &sums, 15);
                let minima = scales::positive(&found.minima, &sums, 15);
                encode_block(simd, x, &found, scales, minima, block);
            }
        }
    }
}

#[inline(always)]
fn encode_block<S: Simd>(
    simd: S,
    x: &[f32; LEN],
    found: &search::Affine,
    (d, scales): (f32, [u8; LANES]),
    (dmin, minima): (f32, [u8; LANES]),
    block: &mut [u8; BYTES],
) {
    let (d, dmin) = (write_f16(d), write_f16(dmin));
    let (head, rest) = block.split_at_mut(16);
    for (byte, (scale, minimum)) in head.iter_mut().zip(scales.iter().zip(minima)) {
        *byte = scale | minimum << 4;
    }
    let mut levels = [0u8; LEN];
    for (g, (x, levels)) in x
        .as_chunks::<GROUP>()
        .0
        .iter()
        .zip(levels.as_chunks_mut::<GROUP>().0)
        .enumerate()
    {
        let scale = read_f16(d) * f32::from(head[g] & 0x0f);
        let minimum = read_f16(dmin) * f32::from(head[g] >> 4);
        *levels = found.refit(simd, g, x, scale, minimum);
    }
    planes::pack::<2, 32>(&levels, &mut rest[..64]);
    [rest[64], rest[65]] = d;
    [rest[66], rest[67]] = dmin;
}
