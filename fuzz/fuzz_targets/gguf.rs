//! Opens the input as a GGUF file, looks at every key and decodes every tensor.
#![no_main]

use gguf_conv::gguf::Gguf;
use gguf_conv::io::Inputs;
use gguf_conv::text::escape;
use libfuzzer_sys::fuzz_target;

#[path = "scratch.rs"]
mod scratch;

/// Elements decoded of one tensor; blocks are independent, so more would show nothing new.
const DECODED: usize = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let path = scratch::gguf(data);
    let Ok(gguf) = Gguf::open(&Inputs::new(), &path) else {
        return;
    };
    for (key, value) in gguf.metadata().iter() {
        let _ = (escape(key), value.type_name(), value.as_u64(), value.as_f64());
        if let Some(array) = value.as_array() {
            let _ = (array.get(0), array.get(array.len()), array.len());
        }
    }
    for info in gguf.tensors() {
        let Ok(name) = std::str::from_utf8(&info.name) else {
            continue;
        };
        let Ok(Some(tensor)) = gguf.tensor(name) else {
            continue;
        };
        let blocks = (tensor.data.len() / tensor.ty.block_bytes()).min(DECODED / tensor.ty.block_len());
        let mut values = vec![0.0; blocks * tensor.ty.block_len()];
        tensor
            .ty
            .decode(&tensor.data[..blocks * tensor.ty.block_bytes()], &mut values)
            .unwrap();
    }
});
