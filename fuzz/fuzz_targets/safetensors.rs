//! Opens the input as a safetensors file and plans its conversion with the small target's help.
#![no_main]

use gguf_conv::arch::Arch;
use gguf_conv::checkpoint::Checkpoint;
use gguf_conv::convert::{self, Options, TokenizerSource};
use gguf_conv::gguf::Gguf;
use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::sync::LazyLock;

#[path = "scratch.rs"]
mod scratch;

static ARCH: LazyLock<Arch> = LazyLock::new(|| Arch::gemma4_assistant().unwrap());
static TARGET: LazyLock<Gguf> = LazyLock::new(|| {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    Gguf::open(&fixtures.join("mini-dense/target-bf16.gguf")).unwrap()
});

fuzz_target!(|data: &[u8]| {
    let path = scratch::safetensors(data);
    let Ok(checkpoint) = Checkpoint::open(&path) else {
        return;
    };
    let options = Options {
        outtype: None,
        pure: false,
        keep_centroids: true,
        tokenizer: TokenizerSource::Auto,
    };
    let _ = convert::plan(&ARCH, &checkpoint, Some(&TARGET), options);
});
