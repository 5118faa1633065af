//! What is known of a drafter and its target: numbers from keys, shapes and the target's metadata.

pub(crate) mod drafter;
mod target;

pub(crate) use target::Target;
pub use target::TargetError;

/// A number that no config stated, and what it was derived from.
#[derive(Debug, Clone, PartialEq)]
pub struct Derived {
    /// Its name in the architecture file.
    pub name: String,
    /// Its value.
    pub value: String,
    /// What it was derived from.
    pub from: String,
}
