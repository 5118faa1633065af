//! The plan of a conversion: every key, every tensor with its source, type and place. Pure data; nothing is written.

use super::error::ConvertError;
use super::fields::wrong_types;
use super::general::General;
use super::hparams::Hparams;
use super::keys::{copy_sampling, write_key, write_vocabulary};
use super::options::Options;
use super::tensors::Ignored;
use super::tensors::source_tensors;
use super::types::{assign_types, settle};
use crate::arch::{Arch, FILE_TYPE, MetadataSpec, Number, TokenizerOf};
use crate::checkpoint::{CheckpointError, CheckpointHead, kind_of_config};
use crate::facts::{CheckpointFacts, Derived, Mismatch, MismatchKind, Target, broken_rules, mismatches};
use crate::gguf::{Endian, Gguf, Metadata};
use crate::io::kind::{FileKind, Wanted, WrongKind};
use crate::plan::{Plan, PlannedTensor};
use crate::quant::recipe::FileType;
use serde_json::Value as Json;

/// A conversion before a byte is written: the output's plan, and how it came about.
#[derive(Debug)]
#[non_exhaustive]
pub struct Conversion<'a> {
    /// The output.
    pub plan: Plan<'a>,
    /// Source tensors left out.
    pub ignored: Vec<Ignored>,
    /// Numbers that no config stated.
    pub derived: Vec<Derived>,
    /// Where the tokenizer comes from, in words.
    pub tokenizer: &'static str,
    /// The type of the file, settled.
    pub file_type: FileType,
    /// What the checkpoint is called: its folder or file.
    pub source_name: String,
    /// `general.architecture` of the output.
    pub architecture: String,
    /// What people call models of the kind.
    pub kind: String,
    /// How a runtime drafts with it; `None` for what drafts for nothing.
    pub draft: Option<Draft>,
}

/// How a runtime drafts with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What follows `--spec-type`.
    pub spec_type: String,
    /// How the file's name begins where runtimes find it by themselves.
    pub prefix: String,
    /// Width of the target.
    pub target_width: Option<usize>,
}

/// Plans the conversion of `checkpoint`, with `target` as a further source.
pub fn plan<'a>(
    arch: &Arch,
    checkpoint: &'a CheckpointHead,
    target: Option<&'a Gguf>,
    options: Options,
) -> Result<Conversion<'a>, ConvertError> {
    if !arch.is_drafter() && target.is_some() {
        let (found, wanted) = (FileKind::TargetCheckpoint, Wanted::Checkpoint);
        return Err(CheckpointError::new(checkpoint.path(), WrongKind { found, wanted }).into());
    }
    let target_source = target.map(|gguf| Target::accept(gguf, arch)).transpose()?;
    let mut warnings = Vec::new();
    let config = checkpoint.config()?.map(|config| arch.merged(config));
    let config = config.as_deref();
    match config {
        Some(config) => check_config(arch, checkpoint, config, &mut warnings)?,
        None if target.is_none() => {
            return Err(ConvertError::NoConfig {
                path: checkpoint.path().to_owned(),
            });
        }
        None => {}
    }
    if let Some(beside) = arch.beside.iter().find(|beside| checkpoint.has(&beside.file)) {
        return Err(ConvertError::Beside {
            path: checkpoint.folder().join(&beside.file),
            why: beside.refused.clone(),
        });
    }
    checkpoint.refuse_quantized()?;
    let general = General::read(checkpoint)?;
    let facts = CheckpointFacts {
        arch,
        checkpoint,
        config,
        generation: general.generation(),
        target: target_source,
    };
    let mut hparams = Hparams::resolve(facts)?;
    if let Some(target) = target_source {
        check_pair(arch, &hparams, target)?;
    }

    if let Some((target, kind @ FileKind::OllamaModel(_))) = target.map(|target| (target, target.kind())) {
        let (path, way_out) = (target.path().display(), kind.way_out(Wanted::Target));
        warnings.push(format!("{path} is {kind}; {way_out}"));
    }
    let (sourced, ignored) = source_tensors(arch, checkpoint, target, &hparams, options, &mut warnings)?;
    let file_type = settle(options, &sourced);
    let tensors = assign_types(sourced, file_type, options, &hparams)?;
    hparams
        .numbers
        .set(FILE_TYPE, Number::from(u64::from(file_type.id())));

    let mut metadata = Metadata::default();
    metadata.set("general.architecture", arch.architecture.as_str());
    let is_first = |spec: &&MetadataSpec| spec.first;
    for spec in arch.metadata.iter().filter(is_first) {
        write_key(&mut metadata, spec, &hparams, options, checkpoint.path())?;
    }
    metadata.set("general.type", "model");
    // Upstream takes nothing of the target's for a drafter whose tokenizer it takes from there.
    let is_own = arch.tokenizer_of == TokenizerOf::Checkpoint;
    if let Some(target) = target.filter(|_| is_own && general.generation().is_none()) {
        copy_sampling(&mut metadata, &mut hparams.derived, target);
    }
    general.write(&mut metadata, &tensors);
    // What stands last of the tokenizer's keys comes behind its own.
    let is_late = |spec: &MetadataSpec| spec.key.starts_with("tokenizer.");
    let late = arch.metadata.iter().rposition(|spec| !is_late(spec));
    let (early, late) = arch.metadata.split_at(late.map_or(0, |last| last + 1));
    for spec in early.iter().filter(|spec| !spec.first) {
        write_key(&mut metadata, spec, &hparams, options, checkpoint.path())?;
    }
    warnings.extend(wrong_types(checkpoint)?);
    let rows = hparams.numbers.count("vocab").unwrap_or(0);
    let tokenizer = write_vocabulary(
        &mut metadata,
        checkpoint,
        target,
        options,
        rows,
        arch,
        &mut warnings,
    )?;
    for spec in late.iter().filter(|spec| !spec.first) {
        write_key(&mut metadata, spec, &hparams, options, checkpoint.path())?;
    }
    warn_of_refusals(arch, &metadata, options, &tensors, &mut warnings);

    let target_width = arch.target_width(&hparams.numbers);
    let run = arch.run(|name| tensors.iter().any(|tensor| tensor.name == name));
    let draft = run.map(|run| Draft {
        spec_type: run.spec_type.clone(),
        prefix: run.prefix.clone(),
        target_width,
    });
    let plan = Plan::new(metadata, tensors, Endian::Little, warnings)?;
    let source_name = general.folder_name().to_owned();
    let Hparams { derived, .. } = hparams;
    Ok(Conversion {
        plan,
        ignored,
        derived,
        tokenizer,
        file_type,
        source_name,
        architecture: arch.architecture.clone(),
        kind: arch.name.clone(),
        draft,
    })
}

