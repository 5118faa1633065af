//! Why a conversion stops.

use crate::arch::ArchError;
use crate::checkpoint::CheckpointError;
use crate::facts::TargetError;
use crate::gguf::{GgufError, LayoutError};
use crate::io::ReadError;
use crate::quant::GgmlType;
use std::path::{Path, PathBuf};

/// Why a conversion stops. Each message names the file, the tensor or key, and a hint.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum ConvertError {
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error(transparent)]
    Arch(#[from] ArchError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Layout(#[from] LayoutError),

    #[error(
        "{}: no config.json beside the weights; download it from the drafter's repository, \
         or pass --target with the target's GGUF, from which the rest can be derived", path.display()
    )]
    NoConfig { path: PathBuf },
    #[error(
        "{}: no tokenizer.json beside the weights; download the tokenizer files from the drafter's repository, \
         or pass --target with the target's GGUF to take its tokenizer", path.display()
    )]
    NoTokenizer { path: PathBuf },
    #[error(
        "tensor {name} in {ty} would keep nothing of use without weights from an importance matrix, of which convert knows \
         none; convert to bf16, then run gguf-conv quantize with --imatrix"
    )]
    NoImportance { name: String, ty: GgmlType },
    #[error("--tokenizer target needs --target with the target's GGUF")]
    TokenizerWithoutTarget,
    #[error("{}: model_type is {found}, not {expected}; this is another model", path.display())]
    ModelType {
        path: PathBuf,
        found: String,
        expected: String,
    },
    #[error(
        "{}: it has neither model_type nor architectures, so nothing tells what the checkpoint is; download it again from \
         the drafter's repository", path.display()
    )]
    NoModelType { path: PathBuf },
    #[error("{}: {key} is {found}; expected {expected}", path.display())]
    ConfigValue {
        path: PathBuf,
        key: String,
        found: String,
        expected: String,
    },
    #[error("{}: {key} is {found}: {why}", path.display())]
    Unsupported {
        path: PathBuf,
        key: String,
        found: String,
        why: String,
    },
    #[error("{}: {why}", path.display())]
    Beside { path: PathBuf, why: String },
    #[error(
        "{}: {name} is not to be found; looked at {places}{}", path.display(),
        match (is_drafter, has_config, has_target) {
            (true, _, false) => "; pass --target with the target's GGUF",
            (true, false, true) => "; add the drafter's config.json",
            (true, true, true) => "",
            (false, false, _) => "; give the folder with its config.json",
            (false, true, _) => "; download config.json again",
        }
    )]
    MissingNumber {
        path: PathBuf,
        name: String,
        places: String,
        is_drafter: bool,
        has_config: bool,
        has_target: bool,
    },
    #[error("{}: {key} cannot be written: it would be {found}; expected {expected}; correct config.json", path.display())]
    KeyValue {
        path: PathBuf,
        key: String,
        found: String,
        expected: &'static str,
    },
    #[error("{}: cannot tell sliding from full layers: {why}; add the drafter's config.json", path.display())]
    LayerKinds { path: PathBuf, why: String },

    #[error("{}: tensor {name} is missing{hint}", path.display())]
    MissingTensor {
        path: PathBuf,
        name: String,
        hint: String,
    },
    #[error(
        "{}: tensor {name} has checkpoint shape {found:?} (outermost first), expected {expected:?} ({formula}); \
         give the config.json that belongs to these weights", path.display()
    )]
    TensorShape {
        path: PathBuf,
        name: String,
        /// Outermost first, as `expected`.
        found: Vec<u64>,
        expected: Vec<u64>,
        /// The formulas that give what is expected.
        formula: String,
    },
    #[error(
        "{}: tensor {name} stands for the drafter's {for_tensor}, but has {found_and_expected} (dims, innermost first); \
         pass the GGUF of the model that the drafter was made for", path.display()
    )]
    TargetDims {
        path: PathBuf,
        name: String,
        /// The drafter's tensor, by its name in the checkpoint.
        for_tensor: String,
        /// The dims that it has and those that it should have, in words.
        found_and_expected: String,
    },
    #[error(
        "{}: the {count} rows of tensor {name} do not divide into heads ({heads}) of pairs; download the checkpoint again",
        path.display()
    )]
    Rows {
        path: PathBuf,
        name: String,
        count: usize,
        heads: String,
    },
    #[error("{}: tensor {name}: {fault}; download the checkpoint again, or ask its author", path.display())]
    Ids {
        path: PathBuf,
        name: String,
        fault: String,
    },
    #[error("{}: tensor {name} has dtype {dtype}, which cannot become {wanted}", path.display())]
    TensorDtype {
        path: PathBuf,
        name: String,
        dtype: String,
        wanted: String,
    },
    #[error("{}: {count} tensors are not part of a {architecture} model: {names}", path.display())]
    UnexpectedTensors {
        path: PathBuf,
        architecture: String,
        count: usize,
        names: String,
    },
    #[error("{}: {name} differs from {same_as}, but llama.cpp has one table for both", path.display())]
    NotTied {
        path: PathBuf,
        name: String,
        same_as: String,
    },

    #[error(
        "{}: does not belong to this drafter: {what} is {target} in the target and {drafter} in the drafter; \
         pass the GGUF of the model that the drafter was made for", path.display()
    )]
    TargetNumber {
        path: PathBuf,
        what: String,
        target: String,
        drafter: String,
    },
    #[error("{}: {what} is {drafter} in the drafter, and {target}: {why}", path.display())]
    TargetLimit {
        path: PathBuf,
        what: String,
        /// The target's key and number, in words.
        target: String,
        drafter: String,
        why: String,
    },
    #[error(
        "{}: its tokenizer is of the kind {found}, the drafter's is {expected}; put the drafter's tokenizer.json and \
         tokenizer_config.json beside the weights, or pass a GGUF that llama.cpp's converter made", path.display()
    )]
    TargetTokenizer {
        path: PathBuf,
        found: String,
        expected: String,
    },
    #[error("{}: {key} is missing, so it cannot be checked against the drafter", path.display())]
    TargetKey { path: PathBuf, key: String },
    #[error(
        "{}: does not have the drafter's vocabulary: {difference}; pass the GGUF of the model that the drafter was made for",
        path.display()
    )]
    TargetVocabulary { path: PathBuf, difference: String },
    #[error("{}: {fault}; {hint}", path.display())]
    Merges {
        path: PathBuf,
        fault: String,
        hint: &'static str,
    },
    #[error("{}: the tokenizer has {tokens} tokens, the embedding {rows} rows{hint}", path.display())]
    VocabularySize {
        path: PathBuf,
        tokens: usize,
        rows: usize,
        hint: String,
    },
}

