//! The target alone: numbers that no model can have, and tensors that contradict them.

use super::Findings;
use crate::arch::Arch;
use crate::gguf::Gguf;
use crate::model::{self, Config, ModelError};

const AGAIN: &str =
    "the target is damaged or was made by another rule: download it, or convert it again with llama.cpp";

/// Reads the target as a forward pass would, none of its data.
pub(super) fn check(arch: &Arch, target: &Gguf, findings: &mut Findings) {
    let config = Config::from_gguf(target, &arch.target);
    match config.and_then(|config| model::Target::load(target, config).map(drop)) {
        // A type that cannot be decoded here says nothing of the target.
        Ok(()) | Err(ModelError::TensorType { .. }) => {}
        Err(error) => {
            let text = error.to_string();
            let file = format!("{}: ", target.path().display());
            let message = text.strip_prefix(&file).unwrap_or(&text);
            findings.error(
                "target-value",
                None,
                format!("the target cannot be run: {message}"),
                AGAIN,
            );
        }
    }
}
