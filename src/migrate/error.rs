//! Why a migration stops.

use crate::facts::TargetError;
use crate::gguf::{GgufError, LayoutError};
use crate::quant::GgmlType;
use std::path::{Path, PathBuf};

/// Why a migration stops. Each message names the file, the tensor or key, and a hint.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum MigrateError {
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("{}: architecture is {found}, which is no drafter's; {known} can be migrated", path.display())]
    Architecture {
        path: PathBuf,
        found: String,
        known: String,
    },
    #[error("there is no dialect {name:?}; known are {known}")]
    Dialect { name: String, known: String },
    #[error(
        "{}: {key} is missing and cannot be derived, for {why}; {}", path.display(),
        if *has_target { "convert the checkpoint again" } else { "pass --target with the target's GGUF" }
    )]
    MissingKey {
        path: PathBuf,
        key: String,
        why: String,
        has_target: bool,
    },
    #[error(
        "{}: {key} cannot be written: it would be {found}; expected {expected}; convert the checkpoint again",
        path.display()
    )]
    KeyValue {
        path: PathBuf,
        key: String,
        found: String,
        expected: &'static str,
    },
    #[error("{}: tensor {name} is missing and cannot be computed; convert the checkpoint again", path.display())]
    MissingTensor { path: PathBuf, name: String },
    #[error(
        "{}: tensor {name} is missing and cannot be computed, for {why}; convert the checkpoint again",
        path.display()
    )]
    Generate {
        path: PathBuf,
        name: String,
        why: String,
    },
    #[error(
        "{}: {first} and {second} are two spellings of the same; remove one with another tool, or convert the \
         checkpoint again", path.display()
    )]
    Clash {
        path: PathBuf,
        first: String,
        second: String,
    },
    #[error(
        "{}: {count} tensors are no part of a {architecture} drafter: {names}; pass --drop-extra to leave them out",
        path.display()
    )]
    ExtraTensors {
        path: PathBuf,
        architecture: String,
        count: usize,
        names: String,
    },
    #[error(
        "{}: tensor {name} of type {ty} has no agreed form in the other byte order; convert the checkpoint again",
        path.display()
    )]
    Endian {
        path: PathBuf,
        name: String,
        ty: GgmlType,
    },
}

impl MigrateError {
    /// The file that it is about, where it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            MigrateError::Gguf(error) => Some(&error.path),
            MigrateError::Layout(_) => None,
            MigrateError::Target(error) => error.path(),
            MigrateError::Architecture { path, .. }
            | MigrateError::MissingKey { path, .. }
            | MigrateError::KeyValue { path, .. }
            | MigrateError::MissingTensor { path, .. }
            | MigrateError::Generate { path, .. }
            | MigrateError::Clash { path, .. }
            | MigrateError::ExtraTensors { path, .. }
            | MigrateError::Endian { path, .. } => Some(path),
            MigrateError::Dialect { .. } => None,
        }
    }
}
