//! Whether the types that a user gives by name reach any tensor, and those that are meant.

use super::QuantizeError;
use crate::gguf::Gguf;
use crate::quant::recipe::{self, Override, Reading, Tensor};
use crate::text::{escape, names_like};

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
                nearest: names_like(pattern.as_str(), names(), SHOWN).join(", "),
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
