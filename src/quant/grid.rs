//! Q4_0 for checkpoints of quantization-aware training, which have their weights on its grid already. This is no rule of
//! ggml's, whose own loses part of such weights.

use super::{GgmlType, Isa, PIECE, QuantError, codec};

/// Encodes numbers that came as `source` into blocks of Q4_0, such that those of a block which are the products of one
/// f16 and levels from -8 to 7 or from -7 to 8, rounded to `source`, are the same when they are read and rounded again.
/// Other blocks get the scale that leaves the smallest squared error among those that are tried.
pub fn encode(source: GgmlType, numbers: &[f32], blocks: &mut [u8]) -> Result<(), QuantError> {
    let ty = GgmlType::Q4_0;
    ty.check_size(numbers.len(), blocks.len())?;
    let isa = Isa::best();
    let pieces = blocks.chunks_mut(PIECE / ty.block_len() * ty.block_bytes());
    for (i, (numbers, blocks)) in numbers.chunks(PIECE).zip(pieces).enumerate() {
        ty.encode_piece(isa, numbers, blocks, |numbers, blocks| {
            codec::grid::encode(isa, numbers, significant_bits(source), blocks);
        })
        .map_err(|error| error.moved_by(i * PIECE))?;
    }
    Ok(())
}

/// How many of every `step`th block [`encode`] gives back without loss, of how many.
pub fn count_kept(source: GgmlType, numbers: &[f32], step: usize) -> (u64, u64) {
    let blocks = numbers.as_chunks().0.iter().step_by(step.max(1));
    let looked_at = blocks.len() as u64;
    let kept = codec::grid::count_kept(Isa::best(), blocks, significant_bits(source));
    (kept, looked_at)
}

/// Bits of a number's mantissa, the leading one among them.
fn significant_bits(ty: GgmlType) -> u32 {
    match ty {
        GgmlType::BF16 => 8,
        GgmlType::F16 => 11,
        _ => 24,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use half::{bf16, f16};

    /// Blocks of products of an f16 and levels, the largest of which is on each level in turn.
    fn on_grid(round: impl Fn(f32) -> f32) -> Vec<f32> {
        let mut numbers = Vec::new();
        for block in 0..256_i32 {
            let d = f16::from_f32(0.0317 * 1.013_f32.powi(block)).to_f32();
            let d = if block % 2 == 0 { d } else { -d };
            let top = block % 7 + 1;
            let levels = (0..32).map(|i| match i {
                5 => top,
                9 => -(top + block % 2),
                _ => (i * 7 + block) % (2 * top + 1) - top,
            });
            numbers.extend(levels.map(|level| round(d * level as f32)));
        }
        numbers
    }

    fn there_and_back(source: GgmlType, numbers: &[f32]) -> Vec<f32> {
        let mut blocks = vec![0; numbers.len() / 32 * 18];
        encode(source, numbers, &mut blocks).unwrap();
        let mut decoded = vec![0.0; numbers.len()];
        GgmlType::Q4_0.decode(&blocks, &mut decoded).unwrap();
        decoded
    }

    #[test]
    fn weights_on_the_grid_keep_their_values() {
        let bf16 = |v| bf16::from_f32(v).to_f32();
        let f16 = |v| f16::from_f32(v).to_f32();
        let rounds: [(GgmlType, &dyn Fn(f32) -> f32); 3] = [
            (GgmlType::BF16, &bf16),
            (GgmlType::F16, &f16),
            (GgmlType::F32, &|v| v),
        ];
        for (source, round) in rounds {
            let numbers = on_grid(round);
            assert_eq!(count_kept(source, &numbers, 1), (256, 256), "{source}");
            let back: Vec<f32> = there_and_back(source, &numbers).into_iter().map(round).collect();
            assert_eq!(back, numbers, "{source}");
        }
    }

    #[test]
    fn weights_off_the_grid_come_no_worse_than_by_ggmls_rule() {
        let mut state = 1_u32;
        let numbers: Vec<f32> = (0..32 * 500)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 24) as f32 - 0.5
            })
            .collect();
        let mut blocks = vec![0; numbers.len() / 32 * 18];
        GgmlType::Q4_0
            .encode(&numbers, numbers.len(), None, &mut blocks)
            .unwrap();
        let mut plain = vec![0.0; numbers.len()];
        GgmlType::Q4_0.decode(&blocks, &mut plain).unwrap();
        let error =
            |decoded: &[f32]| -> f32 { decoded.iter().zip(&numbers).map(|(a, b)| (a - b).powi(2)).sum() };
        assert_eq!(count_kept(GgmlType::BF16, &numbers, 16), (0, 32));
        assert!(error(&there_and_back(GgmlType::F32, &numbers)) < 0.95 * error(&plain));
    }

    #[test]
    fn zeros_stay_and_what_no_f16_scales_is_refused() {
        assert_eq!(there_and_back(GgmlType::BF16, &[0.0; 32]), [0.0; 32]);
        let mut numbers = [0.5; 64];
        numbers[40] = -1e6;
        let refused = encode(GgmlType::BF16, &numbers, &mut [0; 36]);
        let expected = QuantError::Overflow {
            ty: GgmlType::Q4_0,
            index: 40,
            value: -1e6,
        };
        assert_eq!(refused, Err(expected));
    }
}
