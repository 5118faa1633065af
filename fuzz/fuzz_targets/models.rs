//! What targets that concern drafters need beside the input.

use gguf_conv::arch::Arch;
use gguf_conv::gguf::Gguf;
use gguf_conv::io::Inputs;
use std::path::Path;
use std::sync::LazyLock;

/// The drafter's architecture.
pub static ARCH: LazyLock<Arch> = LazyLock::new(|| Arch::gemma4_assistant().unwrap());
/// The small trained target.
pub static TARGET: LazyLock<Gguf> = LazyLock::new(|| {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    Gguf::open(&Inputs::new(), &fixtures.join("mini-dense/target-bf16.gguf")).unwrap()
});
