//! From a GGUF file to one of another type, as `llama-quantize` does it: the same tensors in the same order, the same
//! metadata. Knows no architecture beyond what the mixtures ask.

pub mod imatrix;
mod overrides;

use crate::gguf::{Endian, FormatError, Gguf, GgufError, KeyError, LayoutError, Metadata, Value};
use crate::io::kind::{FileKind, Wanted};
use crate::plan::{self, Fit, Plan, PlannedTensor, Source};
use crate::quant::GgmlType;
use crate::quant::recipe::{self, FileType, Model, Override};
use crate::quantize::imatrix::ImportanceMatrix;
use crate::text::escape;
use std::path::{Path, PathBuf};

/// What the user asks for.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Options<'a> {
    /// Type of the output; none for tensors as they are, which `llama-quantize` calls `COPY`.
    pub file_type: Option<FileType>,
    /// Every weight in the file's own type.
    pub pure: bool,
    /// Types by name; the first that fits counts.
    pub overrides: &'a [Override],
    /// Type of the token embeddings, tied to the output or not.
    pub token_embedding: Option<GgmlType>,
    /// Type of the output, or of the token embeddings that are tied to it.
    pub output: Option<GgmlType>,
    /// `output.weight` keeps its type.
    pub leave_output: bool,
    /// Fit Q4_0 such that weights on the grid of a quantization-aware training keep their values.
    pub qat: bool,
    /// Encode tensors anew that are quantized already, which loses twice.
    pub allow_requantize: bool,
    /// How much the columns of the tensors matter.
    pub importance: Option<Importance<'a>>,
}

impl Options<'_> {
    /// What `llama-quantize` does for this file type without further arguments.
    pub fn new(file_type: FileType) -> Self {
        Options {
            file_type: Some(file_type),
            ..Options::default()
        }
    }
}

/// An importance matrix and the name that is written into the file for it.
#[derive(Debug, Clone, Copy)]
pub struct Importance<'a> {
    /// The matrix.
    pub matrix: &'a ImportanceMatrix,
    /// Name of its file.
    pub name: &'a str,
}

/// Why a file cannot be quantized.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum QuantizeError {
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(
        "{}: tensor {name} is {from} already, and {to} of it would lose twice; \
         start from a file in f32, f16 or bf16, or pass --allow-requantize", path.display()
    )]
    Requantize {
        path: PathBuf,
        name: String,
        from: GgmlType,
        to: GgmlType,
    },
    #[error("{}: tensor {name} holds {ty}, which is no number type that can be quantized", path.display())]
    Integers {
        path: PathBuf,
        name: String,
        ty: GgmlType,
    },
    #[error(
        "{}: tensor {name} has {columns} columns in {matrices} matrices, the importance matrix {found} values for it; \
         it was made for another model", path.display()
    )]
    ImportanceSize {
        path: PathBuf,
        name: String,
        columns: u64,
        matrices: u64,
        found: usize,
    },
    #[error(
        "{}: the importance matrix has an entry for none of the {weights} tensors that are quantized; \
         it was made for another model", path.display()
    )]
    ImportanceUnmatched { path: PathBuf, weights: usize },
    #[error("type {0} can be read but not written")]
    NoEncoder(GgmlType),
    #[error("{}: no tensor is called like {pattern}; near it are {nearest}", path.display())]
    TensorType {
        path: PathBuf,
        pattern: String,
        nearest: String,
    },
    #[error(
        "{}: tensor {name} in {ty} would keep nothing of use without weights from an importance matrix; {}", path.display(),
        if *given {
            "the one that is given has none for it, or zeros alone for one of its experts: make it for this model, or name another type with --tensor-type"
        } else {
            "pass one with --imatrix, or choose a type that needs none, as iq3_s, q2_k or any larger one"
        }
    )]
    NoImportance {
        path: PathBuf,
        name: String,
        ty: GgmlType,
        given: bool,
    },
}

impl QuantizeError {
    /// The file that it is about, where it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            QuantizeError::Gguf(error) => Some(&error.path),
            QuantizeError::Layout(_) => None,
            QuantizeError::Requantize { path, .. }
            | QuantizeError::Integers { path, .. }
            | QuantizeError::ImportanceSize { path, .. }
            | QuantizeError::ImportanceUnmatched { path, .. }
            | QuantizeError::TensorType { path, .. }
            | QuantizeError::NoImportance { path, .. } => Some(path),
            QuantizeError::NoEncoder(..) => None,
        }
    }
}

