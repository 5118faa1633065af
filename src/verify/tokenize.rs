//! Text to tokens, by the vocabulary that a GGUF file carries.
//!
//! The steps are llama.cpp's for the tokenizer model `gemma4`: special and user-defined tokens are cut out of the text,
//! longest first; in the rest spaces become U+2581, runs of newlines stand apart, and each piece goes through
//! byte-pair encoding with single bytes (`<0x0A>`) for what the vocabulary lacks. The sequence starts with `<bos>`.

use crate::gguf::{Array, Gguf, GgufError, KeyError, Strings};
use bstr::BStr;
use std::collections::HashMap;
use std::path::Path;
use tokenizers::Model;
use tokenizers::models::bpe::{BPE, Vocab};

/// Token types of `tokenizer.ggml.token_type` that are looked for in the text: unknown, control, user-defined.
const IN_TEXT: [i32; 3] = [2, 3, 4];

/// A vocabulary that cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum TokenizeError {
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error("{path}: {message}; give the prompt as --tokens instead")]
    Vocabulary { path: String, message: String },
}

impl TokenizeError {
    /// The file that it is about.
    pub fn path(&self) -> Option<&Path> {
        match self {
            TokenizeError::Gguf(error) => Some(&error.path),
            TokenizeError::Vocabulary { path, .. } => Some(Path::new(path)),
        }
    }
}

/// A tokenizer.
pub struct Tokenizer {
    path: String,
    bpe: BPE,
    /// Special tokens, longest first.
    specials: Vec<(String, u32)>,
    newlines: HashMap<String, u32>,
    bos: Option<u32>,
}

impl Tokenizer {
    /// The tokenizer of a file whose `tokenizer.ggml.model` is `gemma4`.
    pub fn new(gguf: &Gguf) -> Result<Tokenizer, TokenizeError> {
        let path = gguf.path().display().to_string();
        let fail = |message: String| TokenizeError::Vocabulary {
            path: path.clone(),
            message,
        };
        let meta = gguf.metadata();
        let model = gguf.key(meta.string("tokenizer.ggml.model"))?;
        if model != "gemma4" {
            return Err(fail(format!("the tokenizer model {model:?} is not gemma4")));
        }
        let tokens = strings(gguf, "tokenizer.ggml.tokens")?;
        let kinds = match gguf.key(meta.array("tokenizer.ggml.token_type"))? {
            Array::I32(kinds) => kinds.as_slice(),
            _ => &[],
        };
        let mut vocab = Vocab::with_capacity(tokens.len());
        let (mut specials, mut newlines) = (Vec::new(), HashMap::new());
        for (id, token) in tokens.iter().enumerate() {
            let id = id as u32;
            let Ok(text) = std::str::from_utf8(token) else {
                return Err(fail(format!("token {id} is no valid UTF-8")));
            };
            if kinds.get(id as usize).is_some_and(|kind| IN_TEXT.contains(kind)) && !text.is_empty() {
                specials.push((text.to_owned(), id));
            }
            if text.bytes().all(|b| b == b'\n') {
                newlines.insert(text.to_owned(), id);
            }
            vocab.insert(text.to_owned(), id);
        }
        specials.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        // The first space divides the parts; a merge whose parts or whole are no tokens can never apply.
        let merges = strings(gguf, "tokenizer.ggml.merges")?
            .iter()
            .filter_map(|merge| std::str::from_utf8(merge).ok()?.split_once(' '))
            .filter(|(left, right)| {
                vocab.contains_key(*left)
                    && vocab.contains_key(*right)
                    && vocab.contains_key(&[*left, *right].concat())
            })
            .map(|(left, right)| (left.to_owned(), right.to_owned()))
            .collect();
        let mut builder = BPE::builder().byte_fallback(true).fuse_unk(true);
        let unknown = special(gguf, "unknown")?.and_then(|(_, text)| text);
        if let Some(Ok(unknown)) = unknown.map(|token| std::str::from_utf8(token)) {
            builder = builder.unk_token(unknown.to_owned());
        }
        let bpe = builder
            .vocab_and_merges(vocab, merges)
            .build()
            .map_err(|e| fail(e.to_string()))?;
        Ok(Tokenizer {
            bpe,
            specials,
            newlines,
            bos: special(gguf, "bos")?.map(|(id, _)| id),
            path,
        })
    }

    /// The tokens of a text, `<bos>` first.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizeError> {
        let mut parts = vec![Part::Text(text)];
        for (special, id) in &self.specials {
            if text.contains(special.as_str()) {
                parts = parts
                    .into_iter()
                    .flat_map(|part| part.cut(special, *id))
                    .collect();
            }
        }
        let mut tokens: Vec<u32> = self.bos.into_iter().collect();
        for part in parts {
            match part {
                Part::Token(id) => tokens.push(id),
                Part::Text(text) => self.encode_plain(text, &mut tokens)?,
            }
        }
        Ok(tokens)
    }

    fn encode_plain(&self, text: &str, tokens: &mut Vec<u32>) -> Result<(), TokenizeError> {
        for piece in text
            .replace(' ', "\u{2581}")
            .as_bytes()
            .chunk_by(|a, b| (*a == b'\n') == (*b == b'\n'))
        {
            // Newlines are ASCII, so a cut beside one leaves valid UTF-8.
            let piece = String::from_utf8_lossy(piece);
            if let Some(&id) = self.newlines.get(piece.as_ref()) {
                tokens.push(id);
                continue;
            }
            let encoded = self.bpe.tokenize(&piece).map_err(|e| TokenizeError::Vocabulary {
                path: self.path.clone(),
                message: e.to_string(),
            })?;
            tokens.extend(encoded.iter().map(|token| token.id));
        }
        Ok(())
    }
}

/// A part of a text while special tokens are cut out.
enum Part<'a> {
    Text(&'a str),
    Token(u32),
}

impl<'a> Part<'a> {
    fn cut(self, special: &str, id: u32) -> Vec<Part<'a>> {
        let Part::Text(text) = self else {
            return vec![self];
        };
        let mut parts = Vec::new();
        for (i, text) in text.split(special).enumerate() {
            if i > 0 {
                parts.push(Part::Token(id));
            }
            if !text.is_empty() {
                parts.push(Part::Text(text));
            }
        }
        parts
    }
}

/// Id and text of a special token, where the file names one; without a text where it has no such token.
pub(super) fn special<'a>(gguf: &'a Gguf, name: &str) -> Result<Option<(u32, Option<&'a BStr>)>, GgufError> {
    let id = match gguf.metadata().uint(&format!("tokenizer.ggml.{name}_token_id")) {
        Err(KeyError::Missing(_)) => return Ok(None),
        id => gguf.key(id)?,
    };
    let tokens = strings(gguf, "tokenizer.ggml.tokens")?;
    let text = usize::try_from(id).ok().and_then(|id| tokens.get(id));
    Ok(Some((id as u32, text)))
}

fn strings<'a>(gguf: &'a Gguf, key: &str) -> Result<&'a Strings, GgufError> {
    let found = gguf.metadata().array(key);
    match gguf.key(found)? {
        Array::String(strings) => Ok(strings),
        other => gguf.key(Err(KeyError::Type {
            key: key.to_owned(),
            expected: "an array of strings",
            found: format!("{}[]", other.element_type().name()),
        })),
    }
}
