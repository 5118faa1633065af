//! Converts, quantizes, inspects and verifies GGUF files of Gemma 4 drafters.
//!
//! Data flows one way: a [`checkpoint`] and, if need be, the target's [`gguf`] file become a [`plan::Plan`], which is
//! pure data; [`plan::Plan::write`] writes it. What the tensors and keys are called stands in [`arch`], how numbers become
//! blocks in [`quant`].
//!
//! ```
//! use gguf_conv::arch::Arch;
//! use gguf_conv::checkpoint::Checkpoint;
//! use gguf_conv::convert::{self, Options};
//! use gguf_conv::gguf::Gguf;
//! use gguf_conv::io::Inputs;
//! use gguf_conv::quant::recipe::FileType;
//! use std::path::Path;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let inputs = Inputs::new();
//! let arch = Arch::gemma4_assistant()?;
//! let checkpoint = Checkpoint::open(&inputs, Path::new("fixtures/mini-dense/drafter"))?;
//! let target = Gguf::open(&inputs, Path::new("fixtures/mini-dense/target-bf16.gguf"))?;
//! let mut options = Options::default();
//! options.outtype = Some(FileType::Q8_0);
//! let plan = convert::plan(&arch, &checkpoint, Some(&target), options)?.plan;
//! assert_eq!(plan.tensors().len(), 49);
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("drafter.gguf");
//! plan.write(&path, &inputs, false, &|_bytes| ())?;
//! assert_eq!(Gguf::open(&inputs, &path)?.metadata().uint("gemma4-assistant.embedding_length_out")?, 128);
//! # Ok(())
//! # }
//! ```

// What is printed goes through cli/print.rs, which escapes it.
#![warn(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(test, allow(clippy::disallowed_methods))] // tests make and read files as they like

// What is hidden is for the program, the tests and the benches, and may change at any time.
pub mod advise;
pub mod arch;
pub mod bench;
pub mod check;
pub mod checkpoint;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod convert;
pub mod diff;
mod error;
mod facts;
pub mod finding;
pub mod gguf;
#[doc(hidden)]
pub mod hash;
#[doc(hidden)]
pub mod inspect;
pub mod io;
pub mod list;
pub mod migrate;
#[doc(hidden)]
pub mod model;
pub mod plan;
pub mod prompts;
pub mod quant;
pub mod quantize;
#[doc(hidden)]
pub mod report;
pub mod set;
pub mod source;
pub mod split;
pub mod storage;
#[doc(hidden)]
pub mod text;
pub mod verify;

pub use error::{Error, Fault};
pub use facts::TargetError;
