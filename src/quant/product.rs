//! Sums of products, taken in one order whatever the instruction set and however the numbers come.

use fearless_simd::{Simd, SimdFloat, SimdFrom, f32x16};

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
