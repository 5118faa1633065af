//! All integration tests in one binary, so that the program is linked once: a module a subject.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods)] // tests make and read files as they like
mod common;

mod advise;
mod bad_files;
mod bench;
mod check;
mod check_report;
mod convert;
mod diff;
mod diff_containers;
mod drafters;
mod exit_codes;
mod general_keys;
mod hash;
mod hostile;
mod hub;
mod hub_downloads;
mod inspect;
mod inspect_get;
mod install;
mod io;
mod json;
mod list;
mod migrate;
mod named;
mod printing;
mod quant_golden;
mod quant_properties;
mod quant_recipes;
mod quantize;
mod quantize_options;
mod readme;
mod refusals;
mod report;
mod set;
mod sources;
mod split;
mod structure;
mod targets;
mod terminal;
mod verdicts;
mod verify;
mod verify_drafters;
mod verify_prompts;
mod verify_sources;
