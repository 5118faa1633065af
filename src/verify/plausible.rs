//! What a drafter's file shows by itself and beside its target, before anything is computed.

use super::words::{all_zeros, code, list, rows};
use crate::arch::LayerKind;
use crate::finding::Finding;
use crate::gguf::Gguf;
use crate::model::{Config, D2T, DrafterConfig, Matrix, ModelError, Weights};
use crate::text::escape;
use rayon::prelude::*;
use std::collections::HashSet;

/// Numbers in which drafter and target disagree, in words. Where `fatal` is set, the drafter cannot be run at all.
pub struct Mismatch {
    /// What differs.
    pub message: String,
    /// Whether the shapes rule out a run.
    pub fatal: bool,
}

/// What speaks against drafter and target being a pair.
pub fn mismatches(drafter: &Gguf, ours: &DrafterConfig, target: &Gguf, theirs: &Config) -> Vec<Mismatch> {
    let fatal = |message| Mismatch { message, fatal: true };
    let mut found: Vec<Mismatch> = match ours {
        DrafterConfig::Assistant(ours) => of_assistant(drafter, ours, target, theirs),
        DrafterConfig::Eagle3(ours) => ours.mismatches(theirs).into_iter().map(fatal).collect(),
        DrafterConfig::DFlash(ours) => ours.mismatches(theirs).into_iter().map(fatal).collect(),
    };
    let tokens = "tokenizer.ggml.tokens";
    let rows = ours
        .assistant()
        .map(|_| (vocabulary(drafter), vocabulary(target)));
    if rows.is_none_or(|(ours, theirs)| ours == theirs)
        && drafter.metadata().get(tokens) != target.metadata().get(tokens)
    {
        let message = "its vocabulary has other tokens than the target's".to_owned();
        found.push(Mismatch {
            message,
            fatal: false,
        });
    }
    found
}

/// The numbers in which an assistant and its target disagree.
fn of_assistant(drafter: &Gguf, ours: &Config, target: &Gguf, theirs: &Config) -> Vec<Mismatch> {
    let mut found = Vec::new();
    let mut differ = |what: &str, ours: usize, theirs: usize, fatal: bool| {
        if ours != theirs {
            let message = format!("its {what} is {ours}, the target's {theirs}");
            found.push(Mismatch { message, fatal });
        }
    };
    differ("backbone width", ours.backbone.unwrap_or(0), theirs.width, true);
    differ("vocabulary size", vocabulary(drafter), vocabulary(target), true);
    differ("sliding window", ours.window, theirs.window, false);
    for kind in [LayerKind::Sliding, LayerKind::Full] {
        let own = ours.layers.iter().find(|layer| layer.kind == kind);
        let shared = theirs.shared_layer(kind).map(|l| theirs.layers[l]);
        if let (Some(own), Some(shared)) = (own, shared) {
            let word = kind.name();
            let heads_fit = own.heads.is_multiple_of(shared.kv_heads);
            differ(
                &format!("head dim of {word} layers"),
                own.head_dim,
                shared.head_dim,
                true,
            );
            differ(
                &format!("number of key and value heads of {word} layers"),
                own.kv_heads,
                shared.kv_heads,
                !heads_fit,
            );
        }
    }
    found
}

/// Rows of the embedding.
fn vocabulary(gguf: &Gguf) -> usize {
    let info = gguf.info("token_embd.weight");
    info.and_then(|info| info.dims.get(1))
        .map_or(0, |&rows| rows as usize)
}

/// What is odd about a drafter's numbers and lists without a source to compare them with.
pub fn odd_settings(drafter: &Gguf, config: &DrafterConfig) -> Result<Vec<Finding>, ModelError> {
    let mut findings = Vec::new();
    let key = "dflash.embedding_scale";
    if matches!(config, DrafterConfig::DFlash(_)) && !drafter.metadata().contains(key) {
        let message = format!("{key} is missing: Gemma 4's embeddings are scaled by the root of the width");
        let finding = Finding::error(code::FILE, message);
        findings.push(
            finding
                .hint("`gguf-conv migrate` adds it")
                .about(Some(key.to_owned())),
        );
    }
    if let Some(tokens) = Weights::tensor(drafter, D2T)?.and_then(|tensor| tensor.integers()) {
        let mut seen = HashSet::new();
        if let Some(twice) = tokens.iter().find(|token| !seen.insert(**token)) {
            let message = format!(
                "{D2T} names token {twice} more than once, as where the number of the row was not added to the source's"
            );
            findings.push(Finding::error(code::FILE, message).about(Some(D2T.to_owned())));
        }
    }
    Ok(findings)
}

