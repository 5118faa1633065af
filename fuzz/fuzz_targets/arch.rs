//! Reads the input as an architecture file, and converts and checks by it.
#![no_main]

use gguf_conv::arch::Arch;
use gguf_conv::check::{self, check};
use gguf_conv::convert::{self, Options};
use gguf_conv::io::Inputs;
use libfuzzer_sys::fuzz_target;
use models::{CHECKPOINT, DRAFTER, TARGET};

#[path = "models.rs"]
mod models;
#[path = "scratch.rs"]
mod scratch;

fuzz_target!(|data: &[u8]| {
    let path = scratch::path("arch.toml");
    std::fs::write(&path, data).unwrap();
    let Ok(arch) = Arch::read(&Inputs::new(), &path) else {
        return;
    };
    let _ = convert::plan(&arch, &CHECKPOINT, Some(&TARGET), Options::default());
    let mut options = check::Options::default();
    options.data = false;
    let _ = check(&arch, &DRAFTER, Some(&TARGET), options, &|_| ());
});
