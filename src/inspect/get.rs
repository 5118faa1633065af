//! One value of a model for a script: a key's, elements of a list, numbers of a tensor.

use crate::gguf::{Array, Value};
use crate::storage::{ModelFile, ModelTensor, StorageError};
use crate::text::{dims, escape, name, names_like};
use bstr::{BStr, ByteSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Names that are told where none is meant.
const SHOWN: usize = 3;

/// Most numbers of a tensor at once.
pub const MOST_NUMBERS: u64 = 1 << 20;

/// What was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Got {
    /// The type of the tensor that it is of, in the container's own words; `None` for a key.
    pub tensor_type: Option<String>,
    /// The place of the first of the elements that were asked for, where not all of a key was.
    pub first: Option<u64>,
    /// The value; of a tensor the numbers that its blocks stand for.
    pub value: Value,
}

/// Why there is no such value.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum GetError {
    #[error("{}: no key and no tensor is called {name}; the nearest are {nearest}", path.display())]
    Unknown {
        path: PathBuf,
        name: String,
        nearest: String,
    },
    #[error("{}: {name} is one {type_name}, no list; ask for it without [...]", path.display())]
    NoList {
        path: PathBuf,
        name: String,
        type_name: String,
    },
    #[error("{}: {name} has {len} elements, counted from 0; {asked} is not among them", path.display())]
    Outside {
        path: PathBuf,
        name: String,
        len: u64,
        asked: String,
    },
    #[error(
        "{}: {name} is a tensor, {type_name} of {dims}; say which of its {len} numbers, as in '{name}[0..16]'",
        path.display()
    )]
    Tensor {
        path: PathBuf,
        name: String,
        type_name: String,
        dims: String,
        len: u64,
    },
    #[error("{}: {count} numbers of {name} are too many at once; ask for at most {MOST_NUMBERS}", path.display())]
    TooMany { path: PathBuf, name: String, count: u64 },
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl GetError {
    /// The file that it is about.
    pub fn path(&self) -> Option<&Path> {
        match self {
            GetError::Unknown { path, .. }
            | GetError::NoList { path, .. }
            | GetError::Outside { path, .. }
            | GetError::Tensor { path, .. }
            | GetError::TooMany { path, .. } => Some(path),
            GetError::Storage(error) => error.path(),
        }
    }
}

/// The places in brackets behind a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Places {
    One(u64),
    /// From, and up to but without; the ends where none are given.
    Range(u64, Option<u64>),
}

impl Places {
    /// Takes `[3]`, `[0..16]`, `[..16]`, `[16..]` or `[..]` off the end of what was asked for.
    fn split(asked: &str) -> Option<(&str, &str, Places)> {
        let (name, inside) = asked.strip_suffix(']')?.rsplit_once('[')?;
        let places = match inside.split_once("..") {
            None => Places::One(inside.parse().ok()?),
            Some((from, to)) => {
                let number = |text: &str| (!text.is_empty()).then(|| text.parse()).transpose();
                Places::Range(number(from).ok()?.unwrap_or(0), number(to).ok()?)
            }
        };
        Some((name, asked.get(name.len()..)?, places))
    }

    /// Those of a list of this length, if it has them.
    fn among(self, len: u64) -> Option<Range<u64>> {
        let range = match self {
            Places::One(at) => at..at.checked_add(1)?,
            Places::Range(from, to) => from..to.unwrap_or(len),
        };
        (range.start <= range.end && range.end <= len).then_some(range)
    }
}

