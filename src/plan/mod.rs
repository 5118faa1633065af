//! What is about to be written, as data, and the one executor that writes it.

mod execute;
mod tensor;

pub use execute::{Q4Grid, execute};
pub use tensor::{Data, PlannedTensor, Source};
