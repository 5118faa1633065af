//! Keys and values by position, and attention over them.

use super::arithmetic::CacheType;
use super::lines::Aligned;
use super::ops::{add_scaled, softmax};
use crate::quant::product::dots;
use crate::quant::simd::has_sixteen_lanes;
use crate::quant::{Decoder, Isa};
use fearless_simd::{Simd, SimdBase, SimdFloat, SimdFrom, dispatch, f32x16};
use rayon::prelude::*;
use std::ops::Range;

/// The keys and values of one layer, by head and position. Sliding layers may drop the positions that no later token
/// sees.
#[derive(Debug, Clone)]
pub struct KvCache {
    head_dim: usize,
    ty: CacheType,
    /// Position of the first row that is kept.
    first: usize,
    heads: Vec<Head>,
}

/// A head's rows, `[positions, head_dim]`.
#[derive(Debug, Clone, Default)]
struct Head {
    keys: Vec<u8>,
    values: Vec<u8>,
}

impl KvCache {
    /// An empty cache.
    pub fn new(kv_heads: usize, head_dim: usize, ty: CacheType) -> KvCache {
        KvCache {
            head_dim,
            ty,
            first: 0,
            heads: vec![Head::default(); kv_heads],
        }
    }

    /// Makes room for positions that will be appended, `batch` at once, of which `keep` are kept (see
    /// [`KvCache::forget_before_last`]): growing bit by bit leaves as much memory unused as is used.
    pub fn reserve(&mut self, positions: usize, batch: usize, keep: usize) {
        let most = positions.min(keep.saturating_add(SPARE + batch));
        let bytes = most * self.row_bytes();
        for head in &mut self.heads {
            head.keys.reserve_exact(bytes);
            head.values.reserve_exact(bytes);
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
        let (heads, dim, ty) = (self.heads.len(), self.head_dim, self.ty);
        let rows = |rows: &[f32], head: usize, kept: &mut Vec<u8>| {
            for row in rows.chunks_exact(dim).skip(head).step_by(heads) {
                match ty {
                    CacheType::F32 => kept.extend(row.iter().flat_map(|v| v.to_le_bytes())),
                    CacheType::F16 => {
                        kept.extend(row.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()))
                    }
                }
            }
        };
        for (h, head) in self.heads.iter_mut().enumerate() {
            rows(keys, h, &mut head.keys);
            rows(values, h, &mut head.values);
        }
    }

    /// Bytes a row.
    fn row_bytes(&self) -> usize {
        self.head_dim * self.ty.ggml().block_bytes()
    }

    /// The positions that are kept.
    pub fn positions(&self) -> Range<usize> {
        let rows = self.heads.first().map_or(0, |head| head.keys.len()) / self.row_bytes();
        self.first..self.first + rows
    }

    /// Drops the positions from `len` on.
    pub fn truncate(&mut self, len: usize) {
        let end = len.saturating_sub(self.first) * self.row_bytes();
        for head in &mut self.heads {
            head.keys.truncate(end);
            head.values.truncate(end);
        }
    }

    /// Drops positions until `keep` are left, but only once there are [`SPARE`] more or twice as many: moving the rest costs
    /// time.
    pub fn forget_before_last(&mut self, keep: usize) {
        let count = self.positions().len();
        if count > keep.saturating_add(keep.min(SPARE)) {
            let gone = count - keep;
            let bytes = gone * self.row_bytes();
            self.first += gone;
            for head in &mut self.heads {
                head.keys.drain(..bytes);
                head.values.drain(..bytes);
            }
        }
    }

    /// All keys, `[kv_heads, positions, head_dim]`.
    pub fn keys(&self) -> Vec<f32> {
        self.decoded(|head| &head.keys)
    }

    /// All values, `[kv_heads, positions, head_dim]`.
    pub fn values(&self) -> Vec<f32> {
        self.decoded(|head| &head.values)
    }

    fn decoded(&self, rows: impl Fn(&Head) -> &Vec<u8>) -> Vec<f32> {
        let decode = |head| {
            let mut out = vec![0.0; self.positions().len() * self.head_dim];
            self.ty.ggml().decoder().decode(rows(head), &mut out);
            out
        };
        self.heads.iter().flat_map(decode).collect()
    }
}

