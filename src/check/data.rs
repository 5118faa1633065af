//! The numbers themselves.

use super::Findings;
use crate::gguf::Gguf;
use crate::storage::gguf_tensors;
use crate::storage::stats::Stats;
use crate::text::escape;

/// Reads every tensor that can be read. What cannot be is told elsewhere: unknown types, byte order, ranges.
pub(super) fn check(gguf: &Gguf, findings: &mut Findings, progress: &(dyn Fn(u64) + Sync)) {
    const AGAIN: &str = "the file is damaged, or its source was: download or convert it again";
    for tensor in gguf_tensors(gguf) {
        let Ok(numbers) = tensor.numbers() else { continue };
        let stats = Stats::of(&numbers, progress);
        let name = escape(tensor.name);
        if stats.nan + stats.infinite > 0 {
            let message = format!(
                "tensor {name} holds {} NaN and {} infinities among {} numbers",
                stats.nan, stats.infinite, stats.elements
            );
            findings.error("nan", name, message, AGAIN);
        } else if tensor.dims.len() >= 2 && stats.zeros == stats.elements && stats.elements > 0 {
            let message = format!("tensor {name} holds nothing but zeros, as after an incomplete download");
            findings.warning("zeros", name, message, AGAIN);
        }
    }
}
