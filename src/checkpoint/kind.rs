//! What a `config.json` says a checkpoint is.

use crate::io::kind::{DrafterKind, FileKind};
use crate::text::escape;
use serde_json::Value;

/// `model_type` of Gemma 4 itself.
const TARGET_TYPES: [&str; 4] = ["gemma4", "gemma4_text", "gemma4_unified", "gemma4_unified_text"];

/// What the checkpoint of this config is, by class, `model_type` and the settings that only one kind of drafter has;
/// `None` where it states neither class nor type.
///
/// Names: llama.cpp's converter and its runtime, October 2026. The assistant of Gemma 4 itself is an
/// [`FileKind::OtherCheckpoint`] here: its architecture file knows it.
pub fn kind_of_config(config: &Value) -> Option<FileKind> {
    let classes: Vec<&str> = config
        .get("architectures")
        .and_then(Value::as_array)
        .map(|classes| classes.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let model_type = config.get("model_type").and_then(Value::as_str);
    let names = |word: &str| classes.iter().any(|class| class.to_lowercase().contains(word));
    let number = |key: &str| config.get(key).and_then(Value::as_u64);
    let drafter = if names("dspark") {
        Some(DrafterKind::DSpark)
    } else if names("dflash") || config.get("dflash_config").is_some() {
        Some(DrafterKind::DFlash)
    } else if names("eagle3")
        || (number("draft_vocab_size").is_some() && number("num_hidden_layers") == Some(1))
    {
        Some(DrafterKind::Eagle3)
    } else {
        None
    };
    if let Some(kind) = drafter {
        return Some(FileKind::OtherDrafter(kind));
    }
    let is_target = match model_type {
        Some(model_type) => TARGET_TYPES.contains(&model_type),
        None => names("gemma4") && !names("assistant"),
    };
    if is_target {
        return Some(FileKind::TargetCheckpoint);
    }
    let name = model_type.or(classes.first().copied())?;
    Some(FileKind::OtherCheckpoint(escape(name.as_bytes())))
}
