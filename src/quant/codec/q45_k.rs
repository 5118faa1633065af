//! Q4_K and Q5_K: 8 groups of 32 elements, each group with a 6-bit scale and a 6-bit minimum.
//!
//! Block: d, dmin: f16, scales and minima (12 bytes), for Q5_K the fifth bits of the levels (32 bytes), low 4 bits
//! (128 bytes, stripes of 32). Value: d * scale * q - dmin * minimum. Layouts: `block_q4_K` and `block_q5_K` of
//! `ggml-common.h`; rounding: `quantize_q4_K` and `quantize_q5_K`.

use super::number::{halves, read_f16, write_f16};
use super::planes::{halves_of, twice};
use super::search::{self, Affine, LANES, Trials};
use super::{decode_blocks, lookup, planes, scales};
use crate::quant::fused::{self, Chunk, words};
use crate::quant::levels::{Factors, Levels, wants_factors};
use crate::quant::simd::has_sixteen_lanes;
use crate::quant::{Codec, Encode};
use fearless_simd::{
    Bytes, Simd, SimdBase, SimdFloat, SimdFrom, SimdInt, dispatch, f32x8, f32x16, i32x8, i32x16, u8x16, u8x64,
};

const LEN: usize = 256;
const GROUP: usize = 32;
const GROUPS: usize = LEN / GROUP;
/// d, dmin, scales and minima.
const HEAD: usize = 16;

pub(in crate::quant) static Q4_K: Codec = Codec {
    decode: decode_blocks!(decode::<_, 144>, levels::<_, 144>, 32, 4, factored = true),
    encode: Some(Encode::Any(|isa, row, importance, blocks| {
        let trials = Trials {
            first: -1.0,
            step: 0.1,
            steps: 20,
        };
        dispatch!(isa.level(), simd => encode::<_, 144>(simd, row, importance, 15, trials, blocks));
    })),
};

pub(in crate::quant) static Q5_K: Codec = Codec {
    decode: decode_blocks!(decode::<_, 176>, levels::<_, 176>, 32, 5, factored = true),
    encode: Some(Encode::Any(|isa, row, importance, blocks| {
        let trials = Trials {
            first: -0.5,
            step: 0.1,
            steps: 15,
        };
        dispatch!(isa.level(), simd => encode::<_, 176>(simd, row, importance, 31, trials, blocks));
    })),
};

#[inline(always)]
fn decode<S: Simd, const BYTES: usize>(simd: S, block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let out = out.as_chunks_mut::<GROUP>().0;
    each_group(
        simd,
        block,
        #[inline(always)]
        |g, levels, scale, offset| planes::scaled_and_moved(simd, levels, scale, offset, &mut out[g]),
    );
}

#[inline(always)]
fn levels<S: Simd, const BYTES: usize>(simd: S, block: &[u8; BYTES], _: usize, out: &mut Levels) {
    if wants_factors(simd) {
        let ([scale, dmin], packed) = (head(block), packed_scales(block));
        out.factors = Factors {
            scale,
            offset: -dmin,
            scales: std::array::from_fn(|i| packed[i / 2].into()),
            offsets: std::array::from_fn(|i| packed[GROUPS + i / 2].into()),
        };
        each_levels(
            block,
            #[inline(always)]
            |g, levels| out.set(g, levels),
        );
        return;
    }
    each_group(
        simd,
        block,
        #[inline(always)]
        |g, levels, scale, offset| out.put(g, levels, scale, offset),
    );
}

/// Blocks that are multiplied while they are decoded.
pub(in crate::quant) struct Fused;

impl fused::Fused<144, { GROUPS / 2 }, 2> for Fused {
    type Scales = Scales;
    type Levels = ();

    #[inline(always)]
    fn scales<S: Simd>(simd: S, block: &[u8; 144]) -> Scales {
        scales_of(simd, factors(simd, block), block)
    }

