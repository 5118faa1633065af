//! Which files hold a checkpoint's weights: one `model.safetensors`, or shards that an index or their own names count.

use super::error::{CheckpointError, CheckpointErrorKind};
use super::{SafetensorsFile, file_name};
use crate::io::kind::FileKind;
use crate::io::{Inputs, TextLimit, folder_of, without_mark};
use crate::source::is_file_name;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const SINGLE: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// The part of an index file that is read.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// What becomes of a checkpoint with shards missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// It is not read.
    Refused,
    /// The rest is read.
    PassedOver,
}

/// The weight files of a checkpoint, and the paths of those that are not there and were passed over.
pub(super) struct Shards {
    pub files: Vec<SafetensorsFile>,
    pub missing: Vec<PathBuf>,
}

impl Shards {
    fn single(inputs: &Inputs, path: &Path) -> Result<Shards, CheckpointError> {
        Ok(Shards {
            files: vec![SafetensorsFile::open(inputs, path)?],
            missing: Vec::new(),
        })
    }
}

/// The weight files of a checkpoint folder.
pub(super) fn in_folder(inputs: &Inputs, folder: &Path, absent: Absent) -> Result<Shards, CheckpointError> {
    let single = folder.join(SINGLE);
    if inputs.is_there(&single) {
        return Shards::single(inputs, &single);
    }
    let index = folder.join(INDEX);
    if inputs.is_there(&index) {
        return from_index(inputs, &index, absent);
    }
    let fail = |kind: CheckpointErrorKind| CheckpointError::new(folder, kind);
    let names = inputs.in_folder(folder).map_err(|e| fail(e.into()))?;
    let is_weights = |path: &&PathBuf| path.extension().is_some_and(|ext| ext == "safetensors");
    let found: Vec<&PathBuf> = names.iter().filter(is_weights).collect();
    let series: Vec<Option<Series>> = found.iter().map(|path| Series::of(path)).collect();
    match (found.as_slice(), series.as_slice()) {
        ([], _) => Err(fail(other_weights(inputs, &names))),
        ([_, ..], [Some(first), rest @ ..]) if rest.iter().all(|other| other.as_ref() == Some(first)) => {
            first.open(inputs, folder, absent)
        }
        ([only], _) => Shards::single(inputs, only),
        _ => Err(fail(CheckpointErrorKind::Ambiguous(
            found.iter().map(|path| file_name(path)).collect(),
        ))),
    }
}

/// The weight files that a given file stands for: itself, or all shards where it is one of them.
pub(super) fn of_file(inputs: &Inputs, path: &Path, absent: Absent) -> Result<Shards, CheckpointError> {
    let index = folder_of(path).join(INDEX);
    if file_name(path) == INDEX {
        return from_index(inputs, path, absent);
    }
    if file_name(path) != SINGLE && inputs.is_there(&index) {
        let shards = from_index(inputs, &index, absent)?;
        let is_it = |shard: &SafetensorsFile| shard.path().file_name() == path.file_name();
        if shards.files.iter().any(is_it) {
            return Ok(shards);
        }
    }
    match Series::of(path) {
        // What is not there is told of the given file itself.
        Some(series) if inputs.is_there(path) => series.open(inputs, folder_of(path), absent),
        _ => Shards::single(inputs, path),
    }
}

/// What a folder without safetensors holds instead.
fn other_weights(inputs: &Inputs, paths: &[PathBuf]) -> CheckpointErrorKind {
    const ENDINGS: [&str; 6] = ["gguf", "bin", "pt", "pth", "ckpt", "npz"];
    let is_weights = |path: &&PathBuf| {
        let ending = path.extension().and_then(|ext| ext.to_str());
        ending.is_some_and(|ending| ENDINGS.contains(&ending))
    };
    let found = paths.iter().filter(is_weights).find_map(|path| {
        let kind = FileKind::of_bytes(inputs.map(path).ok()?.start().ok()?)?;
        let name = file_name(path);
        Some(CheckpointErrorKind::OtherWeights { name, kind })
    });
    found.unwrap_or(CheckpointErrorKind::NoWeights)
}

/// The names of shards that are numbered and counted: `PREFIX-00001-of-00002.safetensors`.
#[derive(Debug, PartialEq, Eq)]
struct Series {
    prefix: String,
    /// As it stands in the names, with its zeros.
    total: String,
}

impl Series {
    /// Most shards that are taken for a series.
    const MOST: usize = 99_999;

    /// The series that a file is of, by its name.
    fn of(path: &Path) -> Option<Series> {
        let name = path.file_name()?.to_str()?;
        let (front, total) = name.strip_suffix(".safetensors")?.rsplit_once("-of-")?;
        let (prefix, number) = front.rsplit_once('-')?;
        let is_number = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
        let fits = is_number(number) && is_number(total) && total.parse().is_ok_and(|n: usize| n > 1);
        fits.then(|| Series {
            prefix: prefix.to_owned(),
            total: total.to_owned(),
        })
    }

    /// All shards of the series.
    fn open(&self, inputs: &Inputs, folder: &Path, absent: Absent) -> Result<Shards, CheckpointError> {
        let count = self.total.parse().unwrap_or(0).min(Series::MOST);
        let mut shards = Shards {
            files: Vec::new(),
            missing: Vec::new(),
        };
        for number in 1..=count {
            let name = format!("{}-{number:05}-of-{}.safetensors", self.prefix, self.total);
            let path = folder.join(&name);
            if inputs.is_there(&path) {
                shards.files.push(SafetensorsFile::open(inputs, &path)?);
            } else if absent == Absent::PassedOver {
                shards.missing.push(path);
            } else {
                let kind = CheckpointErrorKind::SeriesShard { shard: name, count };
                return Err(CheckpointError::new(folder, kind));
            }
        }
        Ok(shards)
    }
}

/// The shards that an index names, in order of name, each found beside it and holding the tensors it should.
fn from_index(inputs: &Inputs, path: &Path, absent: Absent) -> Result<Shards, CheckpointError> {
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
    let mut missing = Vec::new();
    for (shard, mut expected) in tensors_of {
        if !is_file_name(shard) {
            return Err(fail(CheckpointErrorKind::ShardOutside {
                shard: shard.to_owned(),
            }));
        }
        let shard_path = folder_of(path).join(shard);
        if !inputs.is_there(&shard_path) {
            if absent == Absent::PassedOver {
                missing.push(shard_path);
                continue;
            }
            return Err(fail(CheckpointErrorKind::ShardMissing {
                shard: shard.to_owned(),
            }));
        }
        let file = SafetensorsFile::open(inputs, &shard_path)?;
        for tensor in file.tensors() {
            expected.remove(tensor.name);
        }
        if let Some(lacked) = expected.first() {
            let (name, shard) = ((*lacked).to_owned(), shard.to_owned());
            return Err(fail(CheckpointErrorKind::ShardTensor { name, shard }));
        }
        files.push(file);
    }
    Ok(Shards { files, missing })
}
