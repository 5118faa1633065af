//! Which files hold a checkpoint's weights: one `model.safetensors`, or shards that an index names.

use super::error::{CheckpointError, CheckpointErrorKind};
use super::{SafetensorsFile, file_name, parent};
use crate::io::{Inputs, ReadError, TextLimit, without_mark};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

const SINGLE: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// The part of an index file that is read.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The weight files of a checkpoint folder.
pub(super) fn in_folder(inputs: &Inputs, folder: &Path) -> Result<Vec<SafetensorsFile>, CheckpointError> {
    let single = folder.join(SINGLE);
    if single.exists() {
        return Ok(vec![SafetensorsFile::open(inputs, &single)?]);
    }
    let index = folder.join(INDEX);
    if index.exists() {
        return from_index(inputs, &index);
    }
    let fail = |kind: CheckpointErrorKind| CheckpointError::new(folder, kind);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| fail(ReadError::from(e).into()))? {
        let path = entry.map_err(|e| fail(ReadError::from(e).into()))?.path();
        if path.extension().is_some_and(|ext| ext == "safetensors") {
            found.push(path);
        }
    }
    found.sort();
    match found.as_slice() {
        [] => Err(fail(CheckpointErrorKind::NoWeights)),
        [only] => Ok(vec![SafetensorsFile::open(inputs, only)?]),
        _ => Err(fail(CheckpointErrorKind::Ambiguous(
            found.iter().map(|path| file_name(path)).collect(),
        ))),
    }
}

/// The weight files that a given file stands for: itself, or all shards where it is one of them.
pub(super) fn of_file(inputs: &Inputs, path: &Path) -> Result<Vec<SafetensorsFile>, CheckpointError> {
    let index = parent(path).join(INDEX);
    if file_name(path) == INDEX {
        return from_index(inputs, path);
    }
    if file_name(path) != SINGLE && index.exists() {
        let shards = from_index(inputs, &index)?;
        if shards
            .iter()
            .any(|shard| shard.path().file_name() == path.file_name())
        {
            return Ok(shards);
        }
    }
    Ok(vec![SafetensorsFile::open(inputs, path)?])
}

/// The shards that an index names, in order of name, each found beside it and holding the tensors it should.
fn from_index(inputs: &Inputs, path: &Path) -> Result<Vec<SafetensorsFile>, CheckpointError> {
    let fail = |kind: CheckpointErrorKind| CheckpointError::new(path, kind);
    let text = inputs.read(path, TextLimit::LIST).map_err(|e| fail(e.into()))?;
    let index: Index = serde_json::from_slice(without_mark(&text))
        .map_err(|e| fail(CheckpointErrorKind::Json(e.to_string())))?;
    let mut tensors_of: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (tensor, shard) in &index.weight_map {
        tensors_of.entry(shard).or_default().insert(tensor);
    }
    if tensors_of.is_empty() {
        return Err(fail(CheckpointErrorKind::NoWeights));
    }
    let mut files = Vec::new();
    for (shard, mut expected) in tensors_of {
        if !is_plain_name(shard) {
            return Err(fail(CheckpointErrorKind::ShardOutside {
                shard: shard.to_owned(),
            }));
        }
        let shard_path = parent(path).join(shard);
        if !shard_path.exists() {
            return Err(fail(CheckpointErrorKind::ShardMissing {
                shard: shard.to_owned(),
            }));
        }
        let file = SafetensorsFile::open(inputs, &shard_path)?;
        for tensor in file.tensors() {
            expected.remove(tensor.name);
        }
        if let Some(missing) = expected.first() {
            let (name, shard) = ((*missing).to_owned(), shard.to_owned());
            return Err(fail(CheckpointErrorKind::ShardTensor { name, shard }));
        }
        files.push(file);
    }
    Ok(files)
}

/// Whether a name from an index stays in the index's folder: one plain component, no separator of any system.
fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let first_is_plain = matches!(components.next(), Some(Component::Normal(_)));
    first_is_plain && components.next().is_none() && !name.contains(['/', '\\'])
}
