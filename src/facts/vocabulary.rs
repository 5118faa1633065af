//! What a vocabulary must be for llama.cpp: a drafter's the same as its target's, and its merges such as join tokens.

use crate::arch::Arch;
use crate::gguf::{Array, Gguf, Metadata, Strings};
use crate::io::kind::FileKind;
use crate::text::escape;
use ahash::AHashSet;
use bstr::{BStr, ByteSlice};
use rayon::prelude::*;
use std::collections::HashMap;

/// The key of the tokens.
pub(crate) const TOKENS: &str = "tokenizer.ggml.tokens";

/// The key of the merges.
pub(crate) const MERGES: &str = "tokenizer.ggml.merges";

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
/// spoil the drafter. Where the architecture tells the target's tokenizer as another kind, only tokens and ids can agree.
pub(crate) fn compare(drafter: &Metadata, target: &Gguf, arch: &Arch) -> VocabularyDifference {
    let is_ollamas = matches!(target.kind(), FileKind::OllamaModel(_));
    let target = target.metadata();
    let is_told_otherwise = target
        .string(COMPARED[0])
        .is_ok_and(|kind| kind != arch.tokenizer.as_str());
    let tokens = strings(drafter).zip(strings(target));
    let is_told_alike = |key: &str| !is_ollamas && (!is_told_otherwise || key.ends_with("_id"));
    let is_other = |key: &&str| is_told_alike(key) && drafter.get(key) != target.get(key);
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

/// What is wrong with a file without merges.
pub(crate) fn no_merges() -> String {
    format!("{MERGES} is missing, and llama.cpp does not load the file without it")
}

/// What is wrong with merges, in words: with merges that join no tokens, texts fall to pieces that the target does not see.
pub(crate) fn merge_faults(merges: &Strings, tokens: &Strings) -> Option<String> {
    // Hashed fast: a conversion waits for two million look-ups.
    let known: AHashSet<&[u8]> = tokens.iter().map(|token| token.as_bytes()).collect();
    let fault = |at| {
        let merge = merges.get(at)?;
        Some((merge, at, merge_fault(merge, &known)?))
    };
    // There are half a million of them.
    let faults: Vec<(&BStr, usize, &str)> = (0..merges.len()).into_par_iter().filter_map(fault).collect();
    let (merge, at, fault) = faults.first()?;
    let more = match faults.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} more like it"),
    };
    Some(format!(
        "{MERGES} holds \"{}\" at {at}, {fault}{more}",
        escape(merge)
    ))
}

/// What is wrong with a merge. llama.cpp parts it at the first blank behind its first byte.
fn merge_fault(merge: &BStr, known: &AHashSet<&[u8]>) -> Option<&'static str> {
    let blank = merge
        .iter()
        .skip(1)
        .position(|byte| *byte == b' ')
        .map(|at| at + 1);
    let Some((left, right)) = blank.map(|at| merge.split_at(at)) else {
        return Some("which joins no two tokens");
    };
    let right = right.get(1..).unwrap_or_default();
    let joined = [left, right].concat();
    let is_known = [left, right, &joined].iter().all(|text| known.contains(*text));
    (!is_known).then_some("which names or makes a token that is not in the vocabulary")
}

/// What is wrong with a list of a drafter's tokens in the target's vocabulary of so many, in words: each is one of it, and
/// none stands twice.
pub(crate) fn fault_of_ids(ids: &[i64], limit: usize) -> Option<String> {
    let mut seen: HashMap<i64, usize> = HashMap::with_capacity(ids.len());
    for (at, id) in ids.iter().enumerate() {
        if usize::try_from(*id).is_ok_and(|id| id < limit) {
            if let Some(first) = seen.insert(*id, at) {
                return Some(format!("entries {first} and {at} both lead to token {id}"));
            }
        } else {
            return Some(format!("entry {at} leads to token {id}; the target has {limit}"));
        }
    }
    None
}
