//! The drafter's own vocabulary.

use super::{CONVERT, Findings};
use crate::facts::drafter::DrafterGguf;
use crate::facts::vocabulary::{MERGES, TOKENS, merge_faults, no_merges};
use crate::gguf::{Array, Metadata, Strings, Value, ValueType};
use crate::text::escape;

/// The kind of tokenizer that needs merges.
const MERGING: &str = "gemma4";

/// Lists with an entry for each token, and the types that llama.cpp reads them as.
const BESIDE_TOKENS: [(&str, &[ValueType]); 2] = [
    ("tokenizer.ggml.scores", &[ValueType::F32]),
    ("tokenizer.ggml.token_type", &[ValueType::I32, ValueType::U32]),
];

pub(super) fn check(drafter: &DrafterGguf, findings: &mut Findings) {
    let meta = drafter.gguf.metadata();
    check_model(drafter, meta, findings);
    let Some(tokens) = check_tokens(meta, findings) else {
        return;
    };
    let count = tokens.len();
    for (key, types) in BESIDE_TOKENS {
        check_list(meta, key, types, Some(count), findings);
    }
    if drafter.arch.tokenizer == MERGING {
        check_merges(meta, tokens, findings);
    }
    check_ids(meta, count, findings);
    let rows = drafter
        .tensor("token_embd.weight")
        .and_then(|entry| entry.info.dims.get(1));
    if let Some(rows) = rows.filter(|&&rows| rows != count as u64) {
        let message = format!(
            "there are {count} tokens and {rows} rows in the embedding; llama.cpp loads no file where they differ"
        );
        findings.error("vocabulary", TOKENS.to_owned(), message, CONVERT);
    }
}

fn check_model(drafter: &DrafterGguf, meta: &Metadata, findings: &mut Findings) {
    const KEY: &str = "tokenizer.ggml.model";
    let expected = &drafter.arch.tokenizer;
    match meta.string(KEY) {
        Ok(model) if model == expected.as_str() => {}
        Ok(model) => {
            let model = escape(model);
            let message = format!(
                "the tokenizer is of the kind {model}; llama.cpp's converter writes {expected} for {} drafters of Gemma 4",
                drafter.arch.name
            );
            findings.error("vocabulary", KEY.to_owned(), message, CONVERT);
        }
        Err(error) => findings.error("vocabulary", KEY.to_owned(), error.to_string(), CONVERT),
    }
}

fn check_tokens<'a>(meta: &'a Metadata, findings: &mut Findings) -> Option<&'a Strings> {
    let error = match meta.array(TOKENS) {
        Ok(Array::String(tokens)) => return Some(tokens),
        Ok(other) => format!(
            "{TOKENS} should be an array of strings, the file has {}[]",
            other.element_type().name()
        ),
        Err(error) => error.to_string(),
    };
    findings.error("vocabulary", TOKENS.to_owned(), error, CONVERT);
    None
}

/// A list is of a type that can be read, and as long as it should be. llama.cpp reads what it finds as the wider type,
/// beyond the end of a narrower list.
fn check_list(meta: &Metadata, key: &str, types: &[ValueType], len: Option<usize>, findings: &mut Findings) {
    let Some(value) = meta.get(key) else { return };
    let names: Vec<String> = types.iter().map(|ty| format!("{}[]", ty.name())).collect();
    let message = match value.as_array() {
        Some(array) if types.contains(&array.element_type()) => match len {
            Some(len) if array.len() != len => format!("{key} has {} entries for {len} tokens", array.len()),
            _ => return,
        },
        _ => format!(
            "{key} is of type {}; it should be {}",
            value.type_name(),
            names.join(" or ")
        ),
    };
    findings.error("vocabulary", key.to_owned(), message, CONVERT);
}

/// Without merges llama.cpp loads no file with this tokenizer; with merges that join nothing, texts fall to pieces that
/// the target does not see.
fn check_merges(meta: &Metadata, tokens: &Strings, findings: &mut Findings) {
    const KEY: &str = MERGES;
    check_list(meta, KEY, &[ValueType::String], None, findings);
    let merges = match meta.get(KEY) {
        Some(Value::Array(Array::String(merges))) => merges,
        Some(_) => return,
        None => {
            findings.error("vocabulary", KEY.to_owned(), no_merges(), CONVERT);
            return;
        }
    };
    if let Some(fault) = merge_faults(merges, tokens) {
        findings.error("vocabulary", KEY.to_owned(), fault, CONVERT);
    }
}

/// The ids of special tokens are ids.
fn check_ids(meta: &Metadata, count: usize, findings: &mut Findings) {
    for name in ["bos", "eos", "unknown", "padding", "mask"] {
        let key = format!("tokenizer.ggml.{name}_token_id");
        let Some(value) = meta.get(&key) else { continue };
        if value.as_u64().is_none_or(|id| id >= count as u64) {
            let message = format!("{key} names no token: there are {count}");
            findings.error("vocabulary", key, message, CONVERT);
        }
    }
}
