//! Converts, quantizes, inspects and verifies GGUF files of Gemma 4 drafters.

pub mod arch;
pub mod checkpoint;
pub mod cli;
pub mod convert;
mod error;
pub mod gguf;
mod mapped;
pub mod model;
pub mod output;
pub mod quant;
pub mod verify;

pub use error::{Error, Fault};
