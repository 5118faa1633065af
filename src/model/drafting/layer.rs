//! The parts that layers of EAGLE-3 and DFlash are made of. `x` below is `[tokens, width]`.

use super::config::Numbers;
use crate::model::arithmetic::Mode;
use crate::model::attention::{KvCache, attend};
use crate::model::error::ModelError;
use crate::model::matrix::Matrix;
use crate::model::ops::{rms_norm, weighted_rms_norm};
use crate::model::rope::{Angles, Rope};
use crate::model::weights::Weights;
use std::ops::Range;

/// Which elements of a head turn together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairs {
    /// An element and the next one.
    Neighbours,
    /// Elements half a head apart.
    Halves,
}

/// Attention with keys and values of its own.
#[derive(Debug)]
pub struct Attention<'a> {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    eps: f32,
    scale: f32,
    pairs: Pairs,
    q: Matrix<'a>,
    k: Matrix<'a>,
    /// Absent where values are the raw keys, normed.
    v: Option<Matrix<'a>>,
    output: Matrix<'a>,
    q_norm: Option<Vec<f32>>,
    k_norm: Option<Vec<f32>>,
}

impl<'a> Attention<'a> {
    /// That of layer `l`, whose input is `input` wide. `needs_norms`: of queries and keys.
    pub fn load(
        weights: &'a dyn Weights,
        numbers: &Numbers,
        l: usize,
        input: usize,
        scale: f32,
        (pairs, needs_norms): (Pairs, bool),
    ) -> Result<Attention<'a>, ModelError> {
        let head_dim = numbers.head_dim;
        let (q_width, kv_width) = (numbers.heads * head_dim, numbers.kv_heads * head_dim);
        let name = |part: &str| format!("blk.{l}.{part}.weight");
        let norm = |part: &str| match needs_norms {
            true => weights.vector(&name(part), head_dim).map(Some),
            false => Ok(None),
        };
        if weights.tensor(&name("attn_sinks"))?.is_some() {
            return Err(numbers.error(format!(
                "layer {l} has attention sinks, which are not computed here"
            )));
        }
        Ok(Attention {
            heads: numbers.heads,
            kv_heads: numbers.kv_heads,
            head_dim,
            eps: numbers.eps,
            scale,
            pairs,
            q: weights.shaped(&name("attn_q"), &[q_width, input])?,
            k: weights.shaped(&name("attn_k"), &[kv_width, input])?,
            v: weights.shaped_if_present(&name("attn_v"), &[kv_width, input])?,
            output: weights.shaped(&name("attn_output"), &[numbers.width, q_width])?,
            q_norm: norm("attn_q_norm")?,
            k_norm: norm("attn_k_norm")?,
        })
    }

    fn turn(&self, rows: &mut [f32], heads: usize, angles: &Angles) {
        match self.pairs {
            Pairs::Neighbours => angles.rotate_neighbours(rows, heads, self.head_dim),
            Pairs::Halves => angles.rotate(rows, heads, self.head_dim),
        }
    }

    /// Appends the keys and values of `x`, whose positions follow those that are kept.
    pub fn remember(&self, cache: &mut KvCache, x: &[f32], angles: &Angles, mode: Mode) {
        let mut keys = self.k.mul(x, mode);
        let values = match &self.v {
            Some(v) => v.mul(x, mode),
            None => {
                let mut values = keys.clone();
                rms_norm(&mut values, self.head_dim, self.eps);
                values
            }
        };
        if let Some(norm) = &self.k_norm {
            weighted_rms_norm(&mut keys, norm, self.eps);
        }
        self.turn(&mut keys, self.kv_heads, angles);
        cache.append(&keys, &values);
    }

    /// What `x` finds among the keys and values that each of its rows sees, `[tokens, heads, head_dim]`.
    pub fn find(
        &self,
        cache: &KvCache,
        x: &[f32],
        angles: &Angles,
        mode: Mode,
        visible: impl Fn(usize) -> Range<usize> + Sync,
    ) -> Vec<f32> {
        let mut queries = self.q.mul(x, mode);
        if let Some(norm) = &self.q_norm {
            weighted_rms_norm(&mut queries, norm, self.eps);
        }
        self.turn(&mut queries, self.heads, angles);
        queries.iter_mut().for_each(|q| *q *= self.scale);
        attend(&queries, self.heads, cache, visible)
    }

    /// The projection of what was found.
    pub fn project(&self, found: &[f32], mode: Mode) -> Vec<f32> {
        self.output.mul(found, mode)
    }
}

/// `rms(x) * weight`, as a copy.
pub fn normed(x: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    let mut out = x.to_vec();
    weighted_rms_norm(&mut out, weight, eps);
    out
}

/// The rotary embedding, with its factors, if there are any.
pub fn rope(numbers: &Numbers) -> Rope {
    let rope = &numbers.rope;
    let mut factors = match &rope.factors {
        Some(factors) => factors.clone(),
        None => vec![1.0; rope.dims / 2],
    };
    factors.iter_mut().for_each(|factor| *factor *= rope.stretch);
    Rope::new(rope.base, rope.dims, Some(&factors))
}
