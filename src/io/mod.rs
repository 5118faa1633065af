//! Files: how inputs are opened and read, and how outputs appear.

pub mod mapped;
pub mod output;
pub(crate) mod sniff;