    #[inline(always)]
    fn unit<S: Simd>(simd: S, block: &[u8; 144], scales: &Scales, unit: usize) -> [Chunk<S>; 2] {
        let low = words(simd, &block[HEAD + GROUP * unit..][..GROUP]);
        chunks([low & 0x0f0f_0f0f, (low >> 4) & 0x0f0f_0f0f], scales, unit)
    }

    #[inline(always)]
    fn numbers<S: Simd>(
        simd: S,
        block: &[u8; 144],
        scales: &Scales,
        (): &(),
        unit: usize,
    ) -> [fused::InOrder<S>; 2] {
        let low = &block[HEAD + GROUP * unit..][..GROUP];
        let halves = [lookup::bytes(simd, &low[..16]), lookup::bytes(simd, &low[16..])];
        let mut numbers = [[f32x16::splat(simd, 0.0); 2]; 2];
        for (i, numbers) in numbers.iter_mut().enumerate() {
            let table = table(simd, 0, scales, 2 * unit + i);
            for (numbers, levels) in numbers.iter_mut().zip(halves) {
                *numbers = lookup::of_16(table, levels >> (4 * i as u32));
            }
        }
        numbers
    }
}

impl fused::Fused<176, { GROUPS / 2 }, 2> for Fused {
    type Scales = Scales;
    /// Of each group, each in the low 5 bits of a byte.
    type Levels = [[u8; GROUP]; GROUPS];

    #[inline(always)]
    fn scales<S: Simd>(simd: S, block: &[u8; 176]) -> Scales {
        scales_of(simd, factors(simd, block), block)
    }

    #[inline(always)]
    fn levels<S: Simd>(simd: S, block: &[u8; 176]) -> Self::Levels {
        let (fifth, low) = block[HEAD..].split_at(GROUP);
        let fifth = twice(simd, fifth);
        let mut levels = [[0; GROUP]; GROUPS];
        for unit in 0..GROUPS / 2 {
            // The first half of the lanes is of the first group, which has its bits at the place `2 * unit`.
            let fifth = match unit {
                0 => fifth << halves_of(simd, 4, 3),
                1 => fifth << halves_of(simd, 2, 1),
                2 => fifth >> halves_of(simd, 0, 1),
                _ => fifth >> halves_of(simd, 2, 3),
            };
            let low = twice(simd, &low[GROUP * unit..][..GROUP]) >> halves_of(simd, 0, 4);
            let bytes: u8x64<S> = (low & 0x0f0f_0f0f | fifth & !0x0f0f_0f0f).bitcast();
            bytes.store_slice(levels[2 * unit..][..2].as_flattened_mut());
        }
        levels
    }

    #[inline(always)]
    fn unit<S: Simd>(simd: S, block: &[u8; 176], scales: &Scales, unit: usize) -> [Chunk<S>; 2] {
        let (fifth, low) = block[HEAD..].split_at(GROUP);
        let low = words(simd, &low[GROUP * unit..][..GROUP]);
        let fifth = words(simd, fifth) >> (2 * unit as u32);
        let levels = [
            low & 0x0f0f_0f0f | (fifth << 4) & 0x1010_1010,
            (low >> 4) & 0x0f0f_0f0f | (fifth << 3) & 0x1010_1010,
        ];
        chunks(levels, scales, unit)
    }

    #[inline(always)]
    fn numbers<S: Simd>(
        simd: S,
        _: &[u8; 176],
        scales: &Scales,
        levels: &Self::Levels,
        unit: usize,
    ) -> [fused::InOrder<S>; 2] {
        let mut numbers = [[f32x16::splat(simd, 0.0); 2]; 2];
        for (i, numbers) in numbers.iter_mut().enumerate() {
            let group = 2 * unit + i;
            let tables = [table(simd, 0, scales, group), table(simd, 16, scales, group)];
            let halves = [&levels[group][..16], &levels[group][16..]];
            for (numbers, levels) in numbers.iter_mut().zip(halves) {
                *numbers = lookup::of_32(tables, lookup::bytes(simd, levels));
            }
        }
        numbers
    }
}