/// Plans the file.
pub fn plan<'a>(gguf: &'a Gguf, options: Options<'a>) -> Result<Plan<'a>, QuantizeError> {
    if let FileKind::Adapter | FileKind::Imatrix | FileKind::Vocabulary = gguf.kind() {
        return Err(gguf.wrong_kind(Wanted::Gguf).into());
    }
    let mut sources = Vec::new();
    for info in gguf.tensors() {
        let name = std::str::from_utf8(&info.name).map_err(|_| not_utf8(gguf, &info.name))?;
        if let Some(tensor) = gguf.tensor(name)? {
            sources.push((name, tensor));
        }
    }
    sources.sort_by_key(|(name, _)| recipe::order_key(name));
    let described: Vec<recipe::Tensor> = sources
        .iter()
        .map(|(name, tensor)| recipe::Tensor {
            name,
            dims: &tensor.info.dims,
            ty: tensor.ty,
        })
        .collect();
    let asked = recipe::Options {
        pure: options.pure,
        importance: options.importance.is_some(),
        overrides: options.overrides,
        token_embedding: options.token_embedding,
        output: options.output,
        leave_output: options.leave_output,
    };
    let mut warnings = overrides::check(gguf, &described, options.overrides)?;
    if options.leave_output && !described.iter().any(|tensor| tensor.name == "output.weight") {
        warnings.push(
            "--leave-output-tensor leaves nothing: the output is tied to token_embd.weight, which is quantized"
                .to_owned(),
        );
    }
    let choices = match options.file_type {
        Some(file_type) => recipe::choose(file_type, &model(gguf)?, &described, &asked),
        None => described.iter().map(recipe::keep).collect(),
    };

    let mut tensors = Vec::with_capacity(sources.len());
    for ((name, tensor), choice) in sources.into_iter().zip(choices) {
        check_change(gguf, name, tensor.ty, choice.ty, options)?;
        let source = Source::of_gguf(name, gguf.path(), tensor);
        let mut planned = PlannedTensor::new(name, tensor.info.written_dims(), choice.ty, source);
        planned.wanted = choice.wanted;
        planned.fit = fit(gguf, &planned, options)?;
        check_importance(gguf, &planned, options)?;
        tensors.push(planned);
    }
    let metadata = metadata(gguf, options);
    warnings.extend(told_of(&tensors, options));
    if let Some(importance) = options.importance {
        warnings.extend(told_of_importance(gguf, &tensors, importance)?);
    }
    Ok(Plan::new(metadata, tensors, Endian::Little, warnings)?)
}

fn not_utf8(gguf: &Gguf, name: &[u8]) -> QuantizeError {
    gguf.error(FormatError::TensorName { name: escape(name) }).into()
}

/// A tensor may take its new type: it keeps the old one, or numbers without loss so far become blocks.
fn check_change(
    gguf: &Gguf,
    name: &str,
    from: GgmlType,
    to: GgmlType,
    options: Options,
) -> Result<(), QuantizeError> {
    let path = || gguf.path().to_owned();
    let name = || escape(name.as_bytes());
    if from == to {
        return Ok(());
    }
    if from.is_quantized() && !options.allow_requantize {
        return Err(QuantizeError::Requantize {
            path: path(),
            name: name(),
            from,
            to,
        });
    }
    if from.is_integer() {
        return Err(QuantizeError::Integers {
            path: path(),
            name: name(),
            ty: from,
        });
    }
    if !to.can_encode() {
        return Err(QuantizeError::NoEncoder(to));
    }
    Ok(())
}

/// How a tensor's blocks are fitted.
fn fit<'a>(gguf: &Gguf, tensor: &PlannedTensor, options: Options<'a>) -> Result<Fit<'a>, QuantizeError> {
    if !tensor.is_quantized_anew() {
        return Ok(Fit::Plain);
    }
    if options.qat && tensor.ty == GgmlType::Q4_0 {
        return Ok(Fit::Grid);
    }
    let weights = options.importance.and_then(|i| i.matrix.get(&tensor.name));
    let Some(weights) = weights else {
        return Ok(Fit::Plain);
    };
    let columns = tensor.row_len();
    let matrices: u64 = tensor.dims.iter().skip(2).product();
    if columns.checked_mul(matrices) == Some(weights.len() as u64) {
        return Ok(Fit::Importance(weights));
    }
    // What llama-imatrix measures of a table that is no output either does not fit it.
    if recipe::is_token_embedding(&tensor.name) {
        return Ok(Fit::Plain);
    }
    Err(QuantizeError::ImportanceSize {
        path: gguf.path().to_owned(),
        name: escape(tensor.name.as_bytes()),
        columns,
        matrices,
        found: weights.len(),
    })
}

/// The tensors that are quantized without a weight for each column though there is an importance matrix.
pub fn without_importance<'t>(tensors: &'t [PlannedTensor]) -> impl Iterator<Item = &'t PlannedTensor<'t>> {
    let is_plain = |tensor: &&PlannedTensor| tensor.is_quantized_anew() && tensor.fit == Fit::Plain;
    tensors.iter().filter(is_plain)
}

