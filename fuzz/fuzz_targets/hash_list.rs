//! Reads the lines of the input as checksums. A line that is one is the same after it was written again.
#![no_main]

use gguf_conv::hash::{line, parse_line};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for text in data.split(|byte| *byte == b'\n') {
        if let Some(read) = parse_line(text) {
            let written = line(&read.sum, &read.name);
            let written = written.strip_suffix(b"\n").unwrap_or(&written);
            assert_eq!(parse_line(written), Some(read));
        }
    }
});
