//! Products of rows with a few tokens where the weights are multiplied while they are decoded: fastest where a pass has so
//! few tokens that to write the decoded numbers and to read them again would take as long as the products.

use super::kernels::{Aligned, has_many_registers};
use super::matrix::Matrix;
use crate::quant::fused::{Fused, LANES, VECTORS, Visit, strided, total};
use crate::quant::product::CHUNK;
use crate::quant::simd::has_wide_vectors;
use fearless_simd::{Simd, SimdBase, SimdFloat, dispatch, f32x8};

/// Tokens that are multiplied at once: their sums for half a chunk and what is multiplied fill 16 registers.
const TOKENS: usize = 4;
/// Chunks of all tokens together that are multiplied with one row after the other: 16 KiB, which stay in the first-level
/// cache.
const STRIP: usize = 128;
/// Rows and tokens together that meet the same strip: the sums of all are 4 KiB.
const GROUP: usize = 32;

/// Bytes that are asked for ahead: more would displace the tokens.
const AHEAD: usize = 8192;

/// Columns of a token.
type Columns = [f32; CHUNK];
/// The partial sums of a row's products with some tokens.
type Sums<const T: usize> = [Columns; T];

impl Matrix<'_> {
    /// The products of all rows with each row of `x`, `[tokens, rows]`; `None` where it cannot be done so.
    pub(super) fn mul_fused(&self, x: &[f32]) -> Option<Vec<f32>> {
        let is_wide = dispatch!(self.isa().level(), simd => has_wide_vectors(simd));
        is_wide.then(|| self.ty().fused(Multiply { matrix: self, x }))?
    }
}

/// The product of a matrix with some tokens.
struct Multiply<'a> {
    matrix: &'a Matrix<'a>,
    x: &'a [f32],
}

impl Visit for Multiply<'_> {
    type Output = Vec<f32>;

    fn visit<F: Fused<BYTES, UNITS, CHUNKS>, const BYTES: usize, const UNITS: usize, const CHUNKS: usize>(
        self,
    ) -> Vec<f32> {
        let (matrix, tokens) = (self.matrix, self.x.len() / self.matrix.cols());
        let x = Tokens::new(self.x, matrix.cols());
        matrix.by_step_tasks(tokens, GROUP, |rows, out| {
            dispatch!(rows.isa().level(), simd => multiply::<_, F, BYTES, UNITS, CHUNKS>(simd, rows, &x, out));
        })
    }
}

/// Some tokens, [`TOKENS`] behind the other: of each group a chunk of every token behind the same of the one before, and in
/// strides.
struct Tokens {
    tokens: usize,
    cols: usize,
    data: Aligned,
}

impl Tokens {
    /// Lays out `x`, rows of `cols` numbers.
    fn new(x: &[f32], cols: usize) -> Tokens {
        let tokens = x.len() / cols;
        let mut data = Aligned::zeros(x.len());
        for (data, x) in data.chunks_mut(TOKENS * cols).zip(x.chunks(TOKENS * cols)) {
            let count = x.len() / cols;
            let data = data.as_chunks_mut::<CHUNK>().0;
            for (token, x) in x.chunks_exact(cols).enumerate() {
                let data = data.iter_mut().skip(token).step_by(count);
                for (data, x) in data.zip(x.as_chunks::<CHUNK>().0) {
                    *data = strided(x);
                }
            }
        }
        Tokens { tokens, cols, data }
    }
}

/// Rows with all tokens, into `out`, `[rows, tokens]`.
#[inline(always)]
fn multiply<
    S: Simd,
    F: Fused<BYTES, UNITS, CHUNKS>,
    const BYTES: usize,
    const UNITS: usize,
    const CHUNKS: usize,
>(
    simd: S,
    rows: Matrix<'_>,
    x: &Tokens,
    out: &mut [f32],
) {
    // Never called for these: said so that it is not compiled for them either.
    if !has_wide_vectors(simd) {
        return;
    }
    // Those after the first group read the weights from a nearer cache.
    for (group, x_group) in x.data.chunks(TOKENS * x.cols).enumerate() {
        let columns = x_group.as_chunks::<CHUNK>().0;
        let put = |row: usize, token: usize, sum: f32| {
            out[row * x.tokens + group * TOKENS + token] = sum;
        };
        match columns.len() * CHUNK / x.cols {
            1 => group_of::<S, F, BYTES, UNITS, CHUNKS, 1>(simd, rows, columns, put),
            2 => group_of::<S, F, BYTES, UNITS, CHUNKS, 2>(simd, rows, columns, put),
            3 => group_of::<S, F, BYTES, UNITS, CHUNKS, 3>(simd, rows, columns, put),
            _ => group_of::<S, F, BYTES, UNITS, CHUNKS, TOKENS>(simd, rows, columns, put),
        }
    }
}

/// Rows with `T` tokens; `put` takes each product.
#[inline(always)]
fn group_of<
    S: Simd,
    F: Fused<BYTES, UNITS, CHUNKS>,
    const BYTES: usize,
    const UNITS: usize,
    const CHUNKS: usize,
    const T: usize,
