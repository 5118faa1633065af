//! Reads the input as an importance matrix, of either format. What it gives weighs something: finite, and never below 0.
#![no_main]

use gguf_conv::io::Inputs;
use gguf_conv::quantize::imatrix::ImportanceMatrix;
use libfuzzer_sys::fuzz_target;

#[path = "scratch.rs"]
mod scratch;

fuzz_target!(|data: &[u8]| {
    let path = scratch::gguf(data);
    let Ok(matrix) = ImportanceMatrix::open(&Inputs::new(), &path) else {
        return;
    };
    for name in [
        "blk.0.attn_q.weight",
        "blk.0.ffn_down.weight",
        "token_embd.weight",
        "a",
    ] {
        let weights = matrix.get(name).unwrap_or_default();
        assert!(
            weights.iter().all(|w| w.is_finite() && *w >= 0.0),
            "{name}: {weights:?}"
        );
    }
});