/// Positions that are kept beyond those that are seen, so that the others move seldom.
const SPARE: usize = 256;
/// Tokens that share a pass over keys and values.
const TOKENS: usize = 16;
/// Positions that are decoded at once: 32 KiB for a head of 256.
const POSITIONS: usize = 32;

/// Attention of `queries` (`[tokens, heads, head_dim]`) over the positions that each token sees, without scaling:
/// Gemma 4 has that in its norms. Successive heads share a head of keys and values. The result is shaped as the
/// queries are, and that of a token does not depend on the others.
pub fn attend(
    queries: &[f32],
    heads: usize,
    cache: &KvCache,
    visible: impl Fn(usize) -> Range<usize> + Sync,
) -> Vec<f32> {
    let (dim, kept, kv_heads) = (cache.head_dim, cache.positions(), cache.kv_heads());
    let (group, tokens) = (heads / kv_heads, queries.len() / (heads * dim));
    let rounded: Vec<f32>;
    let queries = match cache.ty {
        CacheType::F32 => queries,
        CacheType::F16 => {
            rounded = queries.iter().map(|q| half::f16::from_f32(*q).to_f32()).collect();
            &rounded
        }
    };
    let rows: Vec<Range<usize>> = (0..tokens)
        .map(|token| {
            let seen = visible(token);
            let start = seen.start.max(kept.start);
            let end = seen.end.min(kept.end).max(start);
            start - kept.start..end - kept.start
        })
        .collect();
    // By head of keys and values: [kv_heads, tokens, group, dim].
    let mut by_head = vec![0.0; queries.len()];
    by_head
        .par_chunks_mut((tokens * group * dim).max(1))
        .enumerate()
        .flat_map(|(h, out)| {
            let some = out.par_chunks_mut(TOKENS * group * dim).enumerate();
            some.map(move |(i, out)| (h, i * TOKENS, out))
        })
        .for_each_init(Scratch::default, |scratch, (h, first, out)| {
            let head = &cache.heads[h];
            let count = out.len() / (group * dim);
            let work = Work {
                group,
                dim,
                rows: &rows[first..first + count],
                row_bytes: cache.row_bytes(),
                decoder: cache.ty.ggml().decoder(),
            };
            // The queries of these tokens and heads, side by side.
            scratch.queries.clear();
            for token in first..first + count {
                let at = (token * heads + h * group) * dim;
                scratch.queries.extend_from_slice(&queries[at..][..group * dim]);
            }
            dispatch!(Isa::best().level(), simd => work.attend(simd, head, scratch, out));
        });
    let mut out = vec![0.0; queries.len()];
    for (h, head) in by_head.chunks_exact((tokens * group * dim).max(1)).enumerate() {
        for (token, row) in head.chunks_exact(group * dim).enumerate() {
            out[(token * heads + h * group) * dim..][..group * dim].copy_from_slice(row);
        }
    }
    out
}

/// Buffers of a thread.
#[derive(Default)]
struct Scratch {
    queries: Vec<f32>,
    /// `[queries, positions]`, of which each query uses what it sees.
    scores: Vec<f32>,
    /// Keys or values of some positions.
    tile: Aligned,
}

/// The attention of some tokens over one head of keys and values.
struct Work<'a> {
    /// Queries a token.
    group: usize,
    dim: usize,
    /// The rows that each token sees.
    rows: &'a [Range<usize>],
    /// Bytes a row of keys or values.
    row_bytes: usize,
    decoder: Decoder,
}