>(
    simd: S,
    rows: Matrix<'_>,
    x: &[Columns],
    mut put: impl FnMut(usize, usize, f32),
) {
    let x = x.as_chunks::<T>().0.as_chunks::<CHUNKS>().0;
    let blocks = const { STRIP / T / (UNITS * CHUNKS) };
    let width = blocks * UNITS * CHUNKS * CHUNK;
    let count = const { GROUP / T };
    let mut scales = [F::Scales::default(); STRIP];
    let mut sums = [[[0.0; CHUNK]; T]; GROUP];
    for first in (0..rows.rows()).step_by(count) {
        let group = rows.slice(first, count.min(rows.rows() - first));
        let sums = &mut sums[..group.rows()];
        sums.fill([[0.0; CHUNK]; T]);
        for (strip, x) in x.chunks(blocks * UNITS).enumerate() {
            let bytes = group.blocks(strip * width, width);
            let ahead = AHEAD.div_ceil(bytes.len()).min(count);
            // Behind the last row of a strip comes the first of the next, or of the next group.
            let (next_row, next_bytes) = match (strip + 1) * width < rows.cols() {
                true => (first, rows.blocks((strip + 1) * width, width)),
                false => (first + group.rows(), rows.blocks(0, width)),
            };
            for (r, (row, sums)) in group.each_row().zip(&mut *sums).enumerate() {
                match (r + ahead).checked_sub(group.rows()) {
                    None => rows.foresee(first + r + ahead, 1, &bytes),
                    Some(past) => rows.foresee(next_row + past, 1, &next_bytes),
                }
                let blocks = row[bytes.clone()].as_chunks::<BYTES>().0;
                for (scales, block) in scales.iter_mut().zip(blocks) {
                    *scales = F::scales(simd, block);
                }
                match T == 1 || has_many_registers(simd) {
                    true => add_products::<S, F, BYTES, UNITS, CHUNKS, T, VECTORS, 0>(
                        simd, blocks, &scales, x, sums,
                    ),
                    false => {
                        add_products::<S, F, BYTES, UNITS, CHUNKS, T, 2, 0>(simd, blocks, &scales, x, sums);
                        add_products::<S, F, BYTES, UNITS, CHUNKS, T, 2, 2>(simd, blocks, &scales, x, sums);
                    }
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (token, sums) in sums.iter().enumerate() {
                put(first + r, token, total(sums));
            }
        }
    }
}

/// Adds the products of blocks with `T` tokens to their sums: `V` vectors of each chunk, from `FIRST` on. The inner loops
/// count, and all that they hold stays in registers.
#[inline(always)]
fn add_products<
    S: Simd,
    F: Fused<BYTES, UNITS, CHUNKS>,
    const BYTES: usize,
    const UNITS: usize,
    const CHUNKS: usize,
    const T: usize,
    const V: usize,
    const FIRST: usize,
>(
    simd: S,
    blocks: &[[u8; BYTES]],
    scales: &[F::Scales],
    x: &[[[Columns; T]; CHUNKS]],
    sums: &mut Sums<T>,
) {
    let mut held = [[f32x8::splat(simd, 0.0); V]; T];
    for t in 0..T {
        for v in 0..V {
            held[t][v] = f32x8::from_slice(simd, &sums[t][LANES * (FIRST + v)..][..LANES]);
        }
    }
    // One loop over the units of all blocks: those of one would be unrolled, and more be decoded ahead than there are registers
    // for.
    for (unit, x) in x.iter().enumerate() {
        let chunks = F::unit(simd, &blocks[unit / UNITS], &scales[unit / UNITS], unit % UNITS);
        for c in 0..CHUNKS {
            for v in 0..V {
                let weights = chunks[c].numbers(FIRST + v);
                for t in 0..T {
                    let x = f32x8::from_slice(simd, &x[c][t][LANES * (FIRST + v)..][..LANES]);
                    held[t][v] = weights.mul_add(x, held[t][v]);
                }
            }
        }
    }
    for t in 0..T {
        for v in 0..V {
            held[t][v].store_slice(&mut sums[t][LANES * (FIRST + v)..][..LANES]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tensor::Tensor;
    use crate::quant::{GgmlType, Isa};

    #[test]
    fn products_are_those_of_decoded_numbers_to_the_bit() {
        use GgmlType::{F16, IQ4_NL, IQ4_XS, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0};
        // Some strips, groups and blocks more than whole ones.
        let (rows, cols, tokens) = (GROUP + 3, 17 * 256, 2 * TOKENS + 3);
        let x: Vec<f32> = (0..tokens * cols).map(|i| (i as f32 * 0.37).sin()).collect();
        // The smaller ones have scales that are subnormal.
        for size in [1.0, 1e-6] {
            let weights: Vec<f32> = (0..rows * cols)
                .map(|i| ((i * i) as f32 * 0.013).cos() * size)
                .collect();
            for ty in [Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K, Q8_0, IQ4_NL, IQ4_XS] {
                let mut data = vec![0; ty.bytes(weights.len() as u64).unwrap() as usize];
                ty.encode(&weights, cols, None, &mut data).unwrap();
                let shape = vec![rows, cols];
                let matrix = Matrix::new(Tensor {
                    ty,
                    shape,
                    data: &data,
                })
                .unwrap();
                let decoder = ty.decoder();
                let expected: Vec<u32> = x
                    .chunks_exact(cols)
                    .flat_map(|x| matrix.each_row().map(move |row| decoder.dot(row, x).to_bits()))
                    .collect();
                for count in 1..=tokens {
                    let Some(found) = matrix.mul_fused(&x[..count * cols]) else {
                        assert!(!matches!(Isa::best().name(), "AVX2" | "AVX-512"));
                        continue;
                    };
                    let found: Vec<u32> = found.iter().map(|v| v.to_bits()).collect();
                    assert_eq!(found, expected[..count * rows], "{ty} {count}");
                }
            }
        }
        assert_eq!(F16.fused(Name), None);
    }

    /// Whether a format is shown.
    struct Name;

    impl Visit for Name {
        type Output = ();

        fn visit<
            F: Fused<BYTES, UNITS, CHUNKS>,
            const BYTES: usize,
            const UNITS: usize,
            const CHUNKS: usize,
        >(
            self,
        ) {
        }
    }
}
