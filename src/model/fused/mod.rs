//! Products of rows with a few tokens where the weights are multiplied while they are decoded: fastest where a pass has so
//! few tokens that to write the decoded numbers and to read them again would take as long as the products.

mod kernels;
mod strips;

use super::lines::{Aligned, OnLines};
use super::matrix::Matrix;
use super::prefetch::Cache;
use crate::quant::Isa;
use crate::quant::fused::{Fused, VECTORS, Visit, strided};
use crate::quant::product::{CHUNK, totals};
use crate::quant::simd::{has_sixteen_lanes, has_wide_vectors};
use fearless_simd::{Simd, dispatch};
use kernels::{Block, Columns, Sums, TILE, add_in_order, add_in_strides, totals_in_strides};
use strips::{Ahead, Strips};

/// Tokens that are multiplied at once: their sums, and what is multiplied, fill the registers.
const TOKENS: usize = 4;
/// Chunks of all tokens together that are multiplied with one row after the other: 16 KiB, which stay in the first-level
/// cache.
const STRIP: usize = 128;
/// Rows and tokens together that meet the same strip: the sums of all are 4 KiB.
pub(super) const GROUP: usize = 32;

/// What is asked for ahead on vectors of sixteen lanes: more would displace the tokens.
const AHEAD: Ahead = Ahead {
    bytes: 2048,
    cache: Cache::First,
};
/// The same for one token where its rows are more than a strip. The processor does not foresee where these go on, and the
/// products leave little time for what is asked for.
const AHEAD_OF_PARTS: Ahead = Ahead {
    bytes: 4096,
    cache: Cache::Second,
};
/// The same on vectors of eight lanes.
const AHEAD_IN_STRIDES: Ahead = Ahead {
    bytes: 3072,
    cache: Cache::First,
};

impl Matrix<'_> {
    /// Whether its products are taken so.
    pub(super) fn is_fused(&self) -> bool {
        let is_wide = dispatch!(self.isa().level(), simd => has_wide_vectors(simd));
        is_wide && self.ty().fused(Exists).is_some()
    }

    /// The products of all rows, by token; of a matrix that [`is_fused`](Matrix::is_fused).
    pub(super) fn multiply_fused(&self, x: &Tokens, out: &mut [&mut [f32]]) {
        self.ty().fused(Multiply { rows: *self, x, out });
    }
}

/// Whether there is a format.
struct Exists;

impl Visit for Exists {
    type Output = ();

    fn visit<F: Fused<BYTES, UNITS, CHUNKS>, const BYTES: usize, const UNITS: usize, const CHUNKS: usize>(
        self,
    ) {
    }
}

/// The products of rows with some tokens, by token.
struct Multiply<'a, 'out> {
    rows: Matrix<'a>,
    x: &'a Tokens,
    out: &'a mut [&'out mut [f32]],
}

impl Visit for Multiply<'_, '_> {
    type Output = ();

    fn visit<F: Fused<BYTES, UNITS, CHUNKS>, const BYTES: usize, const UNITS: usize, const CHUNKS: usize>(
        self,
    ) {
        let Multiply { rows, x, out } = self;
        dispatch!(rows.isa().level(), simd => multiply::<_, F, BYTES, UNITS, CHUNKS>(simd, rows, x, out));
    }
}

/// Some tokens, [`TOKENS`] behind the other: of each group a chunk of every token behind the same of the one before, as the
/// kernels take them.
pub(super) struct Tokens {
    cols: usize,
    data: Aligned,
}

impl Tokens {
    /// Lays out `x`, rows of `cols` numbers.
    pub(super) fn new(isa: Isa, x: &[f32], cols: usize) -> Tokens {
        let in_order = dispatch!(isa.level(), simd => has_sixteen_lanes(simd));
        let mut data = Aligned::zeros(x.len());
        for (data, x) in data.chunks_mut(TOKENS * cols).zip(x.chunks(TOKENS * cols)) {
            let count = x.len() / cols;
            let data = data.as_chunks_mut::<CHUNK>().0;
            for (token, x) in x.chunks_exact(cols).enumerate() {
                let data = data.iter_mut().skip(token).step_by(count);
                for (data, x) in data.zip(x.as_chunks::<CHUNK>().0) {
                    *data = if in_order { *x } else { strided(x) };
                }
            }
        }
        Tokens { cols, data }
    }
}

