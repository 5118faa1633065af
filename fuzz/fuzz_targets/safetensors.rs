//! Opens the input as a safetensors file and plans its conversion with the small target's help.
#![no_main]

use gguf_conv::checkpoint::Checkpoint;
use gguf_conv::convert::{self, Options};
use gguf_conv::io::Inputs;
use libfuzzer_sys::fuzz_target;
use models::{ARCH, TARGET};

#[path = "models.rs"]
mod models;
#[path = "scratch.rs"]
mod scratch;

fuzz_target!(|data: &[u8]| {
    let path = scratch::safetensors(data);
    let Ok(checkpoint) = Checkpoint::open(&Inputs::new(), &path) else {
        return;
    };
    let mut options = Options::default();
    options.keep_centroids = true;
    let _ = convert::plan(&ARCH, &checkpoint, Some(&TARGET), options);
});
