//! From a GGUF to the same with other metadata: typed values, tensors as they are, and no file that does not load.

mod in_place;
mod value;

pub use in_place::{InPlace, backup_path, restore};
pub use value::{ValueSpec, parse_type};

use crate::arch::Registry;
use crate::check;
use crate::finding::{Finding, Severity};
use crate::gguf::{Endian, Gguf, GgufError, LayoutError, Metadata, SPLIT_KEYS, Value, ValueType, limits};
use crate::io::ReadError;
use crate::io::output::OutputError;
use crate::plan::{Plan, kept};
use crate::text::{escape, likely};
use std::path::{Path, PathBuf};

/// One thing to change.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// A key gets a value, in words; its type, where it is said.
    Set {
        /// The key.
        key: String,
        /// The value, as it was typed.
        text: String,
        /// The type.
        ty: Option<ValueSpec>,
    },
    /// A key goes.
    Remove(String),
}

/// What a key was and becomes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Change {
    /// The key.
    pub key: String,
    /// Its value, if it was there.
    pub from: Option<Value>,
    /// Its value, if it stays there.
    pub to: Option<Value>,
}

/// Metadata with changes made.
#[derive(Debug)]
#[non_exhaustive]
pub struct Edited {
    /// All keys.
    pub metadata: Metadata,
    /// What is not as it was, in the order in which it was asked for.
    pub changes: Vec<Change>,
    /// What keeps the file from loading that did not before.
    pub faults: Vec<Finding>,
}

/// Why metadata cannot be changed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum SetError {
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("{}: {source}", path.display())]
    Backup { path: PathBuf, source: ReadError },
    #[error("{}: {why}; name the backup that was made of this file", path.display())]
    OtherBackup { path: PathBuf, why: String },
    #[error(
        "key {key} is new, and no architecture file says of what type it is; add --type {key}=string or another"
    )]
    NoType { key: String },
    #[error("key {key} is {ty}, and {text:?} is none: {why}")]
    Value {
        key: String,
        ty: String,
        text: String,
        why: String,
    },
    #[error("{}: there is no key {key} to remove{}", path.display(), nearest.as_ref().map(|key| format!("; did you mean {key}?")).unwrap_or_default())]
    NoKey {
        path: PathBuf,
        key: String,
        nearest: Option<String>,
    },
    #[error("a key has from 1 to {} bytes; {key} has not", limits::MAX_KEY_LEN)]
    Key { key: String },
    #[error("key {key} says how the file is split; `gguf-conv split` and `gguf-conv merge` write it")]
    OfSplit { key: String },
    #[error("{}: with that it would not load: {message}; pass --force to write it all the same", path.display())]
    Unloadable { path: PathBuf, message: String },
    #[error(
        "{}: exists already, and what would replace it would not load: {message}; name another file with -o",
        path.display()
    )]
    OverExisting { path: PathBuf, message: String },
    #[error(
        "{}: the header would take {} bytes, and in front of the data there is room for {least} to {most}; \
         write another file with -o", path.display(), header
    )]
    NoRoom {
        path: PathBuf,
        header: usize,
        least: u64,
        most: u64,
    },
    #[error("{}: {why}; write another file with -o", path.display())]
    NotInPlace { path: PathBuf, why: String },
}

