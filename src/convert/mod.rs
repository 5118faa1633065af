//! From a drafter's checkpoint to the GGUF that llama.cpp drafts with: a plan, then its execution.

mod card;
mod error;
mod fields;
mod general;
mod hparams;
mod keys;
mod make;
mod model_id;
mod options;
mod plan;
mod tensors;
mod types;
mod vocab;

pub use crate::facts::Derived;
pub use error::ConvertError;
pub(crate) use hparams::known_numbers;
pub(crate) use model_id::size_label;
pub use options::{Options, TokenizerSource};
pub use plan::{Conversion, Draft, plan};
pub use tensors::Ignored;