/// What is odd about a drafter's tensors without a source to compare them with.
pub fn odd_tensors(drafter: &Gguf, target: &dyn Weights) -> Result<Vec<Finding>, ModelError> {
    let mut findings = Vec::new();
    for info in drafter.tensors() {
        let name = escape(&info.name);
        let Some(matrix) = Weights::tensor(drafter, &name)?.and_then(Matrix::new) else {
            continue;
        };
        let (mut zero, broken) = odd_rows(&matrix);
        if name == "token_embd.weight"
            && !zero.is_empty()
            && let Some(theirs) = target.tensor(&name)?.and_then(Matrix::new)
        {
            // A token that was never trained has no row in the target either.
            zero.retain(|&row| row >= theirs.rows() || theirs.row(row).iter().any(|v| *v != 0.0));
        }
        if !zero.is_empty() {
            findings.push(Finding::error(code::FILE, all_zeros(&name, &zero, matrix.rows())));
        }
        if !broken.is_empty() {
            let verb = if broken.len() == 1 { "holds" } else { "hold" };
            let message = format!("{} of {name} {verb} NaN or infinity", rows(&broken));
            findings.push(Finding::error(code::FILE, message));
        }
    }
    Ok(findings)
}

/// Rows that are all zeros, and rows that hold a number that is none.
fn odd_rows(matrix: &Matrix) -> (Vec<usize>, Vec<usize>) {
    let kinds: Vec<(bool, bool)> = (0..matrix.rows())
        .into_par_iter()
        .map(|row| {
            let row = matrix.row(row);
            let is_zero = row.iter().all(|v| *v == 0.0);
            (is_zero, row.iter().any(|v| !v.is_finite()))
        })
        .collect();
    let positions = |is: fn(&(bool, bool)) -> bool| (0..kinds.len()).filter(|&row| is(&kinds[row])).collect();
    (positions(|kind| kind.0), positions(|kind| kind.1))
}

/// Layers whose closing scale is exactly 1 beside others whose scale is not, as if it had been left out.
pub fn odd_scales(drafter: &dyn Weights, layers: usize) -> Result<Vec<Finding>, ModelError> {
    let mut scales = Vec::new();
    for l in 0..layers {
        let name = format!("blk.{l}.layer_output_scale.weight");
        if let Some(matrix) = drafter.shaped_if_present(&name, &[1])? {
            scales.extend(matrix.decode().first().map(|scale| (name, *scale)));
        }
    }
    let (ones, others): (Vec<_>, Vec<_>) = scales.into_iter().partition(|(_, scale)| *scale == 1.0);
    if others.is_empty() {
        return Ok(Vec::new());
    }
    let others: Vec<String> = others.iter().map(|(_, scale)| format!("{scale:.4}")).collect();
    let message = |name: &str| format!("{name} is exactly 1, the other layers have {}", list(&others));
    Ok(ones
        .iter()
        .map(|(name, _)| Finding::error(code::FILE, message(name)))
        .collect())
}

/// The frequency factors of the drafter against those of the target, by which the keys were turned.
pub fn odd_rope_freqs(
    drafter: &dyn Weights,
    config: &Config,
    target: &dyn Weights,
) -> Result<Option<Finding>, ModelError> {
    const NAME: &str = "rope_freqs.weight";
    let pairs = [config.rope_full.dims / 2];
    let (Some(ours), Some(theirs)) = (
        drafter.shaped_if_present(NAME, &pairs)?,
        target.shaped_if_present(NAME, &pairs)?,
    ) else {
        return Ok(None);
    };
    let (ours, theirs) = (ours.decode(), theirs.decode());
    let Some(first) = ours.iter().zip(&theirs).position(|(a, b)| a != b) else {
        return Ok(None);
    };
    let turning = |factors: &[f32]| factors.iter().filter(|f| **f == 1.0).count();
    let message = if turning(&ours) == ours.len() {
        format!(
            "{NAME} has no unrotated part: all of its {} factors are 1, in the target {} are",
            ours.len(),
            turning(&theirs)
        )
    } else {
        format!(
            "{NAME} differs from the target's: factor {first} is {}, there {}",
            ours[first], theirs[first]
        )
    };
    Ok(Some(Finding::error(code::FILE, message)))
}
