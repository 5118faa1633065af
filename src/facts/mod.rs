//! What is known of a drafter and its target: numbers from keys, shapes and the target's metadata.

pub(crate) mod drafter;
mod target;

pub(crate) use target::Target;
pub use target::TargetError;
