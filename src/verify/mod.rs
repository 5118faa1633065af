//! Proves a drafter's GGUF: its weights against the checkpoint, its drafts against the target.

pub mod speculate;
pub mod tokenize;
