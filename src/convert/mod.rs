//! From a drafter's checkpoint to the GGUF that llama.cpp drafts with: a plan, then its execution.

mod card;
mod error;
mod execute;
mod general;
mod hparams;
mod keys;
mod model_id;
mod options;
mod plan;
mod target;
mod tensor;
mod tensors;
mod types;
mod vocab;

pub use error::ConvertError;
pub use execute::{Q4Grid, execute};
pub use hparams::Derived;
pub(crate) use hparams::known_numbers;
pub(crate) use model_id::size_label;
pub use options::{Options, TokenizerSource};
pub use plan::{Plan, plan};
pub(crate) use target::Target;
pub use tensor::{Data, PlannedTensor, Source};
pub use tensors::Ignored;
pub(crate) use vocab::{compared_keys, difference as vocabulary_difference};
