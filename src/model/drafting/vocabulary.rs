//! How EAGLE-3 and DFlash read and score tokens: with tables of their own or the target's, and perhaps a part of the
//! vocabulary only.

use super::config::Numbers;
use crate::model::arithmetic::{Compute, Pass};
use crate::model::error::ModelError;
use crate::model::matrix::Matrix;
use crate::model::target::Target;
use crate::model::weights::Weights;

/// The token that each row of a reduced vocabulary stands for.
pub const D2T: &str = "d2t";

/// Embeddings and output head.
#[derive(Debug)]
pub struct Vocabulary<'a> {
    /// The target's where it has none.
    embedding: Option<Matrix<'a>>,
    output: Output<'a>,
    /// Of a reduced vocabulary.
    tokens: Option<Vec<u32>>,
    vocab: usize,
    compute: Compute,
}

#[derive(Debug)]
enum Output<'a> {
    Own(Matrix<'a>),
    OfTarget,
}

impl<'a> Vocabulary<'a> {
    /// Loads the tables. `is_tied`: a drafter with embeddings and without a head scores by these.
    pub fn load(
        weights: &'a dyn Weights,
        numbers: &Numbers,
        target: &Target,
        is_tied: bool,
    ) -> Result<Vocabulary<'a>, ModelError> {
        let (vocab, width) = (target.vocab(), numbers.width);
        let embedding = weights.shaped_if_present("token_embd.weight", &[vocab, width])?;
        let tokens = reduced(weights, numbers, vocab)?;
        let rows = tokens.as_ref().map_or(vocab, Vec::len);
        let own = weights.shaped_if_present("output.weight", &[rows, width])?;
        let output = own.or(embedding.filter(|_| is_tied && rows == vocab));
        if (embedding.is_none() || output.is_none()) && width != target.config().width {
            return Err(numbers.error(format!(
                "it takes embeddings or output head of the target, and is {width} wide, the target {}",
                target.config().width
            )));
        }
        if output.is_none() && rows != vocab {
            return Err(numbers.error(format!(
                "{rows} of {vocab} tokens are scored, and there is no output.weight for them"
            )));
        }
        Ok(Vocabulary {
            embedding,
            output: output.map_or(Output::OfTarget, Output::Own),
            tokens,
            vocab,
            compute: numbers.compute,
        })
    }

    /// Embeddings of tokens times `scale`, `[tokens, width]`.
    pub fn embed(&self, target: &Target, tokens: impl Iterator<Item = u32>, scale: f32) -> Vec<f32> {
        let embedding = self.embedding.unwrap_or(target.embedding());
        let mut rows: Vec<f32> = tokens
            .map(|token| (token as usize).min(embedding.rows() - 1))
            .flat_map(|token| embedding.row(token))
            .collect();
        if scale != 1.0 {
            rows.iter_mut().for_each(|v| *v *= scale);
        }
        rows
    }

    /// Number of tokens that are scored.
    pub fn scored(&self) -> usize {
        self.tokens.as_ref().map_or(self.vocab, Vec::len)
    }

    /// Scores of these, for each row of `x` (`[rows, width]`).
    pub fn score(&self, target: &Target, x: &[f32], pass: Pass) -> Vec<f32> {
        let output = match &self.output {
            Output::Own(output) => *output,
            Output::OfTarget => target.output(),
        };
        output.mul(x, self.compute.mode(pass))
    }

    /// Scores of the whole vocabulary: tokens that are not scored, to which llama.cpp gives minus infinity, have one
    /// less than the lowest, so that figures stay numbers.
    pub fn spread(&self, scores: &[f32]) -> Vec<f32> {
        match &self.tokens {
            None => scores.to_vec(),
            Some(tokens) => {
                let some = tokens.iter().zip(scores).map(|(token, score)| (*token, *score));
                spread(self.vocab, some)
            }
        }
    }
}

/// Scores of `vocab` tokens of which some have one; the others have one less than the lowest.
pub fn spread(vocab: usize, scores: impl Iterator<Item = (u32, f32)> + Clone) -> Vec<f32> {
    let lowest = scores
        .clone()
        .map(|(_, score)| score)
        .fold(f32::INFINITY, f32::min);
    let mut all = vec![lowest - 1.0; vocab];
    for (token, score) in scores {
        if let Some(slot) = all.get_mut(token as usize) {
            *slot = score;
        }
    }
    all
}

/// The tokens of a reduced vocabulary, if it is one. Each must be one of the target's and stand there once.
fn reduced(weights: &dyn Weights, numbers: &Numbers, vocab: usize) -> Result<Option<Vec<u32>>, ModelError> {
    let Some(tensor) = weights.tensor(D2T)? else {
        return Ok(None);
    };
    let stated = tensor.integers().unwrap_or_default();
    let tokens: Vec<u32> = stated
        .iter()
        .filter_map(|&token| u32::try_from(token).ok())
        .filter(|&token| (token as usize) < vocab)
        .collect();
    match tokens.is_empty() || tokens.len() != stated.len() {
        true => Err(numbers.error(format!("{D2T} does not name tokens of the vocabulary of {vocab}"))),
        false => Ok(Some(tokens)),
    }
}
