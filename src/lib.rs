//! Converts, quantizes, inspects and verifies GGUF files of Gemma 4 drafters.

pub mod arch;
pub mod checkpoint;
pub mod cli;
pub mod convert;
mod error;
pub mod gguf;
mod mapped;
pub mod output;
pub mod quant;
mod sniff;

pub use error::{Error, Fault};
