//! The key–value part of a file, in file order, with typed access.

use super::value::{Array, Value};
use bstr::{BStr, BString};
use std::collections::HashMap;

/// Keys and values in the order of the file. Keys are unique.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    entries: Vec<(BString, Value)>,
    index: HashMap<BString, usize>,
}

/// A key that is missing or holds another type than the program needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No such key.
    #[error("metadata key {0} is missing")]
    Missing(String),
    /// The key is there with another type, or a number out of range.
    #[error("metadata key {key} should be {expected}, the file has {found}")]
    Type {
        /// The key.
        key: String,
        /// What is wanted, in words.
        expected: &'static str,
        /// The type found.
        found: String,
    },
}

impl Metadata {
    /// Sets a key: in place where it exists already, else at the end.
    pub fn set(&mut self, key: impl Into<BString>, value: impl Into<Value>) {
        let (key, value) = (key.into(), value.into());
        match self.index.get(&key) {
            Some(&at) => self.entries[at].1 = value,
            None => {
                self.index.insert(key.clone(), self.entries.len());
                self.entries.push((key, value));
            }
        }
    }

    /// Removes a key, if it exists; the others keep their order.
    pub fn remove(&mut self, key: &str) {
        if let Some(at) = self.index.remove(BStr::new(key)) {
            self.entries.remove(at);
            for place in self.index.values_mut().filter(|place| **place > at) {
                *place -= 1;
            }
        }
    }

    /// Whether the key exists.
    pub fn contains(&self, key: &str) -> bool {
        self.contains_bytes(BStr::new(key))
    }

    pub(super) fn contains_bytes(&self, key: &BStr) -> bool {
        self.index.contains_key(key)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.index.get(BStr::new(key)).map(|&at| &self.entries[at].1)
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&BStr, &Value)> {
        self.entries.iter().map(|(key, value)| (BStr::new(key), value))
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<T, KeyError> {
        let value = self.get(key).ok_or_else(|| KeyError::Missing(key.to_owned()))?;
        read(value).ok_or_else(|| KeyError::Type {
            key: key.to_owned(),
            expected,
            found: value.type_name(),
        })
    }

    /// A non-negative integer of any width.
    pub fn uint(&self, key: &str) -> Result<u64, KeyError> {
        self.typed(key, "a non-negative integer", Value::as_u64)
    }

    /// A floating-point number of either width.
    pub fn float(&self, key: &str) -> Result<f64, KeyError> {
        self.typed(key, "a floating-point number", Value::as_f64)
    }

    /// A string, bytes as in the file.
    pub fn string(&self, key: &str) -> Result<&BStr, KeyError> {
        self.typed(key, "a string", Value::as_bytes)
    }

    /// An array of any element type.
    pub fn array(&self, key: &str) -> Result<&Array, KeyError> {
        self.typed(key, "an array", Value::as_array)
    }
}

impl PartialEq for Metadata {
    fn eq(&self, other: &Metadata) -> bool {
        self.entries == other.entries
    }
}
