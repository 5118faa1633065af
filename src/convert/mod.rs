//! From a drafter's checkpoint to the GGUF that llama.cpp drafts with: a plan, then its execution.

mod card;
mod error;
mod execute;
mod general;
mod hparams;
mod keys;
mod model_id;
mod plan;
mod target;
mod tensors;
mod types;
mod vocab;

pub use error::ConvertError;
pub use execute::execute;
pub use hparams::Derived;
pub use plan::{Ignored, Options, Plan, PlannedTensor, Source, TokenizerSource, plan};
pub use types::OutType;
