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
use crate::arch::{Arch, FILE_TYPE, Number};
use crate::checkpoint::{Checkpoint, CheckpointError, kind_of_config};
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
}

/// Plans the conversion of `checkpoint`, with `target` as a further source.
pub fn plan<'a>(
    arch: &Arch,
    checkpoint: &'a Checkpoint,
    target: Option<&'a Gguf>,
    options: Options,
) -> Result<Conversion<'a>, ConvertError> {
    let target_source = target.map(|gguf| Target::accept(gguf, arch)).transpose()?;
    let config = checkpoint.config()?;
    match config {
        Some(config) => check_config(arch, checkpoint, config)?,
        None if target.is_none() => {
            return Err(ConvertError::NoConfig {
                path: checkpoint.path().to_owned(),
            });
        }
        None => {}
    }
    checkpoint.refuse_quantized()?;
    let facts = CheckpointFacts {
        arch,
        checkpoint,
        config,
        target: target_source,
    };
    let mut hparams = Hparams::resolve(facts)?;
    if let Some(target) = target_source {
        check_pair(arch, &hparams, target)?;
    }

    let mut warnings = Vec::new();
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
    metadata.set("general.type", "model");
    let general = General::read(checkpoint)?;
    if let Some(target) = target.filter(|_| !general.has_generation_config()) {
        copy_sampling(&mut metadata, &mut hparams.derived, target);
    }
    general.write(&mut metadata, tensors.iter().map(PlannedTensor::elements).sum());
    for spec in &arch.metadata {
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
        &arch.tokenizer,
        &mut warnings,
    )?;
    warn_of_refusals(arch, &metadata, options, &tensors, &mut warnings);

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
    })
}

/// Whether a config is of this architecture: by `model_type`, or where there is none by its class.
fn is_stated(arch: &Arch, config: &Json) -> bool {
    let is = |known: &[String], name: &Json| known.iter().any(|known| name == known.as_str());
    match config
        .get("model_type")
        .filter(|model_type| !model_type.is_null())
    {
        Some(model_type) => is(&arch.model_types, model_type),
        None => {
            let classes = config.get("architectures").and_then(Json::as_array);
            classes.is_some_and(|classes| classes.iter().any(|class| is(&arch.classes, class)))
        }
    }
}

/// The config is that of a drafter, and sets nothing that this program does not know.
fn check_config(arch: &Arch, checkpoint: &Checkpoint, config: &Json) -> Result<(), ConvertError> {
    let path = || checkpoint.folder().join("config.json");
    if !is_stated(arch, config) {
        return Err(match kind_of_config(config) {
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
        let value = config
            .pointer(&expectation.config)
            .filter(|value| !value.is_null());
        if let Some(value) = value.filter(|value| !expectation.one_of.contains(value)) {
            let expected: Vec<String> = expectation.one_of.iter().map(Json::to_string).collect();
            return Err(ConvertError::ConfigValue {
                path: path(),
                key: expectation.config.clone(),
                found: value.to_string(),
                expected: expected.join(" or "),
            });
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
    let in_group = |tensor: &PlannedTensor| {
        let spec = arch.tensor_spec(&tensor.name);
        spec.is_some_and(|spec| spec.group.is_some())
    };
    if options.keep_centroids && tensors.iter().any(in_group) {
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
