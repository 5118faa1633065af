//! Sums of products, taken in one order whatever the instruction set and however the numbers come.

use fearless_simd::{Simd, SimdBase, SimdFloat, SimdFrom, f32x4, f32x16};

/// Numbers that [`Product::add`] takes: a divisor of every block's length.
pub(crate) const CHUNK: usize = 32;

/// A sum of products: 32 partial sums side by side. Where the processor can fuse a multiplication with an addition it
/// does, so the last bits may differ from one processor to another.
#[derive(Clone, Copy)]
pub(crate) struct Product<S: Simd> {
    simd: S,
    sums: [f32x16<S>; 2],
}

impl<S: Simd> Product<S> {
    #[inline(always)]
    pub(crate) fn new(simd: S) -> Product<S> {
        Product {
            simd,
            sums: [f32x16::simd_from(simd, 0.0); 2],
        }
    }

    /// With these partial sums so far.
    #[inline(always)]
    pub(crate) fn of(simd: S, sums: &[f32; CHUNK]) -> Product<S> {
        let halves = sums.as_chunks().0;
        Product {
            simd,
            sums: std::array::from_fn(|half| f32x16::simd_from(simd, halves[half])),
        }
    }

    #[inline(always)]
    pub(crate) fn add(&mut self, a: &[f32; CHUNK], b: &[f32; CHUNK]) {
        let pairs = a.as_chunks().0.iter().zip(b.as_chunks().0);
        for (sum, (a, b)) in self.sums.iter_mut().zip(pairs) {
            let (a, b) = (f32x16::simd_from(self.simd, *a), f32x16::simd_from(self.simd, *b));
            *sum = a.mul_add(b, *sum);
        }
    }

    /// Both rows are a multiple of 32 long.
    #[inline(always)]
    pub(crate) fn add_all(&mut self, a: &[f32], b: &[f32]) {
        for (a, b) in a.as_chunks().0.iter().zip(b.as_chunks().0) {
            self.add(a, b);
        }
    }

    /// The partial sums so far.
    #[inline(always)]
    fn partial(self) -> [f32; CHUNK] {
        let mut sums = [0.0; CHUNK];
        for (sums, half) in sums.as_chunks_mut().0.iter_mut().zip(self.sums) {
            *sums = half.into();
        }
        sums
    }

    /// The sum, with the products of what is left over of two rows.
    #[inline(always)]
    pub(crate) fn finish(self, a: impl IntoIterator<Item = f32>, b: impl IntoIterator<Item = f32>) -> f32 {
        let [low, high] = self.sums;
        let lanes: [f32; 16] = (low + high).into();
        lanes.iter().sum::<f32>() + a.into_iter().zip(b).map(|(a, b)| a * b).sum::<f32>()
    }
}

/// A block as long as these, for numbers that are written over.
#[inline(always)]
pub(crate) fn block_like<const LEN: usize>(_: &[[f32; LEN]]) -> [f32; LEN] {
    [0.0; LEN]
}

/// Sum of the products of two rows.
#[inline(always)]
pub(crate) fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let (mut product, (_, a_rest), (_, b_rest)) =
        (Product::new(simd), a.as_chunks::<CHUNK>(), b.as_chunks::<CHUNK>());
    product.add_all(a, b);
    product.finish(a_rest.iter().copied(), b_rest.iter().copied())
}

/// Sums of the products of a row with each of some rows, as long as it, that lie one behind the other: each as [`dot`] takes it.
#[inline(always)]
pub(crate) fn dots<S: Simd>(simd: S, a: &[f32], rows: &[f32], out: &mut [f32]) {
    let rest = a.as_chunks::<CHUNK>().1;
    let mut fours = rows.chunks_exact(4 * a.len());
    let (whole, last) = out.as_chunks_mut::<4>();
    for (rows, out) in (&mut fours).zip(whole) {
        let mut sums = [[0.0; CHUNK]; 4];
        for (sums, row) in sums.iter_mut().zip(rows.chunks_exact(a.len())) {
            let mut product = Product::new(simd);
            product.add_all(a, row);
            *sums = product.partial();
        }
        *out = totals(simd, &sums);
        for (out, row) in out.iter_mut().zip(rows.chunks_exact(a.len())) {
            let left_over = rest.iter().zip(&row[a.len() - rest.len()..]);
            *out += left_over.map(|(a, b)| a * b).sum::<f32>();
        }
    }
    for (row, out) in fours.remainder().chunks_exact(a.len()).zip(last) {
        *out = dot(simd, a, row);
    }
}

/// What [`Product::finish`] makes of four times partial sums.
#[inline(always)]
pub(crate) fn totals<S: Simd>(simd: S, sums: &[[f32; CHUNK]; 4]) -> [f32; 4] {
    let mut totals = f32x4::splat(simd, -0.0);
    for first in (0..CHUNK / 2).step_by(4) {
        for column in transposed(simd, sums, first, first + CHUNK / 2) {
            totals += column;
        }
    }
    totals.into()
}

/// The four sums from `low` on and those from `high` on, added, of four times sums: the first of all four, the second of all
/// four, and so on.
#[inline(always)]
pub(crate) fn transposed<S: Simd>(
    simd: S,
    sums: &[[f32; CHUNK]; 4],
    low: usize,
    high: usize,
) -> [f32x4<S>; 4] {
    let mut added = [f32x4::splat(simd, 0.0); 4];
    for (added, sums) in added.iter_mut().zip(sums) {
        *added =
            f32x4::from_slice(simd, &sums[low..low + 4]) + f32x4::from_slice(simd, &sums[high..high + 4]);
    }
    let [a, b, c, d] = added;
    let (ac, bd) = ((a.zip_low(c), a.zip_high(c)), (b.zip_low(d), b.zip_high(d)));
    [
        ac.0.zip_low(bd.0),
        ac.0.zip_high(bd.0),
        ac.1.zip_low(bd.1),
        ac.1.zip_high(bd.1),
    ]
}
