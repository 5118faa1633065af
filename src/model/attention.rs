//! Keys and values by position, and attention over them.

use super::ops::{add_scaled, softmax};
use crate::quant::Isa;
use crate::quant::product::dot;
use fearless_simd::{Simd, dispatch};
use rayon::prelude::*;
use std::ops::Range;

/// The keys and values of one layer, by head and position. Sliding layers may drop the positions that no later token
/// sees.
#[derive(Debug, Clone)]
pub struct KvCache {
    head_dim: usize,
    /// Position of the first row that is kept.
    first: usize,
    /// A head's rows, `[positions, head_dim]`.
    heads: Vec<Head>,
}

#[derive(Debug, Clone, Default)]
struct Head {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl KvCache {
    /// An empty cache.
    pub fn new(kv_heads: usize, head_dim: usize) -> KvCache {
        KvCache {
            head_dim,
            first: 0,
            heads: vec![Head::default(); kv_heads],
        }
    }

    /// Number of heads.
    pub fn kv_heads(&self) -> usize {
        self.heads.len()
    }

    /// Elements a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Appends keys and values, both `[tokens, kv_heads, head_dim]`.
    pub fn append(&mut self, keys: &[f32], values: &[f32]) {
        let row = self.heads.len() * self.head_dim;
        for (keys, values) in keys.chunks_exact(row).zip(values.chunks_exact(row)) {
            let keys = keys.chunks_exact(self.head_dim);
            let values = values.chunks_exact(self.head_dim);
            for (head, (key, value)) in self.heads.iter_mut().zip(keys.zip(values)) {
                head.keys.extend_from_slice(key);
                head.values.extend_from_slice(value);
            }
        }
    }

    /// The positions that are kept.
    pub fn positions(&self) -> Range<usize> {
        let rows = self.heads.first().map_or(0, |head| head.keys.len()) / self.head_dim;
        self.first..self.first + rows
    }

    /// Drops the positions from `len` on.
    pub fn truncate(&mut self, len: usize) {
        let end = len.saturating_sub(self.first) * self.head_dim;
        for head in &mut self.heads {
            head.keys.truncate(end);
            head.values.truncate(end);
        }
    }

    /// Drops positions until `keep` are left, but only once there are twice as many: moving the rest costs time.
    pub fn forget_before_last(&mut self, keep: usize) {
        let count = self.positions().len();
        if count > keep.saturating_mul(2) {
            let gone = count - keep;
            self.first += gone;
            for head in &mut self.heads {
                head.keys.drain(..gone * self.head_dim);
                head.values.drain(..gone * self.head_dim);
            }
        }
    }

    /// All keys, `[kv_heads, positions, head_dim]`.
    pub fn keys(&self) -> Vec<f32> {
        self.heads.iter().flat_map(|head| &head.keys).copied().collect()
    }

    /// All values, `[kv_heads, positions, head_dim]`.
    pub fn values(&self) -> Vec<f32> {
        self.heads.iter().flat_map(|head| &head.values).copied().collect()
    }
}

/// Attention of `queries` (`[tokens, heads, head_dim]`) over the positions that each token sees, without scaling:
/// Gemma 4 has that in its norms. Successive heads share a head of keys and values. The result is shaped as the
/// queries are.
pub fn attend(
    queries: &[f32],
    heads: usize,
    cache: &KvCache,
    visible: impl Fn(usize) -> Range<usize> + Sync,
) -> Vec<f32> {
    let (dim, kept) = (cache.head_dim, cache.positions());
    let group = heads / cache.kv_heads();
    let isa = Isa::best();
    let mut out = vec![0.0; queries.len()];
    out.par_chunks_mut(dim)
        .zip(queries.par_chunks(dim))
        .enumerate()
        .for_each_init(Vec::new, |scores, (i, (out, query))| {
            let seen = visible(i / heads);
            let head = &cache.heads[i % heads / group];
            let seen = seen.start.max(kept.start) - kept.start..seen.end.min(kept.end) - kept.start;
            let rows = seen.start * dim..seen.end * dim;
            let (keys, values) = (&head.keys[rows.clone()], &head.values[rows]);
            dispatch!(isa.level(), simd => attend_one(simd, query, keys, values, scores, out));
        });
    out
}

/// Attention of one query over keys and values, both `[positions, query.len()]`. `scores` is a buffer.
#[inline(always)]
fn attend_one<S: Simd>(
    simd: S,
    query: &[f32],
    keys: &[f32],
    values: &[f32],
    scores: &mut Vec<f32>,
    out: &mut [f32],
) {
    scores.clear();
    for key in keys.chunks_exact(query.len()) {
        scores.push(dot(simd, query, key));
    }
    softmax(scores);
    for (p, value) in scores.iter().zip(values.chunks_exact(query.len())) {
        add_scaled(out, *p, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_average_the_values_that_are_seen() {
        let mut cache = KvCache::new(1, 2);
        cache.append(&[1.0; 8], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 100.0, 100.0]);
        // Two heads share the one of the cache; both see positions 1 and 2.
        let out = attend(&[1.0, 0.0, 0.0, 1.0], 2, &cache, |_| 1..3);
        assert_eq!(out, [3.0, 4.0, 3.0, 4.0]);
    }

    #[test]
    fn positions_survive_forgetting_and_truncation() {
        let mut cache = KvCache::new(2, 1);
        for p in 0..7 {
            cache.append(&[p as f32; 2], &[p as f32; 2]);
            cache.forget_before_last(3);
        }
        assert_eq!(cache.positions(), 4..7);
        cache.truncate(6);
        assert_eq!(cache.positions(), 4..6);
        assert_eq!(cache.keys(), [4.0, 5.0, 4.0, 5.0]);
        assert_eq!(attend(&[0.0; 2], 2, &cache, |_| 4..6), [4.5, 4.5]);
    }
}