/// What `asked` names: `KEY`, `KEY[3]`, `KEY[0..16]` or `TENSOR[0..16]`. A name that itself ends in such brackets is meant
/// before a part of a shorter one.
pub fn get(file: &ModelFile, asked: &str) -> Result<Got, GetError> {
    let metadata = file.metadata();
    let tensors = file.tensors();
    let path = || file.path().to_owned();
    let tensor = |name: &str| tensors.iter().find(|tensor| tensor.name == BStr::new(name));
    if let Some(value) = metadata.get(asked) {
        return Ok(Got {
            tensor_type: None,
            first: None,
            value: value.clone(),
        });
    }
    if let Some(tensor) = tensor(asked) {
        return Err(GetError::Tensor {
            path: path(),
            name: escape(tensor.name),
            type_name: tensor.type_name.clone(),
            dims: dims(&tensor.dims),
            len: tensor.elements(),
        });
    }
    if let Some((name, brackets, places)) = Places::split(asked) {
        let outside = |len| GetError::Outside {
            path: path(),
            name: escape(name.as_bytes()),
            len,
            asked: brackets.to_owned(),
        };
        if let Some(value) = metadata.get(name) {
            let array = value.as_array().ok_or_else(|| GetError::NoList {
                path: path(),
                name: escape(name.as_bytes()),
                type_name: value.type_name(),
            })?;
            return of_array(array, places).ok_or_else(|| outside(array.len() as u64));
        }
        if let Some(tensor) = tensor(name) {
            let range = places.among(tensor.elements());
            let range = range.ok_or_else(|| outside(tensor.elements()))?;
            if range.end - range.start > MOST_NUMBERS {
                return Err(GetError::TooMany {
                    path: path(),
                    name: escape(tensor.name),
                    count: range.end - range.start,
                });
            }
            return of_tensor(tensor, places, range);
        }
    }
    let wanted = Places::split(asked).map_or(asked, |(name, ..)| name);
    let keys = metadata.iter().map(|(key, _)| key);
    let known = keys.chain(tensors.iter().map(|tensor| tensor.name));
    let nearest = names_like(wanted, known.filter_map(|name| name.to_str().ok()), SHOWN);
    Err(GetError::Unknown {
        path: path(),
        name: name(wanted.as_bytes()),
        nearest: match nearest.is_empty() {
            true => "none, for it has neither".to_owned(),
            false => nearest.join(", "),
        },
    })
}

fn of_array(array: &Array, places: Places) -> Option<Got> {
    let range = places.among(array.len() as u64)?;
    let part = array.slice(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)?;
    Some(Got {
        tensor_type: None,
        first: Some(range.start),
        value: one_or_all(part, places),
    })
}

fn of_tensor(tensor: &ModelTensor, places: Places, range: Range<u64>) -> Result<Got, GetError> {
    let first = range.start;
    Ok(Got {
        tensor_type: Some(tensor.type_name.clone()),
        first: Some(first),
        value: one_or_all(tensor.values(range)?, places),
    })
}

/// The one element where one was asked for, else the list.
fn one_or_all(array: Array, places: Places) -> Value {
    match (places, array.get(0)) {
        (Places::One(_), Some(value)) => value,
        _ => Value::Array(array),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_tell_places() {
        for (asked, expected) in [
            ("a[3]", Some(("a", "[3]", Places::One(3)))),
            ("a.b[0..16]", Some(("a.b", "[0..16]", Places::Range(0, Some(16))))),
            ("a[..16]", Some(("a", "[..16]", Places::Range(0, Some(16))))),
            ("a[16..]", Some(("a", "[16..]", Places::Range(16, None)))),
            ("a[..]", Some(("a", "[..]", Places::Range(0, None)))),
            ("a[0][1]", Some(("a[0]", "[1]", Places::One(1)))),
            ("a", None),
            ("a[]", None),
            ("a[-1]", None),
            ("a[0..x]", None),
            ("a[99999999999999999999]", None),
            ("a[1", None),
            ("]", None),
        ] {
            assert_eq!(Places::split(asked), expected, "{asked}");
        }
    }

    #[test]
    fn places_lie_within_the_list() {
        assert_eq!(Places::One(3).among(4), Some(3..4));
        assert_eq!(Places::One(4).among(4), None);
        assert_eq!(Places::One(u64::MAX).among(u64::MAX), None);
        assert_eq!(Places::Range(1, None).among(4), Some(1..4));
        assert_eq!(Places::Range(4, None).among(4), Some(4..4));
        assert_eq!(Places::Range(5, None).among(4), None);
        assert_eq!(Places::Range(3, Some(2)).among(4), None);
        assert_eq!(Places::Range(0, Some(5)).among(4), None);
    }
}