/// Two groups' levels as chunks.
#[inline(always)]
fn chunks<S: Simd>(levels: [i32x8<S>; 2], scales: &Scales, unit: usize) -> [Chunk<S>; 2] {
    std::array::from_fn(
        #[inline(always)]
        |i| {
            let simd = levels[i].simd;
            let group = 2 * unit + i;
            let scale = f32x8::splat(simd, scales[2 * group]);
            let minimum = f32x8::splat(simd, scales[2 * group + 1]);
            // 11 bits of d, 6 of the scale and 5 of the level: an exact product.
            Chunk::scaled_and_moved(levels[i], scale, -minimum)
        },
    )
}

/// What sixteen levels of a group from `first` on stand for.
#[inline(always)]
fn table<S: Simd>(simd: S, first: i32, scales: &Scales, group: usize) -> f32x16<S> {
    let scale = f32x16::splat(simd, scales[2 * group]);
    let minimum = f32x16::splat(simd, scales[2 * group + 1]);
    // 11 bits of d, 6 of the scale and 5 of the level: exact products.
    lookup::levels(simd, first).mul_add(scale, -minimum)
}

/// Shows the levels of each group, their scale and what is added.
#[inline(always)]
fn each_group<S: Simd, const BYTES: usize>(
    simd: S,
    block: &[u8; BYTES],
    mut show: impl FnMut(usize, &[u8; GROUP], f32, f32),
) {
    let scales = scales_of(simd, head(block), block);
    each_levels(
        block,
        #[inline(always)]
        |g, levels| show(g, levels, scales[2 * g], -scales[2 * g + 1]),
    );
}

/// The scale of each group, and behind it its minimum.
type Scales = [f32; 2 * GROUPS];

#[inline(always)]
fn scales_of<S: Simd, const BYTES: usize>(simd: S, factors: [f32; 2], block: &[u8; BYTES]) -> Scales {
    // All at once: one by one they would take longer than the levels.
    let packed = match has_sixteen_lanes(simd) {
        true => sixteen_scales(simd, block),
        false => {
            let packed = u8x16::simd_from(simd, packed_scales(block));
            let places = std::array::from_fn(|i| (i / 2 + GROUPS * (i % 2)) as u8);
            let pairs = packed.swizzle_dyn(u8x16::simd_from(simd, places));
            planes::sixteen(simd, &pairs.into(), 0)
        }
    };
    let factors: [f32; 2 * GROUPS] = std::array::from_fn(|i| factors[i % 2]);
    (packed * f32x16::simd_from(simd, factors)).into()
}

/// What [`read_scales`] finds, each scale and its minimum, as numbers, without leaving the vector.
#[inline(always)]
fn sixteen_scales<S: Simd, const BYTES: usize>(simd: S, block: &[u8; BYTES]) -> f32x16<S> {
    const PLACES: [u8; 64] = bytes_of_lanes();
    // How far down the bits of a lane are to go.
    const LOW: [i32; 2 * GROUPS] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 4, 0, 4, 0, 4];
    const HIGH: [i32; 2 * GROUPS] = [0, 0, 0, 0, 0, 0, 0, 0, 10, 10, 10, 10, 10, 10, 10, 10];
    let head = u8x64::block_splat(u8x16::from_slice(simd, &block[..HEAD]));
    let lanes: i32x16<S> = head
        .swizzle_dyn_within_blocks(u8x64::simd_from(simd, PLACES))
        .bitcast();
    let low = lanes >> i32x16::simd_from(simd, LOW);
    let high = lanes >> i32x16::simd_from(simd, HIGH);
    (low & 0x0f | high & 0x30).to_float()
}

/// Where a block has what a lane of each scale and each minimum is made of: the low bits come to its lowest byte, the high ones
/// of the last four groups to the next. From a place with the top bit set comes zero.
const fn bytes_of_lanes() -> [u8; 64] {
    const HALF: usize = GROUPS / 2;
    let mut places = [0x80; 64];
    let mut lane = 0;
    while lane < 2 * GROUPS {
        let (group, minima) = (lane / 2, lane % 2 * HALF);
        if group < HALF {
            places[4 * lane] = (4 + minima + group) as u8;
        } else {
            places[4 * lane] = (8 + group) as u8;
            places[4 * lane + 1] = (minima + group) as u8;
        }
        lane += 1;
    }
    places
}

