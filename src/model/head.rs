//! The drafter's two output heads.

use super::arithmetic::Mode;
use super::config::Config;
use super::error::ModelError;
use super::matrix::Matrix;
use super::ops::top;
use super::weights::Weights;
use crate::quant::Isa;
use crate::quant::product::dot;
use fearless_simd::dispatch;

/// How a drafter scores the vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Head {
    /// Every token.
    #[default]
    Dense,
    /// The tokens of the centroids that score best.
    Centroid,
}

impl Head {
    /// `dense` or `centroid`.
    pub fn name(self) -> &'static str {
        match self {
            Head::Dense => "dense",
            Head::Centroid => "centroid",
        }
    }
}

/// Names of the centroid head's tensors.
pub const CENTROIDS: &str = "masked_embd_centroids.weight";
/// See [`CENTROIDS`].
pub const ORDERING: &str = "masked_embd_ordering";

/// How many centroids are followed where nothing says so: that of the published drafters.
const DEFAULT_TOP_K: usize = 32;

/// The centroid head: the vocabulary falls into as many equal groups as there are centroids.
#[derive(Debug)]
pub struct Centroids<'a> {
    /// `[centroids, width]`.
    centroids: Matrix<'a>,
    /// Tokens, group behind group.
    ordering: Vec<u32>,
    top_k: usize,
}

impl<'a> Centroids<'a> {
    /// Loads the head of a drafter with `vocab` tokens.
    pub fn load(
        weights: &'a dyn Weights,
        config: &Config,
        vocab: usize,
    ) -> Result<Centroids<'a>, ModelError> {
        let (Some(centroids), Some(ordering)) = (weights.tensor(CENTROIDS)?, weights.tensor(ORDERING)?)
        else {
            return Err(ModelError::NoCentroids {
                path: weights.path().to_owned(),
            });
        };
        let count = centroids.shape.first().copied().unwrap_or(0);
        if count == 0 || !vocab.is_multiple_of(count) {
            return Err(config.error(format!("{vocab} tokens do not fall into {count} equal groups")));
        }
        let tokens = ordering.integers().unwrap_or_default();
        let ordering: Vec<u32> = tokens
            .iter()
            .filter_map(|&token| u32::try_from(token).ok())
            .filter(|&token| (token as usize) < vocab)
            .collect();
        if ordering.len() != vocab || tokens.len() != vocab {
            return Err(config.error(format!(
                "{ORDERING} does not name {vocab} tokens of the vocabulary"
            )));
        }
        Ok(Centroids {
            centroids: weights.shaped(CENTROIDS, &[count, config.width])?,
            ordering,
            top_k: config.centroid_top_k.unwrap_or(DEFAULT_TOP_K).clamp(1, count),
        })
    }

    /// Logits `[vocab]`: the tokens of the best groups have their own, all others one less than the lowest of those.
    pub(super) fn logits(&self, token_embd: &Matrix, state: &[f32], mode: Mode) -> Vec<f32> {
        let scores = self.centroids.mul(state, mode);
        let group = self.ordering.len() / scores.len();
        let isa = Isa::best();
        let chosen: Vec<(usize, f32)> = top(&scores, self.top_k)
            .into_iter()
            .flat_map(|c| &self.ordering[c * group..(c + 1) * group])
            .map(|&token| {
                let row = token_embd.row(token as usize);
                let logit = dispatch!(isa.level(), simd => dot(simd, &row, state));
                (token as usize, logit)
            })
            .collect();
        let lowest = chosen
            .iter()
            .map(|(_, logit)| *logit)
            .fold(f32::INFINITY, f32::min);
        let mut logits = vec![lowest - 1.0; self.ordering.len()];
        for (token, logit) in chosen {
            logits[token] = logit;
        }
        logits
    }
}
