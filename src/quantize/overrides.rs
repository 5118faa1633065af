//! Whether the types that a user gives by name reach any tensor, and those that are meant.

use super::QuantizeError;
use crate::gguf::Gguf;
use crate::quant::recipe::{self, Override, Reading, Tensor};
use crate::text::escape;

/// Names that are shown where none fits.
const SHOWN: usize = 3;

/// An error for a pattern that no name fits; warnings for one that reaches no weight, or that `llama-quantize` reads
/// otherwise.
pub(super) fn check(
    gguf: &Gguf,
    tensors: &[Tensor],
    overrides: &[Override],
) -> Result<Vec<String>, QuantizeError> {
    let names = || tensors.iter().map(|tensor| tensor.name);
    let mut warnings = Vec::new();
    for given in overrides {
        let (pattern, reading) = (&given.pattern, given.pattern.among(names()));
        let text = escape(pattern.as_str().as_bytes());
        let fitting: Vec<&Tensor> = tensors
            .iter()
            .filter(|tensor| reading.matches(tensor.name))
            .collect();
        if fitting.is_empty() {
            return Err(QuantizeError::TensorType {
                path: gguf.path().to_owned(),
                pattern: text,
                nearest: nearest(pattern.as_str(), names()).join(", "),
            });
        }
        let weights =
            |tensors: &[&Tensor]| tensors.iter().filter(|tensor| recipe::may_change(tensor)).count();
        let reached = weights(&fitting);
        if reached == 0 {
            warnings.push(format!(
                "--tensor-type {text} reaches only tensors that are never quantized, such as {}",
                escape(fitting[0].name.as_bytes())
            ));
        }
        let theirs = tensors
            .iter()
            .filter(|tensor| pattern.is_found_in(tensor.name))
            .collect::<Vec<_>>();
        let theirs = weights(&theirs);
        if matches!(reading, Reading::Glob(_)) && theirs > 0 && theirs != reached {
            warnings.push(format!(
                "--tensor-type {text} is read as a glob, for {reached} tensors; as a regular expression llama-quantize \
                 would find it in {theirs}"
            ));
        }
    }
    Ok(warnings)
}

/// The names that are most like a pattern, the most alike first.
fn nearest<'a>(pattern: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let is_wild = |c: char| !(c.is_alphanumeric() || "._-".contains(c));
    let plain = pattern.to_lowercase().replace(is_wild, "");
    // A pattern may stand for a whole name, or for a part such as attn_q.
    let likeness = |name: &str| {
        let parts = name.split('.').chain([name, name.trim_end_matches(".weight")]);
        parts
            .map(|part| strsim::jaro_winkler(part, &plain))
            .fold(0.0, f64::max)
    };
    let mut names: Vec<(f64, &str)> = names.map(|name| (likeness(name), name)).collect();
    // Stable, so that of equals the first in the file's order comes first.
    names.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let shown = names.into_iter().take(SHOWN);
    shown.map(|(_, name)| escape(name.as_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_are_those_that_were_meant() {
        let names = [
            "token_embd.weight",
            "blk.0.attn_q.weight",
            "blk.0.ffn_up.weight",
            "blk.1.ffn_up.weight",
        ];
        let nearest = |pattern| nearest(pattern, names.into_iter());
        assert_eq!(nearest("atn_q")[0], names[1]);
        assert_eq!(nearest("*token_embed*")[0], names[0]);
        assert_eq!(nearest("blk.1.fnn_up.weight")[0], names[3]);
        assert_eq!(nearest("fn_up")[..2], names[2..]);
    }
}
