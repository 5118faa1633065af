//! Bounds on what a header may claim. Every count and length is also held against the bytes that are left in the file;
//! these bound the memory that a large hostile file could ask for. With them a header takes at most about its own
//! length in memory and 100 MB on top.

/// Longest header in bytes. The longest known, with 262144 tokens, 514906 merges and a chat template, take 16 MB.
pub const MAX_HEADER_LEN: usize = 256 << 20;

/// Most metadata keys; real files have fewer than 200.
pub const MAX_KEYS: u64 = 1 << 16;

/// Most tensors; the largest models, with every expert a tensor of its own, have some 60 000.
pub const MAX_TENSORS: u64 = 1 << 18;

/// Most arrays that are elements of an array, in one file. An empty one takes 12 bytes in the file and five times that in
/// memory, and llama.cpp reads none.
pub const MAX_NESTED_ARRAYS: u64 = 1 << 16;

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
