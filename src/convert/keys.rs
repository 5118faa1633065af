//! Writes the metadata that an architecture file asks for, and the tokenizer.

use super::error::ConvertError;
use super::hparams::Hparams;
use super::options::{Options, TokenizerSource};
use super::vocab;
use crate::arch::{Arch, MetadataSpec, Number, TokenizerOf, ValueError};
use crate::checkpoint::CheckpointHead;
use crate::checkpoint::tokenizer::Tokenizer;
use crate::facts::{Derived, vocabulary};
use crate::gguf::{Array, Gguf, Metadata};
use crate::text::escape;
use std::path::Path;

/// Writes one key of the architecture file; `path` is what the numbers were taken from.
pub(super) fn write_key(
    metadata: &mut Metadata,
    spec: &MetadataSpec,
    hparams: &Hparams,
    options: Options,
    path: &Path,
) -> Result<(), ConvertError> {
    if spec.group.is_some() && !options.keep_centroids {
        return Ok(()); // only groups that are written on demand have keys
    }
    let value = hparams.numbers.key(spec).map_err(|error| match error {
        ValueError::Unknown(unknown) => hparams.arch.unknown(&unknown).into(),
        ValueError::Misfit(misfit) => ConvertError::KeyValue {
            path: path.to_owned(),
            key: spec.key.clone(),
            found: misfit.found,
            expected: misfit.allowed,
        },
    })?;
    if let Some(value) = value {
        metadata.set(spec.key.as_str(), value);
    }
    Ok(())
}

/// Sampling parameters of the target, for a drafter that has no `generation_config.json`.
pub(super) fn copy_sampling(metadata: &mut Metadata, derived: &mut Vec<Derived>, target: &Gguf) {
    for (key, value) in target
        .metadata()
        .iter()
        .filter(|(key, _)| key.starts_with(b"general.sampling."))
    {
        metadata.set(key, value.clone());
        let value = Number::from_value(value).map_or_else(String::new, |number| number.to_string());
        derived.push(Derived {
            name: escape(key),
            value,
            from: "the target".to_owned(),
        });
    }
}

/// Writes the tokenizer, for an embedding of so many rows and of the kind that the architecture has, and says where it
/// comes from.
pub(super) fn write_vocabulary(
    metadata: &mut Metadata,
    checkpoint: &CheckpointHead,
    target: Option<&Gguf>,
    options: Options,
    rows: usize,
    arch: &Arch,
    warnings: &mut Vec<String>,
) -> Result<&'static str, ConvertError> {
    let is_targets = arch.tokenizer_of == TokenizerOf::Target && target.is_some();
    let own = match options.tokenizer {
        TokenizerSource::Target => None,
        TokenizerSource::Auto if is_targets => None,
        TokenizerSource::Auto | TokenizerSource::Drafter => Tokenizer::read(checkpoint)?,
    };
    let wrong_size = |path: &Path, tokens: usize, hint: &str| ConvertError::VocabularySize {
        path: path.to_owned(),
        tokens,
        rows,
        hint: hint.to_owned(),
    };
    let path = checkpoint.folder().join("tokenizer.json");
    match (own, target) {
        (Some(tokenizer), _) => {
            let tokens = tokenizer.tokens.len();
            if tokens < rows {
                return Err(wrong_size(
                    &path,
                    tokens,
                    "; pass --tokenizer target with the target's GGUF",
                ));
            }
            if tokens > rows {
                warnings.push(format!(
                    "tokenizer.json has {tokens} tokens, the embedding {rows} rows; the last {} are left out, \
                     as llama.cpp loads no file where the two differ",
                    tokens - rows
                ));
            }
            vocab::write_tokenizer(metadata, &tokenizer, rows, &arch.tokenizer);
            check_merges(metadata, arch, &path, "download it again")?;
            if let Some(target) = target {
                check_vocabulary(metadata, target, arch, warnings)?;
            }
            Ok("drafter")
        }
        (None, Some(target)) if options.tokenizer != TokenizerSource::Drafter => {
            let tokens = vocab::tokens(target)?.len();
            if tokens != rows {
                return Err(ConvertError::TargetVocabulary {
                    path: target.path().to_owned(),
                    difference: format!("it has {tokens} tokens, the drafter's embedding {rows} rows"),
                });
            }
            vocab::copy_tokenizer(metadata, target, &arch.tokenizer)?;
            check_merges(
                metadata,
                arch,
                target.path(),
                "pass a GGUF that llama.cpp's converter made",
            )?;
            Ok("target")
        }
        (None, None) if options.tokenizer == TokenizerSource::Target => {
            Err(ConvertError::TokenizerWithoutTarget)
        }
        (None, _) => Err(ConvertError::NoTokenizer {
            path: checkpoint.path().to_owned(),
        }),
    }
}

/// The merges that are written join tokens that are written.
fn check_merges(
    metadata: &Metadata,
    arch: &Arch,
    path: &Path,
    hint: &'static str,
) -> Result<(), ConvertError> {
    if !vocab::has_merges(&arch.tokenizer) {
        return Ok(());
    }
    let strings = |key| match metadata.array(key) {
        Ok(Array::String(strings)) => Some(strings),
        _ => None,
    };
    let fault = match (strings(vocabulary::MERGES), strings(vocabulary::TOKENS)) {
        (Some(merges), Some(tokens)) => vocabulary::merge_faults(merges, tokens),
        _ => Some(vocabulary::no_merges()),
    };
    match fault {
        Some(fault) => Err(ConvertError::Merges {
            path: path.to_owned(),
            fault,
            hint,
        }),
        None => Ok(()),
    }
}

/// The target has the same tokens; llama.cpp also compares what it puts in front of and behind a text.
fn check_vocabulary(
    metadata: &Metadata,
    target: &Gguf,
    arch: &Arch,
    warnings: &mut Vec<String>,
) -> Result<(), ConvertError> {
    vocab::tokens(target)?;
    let found = vocabulary::compare(metadata, target, arch);
    if let Some(difference) = found.tokens {
        return Err(ConvertError::TargetVocabulary {
            path: target.path().to_owned(),
            difference,
        });
    }
    for key in found.keys {
        warnings.push(format!(
            "{key} differs from the target's, and llama.cpp may refuse to speculate; \
             --tokenizer target takes the target's tokenizer"
        ));
    }
    Ok(())
}