/// d and dmin.
#[inline(always)]
fn head<const BYTES: usize>(block: &[u8; BYTES]) -> [f32; 2] {
    [read_f16([block[0], block[1]]), read_f16([block[2], block[3]])]
}

/// The same as fast as this instruction set can; of a NaN any.
#[inline(always)]
fn factors<S: Simd, const BYTES: usize>(simd: S, block: &[u8; BYTES]) -> [f32; 2] {
    halves(simd, [block[0], block[1], block[2], block[3]])
}

/// The packed scales and minima.
#[inline(always)]
fn packed_scales<const BYTES: usize>(block: &[u8; BYTES]) -> [u8; 2 * GROUPS] {
    read_scales(std::array::from_fn(|i| block[4 + i]))
}

/// Shows the levels of each group.
#[inline(always)]
fn each_levels<const BYTES: usize>(block: &[u8; BYTES], mut show: impl FnMut(usize, &[u8; GROUP])) {
    let (fifth, low) = block[HEAD..].split_at(BYTES - HEAD - LEN / 2);
    // Two groups share a stripe.
    for (pair, low) in low.as_chunks::<GROUP>().0.iter().enumerate() {
        let levels = planes::unpack::<4, GROUP, { 2 * GROUP }>(low);
        for (i, levels) in levels.as_chunks::<GROUP>().0.iter().enumerate() {
            let g = 2 * pair + i;
            let mut levels = *levels;
            for (level, bits) in levels.iter_mut().zip(fifth) {
                *level |= (bits.wrapping_shr(g as u32) & 1) << 4;
            }
            show(g, &levels);
        }
    }
}

/// The scales and the minima of all groups. The first four groups have theirs in the low 6 bits of the first and the second
/// four bytes; the other four have their low 4 bits together in the last four and their high 2 bits above those of the
/// first four.
#[inline(always)]
fn read_scales(packed: [u8; 12]) -> [u8; 2 * GROUPS] {
    const LOW_6: u32 = 0x3f3f_3f3f;
    const LOW_4: u32 = 0x0f0f_0f0f;
    const HIGH_2: u32 = 0xc0c0_c0c0;
    let word = |at: usize| u32::from_le_bytes(packed.as_chunks().0[at]);
    let (scales, minima, low) = (word(0), word(1), word(2));
    let words = [
        scales & LOW_6,
        low & LOW_4 | (scales & HIGH_2) >> 2,
        minima & LOW_6,
        low >> 4 & LOW_4 | (minima & HIGH_2) >> 2,
    ];
    let mut numbers = [0; 2 * GROUPS];
    for (numbers, word) in numbers.as_chunks_mut().0.iter_mut().zip(words) {
        *numbers = word.to_le_bytes();
    }
    numbers
}

