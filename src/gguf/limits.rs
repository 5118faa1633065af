//! Bounds on what a header may claim. Every count is also held against the bytes that are left in the file, so these
//! matter only where a value could be large and still fit.

/// Longest metadata key in bytes; the GGUF specification's limit.
pub const MAX_KEY_LEN: usize = 65_535;

/// Longest tensor name in bytes: ggml keeps names in 64 bytes with a closing zero (`GGML_MAX_NAME`).
pub const MAX_TENSOR_NAME_LEN: usize = 63;

/// Most dimensions of a tensor (`GGML_MAX_DIMS`).
pub const MAX_DIMS: usize = 4;

/// Deepest nesting of arrays. llama.cpp reads none within another; a few writers made one level.
pub const MAX_ARRAY_DEPTH: usize = 4;

/// Alignment of tensor data where `general.alignment` is absent.
pub const DEFAULT_ALIGNMENT: u64 = 32;
