//! The numbers themselves.

use super::Findings;
use crate::arch::Arch;
use crate::gguf::Gguf;
use crate::storage::gguf_tensors;
use crate::storage::stats::Stats;
use crate::text::escape;
use bstr::{BStr, ByteSlice};

const AGAIN: &str = "the file is damaged, or its source was: download or convert it again";

/// Reads every tensor that can be read, and counts them. What cannot be is told elsewhere: unknown types, byte order,
/// ranges.
pub(super) fn check(
    arch: &Arch,
    gguf: &Gguf,
    findings: &mut Findings,
    progress: &(dyn Fn(u64) + Sync),
) -> usize {
    let mut read = 0;
    for tensor in gguf_tensors(gguf) {
        let Ok(numbers) = tensor.numbers() else { continue };
        read += 1;
        let stats = Stats::of(&numbers, progress);
        let name = escape(tensor.name);
        if let Some(message) = not_finite(&name, &stats) {
            findings.error("nan", name, message, AGAIN);
        } else if stats.zeros == stats.elements && stats.elements > 0 && !is_computed(arch, tensor.name) {
            let message = format!("tensor {name} holds nothing but zeros, as after an incomplete download");
            if tensor.dims.len() >= 2 {
                findings.warning("zeros", name, message, AGAIN);
            } else if !name.ends_with(".bias") {
                // A norm or scale: all that a layer computes is multiplied by it.
                let message =
                    format!("{message}: whatever passes through it is lost, and no draft is accepted");
                findings.error("zeros", name, message, AGAIN);
            }
        }
    }
    read
}

/// Whether a tensor is computed from the keys, which is checked elsewhere.
fn is_computed(arch: &Arch, name: &BStr) -> bool {
    let upstream = arch.upstream_tensor(name);
    let spec = upstream.to_str().ok().and_then(|name| arch.tensor_spec(name));
    spec.is_some_and(|spec| spec.generate.is_some())
}

/// Reads the target's tensors, and counts them: a NaN there reaches every draft.
pub(super) fn check_target(target: &Gguf, findings: &mut Findings, progress: &(dyn Fn(u64) + Sync)) -> usize {
    let mut read = 0;
    for tensor in gguf_tensors(target) {
        let Ok(numbers) = tensor.numbers() else { continue };
        read += 1;
        let name = escape(tensor.name);
        if let Some(message) = not_finite(&name, &Stats::of(&numbers, progress)) {
            findings.error("target-nan", name, format!("the target's {message}"), AGAIN);
        }
    }
    read
}

/// What is wrong with a tensor that holds numbers that are none.
fn not_finite(name: &str, stats: &Stats) -> Option<String> {
    (stats.nan + stats.infinite > 0).then(|| {
        format!(
            "tensor {name} holds {} NaN and {} infinities among {} numbers",
            stats.nan, stats.infinite, stats.elements
        )
    })
}