/// Blocks of `BYTES` bytes, the levels from 0 to `top_level`; `trials` are those without an importance matrix.
#[inline(always)]
fn encode<S: Simd, const BYTES: usize>(
    simd: S,
    row: &[f32],
    importance: Option<&[f32]>,
    top_level: i32,
    trials: Trials,
    blocks: &mut [u8],
) {
    // Two blocks at a time fill the lanes.
    const PAIR: usize = LANES / GROUPS;
    let pairs = row.chunks(PAIR * LEN).zip(blocks.chunks_mut(PAIR * BYTES));
    for (i, (x, blocks)) in pairs.enumerate() {
        let groups = search::columns::<S, GROUP>(simd, x);
        let blocks = x
            .as_chunks::<LEN>()
            .0
            .iter()
            .zip(blocks.as_chunks_mut::<BYTES>().0);
        match importance {
            None => {
                let weights = spread_weights(simd, &groups);
                let found = search::affine::<S, false, GROUP>(simd, &groups, &weights, top_level, trials);
                for (at, (x, block)) in blocks.enumerate() {
                    let scales = scales::spread(lanes(&found.scales, at), 63);
                    let minima = scales::spread(lanes(&found.minima, at), 63);
                    encode_block(simd, x, &found, at, scales, minima, block);
                }
            }
            Some(importance) => {
                let importance = search::columns(simd, &importance[i * PAIR * LEN..][..x.len()]);
                let mut sigma2 = [0.0; LANES];
                for (x, sigma2) in x
                    .as_chunks::<LEN>()
                    .0
                    .iter()
                    .zip(sigma2.as_chunks_mut::<GROUPS>().0)
                {
                    *sigma2 = [2.0 * scales::sum_of_squares(x) / LEN as f32; GROUPS];
                }
                let weights = search::importance_weights(simd, &groups, &importance, &sigma2);
                let found =
                    search::affine::<S, false, GROUP>(simd, &groups, &weights, top_level, Trials::WEIGHTED);
                let sums: [f32; LANES] = search::group_sums(simd, &weights).into();
                for (at, (x, block)) in blocks.enumerate() {
                    let sums = lanes(&sums, at);
                    let scales = scales::positive(lanes(&found.scales, at), sums, 63);
                    let minima = scales::positive(lanes(&found.minima, at), sums, 63);
                    encode_block(simd, x, &found, at, scales, minima, block);
                }
            }
        }
    }
}

/// The lanes of block `at` of a pair.
#[inline(always)]
fn lanes(all: &[f32; LANES], at: usize) -> &[f32; GROUPS] {
    &all.as_chunks().0[at]
}

/// The weights without an importance matrix: magnitude plus the group's root mean square.
#[inline(always)]
fn spread_weights<S: Simd>(simd: S, groups: &search::Groups<GROUP>) -> search::Groups<GROUP> {
    let spread = (search::group_sums(simd, &search::squares(groups)) / GROUP as f32).sqrt();
    let mut weights = *groups;
    for row in &mut weights {
        *row = (spread + search::load(simd, row).abs()).into();
    }
    weights
}

/// Block `at` of a pair.
#[inline(always)]
fn encode_block<S: Simd>(
    simd: S,
    x: &[f32; LEN],
    found: &Affine,
    at: usize,
    (d, scales): (f32, [u8; GROUPS]),
    (dmin, minima): (f32, [u8; GROUPS]),
    block: &mut [u8],
) {
    let (d, dmin) = (write_f16(d), write_f16(dmin));
    let (head, rest) = block.split_at_mut(HEAD);
    [head[0], head[1]] = d;
    [head[2], head[3]] = dmin;
    write_scales(&scales, &minima, &mut head[4..]);
    let mut levels = [0u8; LEN];
    for (g, (x, levels)) in x
        .as_chunks::<GROUP>()
        .0
        .iter()
        .zip(levels.as_chunks_mut::<GROUP>().0)
        .enumerate()
    {
        let scale = read_f16(d) * f32::from(scales[g]);
        let minimum = read_f16(dmin) * f32::from(minima[g]);
        *levels = found.refit(simd, at * GROUPS + g, x, scale, minimum);
    }
    let (fifth, low) = rest.split_at_mut(rest.len() - LEN / 2);
    if !fifth.is_empty() {
        planes::pack::<1, 32>(&planes::above::<4, LEN>(&levels), fifth);
    }
    planes::pack::<4, 32>(&levels, low);
}

/// The inverse of [`read_scales`].
#[inline(always)]
fn write_scales(scales: &[u8; GROUPS], minima: &[u8; GROUPS], packed: &mut [u8]) {
    let half = GROUPS / 2;
    packed[..half].copy_from_slice(&scales[..half]);
    packed[half..GROUPS].copy_from_slice(&minima[..half]);
    for g in half..GROUPS {
        packed[g + 4] = scales[g] & 0x0f | minima[g] << 4;
        packed[g - 4] |= scales[g] >> 4 << 6;
        packed[g] |= minima[g] >> 4 << 6;
    }
}
