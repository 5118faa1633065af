//! From a GGUF file to one of another type, as `llama-quantize` does it: the same tensors in the same order, the same
//! metadata. Knows no architecture beyond what the mixtures ask.

pub mod imatrix;

use crate::gguf::{Endian, FormatError, Gguf, GgufError, KeyError, LayoutError, Metadata, Value};
use crate::plan::{Plan, PlannedTensor, Source};
use crate::quant::GgmlType;
use crate::quant::recipe::{self, FileType, Model};
use crate::quantize::imatrix::ImportanceMatrix;
use crate::text::Glob;
use crate::text::escape;
use bstr::BStr;
use std::path::{Path, PathBuf};

/// What the user asks for.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// Type of the output.
    pub file_type: FileType,
    /// Every weight in the file's own type.
    pub pure: bool,
    /// Types by name pattern, the first that matches.
    pub overrides: &'a [(Glob, GgmlType)],
    /// Encode tensors anew that are quantized already, which loses twice.
    pub allow_requantize: bool,
    /// How much the columns of the tensors matter.
    pub importance: Option<Importance<'a>>,
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
    #[error("type {0} can be read but not written")]
    NoEncoder(GgmlType),
}

impl QuantizeError {
    /// The file that it is about, where it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            QuantizeError::Gguf(error) => Some(&error.path),
            QuantizeError::Layout(_) => None,
            QuantizeError::Requantize { path, .. }
            | QuantizeError::Integers { path, .. }
            | QuantizeError::ImportanceSize { path, .. } => Some(path),
            QuantizeError::NoEncoder(..) => None,
        }
    }
}

/// Plans the file.
pub fn plan<'a>(gguf: &'a Gguf, options: Options<'a>) -> Result<Plan<'a>, QuantizeError> {
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
    let recipe = recipe::Options {
        pure: options.pure,
        importance: options.importance.is_some(),
        overrides: options.overrides,
    };
    let types = recipe::choose(options.file_type, &model(gguf)?, &described, &recipe);

    let mut tensors = Vec::with_capacity(sources.len());
    for ((name, tensor), ty) in sources.into_iter().zip(types) {
        check_change(gguf, name, tensor.ty, ty, options)?;
        let mut planned = PlannedTensor {
            name: name.to_owned(),
            dims: tensor.info.dims.clone(),
            ty,
            source: Source::of_gguf(name, gguf.path(), tensor),
            importance: None,
        };
        planned.importance = importance_of(gguf, &planned, options)?;
        tensors.push(planned);
    }
    let metadata = metadata(gguf, options);
    let warnings = warnings(&tensors, options);
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

/// The weights of a tensor's columns, checked for their number.
fn importance_of<'a>(
    gguf: &Gguf,
    tensor: &PlannedTensor,
    options: Options<'a>,
) -> Result<Option<&'a [f32]>, QuantizeError> {
    let is_encoded = tensor.ty.is_quantized() && tensor.source.ty != tensor.ty;
    let Some(weights) = options
        .importance
        .filter(|_| is_encoded)
        .and_then(|i| i.matrix.get(&tensor.name))
    else {
        return Ok(None);
    };
    let columns = tensor.row_len();
    let matrices: u64 = tensor.dims.iter().skip(2).product();
    if columns.checked_mul(matrices) != Some(weights.len() as u64) {
        return Err(QuantizeError::ImportanceSize {
            path: gguf.path().to_owned(),
            name: escape(tensor.name.as_bytes()),
            columns,
            matrices,
            found: weights.len(),
        });
    }
    Ok(Some(weights))
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
    metadata.set("general.file_type", options.file_type.id());
    if let Some(Importance { matrix, name }) = options.importance {
        metadata.set("quantize.imatrix.file", name);
        if let Some(dataset) = matrix.datasets.first() {
            metadata.set("quantize.imatrix.dataset", Value::String(dataset.clone()));
        }
        metadata.set("quantize.imatrix.entries_count", matrix.len() as u32);
        if matrix.chunks > 0 {
            metadata.set("quantize.imatrix.chunks_count", matrix.chunks);
        }
    }
    metadata
}

fn warnings(tensors: &[PlannedTensor], options: Options) -> Vec<String> {
    let mut warnings = Vec::new();
    for (glob, _) in options.overrides {
        let fits = |tensor: &PlannedTensor| glob.matches(BStr::new(&tensor.name));
        if !tensors.iter().any(fits) {
            warnings.push(format!("--tensor-type {} matches no tensor", glob.as_str()));
        }
    }
    let twice = tensors
        .iter()
        .filter(|t| t.source.ty.is_quantized() && t.source.ty != t.ty)
        .count();
    if twice > 0 {
        warnings.push(format!("{twice} tensors were quantized already and lose twice"));
    }
    warnings
}
