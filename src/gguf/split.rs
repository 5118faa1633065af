//! Split models: `NAME-00001-of-00003.gguf`, whose parts lie beside each other.

use super::error::{GgufError, GgufErrorKind};
use super::metadata::KeyError;
use super::part::Part;
use super::reader::LongArrays;
use crate::io::{Inputs, ReadError};
use bstr::ByteSlice;
use std::path::PathBuf;

pub(super) const FETCH_PARTS: &str = "the parts are not of one model: download them again";

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
    prefix: PathBuf,
    count: usize,
}

impl SplitName {
    /// Recognizes a split model by its `split.count` key.
    pub(super) fn of(part: &Part) -> Result<Option<SplitName>, GgufError> {
        let path = part.path.as_path();
        let count = match part.header.metadata.uint("split.count") {
            Ok(count) if count > 1 => count,
            Ok(_) | Err(KeyError::Missing(_)) => return Ok(None),
            Err(error) => return Err(GgufError::new(path, error)),
        };
        let bad = || {
            let message = match is_joined(part) {
                true => format!(
                    "several of {count} parts of a split model, one behind the other as by `cat`; llama.cpp reads the \
                     parts as they were: download them again, or cut this file where \"GGUF\" begins anew"
                ),
                false => format!(
                    "one of {count} parts of a split model, but its name does not end in -00001-of-{count:05}.gguf; \
                     give the parts their original names"
                ),
            };
            GgufError::new(path, GgufErrorKind::Split(message))
        };
        // The last 20 bytes are `-00001-of-00003.gguf`; the count in the name bounds the count in the file.
        let name = path.file_name().ok_or_else(bad)?.as_encoded_bytes();
        let (prefix, suffix) = name
            .split_at_checked(name.len().saturating_sub(20))
            .ok_or_else(bad)?;
        let is_number = |b: &[u8]| b.len() == 5 && b.iter().all(u8::is_ascii_digit);
        let expected = format!("-of-{count:05}.gguf");
        if count > 99_999
            || suffix.first() != Some(&b'-')
            || !suffix.get(1..6).is_some_and(is_number)
            || suffix.get(6..) != Some(expected.as_bytes())
        {
            return Err(bad());
        }
        let prefix = path.with_file_name(prefix.to_os_str().map_err(|_| bad())?);
        Ok(Some(SplitName {
            prefix,
            count: count as usize,
        }))
    }

    fn part_path(&self, number: usize) -> PathBuf {
        let mut name = self.prefix.clone().into_os_string();
        name.push(format!("-{number:05}-of-{:05}.gguf", self.count));
        name.into()
    }

    /// Gives a hint where a part is not there.
    fn missing(&self, number: usize, path: PathBuf) -> GgufError {
        let message = format!(
            "part {number} of {} of a split model is missing; put it beside the others",
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

/// Whether another GGUF begins where the data of this part ends.
fn is_joined(part: &Part) -> bool {
    let header = &part.header;
    let ends = header.tensors.iter().map(|info| header.range(info).1);
    let end = ends.fold(header.data_offset, u64::max);
    let aligned = end.checked_next_multiple_of(header.alignment);
    [Some(end), aligned].into_iter().flatten().any(|at| {
        let rest = usize::try_from(at).ok().and_then(|at| part.bytes().get(at..));
        rest.is_some_and(|rest| rest.starts_with(b"GGUF"))
    })
}
