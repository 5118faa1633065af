//! Words for people: strings from files made fit to be shown, patterns as people write them.

mod escape;
mod fit;
mod glob;
mod nearest;

pub use escape::{escape, is_hidden};
pub use fit::{cut, cut_middle, dims, line, name, width};
pub use glob::Glob;
pub use nearest::{likely, names_like, nearest};
