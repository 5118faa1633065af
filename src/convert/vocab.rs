//! The `tokenizer.*` keys, from the checkpoint's tokenizer files or verbatim from the target.

use super::error::ConvertError;
use crate::checkpoint::tokenizer::Tokenizer;
use crate::facts::vocabulary::{MERGES, TOKENS};
use crate::gguf::{Array, Gguf, GgufError, Metadata, Strings};
use crate::text::escape;

const MODEL: &str = "tokenizer.ggml.model";
const SCORES: &str = "tokenizer.ggml.scores";

/// The score that upstream gives every token; BPE does not use it.
const SCORE: f32 = -1000.0;

/// Keys for the ids of special tokens.
const ID_KEYS: [(&str, &str); 6] = [
    ("bos", "bos_token_id"),
    ("eos", "eos_token_id"),
    ("unk", "unknown_token_id"),
    ("sep", "seperator_token_id"), // spelled so in the format
    ("pad", "padding_token_id"),
    ("mask", "mask_token_id"),
];

/// Keys for the special tokens that are put around a text.
const ADD_KEYS: [(&str, &str); 3] = [
    ("bos", "add_bos_token"),
    ("eos", "add_eos_token"),
    ("sep", "add_sep_token"),
];

/// Writes the keys for the first `rows` tokens of a checkpoint's tokenizer, in upstream's order.
pub(super) fn write_tokenizer(metadata: &mut Metadata, tokenizer: &Tokenizer, rows: usize) {
    let tokens: Strings = tokenizer.tokens.iter().take(rows).collect();
    let kinds: Vec<i32> = tokenizer.kinds.iter().copied().take(rows).collect();
    metadata.set(MODEL, "gemma4");
    let scores = vec![SCORE; tokens.len()];
    metadata.set(TOKENS, Array::String(tokens));
    metadata.set(SCORES, Array::F32(scores));
    metadata.set("tokenizer.ggml.token_type", Array::I32(kinds));
    if !tokenizer.merges.is_empty() {
        metadata.set(MERGES, Array::String(tokenizer.merges.clone()));
    }
    for &(name, id) in &tokenizer.special_ids {
        if let Some((_, key)) = ID_KEYS.iter().find(|(known, _)| *known == name) {
            metadata.set(format!("tokenizer.ggml.{key}"), id);
        }
    }
    for &(name, add) in &tokenizer.add_special {
        if let Some((_, key)) = ADD_KEYS.iter().find(|(known, _)| *known == name) {
            metadata.set(format!("tokenizer.ggml.{key}"), add);
        }
    }
    for (name, template) in &tokenizer.named_templates {
        metadata.set(format!("tokenizer.chat_template.{name}"), template.as_str());
    }
    if !tokenizer.named_templates.is_empty() {
        let names = tokenizer.named_templates.iter().map(|(name, _)| name).collect();
        metadata.set("tokenizer.chat_templates", Array::String(names));
    }
    if let Some(template) = tokenizer
        .chat_template
        .as_deref()
        .filter(|template| !template.is_empty())
    {
        metadata.set("tokenizer.chat_template", template);
    }
    metadata.set("tokenizer.ggml.add_space_prefix", false);
    metadata.set("tokenizer.ggml.add_bos_token", true);
}

/// Copies every `tokenizer.*` key of the target, whose tokenizer must be of the given kind.
///
/// Ollama's own converter calls the same vocabulary `llama`, with a pre-tokenizer and other scores; such keys are told
/// as llama.cpp's converter does.
pub(super) fn copy_tokenizer(metadata: &mut Metadata, target: &Gguf, kind: &str) -> Result<(), ConvertError> {
    const OLLAMAS: &str = "llama";
    const PRE: &str = "tokenizer.ggml.pre";
    let source = target.metadata();
    let found = target.key(source.string(MODEL))?;
    let is_ollamas = found == OLLAMAS && source.contains(PRE) && source.array(MERGES).is_ok();
    if found != kind && !is_ollamas {
        return Err(ConvertError::TargetTokenizer {
            path: target.path().to_owned(),
            found: escape(found),
            expected: kind.to_owned(),
        });
    }
    let keys = source.iter().filter(|(key, _)| key.starts_with(b"tokenizer."));
    for (key, value) in keys.filter(|(key, _)| !(is_ollamas && *key == PRE)) {
        metadata.set(key, value.clone());
    }
    if is_ollamas {
        metadata.set(MODEL, kind);
        metadata.set(SCORES, Array::F32(vec![SCORE; tokens(target)?.len()]));
        metadata.set("tokenizer.ggml.add_space_prefix", false);
        metadata.set("tokenizer.ggml.add_bos_token", true);
    }
    Ok(())
}

/// The token texts of a GGUF.
pub(super) fn tokens(gguf: &Gguf) -> Result<&Strings, GgufError> {
    let array = gguf.key(gguf.metadata().array(TOKENS))?;
    match array {
        Array::String(tokens) => Ok(tokens),
        other => Err(gguf.error(crate::gguf::KeyError::Type {
            key: TOKENS.to_owned(),
            expected: "an array of strings",
            found: format!("{}[]", other.element_type().name()),
        })),
    }
}
