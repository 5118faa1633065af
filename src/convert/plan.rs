//! The plan of a conversion: every key, every tensor with its source, type and place. Pure data; nothing is written.

use super::error::ConvertError;
use super::general::General;
use super::hparams::{Derived, Hparams, Sources, layer_of, whole};
use super::target::Target;
use super::types::{FileType, OutType};
use super::vocab;
use crate::arch::{Arch, Formula, Generator, MetadataSpec, ScalarType, TensorSpec};
use crate::checkpoint::tokenizer::Tokenizer;
use crate::checkpoint::{Checkpoint, SourceTensor};
use crate::gguf::{Array, Gguf, Layout, Metadata, TensorSpec as OutputTensor, Value, escape};
use crate::quant::GgmlType;
use serde_json::Value as Json;
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

/// Which tokenizer goes into the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenizerSource {
    /// The drafter's where its folder has one, else the target's.
    #[default]
    Auto,
    /// The drafter's.
    Drafter,
    /// The target's.
    Target,
}

/// What the user asks for.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Output type.
    pub outtype: OutType,
    /// The output type for the embedding too.
    pub pure: bool,
    /// Write the centroid head.
    pub keep_centroids: bool,
    /// Which tokenizer to write.
    pub tokenizer: TokenizerSource,
}

/// Where the numbers of an output tensor come from.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    /// In words: the checkpoint's tensor, the target's, or how it is computed.
    pub origin: String,
    /// The file, for messages.
    pub path: &'a Path,
    /// Type of the elements.
    pub ty: GgmlType,
    /// The elements.
    pub data: Cow<'a, [u8]>,
}

/// A tensor of the output.
#[derive(Debug, Clone)]
pub struct PlannedTensor<'a> {
    /// Name in the output.
    pub name: String,
    /// Lengths, innermost first.
    pub dims: Vec<u64>,
    /// Type in the output.
    pub ty: GgmlType,
    /// Where its numbers come from.
    pub source: Source<'a>,
}

/// A source tensor that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// Its name in the checkpoint.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Everything about an output file before a byte of it is written.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Keys and values in order.
    pub metadata: Metadata,
    /// Tensors in order.
    pub tensors: Vec<PlannedTensor<'a>>,
    /// Where everything goes.
    pub layout: Layout,
    /// Source tensors left out.
    pub ignored: Vec<Ignored>,
    /// Numbers that no config stated.
    pub derived: Vec<Derived>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Where the tokenizer comes from, in words.
    pub tokenizer: &'static str,
    /// The output type, settled.
    pub outtype: GgmlType,
    /// What the checkpoint is called: its folder or file.
    pub source_name: String,
}

impl PlannedTensor<'_> {
    /// What the layout needs to know.
    pub fn spec(&self) -> OutputTensor {
        OutputTensor {
            name: self.name.as_str().into(),
            dims: self.dims.clone(),
            ty: self.ty.into(),
            // A row that does not divide into blocks makes the layout fail.
            size: self.ty.bytes(self.elements()).unwrap_or(u64::MAX),
        }
    }

    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.dims.iter().product()
    }

    /// Elements a row.
    pub fn row_len(&self) -> u64 {
        self.dims.first().copied().unwrap_or(1)
    }
}

/// Plans the conversion of `checkpoint`, with `target` as a further source.
pub fn plan<'a>(
    arch: &Arch,
    checkpoint: &'a Checkpoint,
    target: Option<&'a Gguf>,
    options: Options,
) -> Result<Plan<'a>, ConvertError> {
    checkpoint.refuse_quantized()?;
    let target_source = target.map(|gguf| accept_target(gguf, arch)).transpose()?;
    let config = checkpoint.json("config.json")?;
    match &config {
        Some(config) => check_config(arch, checkpoint, config)?,
        None if target.is_none() => {
            return Err(ConvertError::NoConfig {
                path: checkpoint.path().to_owned(),
            });
        }
        None => {}
    }
    let sources = Sources {
        arch,
        checkpoint,
        config: config.as_ref(),
        target: target_source,
    };
    let mut hparams = Hparams::resolve(sources)?;
    if let Some(target) = target_source {
        check_pair(arch, &hparams, target)?;
    }

    let mut warnings = Vec::new();
    let (sourced, ignored) = source_tensors(arch, checkpoint, target, &hparams, options, &mut warnings)?;
    let first_matrix = sourced
        .iter()
        .find(|(spec, t)| spec.quantize && t.dims.len() >= 2)
        .map(|(_, t)| t.source.ty);
    let file_type = options.outtype.settle(first_matrix, options.pure);
    let tensors = assign_types(sourced, file_type)?;
    hparams.set("file_type", file_type.id.into());

    let mut metadata = Metadata::default();
    metadata.set("general.architecture", arch.architecture.as_str());
    metadata.set("general.type", "model");
    let general = General::read(checkpoint)?;
    if let Some(target) = target.filter(|_| !general.has_generation_config()) {
        copy_sampling(&mut metadata, &mut hparams.derived, target);
    }
    general.write(&mut metadata, tensors.iter().map(PlannedTensor::elements).sum());
    for spec in &arch.metadata {
        write_key(&mut metadata, spec, &hparams, options)?;
    }
    let rows = hparams.count("vocab").unwrap_or(0);
    let tokenizer = write_vocabulary(&mut metadata, checkpoint, target, options, rows, &mut warnings)?;
    warn_of_refusals(arch, &hparams, options, &tensors, &mut warnings);

    let outputs: Vec<OutputTensor> = tensors.iter().map(PlannedTensor::spec).collect();
    let layout = Layout::new(&metadata, &outputs)?;
    let source_name = general.folder_name().to_owned();
    let Hparams { derived, .. } = hparams;
    let outtype = file_type.main;
    Ok(Plan {
        metadata,
        tensors,
        layout,
        ignored,
        derived,
        warnings,
        tokenizer,
        outtype,
        source_name,
    })
}

