//! Takes the input for the `config.json` of a drafter. What is planned from it has no number that is none.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "models.rs"]
mod models;
#[path = "scratch.rs"]
mod scratch;

fuzz_target!(|data: &[u8]| models::plan_with("config.json", data));