impl SetError {
    /// The file that it is about, where it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            SetError::Gguf(error) => Some(&error.path),
            SetError::Output(error) => error.path(),
            SetError::Backup { path, .. }
            | SetError::OtherBackup { path, .. }
            | SetError::NoKey { path, .. }
            | SetError::Unloadable { path, .. }
            | SetError::OverExisting { path, .. }
            | SetError::NoRoom { path, .. }
            | SetError::NotInPlace { path, .. } => Some(path),
            SetError::Layout(_)
            | SetError::NoType { .. }
            | SetError::Value { .. }
            | SetError::Key { .. }
            | SetError::OfSplit { .. } => None,
        }
    }

    /// Whether what was typed is at fault, and not a file.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            SetError::NoType { .. }
                | SetError::Value { .. }
                | SetError::NoKey { .. }
                | SetError::Key { .. }
                | SetError::OfSplit { .. }
        )
    }

    /// What kept a file from being read, where that is the cause.
    pub(crate) fn read(&self) -> Option<&ReadError> {
        match self {
            SetError::Gguf(error) => error.read(),
            SetError::Backup { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Makes the changes, and tells what they break. Later ones count before earlier ones of the same key.
pub fn edit(registry: &Registry, gguf: &Gguf, edits: &[Edit]) -> Result<Edited, SetError> {
    let mut metadata = gguf.metadata().clone();
    let mut changes: Vec<Change> = Vec::new();
    for edit in edits {
        let (key, to) = match edit {
            Edit::Set { key, text, ty } => {
                check_key(key)?;
                let ty = match (ty, metadata.get(key)) {
                    (Some(ty), _) => *ty,
                    (None, Some(present)) => ValueSpec::of(present),
                    (None, None) => {
                        declared(registry, gguf, key).ok_or_else(|| SetError::NoType { key: key.clone() })?
                    }
                };
                let value = ty.parse(text).map_err(|why| SetError::Value {
                    key: escape(key.as_bytes()),
                    ty: ty.to_string(),
                    text: text.clone(),
                    why,
                })?;
                (key, Some(value))
            }
            Edit::Remove(key) => {
                check_key(key)?;
                if !metadata.contains(key) {
                    return Err(no_key(gguf, key));
                }
                (key, None)
            }
        };
        match &to {
            Some(value) => metadata.set(key.as_str(), value.clone()),
            None => metadata.remove(key),
        }
        let from = gguf.metadata().get(key).cloned();
        changes.retain(|change| change.key != *key);
        if from != to {
            let key = key.clone();
            changes.push(Change { key, from, to });
        }
    }
    let faults = faults(registry, gguf, &metadata);
    Ok(Edited {
        metadata,
        changes,
        faults,
    })
}

impl Edited {
    /// An error where it would not load.
    pub fn loadable(&self, gguf: &Gguf) -> Result<(), SetError> {
        let unloadable = |message| SetError::Unloadable {
            path: gguf.path().to_owned(),
            message,
        };
        self.in_words().map_or(Ok(()), |message| Err(unloadable(message)))
    }

    /// An error where it would not load and would take the place of a file that is at `path`.
    pub fn replaces(&self, path: &Path) -> Result<(), SetError> {
        let over_existing = |message| SetError::OverExisting {
            path: path.to_owned(),
            message,
        };
        let message = self.in_words().filter(|_| path.is_file());
        message.map_or(Ok(()), |message| Err(over_existing(message)))
    }

    /// What keeps it from loading.
    fn in_words(&self) -> Option<String> {
        let first = self.faults.first()?;
        let more = match self.faults.len() {
            1 => String::new(),
            all => format!(" (and {} more)", all - 1),
        };
        Some(format!("{}{more}", first.message))
    }
}

fn check_key(key: &str) -> Result<(), SetError> {
    if key.is_empty() || key.len() > limits::MAX_KEY_LEN {
        return Err(SetError::Key {
            key: escape(key.as_bytes()),
        });
    }
    match SPLIT_KEYS.contains(&key) {
        true => Err(SetError::OfSplit { key: key.to_owned() }),
        false => Ok(()),
    }
}

fn no_key(gguf: &Gguf, key: &str) -> SetError {
    let keys: Vec<String> = gguf.metadata().iter().map(|(key, _)| escape(key)).collect();
    SetError::NoKey {
        path: gguf.path().to_owned(),
        key: escape(key.as_bytes()),
        nearest: likely(key, keys.iter().map(String::as_str)).map(ToOwned::to_owned),
    }
}

/// Texts that any model may have, and no architecture file needs to name.
const TEXTS: [&str; 12] = [
    "general.name",
    "general.author",
    "general.version",
    "general.organization",
    "general.basename",
    "general.finetune",
    "general.description",
    "general.quantized_by",
    "general.size_label",
    "general.license",
    "general.url",
    "tokenizer.chat_template",
];

/// The type that a new key has by the file's architecture.
fn declared(registry: &Registry, gguf: &Gguf, key: &str) -> Option<ValueSpec> {
    if TEXTS.contains(&key) {
        return Some(ValueSpec::One(ValueType::String));
    }
    let name = gguf.metadata().string("general.architecture").ok()?;
    let arch = match registry.of_gguf(gguf) {
        arch if arch.is_named(name) => arch,
        _ => registry.by_name(name)?,
    };
    let spec = arch.metadata.iter().find(|spec| spec.key == key)?;
    let list = spec.by_layer.as_ref().map(|by_layer| by_layer.ty);
    match (list, spec.ty.filter(|_| !arch.is_list(spec)), spec.ty) {
        (Some(ty), ..) | (None, None, Some(ty)) => Some(ValueSpec::Many(ty.value_type())),
        (None, Some(ty), _) => Some(ValueSpec::One(ty.value_type())),
        (None, None, None) => None,
    }
}

/// The errors that a check finds with this metadata and not without.
fn faults(registry: &Registry, gguf: &Gguf, metadata: &Metadata) -> Vec<Finding> {
    let found = |gguf: &Gguf| -> Vec<Finding> {
        let findings = check::headers(registry.of_gguf(gguf), gguf).into_iter();
        findings
            .filter(|finding| finding.severity == Severity::Error)
            .collect()
    };
    let before = found(gguf);
    let is_known = |finding: &Finding| before.iter().any(|known| known.message == finding.message);
    let mut new = found(&gguf.with_metadata(metadata.clone()));
    new.retain(|finding| !is_known(finding));
    new
}

/// Plans the whole file with this metadata; of a split model one file.
pub fn plan(gguf: &Gguf, metadata: Metadata) -> Result<Plan<'_>, SetError> {
    let mut warnings = Vec::new();
    let header = gguf.parts().first().map(|part| &part.header);
    if let Some(header) = header.filter(|header| header.version != 3) {
        warnings.push(format!(
            "the file is of GGUF version {}; it is written in version 3",
            header.version
        ));
    }
    let mut metadata = metadata;
    if gguf.parts().len() > 1 {
        warnings.push("the parts of the split model become one file".to_owned());
        for key in SPLIT_KEYS {
            metadata.remove(key);
        }
    }
    let tensors = kept(gguf, gguf.tensors(), |info| info.dims.clone())?;
    Ok(Plan::new(metadata, tensors, Endian::Little, warnings)?)
}
