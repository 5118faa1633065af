//! What is read and laid out again reads the same.
#![no_main]

use gguf_conv::gguf::{Gguf, Header, Layout, TensorSpec};
use gguf_conv::io::Inputs;
use libfuzzer_sys::fuzz_target;

#[path = "scratch.rs"]
mod scratch;

fuzz_target!(|data: &[u8]| {
    let path = scratch::gguf(data);
    let Ok(gguf) = Gguf::open(&Inputs::new(), &path) else {
        return;
    };
    let specs: Vec<TensorSpec> = gguf
        .tensors()
        .filter_map(|info| {
            let size = info.size()?;
            Some(TensorSpec {
                name: info.name.clone(),
                dims: info.dims.clone(),
                ty: info.ty,
                size,
            })
        })
        .collect();
    let Ok(layout) = Layout::new(gguf.metadata(), &specs) else {
        return;
    };
    let header = Header::parse(&layout.header).unwrap();
    assert_eq!(scratch::shown(&header.metadata), scratch::shown(gguf.metadata()));
    assert_eq!(header.tensors.len(), specs.len());
    for ((info, spec), offset) in header.tensors.iter().zip(&specs).zip(&layout.offsets) {
        assert_eq!(
            (&info.name, &info.dims, info.ty),
            (&spec.name, &spec.dims, spec.ty)
        );
        assert_eq!(header.data_offset + info.offset, *offset);
    }
    header.check_ranges(layout.file_len).unwrap();
});