/// What the user should know of how the importance matrix fits the model.
fn told_of_importance(
    gguf: &Gguf,
    tensors: &[PlannedTensor],
    importance: Importance,
) -> Result<Vec<String>, QuantizeError> {
    let weights = tensors.iter().filter(|tensor| tensor.is_quantized_anew()).count();
    let without = without_importance(tensors).count();
    if weights > 0 && without == weights {
        return Err(QuantizeError::ImportanceUnmatched {
            path: importance.name.into(),
            weights,
        });
    }
    let mut told = Vec::new();
    if without > 0 {
        told.push(format!(
            "{without} of {weights} quantized tensors have no entry in the importance matrix and are fitted without; \
             --verbose names them"
        ));
    }
    let zeros: usize = tensors
        .iter()
        .map(PlannedTensor::matrices_without_importance)
        .sum();
    if zeros > 0 {
        told.push(format!(
            "the importance matrix holds zeros alone for {zeros} matrices of {}; they are fitted without it, \
             where llama-quantize would write zeros",
            gguf.path().display()
        ));
    }
    Ok(told)
}

/// A tensor that gets so few bits has weights to spend them by, in each of its matrices.
fn check_importance(gguf: &Gguf, tensor: &PlannedTensor, options: Options) -> Result<(), QuantizeError> {
    let is_needed = |file_type| recipe::needs_importance(file_type, &tensor.name, tensor.ty);
    let needed = tensor.is_quantized_anew() && options.file_type.is_some_and(is_needed);
    let is_given = matches!(tensor.fit, Fit::Importance(_)) && tensor.matrices_without_importance() == 0;
    if needed && !is_given {
        return Err(QuantizeError::NoImportance {
            path: gguf.path().to_owned(),
            name: escape(tensor.name.as_bytes()),
            ty: tensor.ty,
            given: options.importance.is_some(),
        });
    }
    Ok(())
}

/// What the mixtures ask about the model. Numbers that the file does not have count as 0.
fn model(gguf: &Gguf) -> Result<Model, GgufError> {
    let meta = gguf.metadata();
    let architecture = escape(gguf.key(meta.string("general.architecture"))?);
    let number = |key: &str| -> Result<usize, GgufError> {
        let key = format!("{architecture}.{key}");
        let first = match meta.get(&key) {
            None => return Ok(0),
            Some(Value::Array(array)) => array.get(0),
            Some(value) => Some(value.clone()),
        };
        let number = first
            .and_then(|value| value.as_u64())
            .and_then(|n| usize::try_from(n).ok());
        number.ok_or_else(|| {
            let found = meta.get(&key).map(Value::type_name).unwrap_or_default();
            gguf.error(KeyError::Type {
                key,
                expected: "a count, or counts by layer",
                found,
            })
        })
    };
    Ok(Model {
        layers: number("block_count")?,
        experts: number("expert_count")?,
        heads: number("attention.head_count")?,
        kv_heads: number("attention.head_count_kv")?,
    })
}

/// The input's metadata, what describes the new type at its end, nothing of a split.
fn metadata(gguf: &Gguf, options: Options) -> Metadata {
    const REPLACED: [&str; 2] = ["general.quantization_version", "general.file_type"];
    let mut metadata = Metadata::default();
    for (key, value) in gguf.metadata().iter() {
        if !key.starts_with(b"split.") && !REPLACED.iter().any(|replaced| key == replaced) {
            metadata.set(key, value.clone());
        }
    }
    metadata.set("general.quantization_version", 2_u32);
    let kept = || gguf.metadata().get("general.file_type").cloned();
    let file_type = options.file_type.map(|file_type| Value::U32(file_type.id()));
    if let Some(file_type) = file_type.or_else(kept) {
        metadata.set("general.file_type", file_type);
    }
    if let Some(Importance { matrix, name }) = options.importance {
        // llama-quantize has room for so many bytes.
        const ROOM: usize = 127;
        let cut = |text: &[u8]| Value::String(text[..text.len().min(ROOM)].into());
        metadata.set("quantize.imatrix.file", cut(name.as_bytes()));
        if let Some(dataset) = matrix.datasets.first() {
            metadata.set("quantize.imatrix.dataset", cut(dataset));
        }
        metadata.set("quantize.imatrix.entries_count", matrix.len() as u32);
        if matrix.chunks > 0 {
            metadata.set("quantize.imatrix.chunks_count", matrix.chunks);
        }
    }
    metadata
}

/// What the user should know of the types.
fn told_of(tensors: &[PlannedTensor], options: Options) -> Vec<String> {
    let mut told = plan::told_of_fallbacks(tensors);
    let twice = tensors
        .iter()
        .filter(|t| t.source.ty.is_quantized() && t.source.ty != t.ty)
        .count();
    if twice > 0 {
        told.push(format!("{twice} tensors were quantized already and lose twice"));
    }
    if options.qat && !tensors.iter().any(|tensor| tensor.fit == Fit::Grid) {
        told.push("--qat changes nothing: no tensor becomes Q4_0".to_owned());
    }
    told
}
