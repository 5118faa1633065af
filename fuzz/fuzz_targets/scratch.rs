//! Scratch files for the input: what is fuzzed reads files by path, as the program does.
#![allow(dead_code)] // each target uses its own part

use gguf_conv::gguf::{Header, Metadata};
use std::fs::File;
use std::path::PathBuf;

/// Longest file that an input is extended to.
const FILLED: u64 = 4 << 20;

/// A path in this process's scratch folder.
pub fn path(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("gguf-conv-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

/// Writes the input as a GGUF file. Where its length is even and its header asks for more data than it has, zeros
/// follow: so inputs can be mere headers and still lead behind the checks of ranges.
pub fn gguf(data: &[u8]) -> PathBuf {
    let header = data.len().is_multiple_of(2).then(|| Header::parse(data));
    let end = header.and_then(Result::ok).map_or(0, |header| {
        let ends = header.tensors.iter().map(|info| header.range(info).1);
        ends.max().unwrap_or(0)
    });
    filled("fuzz.gguf", data, end)
}

/// Writes the input as a safetensors file, filled in the same way up to the largest number in its header.
pub fn safetensors(data: &[u8]) -> PathBuf {
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let end = match data.split_first_chunk::<8>() {
        Some((len, rest)) if data.len().is_multiple_of(2) => {
            let header_len = u64::from_le_bytes(*len);
            let header = rest.get(..header_len as usize).unwrap_or_default();
            let numbers = header.split(|byte| !is_digit(byte)).filter_map(|digits| {
                let number: u64 = str::from_utf8(digits).ok()?.parse().ok()?;
                (number < FILLED).then_some(number)
            });
            numbers
                .max()
                .unwrap_or(0)
                .saturating_add(header_len)
                .saturating_add(8)
        }
        _ => 0,
    };
    filled("fuzz.safetensors", data, end)
}

fn filled(name: &str, data: &[u8], end: u64) -> PathBuf {
    let path = path(name);
    std::fs::write(&path, data).unwrap();
    if (data.len() as u64..FILLED).contains(&end) {
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(end).unwrap();
    }
    path
}

/// Metadata as text, for comparison: NaN is equal to itself there.
pub fn shown(metadata: &Metadata) -> String {
    format!("{:?}", metadata.iter().collect::<Vec<_>>())
}
