//! The `tokenizer.*` keys, from the checkpoint's tokenizer files or verbatim from the target.

use super::error::ConvertError;
use crate::checkpoint::tokenizer::{TokenKind, Tokenizer, VISIBLE_TOKENS};
use crate::facts::vocabulary::{MERGES, TOKENS};
use crate::gguf::{Array, Gguf, GgufError, Metadata, Strings, Value};
use crate::text::escape;

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKEN_TYPE: &str = "tokenizer.ggml.token_type";
const ADD_SPACE: &str = "tokenizer.ggml.add_space_prefix";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const SCORES: &str = "tokenizer.ggml.scores";

/// The token that opens a turn of the chat.
const TURN: &str = "<|turn>";

const GEMMA4: &str = "gemma4";
const LLAMA: &str = "llama";

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

/// Writes the keys for the first `rows` tokens of a checkpoint's tokenizer, in upstream's order, as one of this kind.
pub(super) fn write_tokenizer(metadata: &mut Metadata, tokenizer: &Tokenizer, rows: usize, kind: &str) {
    let mut told = Metadata::default();
    tell(&mut told, tokenizer, rows);
    append(metadata, &told, kind);
}

fn tell(metadata: &mut Metadata, tokenizer: &Tokenizer, rows: usize) {
    let tokens: Strings = tokenizer.tokens.iter().take(rows).collect();
    let kinds: Vec<i32> = tokenizer.kinds.iter().copied().take(rows).collect();
    metadata.set(MODEL, GEMMA4);
    let scores = vec![SCORE; tokens.len()];
    metadata.set(TOKENS, Array::String(tokens));
    metadata.set(SCORES, Array::F32(scores));
    metadata.set(TOKEN_TYPE, Array::I32(kinds));
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
    metadata.set(ADD_SPACE, false);
    metadata.set(ADD_BOS, true);
}

/// Adds the keys of a vocabulary of Gemma 4's kind as those of the kind that is asked for.
fn append(metadata: &mut Metadata, told: &Metadata, kind: &str) {
    let told_as_llama = (kind == LLAMA).then(|| as_llama(told));
    for (key, value) in told_as_llama.as_ref().unwrap_or(told).iter() {
        metadata.set(key, value.clone());
    }
}

/// A vocabulary of Gemma 4's kind as upstream tells the same one of a Llama-like drafter: without merges, without what its
/// Gemma converter appends, and with tokens of the chat as they are. It makes some of them visible; what they were is no
/// longer told, but the token that opens a turn stands in the same list of the tokenizer's files.
fn as_llama(told: &Metadata) -> Metadata {
    let tokens = match told.get(TOKENS).and_then(Value::as_array) {
        Some(Array::String(tokens)) => Some(tokens),
        _ => None,
    };
    let turn = tokens.and_then(|tokens| tokens.iter().position(|text| text == TURN));
    let kinds_as_they_were = |kinds: &[i32]| -> Vec<i32> {
        let usual = turn.and_then(|turn| kinds.get(turn).copied());
        let kind_of = |(at, kind): (usize, &i32)| {
            let text = tokens.and_then(|tokens| tokens.get(at));
            match text.is_some_and(|text| VISIBLE_TOKENS.iter().any(|visible| text == *visible)) {
                true => usual.unwrap_or(TokenKind::Control as i32),
                false => *kind,
            }
        };
        kinds.iter().enumerate().map(kind_of).collect()
    };
    let mut llama = Metadata::default();
    let mut is_appended = false;
    for (key, value) in told.iter() {
        is_appended |= key == ADD_SPACE;
        match value {
            _ if key == MERGES || key == ADD_SPACE || (is_appended && key == ADD_BOS) => {}
            _ if key == MODEL => {
                llama.set(MODEL, LLAMA);
                llama.set(PRE, "default");
            }
            Value::Array(Array::I32(kinds)) if key == TOKEN_TYPE => {
                llama.set(TOKEN_TYPE, Array::I32(kinds_as_they_were(kinds)));
            }
            value => llama.set(key, value.clone()),
        }
    }
    llama
}

/// Whether a vocabulary of this kind is told with merges.
pub(super) fn has_merges(kind: &str) -> bool {
    kind != LLAMA
}

/// Copies every `tokenizer.*` key of the target, whose tokenizer must be of Gemma 4's kind, as one of the given kind.
///
/// Ollama's own converter calls the same vocabulary `llama`, with a pre-tokenizer and other scores; such keys are told
/// as llama.cpp's converter does.
pub(super) fn copy_tokenizer(metadata: &mut Metadata, target: &Gguf, kind: &str) -> Result<(), ConvertError> {
    let source = target.metadata();
    let found = target.key(source.string(MODEL))?;
    let is_ollamas = found == LLAMA && source.contains(PRE) && source.array(MERGES).is_ok();
    if found != GEMMA4 && !is_ollamas {
        return Err(ConvertError::TargetTokenizer {
            path: target.path().to_owned(),
            found: escape(found),
            expected: GEMMA4.to_owned(),
        });
    }
    let keys = source.iter().filter(|(key, _)| key.starts_with(b"tokenizer."));
    let mut told = Metadata::default();
    for (key, value) in keys.filter(|(key, _)| !(is_ollamas && *key == PRE)) {
        told.set(key, value.clone());
    }
    if is_ollamas {
        told.set(MODEL, GEMMA4);
        told.set(SCORES, Array::F32(vec![SCORE; tokens(target)?.len()]));
        told.set(ADD_SPACE, false);
        told.set(ADD_BOS, true);
    }
    append(metadata, &told, kind);
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