impl Work<'_> {
    #[inline(always)]
    fn attend<S: Simd>(&self, simd: S, head: &Head, scratch: &mut Scratch, out: &mut [f32]) {
        let Scratch {
            queries,
            scores,
            tile,
        } = scratch;
        let start = self.rows.iter().map(|rows| rows.start).min().unwrap_or(0);
        let end = self.rows.iter().map(|rows| rows.end).max().unwrap_or(0);
        let all = start..end;
        let len = all.len();
        scores.clear();
        scores.resize(self.rows.len() * self.group * len, 0.0);
        // Inlined, and so compiled for the instruction set in use.
        self.each_tile(
            &head.keys,
            all.clone(),
            tile,
            #[inline(always)]
            |token, seen, keys| {
                let queries = queries.chunks_exact(self.dim).skip(token * self.group);
                let scores = scores.chunks_exact_mut(len).skip(token * self.group);
                for (query, scores) in queries.zip(scores).take(self.group) {
                    let scores = &mut scores[seen.start - all.start..][..seen.len()];
                    dots(simd, query, keys, scores);
                }
            },
        );
        for (query, scores) in scores.chunks_exact_mut(len.max(1)).enumerate() {
            let rows = &self.rows[query / self.group];
            shares(&mut scores[rows.start - all.start..rows.end - all.start]);
        }
        self.each_tile(
            &head.values,
            all.clone(),
            tile,
            #[inline(always)]
            |token, seen, values| {
                let out = &mut out[token * self.group * self.dim..][..self.group * self.dim];
                let (pairs, last) = out.split_at_mut(self.group / 2 * 2 * self.dim);
                let scores = |query: usize| {
                    let scores = &scores[(token * self.group + query) * len..][..len];
                    &scores[seen.start - all.start..][..seen.len()]
                };
                for (pair, out) in pairs.chunks_exact_mut(2 * self.dim).enumerate() {
                    let factors = [scores(2 * pair), scores(2 * pair + 1)];
                    add_scaled_rows(simd, out, factors, values);
                }
                if !last.is_empty() {
                    add_scaled_rows(simd, last, [scores(self.group - 1)], values);
                }
            },
        );
    }

    /// Decodes rows some at a time and shows every token those that it sees, in order of position.
    #[inline(always)]
    fn each_tile(
        &self,
        bytes: &[u8],
        all: Range<usize>,
        tile: &mut Aligned,
        mut show: impl FnMut(usize, Range<usize>, &[f32]),
    ) {
        if tile.len() != POSITIONS * self.dim {
            *tile = Aligned::zeros(POSITIONS * self.dim);
        }
        for start in all.clone().step_by(POSITIONS) {
            let positions = start..all.end.min(start + POSITIONS);
            let decoded = &mut tile[..positions.len() * self.dim];
            self.decoder.decode(
                &bytes[positions.start * self.row_bytes..positions.end * self.row_bytes],
                decoded,
            );
            for (token, rows) in self.rows.iter().enumerate() {
                let seen = rows.start.max(positions.start)..rows.end.min(positions.end);
                if seen.is_empty() {
                    continue;
                }
                let decoded = &decoded[(seen.start - start) * self.dim..(seen.end - start) * self.dim];
                show(token, seen, decoded);
            }
        }
    }
}

/// Makes scores the shares of positions in their mean.
fn shares(scores: &mut [f32]) {
    /// Below it a share changes no mean, but its products would be subnormal numbers, which take Intel's processors many times
    /// as long.
    const LEAST: f32 = 1e-30;
    softmax(scores);
    for share in scores.iter_mut().filter(|share| **share < LEAST) {
        *share = 0.0;
    }
}

/// `out += factor * row` for rows that lie one behind the other, in their order, with the factors of each of `Q` outputs.
#[inline(always)]
fn add_scaled_rows<S: Simd, const Q: usize>(simd: S, out: &mut [f32], factors: [&[f32]; Q], rows: &[f32]) {
    let (width, mut done) = (out.len() / Q, 0);
    // As many vectors as stay in registers while the rows go by, so that none waits for its last sum.
    if has_sixteen_lanes(simd) {
        done += add_columns::<S, 8, Q>(simd, out, factors, rows, done);
    }
    if has_sixteen_lanes(simd) || Q == 1 {
        done += add_columns::<S, 4, Q>(simd, out, factors, rows, done);
    }
    done += add_columns::<S, 2, Q>(simd, out, factors, rows, done);
    for (out, factors) in out.chunks_exact_mut(width).zip(factors) {
        for (factor, row) in factors.iter().zip(rows.chunks_exact(width)) {
            add_scaled(&mut out[done..], *factor, &row[done..]);
        }
    }
}