/// Rows with all tokens, into `out`, by token.
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
    out: &mut [&mut [f32]],
) {
    // Never called for these: said so that it is not compiled for them either.
    if !has_wide_vectors(simd) {
        return;
    }
    // Those after the first group read the weights from a nearer cache.
    for (x_group, out) in x.data.chunks(TOKENS * x.cols).zip(out.chunks_mut(TOKENS)) {
        let columns = x_group.as_chunks::<CHUNK>().0;
        let put = |row: usize, token: usize, sum: f32| out[token][row] = sum;
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
    let x = x
        .as_chunks::<T>()
        .0
        .as_chunks::<CHUNKS>()
        .0
        .as_chunks::<UNITS>()
        .0;
    let most = const { STRIP / T / TILE * TILE / (UNITS * CHUNKS) };
    let blocks = strip_of(x.len(), most, const { TILE / (UNITS * CHUNKS) });
    let count = const { GROUP / T };
    let ahead = match has_sixteen_lanes(simd) {
        true if T == 1 && x.len() > blocks => AHEAD_OF_PARTS,
        true => AHEAD,
        false => AHEAD_IN_STRIDES,
    };
    let mut scales = [F::Scales::default(); STRIP];
    let OnLines(sums) = &mut OnLines([[[0.0; CHUNK]; T]; GROUP]);
    for first in (0..rows.rows()).step_by(count) {
        let group = rows.slice(first, count.min(rows.rows() - first));
        let used = &mut sums[..group.rows()];
        used.fill([[0.0; CHUNK]; T]);
        for (strip, x) in x.chunks(blocks).enumerate() {
            let strips = strip * blocks..strip * blocks + x.len();
            let strips = Strips::new(&group, strips, blocks, ahead);
            match has_sixteen_lanes(simd) {
                true => in_order::<S, F, BYTES, UNITS, CHUNKS, T>(simd, strips, x, used),
                false => in_strides::<S, F, BYTES, UNITS, CHUNKS, T>(simd, strips, &mut scales, x, used),
            }
        }
        let all = sums.as_flattened().as_chunks().0;
        for (i, four) in all.iter().take((group.rows() * T).div_ceil(4)).enumerate() {
            let totals = match has_sixteen_lanes(simd) {
                true => totals(simd, four),
                false => totals_in_strides(simd, four),
            };
            for (at, total) in (4 * i..group.rows() * T).zip(totals) {
                put(first + at / T, at % T, total);
            }
        }
    }
}

/// Blocks a strip, of `total` blocks: `most` or fewer, whole tiles, and such that all strips are about as long, since each asks
/// for as many ahead as it has.
fn strip_of(total: usize, most: usize, tile: usize) -> usize {
    total.div_ceil(total.div_ceil(most)).next_multiple_of(tile)
}

/// Adds the products of strips to the sums of their rows, on vectors of sixteen lanes.
#[inline(always)]
fn in_order<
    S: Simd,
    F: Fused<BYTES, UNITS, CHUNKS>,
    const BYTES: usize,
    const UNITS: usize,
    const CHUNKS: usize,
    const T: usize,
>(
    simd: S,
    mut strips: Strips<BYTES>,
    x: &[Block<UNITS, CHUNKS, T>],
    sums: &mut [Sums<T>],
) {
    // One token's weights come from memory fastest one row behind the other. Of formats with more chunks a unit two rows'
    // numbers would not fit in the registers.
    let paired = if T > 1 && CHUNKS <= 2 {
        sums.len() / 2 * 2
    } else {
        0
    };
    let (pairs, single) = sums.split_at_mut(paired);
    for sums in pairs.as_chunks_mut().0 {
        if let (Some(first), Some(second)) = (strips.next(), strips.next()) {
            add_in_order::<S, F, BYTES, UNITS, CHUNKS, T, 2>(simd, [first, second], x, sums);
        }
    }
    for sums in single.as_chunks_mut().0 {
        if let Some(strip) = strips.next() {
            add_in_order::<S, F, BYTES, UNITS, CHUNKS, T, 1>(simd, [strip], x, sums);
        }
    }
}

/// The same on vectors of eight lanes, in strides.
#[inline(always)]
fn in_strides<
    S: Simd,
    F: Fused<BYTES, UNITS, CHUNKS>,
    const BYTES: usize,
    const UNITS: usize,
    const CHUNKS: usize,
    const T: usize,
>(
    simd: S,
    mut strips: Strips<BYTES>,
    scales: &mut [F::Scales; STRIP],
    x: &[Block<UNITS, CHUNKS, T>],
    sums: &mut [Sums<T>],
) {
    let x = x.as_flattened();
    for sums in sums {
        let Some(strip) = strips.next() else { break };
        match T == 1 {
            true => {
                add_in_strides::<S, F, BYTES, UNITS, CHUNKS, T, VECTORS, 0>(simd, strip, scales, x, sums);
            }
            // More tokens' sums of all vectors are more than there are registers.
            false => {
                add_in_strides::<S, F, BYTES, UNITS, CHUNKS, T, 2, 0>(simd, strip, scales, x, sums);
                add_in_strides::<S, F, BYTES, UNITS, CHUNKS, T, 2, 2>(simd, strip, scales, x, sums);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tensor::Tensor;
    use crate::quant::GgmlType;

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
                for isa in Isa::available() {
                    let (matrix, decoder) = (matrix.on(isa), ty.decoder_on(isa));
                    let products = |x| matrix.each_row().map(move |row| decoder.dot(row, x).to_bits());
                    let expected: Vec<u32> = x.chunks_exact(cols).flat_map(products).collect();
                    assert_eq!(matrix.is_fused(), matches!(isa.name(), "AVX2" | "AVX-512"));
                    for count in (1..=tokens).take_while(|_| matrix.is_fused()) {
                        let x = Tokens::new(isa, &x[..count * cols], cols);
                        let mut found = vec![0.0f32; count * rows];
                        let mut out: Vec<_> = found.chunks_exact_mut(rows).collect();
                        matrix.multiply_fused(&x, &mut out);
                        let found: Vec<u32> = found.iter().map(|v| v.to_bits()).collect();
                        assert_eq!(found, expected[..count * rows], "{ty} {count} {}", isa.name());
                    }
                }
            }
        }
        assert_eq!(F16.fused(Exists), None);
    }
}
