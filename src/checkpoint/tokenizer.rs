//! A checkpoint's tokenizer: `tokenizer.json`, `tokenizer_config.json` and the chat template, read into what a GGUF
//! vocabulary needs. Follows what llama.cpp's converter and transformers 5 make of the same files (October 2026).

use super::error::{CheckpointError, CheckpointErrorKind};
use super::{CheckpointHead, tokenizer_json};
use crate::gguf::Strings;
use crate::io::{TextLimit, without_mark};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// What a token is for, with llama.cpp's numbers (`enum llama_token_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum TokenKind {
    /// Text.
    Normal = 1,
    /// Steers the model and is never shown: `<bos>`.
    Control = 3,
    /// Not from training the tokenizer, shown as it is.
    UserDefined = 4,
    /// One byte: `<0x0A>`.
    Byte = 6,
}

/// A byte-fallback BPE tokenizer.
#[derive(Debug, Default)]
pub struct Tokenizer {
    /// Text of the tokens in order of id.
    pub tokens: Strings,
    /// Kind of each token.
    pub kinds: Vec<i32>,
    /// Merges by rank, `left right`.
    pub merges: Strings,
    /// Ids of the named special tokens that have one: `bos`, `eos`, `unk`, `sep`, `pad`, `cls`, `mask`.
    pub special_ids: Vec<(&'static str, u32)>,
    /// Whether a special token is put around a text, where the files say: `("bos", true)`.
    pub add_special: Vec<(&'static str, bool)>,
    /// The default chat template.
    pub chat_template: Option<String>,
    /// Further chat templates by name.
    pub named_templates: Vec<(String, String)>,
}

/// The special tokens with a name of their own, in the order in which converters write them.
pub(crate) const SPECIAL_TYPES: [&str; 7] = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"];

/// What the Gemma tokenizer classes take a special token to be where `tokenizer_config.json` is silent.
const GEMMA_DEFAULTS: [(&str, &str); 5] = [
    ("unk", "<unk>"),
    ("bos", "<bos>"),
    ("eos", "<eos>"),
    ("pad", "<pad>"),
    ("mask", "<mask>"),
];

/// Tokens that the chat parser must see: shown although they are special.
pub(crate) const VISIBLE_TOKENS: [&str; 7] = [
    "<|channel>",
    "<channel|>",
    "<|tool_call>",
    "<tool_call|>",
    "<|tool_response>",
    "<tool_response|>",
    "<|\"|>",
];

impl Tokenizer {
    /// Reads the tokenizer of a checkpoint; `None` where its folder has no `tokenizer.json`.
    pub fn read(checkpoint: &CheckpointHead) -> Result<Option<Tokenizer>, CheckpointError> {
        let path = checkpoint.folder().join("tokenizer.json");
        if !checkpoint.has("tokenizer.json") {
            return Ok(None);
        }
        let fail = |kind: CheckpointErrorKind| CheckpointError::new(&path, kind);
        let bytes = checkpoint
            .inputs()
            .map_text(&path, TextLimit::LIST)
            .map_err(|e| fail(e.into()))?;
        let file: tokenizer_json::File = serde_json::from_slice(without_mark(&bytes))
            .map_err(|e| fail(CheckpointErrorKind::Json(e.to_string())))?;
        let fail = |message: String| fail(CheckpointErrorKind::Tokenizer(message));
        if file.model.kind.as_deref().is_some_and(|kind| kind != "BPE") || !file.model.byte_fallback {
            let kind = file.model.kind.as_deref().unwrap_or("?");
            return Err(fail(format!(
                "model type {kind} is no BPE with byte fallback, as Gemma 4's tokenizers are"
            )));
        }
        let config = checkpoint.json("tokenizer_config.json")?;
        let config = config.as_deref().unwrap_or(&Value::Null);
        let model_config = checkpoint.config()?.unwrap_or(&Value::Null);

        let names = SpecialNames::read(config);
        let mut tokenizer = Tokenizer::default();
        tokenizer.read_tokens(&file, &names).map_err(fail)?;
        tokenizer.read_templates(checkpoint, config)?;
        tokenizer.read_added_flags(&file, &names, config);
        tokenizer.read_special_ids(&file, config, model_config);
        tokenizer.merges = file.model.merges.0;
        if tokenizer.merges.is_empty() {
            return Err(fail(
                "it has no merges, and llama.cpp does not load a file without them; download it again"
                    .to_owned(),
            ));
        }
        Ok(Some(tokenizer))
    }

    fn read_tokens(&mut self, file: &tokenizer_json::File, names: &SpecialNames) -> Result<(), String> {
        let vocab = &file.model.vocab.0;
        let mut by_id: Vec<Option<&str>> = vec![None; vocab.len()];
        for (text, id) in vocab {
            let slot = by_id.get_mut(*id as usize).ok_or_else(|| {
                format!(
                    "token id {id} is beyond the vocabulary of {} tokens; ids must have no gaps",
                    vocab.len()
                )
            })?;
            if let Some(other) = slot.replace(text) {
                return Err(format!("tokens {other:?} and {text:?} share the id {id}"));
            }
        }
        for (id, slot) in by_id.iter().enumerate() {
            let text = slot.ok_or_else(|| format!("no token has the id {id}"))?;
            let kind = if is_byte_token(text) {
                TokenKind::Byte
            } else if names.all.contains(text) {
                TokenKind::Control
            } else {
                TokenKind::Normal
            };
            self.push(text, kind);
        }
        let mut beyond: Vec<_> = file
            .added_tokens
            .iter()
            .filter(|t| t.id as usize >= vocab.len())
            .collect();
        beyond.sort_by_key(|token| token.id);
        for token in beyond {
            if token.id as usize != self.tokens.len() {
                return Err(format!(
                    "added token {:?} has the id {}, which leaves a gap",
                    token.content, token.id
                ));
            }
            let is_special = names.all.contains(token.content.as_ref());
            self.push(
                &token.content,
                if is_special {
                    TokenKind::Control
                } else {
                    TokenKind::UserDefined
                },
            );
        }
        Ok(())
    }

    fn push(&mut self, text: &str, kind: TokenKind) {
        let kind = if VISIBLE_TOKENS.contains(&text) {
            TokenKind::UserDefined
        } else {
            kind
        };
        self.tokens.push(text.as_bytes());
        self.kinds.push(kind as i32);
    }

    /// The chat template of `tokenizer_config.json`, else the file beside it.
    fn read_templates(&mut self, checkpoint: &CheckpointHead, config: &Value) -> Result<(), CheckpointError> {
        match config.get("chat_template") {
            Some(Value::String(template)) => self.chat_template = Some(template.clone()),
            Some(Value::Array(templates)) => {
                for entry in templates {
                    let text = |key| entry.get(key).and_then(Value::as_str);
                    match (text("name"), text("template")) {
                        (Some("default"), Some(template)) => self.chat_template = Some(template.to_owned()),
                        (Some(name), Some(template)) => {
                            // llama.cpp makes a key of the name.
                            let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
                            self.named_templates.push((name, template.to_owned()));
                        }
                        _ => {}
                    }
                }
            }
            _ => {
                self.chat_template = match checkpoint.text("chat_template.jinja")? {
                    Some(template) => Some(template),
                    None => checkpoint
                        .json("chat_template.json")?
                        .and_then(|json| json.get("chat_template")?.as_str().map(str::to_owned)),
                };
            }
        }
        Ok(())
    }

    /// Which special tokens the post-processor's template puts around a text, then what the config says of others.
    fn read_added_flags(&mut self, file: &tokenizer_json::File, names: &SpecialNames, config: &Value) {
        let processors = match &file.post_processor {
            Some(Value::Object(one)) => match one.get("processors").and_then(Value::as_array) {
                Some(several) => several.clone(),
                None => vec![Value::Object(one.clone())],
            },
            _ => Vec::new(),
        };
        for processor in processors.iter().filter(|p| p["type"] == "TemplateProcessing") {
            self.read_template_processing(processor, names);
        }
        for name in SPECIAL_TYPES {
            if let Some(Value::Bool(add)) = config.get(format!("add_{name}_token"))
                && !self.add_special.iter().any(|(known, _)| *known == name)
            {
                self.add_special.push((name, *add));
            }
        }
    }

    fn read_template_processing(&mut self, processor: &Value, names: &SpecialNames) {
        fn special(piece: Option<&Value>) -> Option<&str> {
            piece?.pointer("/SpecialToken/id")?.as_str()
        }
        let pieces = |key: &str| {
            processor
                .get(key)
                .and_then(Value::as_array)
                .map_or(&[][..], Vec::as_slice)
        };
        let single = pieces("single");
        let (first, last) = match single {
            [first, .., last] => (special(Some(first)), special(Some(last))),
            _ => (None, None),
        };
        let is = |token: &str, name: &str| names.named.get(name).is_some_and(|known| known == token);
        if let Some(first) = first {
            self.add_special
                .push(("bos", is(first, "bos") || is(first, "cls")));
        }
        if let Some(last) = last {
            self.add_special.push(("eos", is(last, "eos")));
        }
        // What the pair template puts between its two texts, once its ends are taken off.
        let mut pair = pieces("pair");
        if first.is_some() && special(pair.first()) == first {
            pair = &pair[1..];
        }
        if last.is_some() && special(pair.last()) == last {
            pair = &pair[..pair.len() - 1];
        }
        if let [_, between @ .., _] = pair
            && !between.is_empty()
        {
            let ends_text = |piece| special(Some(piece)).is_some_and(|t| is(t, "sep") || is(t, "eos"));
            let add_sep = match between {
                [one] => ends_text(one) && last.is_none(),
                [one, two] => (ends_text(one) && last.is_none()) || ends_text(two),
                _ => false,
            };
            self.add_special.push(("sep", add_sep));
        }
    }

    /// Ids by the names in `tokenizer_config.json`, else by the ids in `config.json`.
    fn read_special_ids(&mut self, file: &tokenizer_json::File, config: &Value, model_config: &Value) {
        for name in SPECIAL_TYPES {
            let by_name = config
                .get(format!("{name}_token"))
                .and_then(token_text)
                .and_then(|text| file.added_tokens.iter().find(|token| token.content == text))
                .map(|token| token.id);
            if let Some(id) = by_name {
                self.special_ids.push((name, id));
            }
        }
        for name in SPECIAL_TYPES {
            let key = format!("{name}_token_id");
            let id = [
                model_config.get(&key),
                model_config.pointer(&format!("/text_config/{key}")),
            ]
            .into_iter()
            .flatten()
            .find(|value| !value.is_null())
            .and_then(Value::as_u64)
            .and_then(|id| u32::try_from(id).ok());
            if let Some(id) = id
                && !self.special_ids.iter().any(|(known, _)| *known == name)
            {
                self.special_ids.push((name, id));
            }
        }
    }
}

/// The special tokens that `tokenizer_config.json` names.
struct SpecialNames {
    /// `bos` to its text, and so on.
    named: HashMap<&'static str, String>,
    /// The text of all of them.
    all: HashSet<String>,
}

impl SpecialNames {
    fn read(config: &Value) -> SpecialNames {
        let class = config
            .get("tokenizer_class")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let mut named = HashMap::new();
        if class.starts_with("Gemma") {
            named.extend(GEMMA_DEFAULTS.map(|(name, text)| (name, text.to_owned())));
        }
        for name in SPECIAL_TYPES {
            if let Some(text) = config.get(format!("{name}_token")).and_then(token_text) {
                named.insert(name, text.to_owned());
            }
        }
        let mut all: HashSet<String> = named.values().cloned().collect();
        let mut add = |value: &Value| all.extend(token_text(value).map(str::to_owned));
        for (key, value) in config.as_object().into_iter().flatten() {
            if key.ends_with("_token") {
                add(value);
            }
        }
        for key in [
            "extra_special_tokens",
            "additional_special_tokens",
            "model_specific_special_tokens",
        ] {
            match config.get(key) {
                Some(Value::Array(tokens)) => tokens.iter().for_each(&mut add),
                Some(Value::Object(tokens)) => tokens.values().for_each(&mut add),
                _ => {}
            }
        }
        SpecialNames { named, all }
    }
}

/// The text of a token given as a string or as an object with its content.
fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

/// Whether a token stands for one byte: `<0x0A>`.
fn is_byte_token(text: &str) -> bool {
    text.strip_prefix("<0x")
        .and_then(|rest| rest.strip_suffix('>'))
        .is_some_and(|hex| hex.len() == 2 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}