/// The config is of this architecture, and sets nothing that this program or the runtime does not know.
fn check_config(
    arch: &Arch,
    checkpoint: &CheckpointHead,
    config: &Json,
    warnings: &mut Vec<String>,
) -> Result<(), ConvertError> {
    let path = || checkpoint.folder().join("config.json");
    let kind = kind_of_config(config);
    let is_copied =
        kind == Some(FileKind::TargetCheckpoint) && arch.is_drafter() && arch.fits_tensors(checkpoint);
    if is_copied {
        warnings.push(format!(
            "config.json says that this is a target; it is converted as a drafter ({}), whose tensors it has",
            arch.name
        ));
    } else if !arch.fits_config(config) {
        return Err(match kind {
            None => ConvertError::NoModelType { path: path() },
            Some(FileKind::OtherCheckpoint(found)) => ConvertError::ModelType {
                path: path(),
                found,
                expected: arch.model_types.join(" or "),
            },
            Some(found) => {
                let wanted = Wanted::Checkpoint;
                CheckpointError::new(checkpoint.path(), WrongKind { found, wanted }).into()
            }
        });
    }
    for expectation in &arch.expectations {
        let key = &expectation.config;
        let value = config.pointer(key).filter(|value| !value.is_null());
        let is_one = |value: &Json| expectation.one_of.contains(value);
        let is_right = match value {
            None => !expectation.required,
            Some(Json::Array(items)) if expectation.each => items.iter().all(is_one),
            Some(value) => !expectation.each && is_one(value),
        };
        if is_right {
            continue;
        }
        let found = value.map_or_else(|| "missing".to_owned(), Json::to_string);
        match (&expectation.warn, &expectation.refused) {
            (Some(lost), _) => warnings.push(format!("{key} of config.json is {found}: {lost}")),
            (None, Some(why)) => {
                return Err(ConvertError::Unsupported {
                    path: path(),
                    key: key.clone(),
                    found,
                    why: why.clone(),
                });
            }
            (None, None) => {
                let expected: Vec<String> = expectation.one_of.iter().map(Json::to_string).collect();
                return Err(ConvertError::ConfigValue {
                    path: path(),
                    key: key.clone(),
                    found,
                    expected: expected.join(" or "),
                });
            }
        }
    }
    Ok(())
}

/// Drafter and target agree on every number that they must share.
fn check_pair(arch: &Arch, hparams: &Hparams, target: Target) -> Result<(), ConvertError> {
    let path = target.gguf.path().to_owned();
    let mut found = mismatches(arch, &hparams.numbers, target);
    let Some(Mismatch { pair, kind }) = found.find(|mismatch| !mismatch.pair.check_only) else {
        return Ok(());
    };
    Err(match kind {
        MismatchKind::Differs { ours, theirs } if pair.refused.is_some() => ConvertError::TargetLimit {
            path,
            what: pair.what.clone(),
            target: format!("{} is {theirs}", pair.target),
            drafter: ours.to_string(),
            why: pair.refused.clone().unwrap_or_default(),
        },
        MismatchKind::Differs { ours, theirs } => ConvertError::TargetNumber {
            path,
            what: pair.what.clone(),
            target: theirs.to_string(),
            drafter: ours.to_string(),
        },
        MismatchKind::Outside { found, allowed } => ConvertError::ConfigValue {
            path,
            key: pair.target.clone(),
            found: found.to_string(),
            expected: allowed,
        },
        MismatchKind::Missing => ConvertError::TargetKey {
            path,
            key: pair.target.clone(),
        },
        MismatchKind::Unreadable(error) => error.into(),
    })
}

/// What stock llama.cpp would not load.
fn warn_of_refusals(
    arch: &Arch,
    metadata: &Metadata,
    options: Options,
    tensors: &[PlannedTensor],
    warnings: &mut Vec<String>,
) {
    if options.keep_centroids && tensors.iter().any(|tensor| arch.is_on_demand(&tensor.name)) {
        warnings.push(
            "llama.cpp will not load this file: it refuses the tensors of the centroid head".to_owned(),
        );
    }
    // Other programs may load it, and the numbers may be true.
    for rule in broken_rules(arch, |key| metadata.get(key)) {
        let (keys, must) = (rule.keys.join(" and "), rule.must.name());
        warnings.push(format!(
            "llama.cpp will not load this file: it refuses {} ({keys} must {must})",
            rule.refused
        ));
    }
}
