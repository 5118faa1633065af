//! Words for people: strings from files made fit to be shown, patterns as people write them.

mod escape;
mod glob;

pub use escape::{escape, is_hidden};
pub use glob::Glob;
