//! Whether a drafter and a target have the same vocabulary, as llama.cpp compares them.

use crate::gguf::{Array, Gguf, Metadata, Strings};
use crate::io::kind::FileKind;
use crate::text::escape;

/// The key of the tokens.
pub(crate) const TOKENS: &str = "tokenizer.ggml.tokens";

/// Keys that are compared besides the tokens.
const COMPARED: [&str; 5] = [
    "tokenizer.ggml.model",
    "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.add_bos_token",
    "tokenizer.ggml.add_eos_token",
];

/// How two vocabularies differ.
#[derive(Debug, Default)]
pub(crate) struct VocabularyDifference {
    /// In the tokens: the drafter's are not the target's. In words.
    pub tokens: Option<String>,
    /// Keys with another value.
    pub keys: Vec<&'static str>,
}

/// Compares a drafter's vocabulary with its target's. Tokens that either lacks are not compared, nor other keys with a
/// target that Ollama's own converter made: it tells the same tokenizer in another way, and to take that one over would
/// spoil the drafter.
pub(crate) fn compare(drafter: &Metadata, target: &Gguf) -> VocabularyDifference {
    let is_ollamas = matches!(target.kind(), FileKind::OllamaModel(_));
    let target = target.metadata();
    let tokens = strings(drafter).zip(strings(target));
    let is_other = |key: &&str| !is_ollamas && drafter.get(key) != target.get(key);
    VocabularyDifference {
        tokens: tokens.and_then(|(ours, theirs)| difference(ours, theirs)),
        keys: COMPARED.into_iter().filter(is_other).collect(),
    }
}

fn strings(metadata: &Metadata) -> Option<&Strings> {
    match metadata.get(TOKENS)?.as_array()? {
        Array::String(tokens) => Some(tokens),
        _ => None,
    }
}

/// How two lists of tokens differ, in words, if they do: in length, or at the first token with another text.
fn difference(drafter: &Strings, target: &Strings) -> Option<String> {
    let mut both = drafter.iter().zip(target.iter()).enumerate();
    if let Some((id, (ours, theirs))) = both.find(|(_, (ours, theirs))| ours != theirs) {
        let (ours, theirs) = (escape(ours), escape(theirs));
        return Some(format!(
            "token {id} is \"{ours}\" in the drafter and \"{theirs}\" in the target"
        ));
    }
    let (ours, theirs) = (drafter.len(), target.len());
    (ours != theirs).then(|| format!("the drafter has {ours} tokens, the target {theirs}"))
}