/// A target has the right architecture and no tensor of a type that nobody knows.
fn accept_target<'a>(gguf: &'a Gguf, arch: &'a Arch) -> Result<Target<'a>, ConvertError> {
    let target = Target::new(gguf, arch)?.map_err(|found| ConvertError::TargetArchitecture {
        path: gguf.path().to_owned(),
        found,
        expected: arch.target.clone(),
    })?;
    if let Some(info) = gguf.tensors().find(|info| info.ty.known().is_none()) {
        let (name, id) = (escape(&info.name), info.ty.0);
        return Err(gguf
            .error(crate::gguf::FormatError::TensorType { name, id })
            .into());
    }
    Ok(target)
}

/// The config is that of a drafter, and sets nothing that this program does not know.
fn check_config(arch: &Arch, checkpoint: &Checkpoint, config: &Json) -> Result<(), ConvertError> {
    let path = || checkpoint.folder().join("config.json");
    let model_type = config
        .get("model_type")
        .and_then(Json::as_str)
        .unwrap_or_default();
    if !arch.model_types.iter().any(|known| known == model_type) {
        return Err(ConvertError::ModelType {
            path: path(),
            found: format!("{model_type:?}"),
            expected: arch.model_types.join(" or "),
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
    let path = || target.gguf.path().to_owned();
    for pair in &arch.pairs {
        let ours = hparams
            .get(&pair.hparam, None)
            .or_else(|| hparams.get(pair.or.as_deref()?, None));
        let Some(ours) = ours else { continue };
        let theirs = target.number(&pair.target, pair.of_layer)?;
        let theirs = theirs.ok_or_else(|| ConvertError::TargetKey {
            path: path(),
            key: pair.target.clone(),
        })?;
        if ours != theirs {
            let what = pair.what.clone();
            return Err(ConvertError::TargetNumber {
                path: path(),
                what,
                target: theirs,
                drafter: ours,
            });
        }
    }
    Ok(())
}

type Sourced<'s, 'a> = (&'s TensorSpec, PlannedTensor<'a>);

/// Finds a source for every tensor of the architecture and a reason for every source tensor that is left over.
fn source_tensors<'s, 'a>(
    arch: &'s Arch,
    checkpoint: &'a Checkpoint,
    target: Option<&'a Gguf>,
    hparams: &Hparams,
    options: Options,
    warnings: &mut Vec<String>,
) -> Result<(Vec<Sourced<'s, 'a>>, Vec<Ignored>), ConvertError> {
    let mut front = Vec::new();
    let mut wanted: HashMap<String, (&TensorSpec, Option<usize>)> = HashMap::new();
    let mut dropped: HashMap<String, &TensorSpec> = HashMap::new();
    for spec in &arch.tensors {
        let layers = if spec.gguf.is_by_layer() {
            hparams.layers.len()
        } else {
            1
        };
        for layer in 0..layers {
            let at = spec.gguf.is_by_layer().then_some(layer);
            let Some(hf) = &spec.hf else {
                front.push((spec, generate(spec, at, checkpoint, hparams)?));
                continue;
            };
            let name = hf.name(layer);
            if spec.group.is_some() && !options.keep_centroids {
                dropped.insert(name, spec);
                continue;
            }
            let names = std::iter::once(&name).chain(&spec.instead);
            if let Some(found) = names.into_iter().find(|name| checkpoint.tensor(name).is_some()) {
                wanted.insert(found.clone(), (spec, at));
            } else if let Some(tensor) = from_target(spec, at, target, hparams, &name)? {
                warnings.push(format!(
                    "the drafter has no {name}; its rows are taken from the target"
                ));
                front.push((spec, tensor));
            } else if !spec.optional {
                let hint = match (&spec.from_target, target) {
                    (Some(_), None) => "; pass --target to take the target's".to_owned(),
                    _ => String::new(),
                };
                return Err(ConvertError::MissingTensor {
                    path: checkpoint.path().to_owned(),
                    name,
                    hint,
                });
            }
        }
    }

    let mut ignored = Vec::new();
    let mut unexpected = Vec::new();
    for tensor in checkpoint.tensors() {
        if let Some(&(spec, layer)) = wanted.get(tensor.name) {
            front.push((spec, from_checkpoint(spec, layer, tensor, hparams)?));
        } else if dropped.contains_key(tensor.name) {
            let reason =
                "centroid head: llama.cpp scores the whole vocabulary and loads no file that holds it";
            ignored.push(Ignored {
                name: tensor.name.to_owned(),
                reason: reason.to_owned(),
            });
        } else if let Some(reason) = reason_to_ignore(arch, checkpoint, &tensor)? {
            ignored.push(Ignored {
                name: tensor.name.to_owned(),
                reason,
            });
        } else {
            unexpected.push(tensor.name);
        }
    }
    if !unexpected.is_empty() {
        const SHOWN: usize = 5;
        let mut names = unexpected
            .iter()
            .take(SHOWN)
            .copied()
            .collect::<Vec<_>>()
            .join(", ");
        if unexpected.len() > SHOWN {
            names.push_str(", …");
        }
        return Err(ConvertError::UnexpectedTensors {
            path: checkpoint.path().to_owned(),
            architecture: arch.architecture.clone(),
            count: unexpected.len(),
            names,
        });
    }
    Ok((front, ignored))
}

/// The lengths that a tensor must have, outermost first.
fn expected_shape(
    spec: &TensorSpec,
    layer: Option<usize>,
    hparams: &Hparams,
) -> Result<Vec<u64>, ConvertError> {
    let length = |formula: &Formula| {
        let value = hparams.eval(formula, layer)?;
        whole(value)
            .map(|n| n as u64)
            .ok_or_else(|| ConvertError::UnknownNumber {
                name: format!("{value}, which is no length,"),
                formula: formula.to_string(),
            })
    };
    spec.shape.iter().map(length).collect()
}

fn from_checkpoint<'a>(
    spec: &TensorSpec,
    layer: Option<usize>,
    tensor: SourceTensor<'a>,
    hparams: &Hparams,
) -> Result<PlannedTensor<'a>, ConvertError> {
    let expected = expected_shape(spec, layer, hparams)?;
    let found: Vec<u64> = tensor.shape.iter().map(|&n| n as u64).collect();
    let is_scalar = found.is_empty() && expected == [1];
    if found != expected && !is_scalar {
        let formula = spec
            .shape
            .iter()
            .map(Formula::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        return Err(ConvertError::TensorShape {
            path: tensor.path.to_owned(),
            name: tensor.name.to_owned(),
            found,
            expected,
            formula,
        });
    }
    let is_integer = |ty| matches!(ty, GgmlType::I32 | GgmlType::I64);
    let is_float = |ty| matches!(ty, GgmlType::F32 | GgmlType::F16 | GgmlType::BF16);
    let wants_integer = spec.ty.is_some_and(is_integer);
    let ty = tensor.ggml_type().filter(|&ty| {
        if wants_integer {
            is_integer(ty)
        } else {
            is_float(ty)
        }
    });
    let ty = ty.ok_or_else(|| ConvertError::TensorDtype {
        path: tensor.path.to_owned(),
        name: tensor.name.to_owned(),
        dtype: tensor.dtype.to_string(),
        wanted: if wants_integer {
            "i32"
        } else {
            "a tensor of numbers"
        }
        .to_owned(),
    })?;
    Ok(PlannedTensor {
        name: spec.gguf.name(layer.unwrap_or(0)),
        dims: expected.into_iter().rev().collect(),
        ty,
        source: Source {
            origin: tensor.name.to_owned(),
            path: tensor.path,
            ty,
            data: Cow::Borrowed(tensor.data),
        },
    })
}

fn from_target<'a>(
    spec: &TensorSpec,
    layer: Option<usize>,
    target: Option<&'a Gguf>,
    hparams: &Hparams,
    hf_name: &str,
) -> Result<Option<PlannedTensor<'a>>, ConvertError> {
    let (Some(name), Some(target)) = (&spec.from_target, target) else {
        return Ok(None);
    };
    let Some(tensor) = target.tensor(name)? else {
        return Ok(None);
    };
    let expected = expected_shape(spec, layer, hparams)?;
    let found: Vec<u64> = tensor.info.dims.iter().rev().copied().collect();
    if found != expected {
        return Err(ConvertError::TensorShape {
            path: target.path().to_owned(),
            name: format!("{name}, which would stand in for the drafter's {hf_name},"),
            found,
            expected,
            formula: spec
                .shape
                .iter()
                .map(Formula::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        });
    }
    Ok(Some(PlannedTensor {
        name: spec.gguf.name(layer.unwrap_or(0)),
        dims: tensor.info.dims.clone(),
        ty: tensor.ty,
        source: Source {
            origin: format!("{name} of the target"),
            path: target.path(),
            ty: tensor.ty,
            data: Cow::Borrowed(tensor.data),
        },
    }))
}

fn generate<'a>(
    spec: &TensorSpec,
    layer: Option<usize>,
    checkpoint: &'a Checkpoint,
    hparams: &Hparams,
) -> Result<PlannedTensor<'a>, ConvertError> {
    let expected = expected_shape(spec, layer, hparams)?;
    let values: Vec<f32> = match spec.generate {
        Some(Generator::RopeFreqs) => {
            let rotated = hparams.get("rotated_pairs", None).unwrap_or(0.0) as u64;
            let pairs = expected.iter().product::<u64>();
            (0..pairs)
                .map(|pair| if pair < rotated { 1.0 } else { 1e30 })
                .collect()
        }
        None => Vec::new(),
    };
    Ok(PlannedTensor {
        name: spec.gguf.name(layer.unwrap_or(0)),
        dims: expected.into_iter().rev().collect(),
        ty: GgmlType::F32,
        source: Source {
            origin: "computed".to_owned(),
            path: checkpoint.path(),
            ty: GgmlType::F32,
            data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        },
    })
}

