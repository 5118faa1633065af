//! Does drafting pay? Real servers are measured against each other, call by call.
//!
//! [`run::run`] carries a [`run::Plan`] out and gives a [`record::Run`]; [`analysis::analyse`] says what its calls mean, and
//! [`verdict::sentences`] says it in words. The three share nothing but the records, so that a run from a file is as good as
//! one just made.

pub mod analysis;
pub mod client;
pub mod compare;
mod error;
mod interrupt;
mod machine;
pub mod record;
pub mod run;
pub mod schedule;
pub mod server;
pub mod stats;
pub mod verdict;

pub use error::BenchError;
pub use interrupt::Interrupt;
