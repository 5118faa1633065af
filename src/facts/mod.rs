//! What is known of a drafter and its target, whatever holds them: numbers from the config, keys, shapes and the target's
//! metadata, and what must hold between them.

mod checkpoint;
pub(crate) mod drafter;
mod kinds;
mod resolve;
mod rules;
mod target;
pub(crate) mod vocabulary;

pub(crate) use checkpoint::CheckpointFacts;
pub(crate) use resolve::{Facts, Fault, Provenance, Resolution, file_of, resolve};
pub(crate) use rules::{Mismatch, MismatchKind, broken_rules, differ, mismatches};
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
