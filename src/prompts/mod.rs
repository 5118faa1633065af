//! What models are asked: kinds of prompts built in, long ones made to measure, and a user's own.

use crate::io::{Inputs, ReadError, TextLimit};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// A file of prompts that cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum PromptsError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: ReadError },
    #[error("{}: line {line}: {message}; give a text, or JSONL of objects with `prompt`", path.display())]
    Line {
        path: PathBuf,
        line: usize,
        message: String,
    },
}

impl PromptsError {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            PromptsError::Read { path, .. } | PromptsError::Line { path, .. } => path,
        }
    }
}

/// A prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// What is asked.
    pub text: String,
    /// Tokens to generate.
    pub predict: usize,
    /// Whether the chat template is told to let the model think; `None` leaves it as it is.
    pub thinking: Option<bool>,
}

/// Prompts that are reported together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// What they have in common.
    pub name: String,
    /// At least one.
    pub prompts: Vec<Prompt>,
    /// Tokens that each prompt should have, for kinds made to measure.
    pub context: Option<usize>,
}

#[derive(Deserialize)]
struct BuiltIn {
    kind: Vec<BuiltInKind>,
}

#[derive(Deserialize)]
struct BuiltInKind {
    name: String,
    predict: Option<usize>,
    prompts: Vec<String>,
}

/// The kinds that are built in, for answers of `predict` tokens.
pub fn built_in(predict: usize) -> Vec<Kind> {
    // A test reads the file, which is part of the program.
    let built_in: BuiltIn =
        toml::from_str(include_str!("prompts.toml")).unwrap_or(BuiltIn { kind: Vec::new() });
    let kind = |kind: BuiltInKind| {
        let predict = kind.predict.map_or(predict, |own| own.min(predict));
        Kind::new(kind.name, kind.prompts, predict)
    };
    built_in.kind.into_iter().map(kind).collect()
}

/// The names of the kinds that are built in.
pub fn names() -> Vec<String> {
    built_in(0).into_iter().map(|kind| kind.name).collect()
}

/// The first prompt that is built in.
pub fn first() -> Option<String> {
    let prompts = built_in(0).into_iter().next()?.prompts;
    prompts.into_iter().next().map(|prompt| prompt.text)
}

/// The kinds `thinking on` and `thinking off`: the chats, with and without thoughts.
pub fn thinking(predict: usize) -> Vec<Kind> {
    let chats = built_in(predict).into_iter().find(|kind| kind.name == "chat");
    let with = |(name, thinking): (&str, bool)| {
        let mut kind = chats.clone()?;
        kind.name = name.to_owned();
        kind.prompts
            .iter_mut()
            .for_each(|prompt| prompt.thinking = Some(thinking));
        Some(kind)
    };
    [("thinking on", true), ("thinking off", false)]
        .into_iter()
        .filter_map(with)
        .collect()
}

/// A kind of two prompts of about `tokens` tokens, where one has about `chars` characters.
pub fn long(tokens: usize, chars: f64, predict: usize) -> Kind {
    let question =
        "\n\nWhich of the rooms above has the most windows, and what stands in it? Answer in full sentences.";
    let wanted = (tokens as f64 * chars) as usize;
    let text = |start: usize| {
        let mut text = String::new();
        for room in start.. {
            let (paint, thing) = (
                ["white", "green", "grey", "yellow"][room % 4],
                ["a loom", "two beds", "a piano"][room % 3],
            );
            let line = format!(
                "Room {room} is painted {paint} and has {} windows; {thing} stands in it, and {} people work there.\n",
                room * 7 % 11 + 1,
                room * 5 % 13
            );
            if text.len() + line.len() + question.len() > wanted {
                break;
            }
            text.push_str(&line);
        }
        text + question
    };
    let mut kind = Kind::new(format!("context {tokens}"), vec![text(1), text(501)], predict);
    kind.context = Some(tokens);
    kind
}

/// Prompts from a file: JSONL of objects with `prompt` (or `text`) and perhaps `kind`, or a text, one prompt a file.
pub fn read(inputs: &Inputs, path: &Path, predict: usize) -> Result<Vec<Kind>, PromptsError> {
    let text = inputs
        .text(path, TextLimit::SETTINGS)
        .map_err(|source| PromptsError::Read {
            path: path.to_owned(),
            source,
        })?;
    let bad = |line, message: String| PromptsError::Line {
        path: path.to_owned(),
        line,
        message,
    };
    if text.trim().is_empty() {
        return Err(bad(1, "no prompt in it".to_owned()));
    }
    let stem = path
        .file_stem()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned();
    if !text.trim_start().starts_with('{') {
        return Ok(vec![Kind::new(stem, vec![text], predict)]);
    }
    #[derive(Deserialize)]
    struct Line {
        #[serde(alias = "text")]
        prompt: String,
        kind: Option<String>,
    }
    let mut kinds: Vec<Kind> = Vec::new();
    for (at, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let line: Line = serde_json::from_str(line).map_err(|error| bad(at + 1, error.to_string()))?;
        let name = line.kind.unwrap_or_else(|| stem.clone());
        let prompt = Prompt::new(line.prompt, predict);
        match kinds.iter_mut().find(|kind| kind.name == name) {
            Some(kind) => kind.prompts.push(prompt),
            None => kinds.push(Kind {
                name,
                prompts: vec![prompt],
                context: None,
            }),
        }
    }
    Ok(kinds)
}

/// A checksum of all prompts.
pub fn sha256(kinds: &[Kind]) -> String {
    let mut hash = Sha256::new();
    for kind in kinds {
        for prompt in &kind.prompts {
            for part in [
                kind.name.as_bytes(),
                prompt.text.as_bytes(),
                prompt.predict.to_string().as_bytes(),
            ] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Kind {
    fn new(name: String, prompts: Vec<String>, predict: usize) -> Kind {
        Kind {
            name,
            prompts: prompts
                .into_iter()
                .map(|text| Prompt::new(text, predict))
                .collect(),
            context: None,
        }
    }
}

impl Prompt {
    fn new(text: String, predict: usize) -> Prompt {
        Prompt {
            text,
            predict,
            thinking: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_that_are_built_in_can_be_read() {
        let kinds = built_in(128);
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name.as_str()).collect();
        assert_eq!(names, ["code", "json", "prose", "chat", "translation", "short"]);
        assert!(kinds.iter().all(|kind| kind.prompts.len() == 4));
        assert_eq!(kinds[5].prompts[0].predict, 24);
        assert_eq!(thinking(64).len(), 2);
    }

    #[test]
    fn long_prompts_have_about_the_length_that_is_asked_for() {
        for tokens in [512, 4096, 16384] {
            let kind = long(tokens, 4.0, 128);
            for prompt in &kind.prompts {
                let len = prompt.text.len();
                assert!(len <= tokens * 4 && len + 200 > tokens * 4, "{len}");
            }
        }
    }
}
