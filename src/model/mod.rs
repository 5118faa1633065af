//! A reference forward pass of drafters and targets on the CPU, in `f32`, written to be read.
//!
//! Weights stay as they are stored and are decoded in pieces. Everything reads them through one trait, [`Weights`],
//! which a GGUF file and a safetensors checkpoint implement, by the names that GGUF gives. Nothing here is shared with
//! `convert`, so that a mistake there cannot hide itself.
//!
//! Shapes are given outermost first: `[tokens, width]` is one row of `width` numbers a token. The formulas are those of
//! transformers' `models/gemma4` and `models/gemma4_assistant` (5.14) and of llama.cpp's `src/models/gemma4*.cpp`
//! (October 2026), which differ in one point: [`Window`].

mod arithmetic;
mod attention;
mod block;
mod config;
mod config_json;
mod drafting;
mod error;
mod experts;
mod feed_forward;
mod finite;
mod fused;
mod head;
#[cfg(target_arch = "x86_64")]
mod integers;
mod lines;
mod matrix;
pub mod ops;
mod panels;
mod pool;
mod prefetch;
mod products;
mod rope;
mod steps;
mod taps;
mod target;
mod tasks;
mod tensor;
mod weights;

pub use arithmetic::{Activation, Arithmetic, CacheType, Compute, Pass};
pub use attention::KvCache;
pub use config::{Config, ExpertConfig, LayerConfig, RopeConfig};
pub use drafting::{Assistant, DraftStep, Drafter, Guess, Memory, Moment, Outputs, Window};
pub use drafting::{D2T, DFlash, DFlashConfig, Eagle3, Eagle3Config, Numbers, RopeNumbers, SelectorConfig};
pub use drafting::{DrafterConfig, Settings};
pub use error::ModelError;
pub use finite::Place;
pub use head::{CENTROIDS, Head, ORDERING};
pub use matrix::Matrix;
pub use taps::Taps;
pub use target::{SharedKv, State, Target};
pub use tensor::Tensor;
pub use weights::{CheckpointWeights, Weights};