/// Why a source tensor that no rule wants may be left out.
fn reason_to_ignore(
    arch: &Arch,
    checkpoint: &Checkpoint,
    tensor: &SourceTensor,
) -> Result<Option<String>, ConvertError> {
    for rule in &arch.ignored {
        if rule.hf.matches(tensor.name).map(layer_of).is_none() {
            continue;
        }
        if let Some(same_as) = &rule.same_as {
            let twin = checkpoint.tensor(same_as);
            if twin.is_none_or(|twin| {
                (twin.dtype, twin.shape, twin.data) != (tensor.dtype, tensor.shape, tensor.data)
            }) {
                return Err(ConvertError::NotTied {
                    path: tensor.path.to_owned(),
                    name: tensor.name.to_owned(),
                    same_as: same_as.clone(),
                });
            }
        }
        return Ok(Some(rule.reason.clone()));
    }
    Ok(None)
}

/// Gives every tensor its type.
fn assign_types<'a>(
    sourced: Vec<Sourced<'_, 'a>>,
    file_type: FileType,
) -> Result<Vec<PlannedTensor<'a>>, ConvertError> {
    let typed = sourced.into_iter().map(|(spec, mut tensor)| {
        tensor.ty = match spec.ty {
            Some(ty) => ty,
            None if !spec.quantize => GgmlType::F32,
            None => file_type.of(spec.from_target.is_some(), tensor.row_len()),
        };
        let decodes = tensor.source.ty == tensor.ty || tensor.source.ty.can_decode();
        if !decodes && spec.ty.is_none() {
            return Err(ConvertError::TensorDtype {
                path: tensor.source.path.to_owned(),
                name: tensor.source.origin,
                dtype: tensor.source.ty.to_string(),
                wanted: tensor.ty.to_string(),
            });
        }
        Ok(tensor)
    });
    typed.collect()
}

