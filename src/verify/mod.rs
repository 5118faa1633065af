//! Proves a drafter's GGUF: its weights against the checkpoint, its drafts against the target.

pub mod compare;
pub mod explain;
pub mod finding;
pub mod overlay;
pub mod probe;
pub mod repair;
pub mod speculate;
pub mod tokenize;
