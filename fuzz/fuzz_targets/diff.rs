//! Compares the input with a drafter, both ways, and with itself, from which it does not differ.
#![no_main]

use gguf_conv::diff::{Options, diff};
use gguf_conv::io::Inputs;
use gguf_conv::storage::ModelFile;
use libfuzzer_sys::fuzz_target;
use models::{MODEL, REGISTRY};

#[path = "models.rs"]
mod models;
#[path = "scratch.rs"]
mod scratch;

fuzz_target!(|data: &[u8]| {
    let path = scratch::gguf(data);
    let Ok(model) = ModelFile::look(&Inputs::new(), &path) else {
        return;
    };
    let options = Options::new(&REGISTRY);
    let _ = diff(&model, &MODEL, options, &|_| ());
    let _ = diff(&MODEL, &model, options, &|_| ());
    let itself = diff(&model, &model, options, &|_| ());
    assert!(itself.is_empty(), "{itself:?}");
});