impl ConvertError {
    /// The file that it is about, where it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            ConvertError::Checkpoint(error) => Some(&error.path),
            ConvertError::Gguf(error) => Some(&error.path),
            ConvertError::Arch(error) => Some(&error.path),
            ConvertError::Target(error) => error.path(),
            ConvertError::Layout(_) => None,
            ConvertError::NoConfig { path, .. }
            | ConvertError::NoTokenizer { path, .. }
            | ConvertError::ModelType { path, .. }
            | ConvertError::NoModelType { path }
            | ConvertError::TargetTokenizer { path, .. }
            | ConvertError::ConfigValue { path, .. }
            | ConvertError::Unsupported { path, .. }
            | ConvertError::Beside { path, .. }
            | ConvertError::KeyValue { path, .. }
            | ConvertError::MissingNumber { path, .. }
            | ConvertError::LayerKinds { path, .. }
            | ConvertError::MissingTensor { path, .. }
            | ConvertError::TensorShape { path, .. }
            | ConvertError::TargetDims { path, .. }
            | ConvertError::TensorDtype { path, .. }
            | ConvertError::Rows { path, .. }
            | ConvertError::Ids { path, .. }
            | ConvertError::UnexpectedTensors { path, .. }
            | ConvertError::NotTied { path, .. }
            | ConvertError::TargetNumber { path, .. }
            | ConvertError::TargetLimit { path, .. }
            | ConvertError::TargetKey { path, .. }
            | ConvertError::TargetVocabulary { path, .. }
            | ConvertError::Merges { path, .. }
            | ConvertError::VocabularySize { path, .. } => Some(path),
            ConvertError::TokenizerWithoutTarget | ConvertError::NoImportance { .. } => None,
        }
    }
}

impl ConvertError {
    /// Why a file could not be read, where that is the cause.
    pub(crate) fn read(&self) -> Option<&ReadError> {
        use crate::checkpoint::CheckpointErrorKind;
        use crate::gguf::GgufErrorKind;
        match self {
            ConvertError::Checkpoint(CheckpointError {
                kind: CheckpointErrorKind::Read(e),
                ..
            })
            | ConvertError::Gguf(GgufError {
                kind: GgufErrorKind::Read(e),
                ..
            })
            | ConvertError::Target(TargetError::Gguf(GgufError {
                kind: GgufErrorKind::Read(e),
                ..
            })) => Some(e),
            ConvertError::Arch(e) => e.io.as_ref(),
            _ => None,
        }
    }
}
