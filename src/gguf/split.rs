//! Split models: `NAME-00001-of-00003.gguf`, whose parts lie beside each other.

use super::error::{GgufError, GgufErrorKind};
use super::metadata::KeyError;
use super::part::Part;
use super::reader::LongArrays;
use crate::io::{Inputs, ReadError};
use bstr::ByteSlice;
use std::path::{Path, PathBuf};

/// The keys that say how a file is split.
pub const SPLIT_KEYS: [&str; 3] = ["split.no", "split.count", "split.tensors.count"];

pub(super) const FETCH_PARTS: &str = "the parts are not of one model: download them again";

/// What `llama-gguf-split` calls a part, counted from 1.
pub fn part_path(prefix: &Path, number: usize, count: usize) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(format!("-{number:05}-of-{count:05}.gguf"));
    name.into()
}

/// What is in front of the numbers in the name of a part, with its folder; `None` where no part has such a name.
pub fn part_prefix(path: &Path) -> Option<PathBuf> {
    SplitName::parse(path).map(|name| name.prefix)
}

/// What becomes of a split model with parts missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// It is not read.
    Refused,
    /// The rest is read.
    PassedOver,
}

/// The name of a split model's file, taken apart: `PREFIX-00002-of-00003.gguf`.
pub(super) struct SplitName {
    pub(super) prefix: PathBuf,
    count: usize,
}

impl SplitName {
    /// Takes a name apart that is one.
    pub(super) fn parse(path: &Path) -> Option<SplitName> {
        // The last 20 bytes are `-00001-of-00003.gguf`.
        let name = path.file_name()?.as_encoded_bytes();
        let (prefix, suffix) = name.split_at_checked(name.len().checked_sub(20)?)?;
        let number = |bytes: &[u8]| -> Option<usize> {
            let digits = bytes.iter().all(u8::is_ascii_digit).then_some(bytes)?;
            std::str::from_utf8(digits).ok()?.parse().ok()
        };
        let numbers = suffix.strip_prefix(b"-")?.strip_suffix(b".gguf")?;
        let (no, count) = numbers.split_at_checked(5)?;
        number(no)?;
        Some(SplitName {
            prefix: path.with_file_name(prefix.to_os_str().ok()?),
            count: number(count.strip_prefix(b"-of-")?)?,
        })
    }

    /// Recognizes a split model by its `split.count` key.
    pub(super) fn of(part: &Part) -> Result<Option<SplitName>, GgufError> {
        let path = part.path.as_path();
        let count = match part.header.metadata.uint("split.count") {
            Ok(count) if count > 1 => count,
            Ok(_) | Err(KeyError::Missing(_)) => return Ok(None),
            Err(error) => return Err(GgufError::new(path, error)),
        };
        // The count in the name bounds the count in the file.
        let name = SplitName::parse(path).filter(|name| name.count as u64 == count);
        let Some(name) = name else {
            let message = match part.another_behind() {
                Some(_) => format!(
                    "several of {count} parts of a split model, one behind the other as by `cat`, which llama.cpp does \
                     not read; make one file of it with `gguf-conv merge`"
                ),
                None => format!(
                    "one of {count} parts of a split model, but its name does not end in -00001-of-{count:05}.gguf; \
                     give the parts their original names, or make one file of them with `gguf-conv merge`"
                ),
            };
            return Err(GgufError::new(path, GgufErrorKind::Split(message)));
        };
        Ok(Some(name))
    }

    fn part_path(&self, number: usize) -> PathBuf {
        part_path(&self.prefix, number, self.count)
    }

    /// Gives a hint where a part is not there.
    fn missing(&self, number: usize, path: PathBuf) -> GgufError {
        let message = format!(
            "part {number} of {} of a split model is missing; put it beside the others, by this name",
            self.count
        );
        GgufError::new(path, GgufErrorKind::Split(message))
    }

    /// The parts, and the paths of those that are not there and may be passed over.
    pub(super) fn open_all(
        &self,
        inputs: &Inputs,
        absent: Absent,
        long_arrays: LongArrays,
    ) -> Result<(Vec<Part>, Vec<PathBuf>), GgufError> {
        let mut parts = Vec::new();
        let mut missing = Vec::new();
        for number in 1..=self.count {
            let path = self.part_path(number);
            let part = match Part::open(inputs, &path, long_arrays) {
                Err(GgufError {
                    kind: GgufErrorKind::Read(ReadError::NotFound),
                    ..
                }) => match absent {
                    Absent::Refused => return Err(self.missing(number, path)),
                    Absent::PassedOver => {
                        missing.push(path);
                        continue;
                    }
                },
                part => part?,
            };
            let split_error = |message: String| GgufError::new(&path, GgufErrorKind::Split(message));
            let meta = &part.header.metadata;
            let no = meta.uint("split.no").map_err(|e| GgufError::new(&path, e))?;
            let count = meta.uint("split.count").map_err(|e| GgufError::new(&path, e))?;
            if (no, count) != (number as u64 - 1, self.count as u64) {
                return Err(split_error(format!(
                    "says it is part {} of {count}, its name says part {number} of {}; {FETCH_PARTS}",
                    no.saturating_add(1),
                    self.count
                )));
            }
            parts.push(part);
        }
        let found: usize = parts.iter().map(|part| part.header.tensors.len()).sum();
        let Some(first) = parts.first() else {
            return Err(self.missing(1, self.part_path(1)));
        };
        if missing.is_empty()
            && let Ok(expected) = first.header.metadata.uint("split.tensors.count")
            && expected != found as u64
        {
            let message =
                format!("the parts hold {found} tensors, split.tensors.count says {expected}; {FETCH_PARTS}");
            return Err(GgufError::new(&first.path, GgufErrorKind::Split(message)));
        }
        Ok((parts, missing))
    }
}