fn write_key(
    metadata: &mut Metadata,
    spec: &MetadataSpec,
    hparams: &Hparams,
    options: Options,
) -> Result<(), ConvertError> {
    if spec.group.is_some() && !options.keep_centroids {
        return Ok(());
    }
    let applies = |when: &Option<String>| when.as_ref().is_none_or(|name| hparams.get(name, None).is_some());
    if let Some(by_layer) = spec.by_layer.as_ref().filter(|by_layer| applies(&by_layer.when)) {
        let values = (0..hparams.layers.len()).map(|layer| hparams.eval(&by_layer.value, Some(layer)));
        metadata.set(
            spec.key.as_str(),
            array(by_layer.ty, values.collect::<Result<Vec<f64>, _>>()?),
        );
        return Ok(());
    }
    let (Some(ty), Some(formula)) = (spec.ty, &spec.value) else {
        return Ok(());
    };
    match hparams.eval(formula, None) {
        Ok(value) => metadata.set(spec.key.as_str(), scalar(ty, value)),
        Err(_) if spec.optional => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

// Casts from f64 saturate; counts were read from files as whole numbers below 2^53.
fn scalar(ty: ScalarType, value: f64) -> Value {
    match ty {
        ScalarType::U32 => Value::U32(value as u32),
        ScalarType::I32 => Value::I32(value as i32),
        ScalarType::F32 => Value::F32(value as f32),
        ScalarType::Bool => Value::Bool(value != 0.0),
    }
}

fn array(ty: ScalarType, values: Vec<f64>) -> Array {
    match ty {
        ScalarType::U32 => Array::U32(values.into_iter().map(|v| v as u32).collect()),
        ScalarType::I32 => Array::I32(values.into_iter().map(|v| v as i32).collect()),
        ScalarType::F32 => Array::F32(values.into_iter().map(|v| v as f32).collect()),
        ScalarType::Bool => Array::Bool(values.into_iter().map(|v| v != 0.0).collect()),
    }
}

/// Sampling parameters of the target, for a drafter that has no `generation_config.json`.
fn copy_sampling(metadata: &mut Metadata, derived: &mut Vec<Derived>, target: &Gguf) {
    for (key, value) in target
        .metadata()
        .iter()
        .filter(|(key, _)| key.starts_with(b"general.sampling."))
    {
        metadata.set(key, value.clone());
        let value = value
            .as_f64()
            .or_else(|| value.as_u64().map(|n| n as f64))
            .map_or_else(String::new, |n| n.to_string());
        derived.push(Derived {
            name: escape(key),
            value,
            from: "the target".to_owned(),
        });
    }
}

/// Writes the tokenizer and says where it comes from.
fn write_vocabulary(
    metadata: &mut Metadata,
    checkpoint: &Checkpoint,
    target: Option<&Gguf>,
    options: Options,
    rows: usize,
    warnings: &mut Vec<String>,
) -> Result<&'static str, ConvertError> {
    let own = match options.tokenizer {
        TokenizerSource::Target => None,
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
            vocab::write_tokenizer(metadata, &tokenizer, rows);
            if let Some(target) = target {
                check_vocabulary(metadata, target, warnings)?;
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
            vocab::copy_tokenizer(metadata, target);
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

/// The target has the same tokens; llama.cpp also compares what it puts in front of and behind a text.
fn check_vocabulary(
    metadata: &Metadata,
    target: &Gguf,
    warnings: &mut Vec<String>,
) -> Result<(), ConvertError> {
    let Some(Value::Array(Array::String(ours))) = metadata.get("tokenizer.ggml.tokens") else {
        return Ok(());
    };
    if let Some(difference) = vocab::difference(ours, vocab::tokens(target)?) {
        return Err(ConvertError::TargetVocabulary {
            path: target.path().to_owned(),
            difference,
        });
    }
    for key in [
        "model",
        "bos_token_id",
        "eos_token_id",
        "add_bos_token",
        "add_eos_token",
    ] {
        let key = format!("tokenizer.ggml.{key}");
        if metadata.get(&key) != target.metadata().get(&key) {
            warnings.push(format!(
                "{key} differs from the target's, and llama.cpp may refuse to speculate; \
                 --tokenizer target takes the target's tokenizer"
            ));
        }
    }
    Ok(())
}

/// What stock llama.cpp would not load.
fn warn_of_refusals(
    arch: &Arch,
    hparams: &Hparams,
    options: Options,
    tensors: &[PlannedTensor],
    warnings: &mut Vec<String>,
) {
    let in_group = |tensor: &&PlannedTensor| {
        arch.tensors
            .iter()
            .any(|spec| spec.group.is_some() && spec.gguf.matches(&tensor.name).is_some())
    };
    if options.keep_centroids && tensors.iter().any(|tensor| in_group(&tensor)) {
        warnings.push(
            "llama.cpp will not load this file: it refuses the tensors of the centroid head".to_owned(),
        );
    }
    if hparams.get("backbone", None) == hparams.get("hidden", None) {
        warnings.push(
            "llama.cpp will not load this file: it refuses a drafter as wide as its target \
             (embedding_length_out equal to embedding_length)"
                .to_owned(),
        );
    }
}