/// [`add_scaled_rows`] for the columns from `first` on, `V` times sixteen at once. Gives the number of columns that were taken.
#[inline(always)]
fn add_columns<S: Simd, const V: usize, const Q: usize>(
    simd: S,
    out: &mut [f32],
    factors: [&[f32]; Q],
    rows: &[f32],
    first: usize,
) -> usize {
    let (width, columns) = (out.len() / Q, V * 16);
    let blocks = (width - first) / columns;
    for first in (first..).step_by(columns).take(blocks) {
        let mut held = [[f32x16::splat(simd, 0.0); V]; Q];
        for (held, out) in held.iter_mut().zip(out.chunks_exact(width)) {
            for (held, out) in held.iter_mut().zip(out[first..].as_chunks().0) {
                *held = f32x16::simd_from(simd, *out);
            }
        }
        for (position, row) in rows.chunks_exact(width).enumerate() {
            let row = row[first..][..columns].as_chunks().0;
            let mut values = [f32x16::splat(simd, 0.0); V];
            for (value, row) in values.iter_mut().zip(row) {
                *value = f32x16::simd_from(simd, *row);
            }
            for (held, factors) in held.iter_mut().zip(factors) {
                let factor = f32x16::splat(simd, factors[position]);
                for (held, value) in held.iter_mut().zip(values) {
                    *held = value.mul_add(factor, *held);
                }
            }
        }
        for (held, out) in held.iter().zip(out.chunks_exact_mut(width)) {
            for (held, out) in held.iter().zip(out[first..].as_chunks_mut().0) {
                *out = (*held).into();
            }
        }
    }
    blocks * columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_too_small_to_count_are_none_and_nan_stays() {
        let mut scores = [0.0, -68.0, -70.0, -90.0];
        shares(&mut scores);
        assert!(scores[1] > 0.0);
        assert_eq!(scores[2..], [0.0, 0.0]);
        let mut scores = [0.0, f32::NAN];
        shares(&mut scores);
        assert!(scores[1].is_nan());
    }

    #[test]
    fn equal_keys_average_the_values_that_are_seen() {
        let mut cache = KvCache::new(1, 2, CacheType::F32);
        cache.append(&[1.0; 8], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 100.0, 100.0]);
        // Two heads share the one of the cache; both see positions 1 and 2.
        let out = attend(&[1.0, 0.0, 0.0, 1.0], 2, &cache, |_| 1..3);
        assert_eq!(out, [3.0, 4.0, 3.0, 4.0]);
    }

    #[test]
    fn positions_survive_forgetting_and_truncation() {
        let mut cache = KvCache::new(2, 1, CacheType::F16);
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

    #[test]
    fn blocks_of_positions_and_tokens_give_what_the_formula_gives() {
        let (heads, kv_heads, dim, positions, tokens, window) = (6, 2, 64, 150, 37, 50);
        let numbers = |count: usize, seed: usize| -> Vec<f32> {
            let number = |i: usize| ((i * 7919 + seed * 31) % 211) as f32 / 400.0 - 0.25;
            (0..count).map(number).collect()
        };
        let keys = numbers(positions * kv_heads * dim, 1);
        let values = numbers(positions * kv_heads * dim, 2);
        let queries = numbers(tokens * heads * dim, 3);
        let sees = |token: usize| {
            let end = positions - tokens + token + 1;
            end.saturating_sub(window)..end
        };
        for (ty, tolerance) in [(CacheType::F32, 1e-5), (CacheType::F16, 1e-3)] {
            let mut cache = KvCache::new(kv_heads, dim, ty);
            cache.append(&keys, &values);
            let out = attend(&queries, heads, &cache, sees);
            for token in 0..tokens {
                let rows = token * heads * dim..(token + 1) * heads * dim;
                let alone = attend(&queries[rows.clone()], heads, &cache, |_| sees(token));
                assert_eq!(alone, out[rows]);
                for head in 0..heads {
                    let at = |position: usize| (position * kv_heads + head * kv_heads / heads) * dim;
                    let query = &queries[(token * heads + head) * dim..][..dim];
                    let score = |position: usize| -> f64 {
                        let pairs = query.iter().zip(&keys[at(position)..]);
                        pairs
                            .map(|(q, k)| f64::from(*q) * f64::from(*k))
                            .sum::<f64>()
                            .exp()
                    };
                    let total: f64 = sees(token).map(score).sum();
                    for d in 0..dim {
                        let mean: f64 = sees(token)
                            .map(|position| score(position) / total * f64::from(values[at(position) + d]))
                            .sum();
                        let found = f64::from(out[(token * heads + head) * dim + d]);
                        assert!((found - mean).abs() < tolerance, "{ty:?}: {found} for {mean}");
                    }
                }
            }
        }
    }
}
