//! Converts, quantizes, inspects and verifies GGUF files of Gemma 4 drafters.

pub mod arch;
pub mod checkpoint;
pub mod gguf;
mod mapped;
pub mod model;
pub mod quant;
