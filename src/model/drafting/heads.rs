//! What stands behind DFlash's output head: DSpark's Markov correction and DFlash2's selector. Both let the token at one
//! place weigh in at the next.

use super::config::{Numbers, SelectorConfig};
use super::vocabulary::spread;
use crate::model::arithmetic::Mode;
use crate::model::error::ModelError;
use crate::model::matrix::Matrix;
use crate::model::ops::{softmax, top};
use crate::model::weights::Weights;

/// DSpark's Markov head: a correction of rank `R` of the scores by the token before, and how sure of that it is.
#[derive(Debug)]
pub struct Markov<'a> {
    /// `[vocab, R]`.
    w1: Matrix<'a>,
    /// `[scored tokens, R]`.
    w2: Matrix<'a>,
    confidence: Option<(Vec<f32>, f32)>,
}

impl<'a> Markov<'a> {
    /// The head, if there is one. `scored` is the number of tokens that are scored.
    pub fn load(
        weights: &'a dyn Weights,
        numbers: &Numbers,
        vocab: usize,
        scored: usize,
    ) -> Result<Option<Markov<'a>>, ModelError> {
        const W1: &str = "markov_w1.weight";
        let Some(w1) = weights.tensor(W1)? else {
            return Ok(None);
        };
        let rank = w1.shape.last().copied().unwrap_or(0);
        if rank == 0 {
            return Err(numbers.error(format!("{W1} has no columns")));
        }
        let projection = weights.shaped_if_present("conf_proj.weight", &[1, numbers.width + rank])?;
        let bias = weights.shaped_if_present("conf_proj.bias", &[1])?;
        let bias = bias.map_or(0.0, |bias| bias.decode().iter().sum());
        Ok(Some(Markov {
            w1: weights.shaped(W1, &[vocab, rank])?,
            w2: weights.shaped("markov_w2.weight", &[scored, rank])?,
            confidence: projection.map(|projection| (projection.decode(), bias)),
        }))
    }

    /// What is kept of the token before: `w1[token]`.
    pub fn state(&self, token: u32) -> Vec<f32> {
        self.w1.row((token as usize).min(self.w1.rows() - 1))
    }

    /// What is added to the scores: `w2 · state`.
    pub(super) fn bias(&self, state: &[f32], mode: Mode) -> Vec<f32> {
        self.w2.mul(state, mode)
    }

    /// How sure it is of the place's token: `sigmoid(projection · [hidden; state] + bias)`.
    pub fn confidence(&self, hidden: &[f32], state: &[f32]) -> Option<f32> {
        let (projection, bias) = self.confidence.as_ref()?;
        let products = projection
            .iter()
            .zip(hidden.iter().chain(state))
            .map(|(w, x)| w * x);
        Some(1.0 / (1.0 + (-(products.sum::<f32>() + bias)).exp()))
    }
}

/// DFlash2's selector: of the best tokens at each place it takes the one that goes best with the token before.
#[derive(Debug)]
pub struct Selector<'a> {
    top_k: usize,
    /// `[vocab, rank]`.
    predecessor: Matrix<'a>,
    /// `[vocab, rank]`.
    successor: Matrix<'a>,
    /// `[rank, width]`.
    hidden: Matrix<'a>,
}

impl<'a> Selector<'a> {
    /// Loads the codebooks.
    pub fn load(
        weights: &'a dyn Weights,
        numbers: &Numbers,
        config: SelectorConfig,
        vocab: usize,
    ) -> Result<Selector<'a>, ModelError> {
        let codebook = [vocab, config.rank];
        Ok(Selector {
            top_k: config.top_k.min(vocab),
            predecessor: weights.shaped("selector_predecessor.weight", &codebook)?,
            successor: weights.shaped("selector_successor.weight", &codebook)?,
            hidden: weights.shaped("selector_hidden.weight", &[config.rank, numbers.width])?,
        })
    }

    /// The scores of the candidates, `successor · (predecessor[before] * gate(hidden)) + score`, and how likely the best
    /// is among them. Of the others no score is known.
    pub(super) fn select(&self, scores: &[f32], hidden: &[f32], before: u32, mode: Mode) -> (Vec<f32>, f32) {
        let gate = self.hidden.mul(hidden, mode);
        let before = self
            .predecessor
            .row((before as usize).min(self.predecessor.rows() - 1));
        let candidates: Vec<(u32, f32)> = top(scores, self.top_k)
            .into_iter()
            .map(|token| {
                let successor = self.successor.row(token);
                let products = successor.iter().zip(&before).zip(&gate);
                let pair: f32 = products.map(|((s, p), g)| s * (p * g)).sum();
                (token as u32, pair + scores[token])
            })
            .collect();
        let mut shares: Vec<f32> = candidates.iter().map(|(_, score)| *score).collect();
        softmax(&mut shares);
        let best = shares.iter().copied().fold(0.0, f32::max);
        (spread(scores.len(), candidates.into_iter()), best)
    }
}
