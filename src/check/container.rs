//! The container: byte order, where tensors lie, what llama.cpp's reader does not take.

use super::{Findings, MIGRATE};
use crate::finding::Finding;
use crate::gguf::{Array, Endian, FormatError, Gguf, Part, Value};
use crate::text::escape;

pub(super) fn check(gguf: &Gguf, findings: &mut Findings) {
    if gguf.parts().iter().any(|part| part.header.endian == Endian::Big) {
        let message = "the file is big-endian, and most machines are not";
        findings.error("endian", None, message, MIGRATE);
    }
    for (key, value) in gguf.metadata().iter() {
        if let Value::Array(Array::Array(_)) = value {
            findings.error(
                "nested-array",
                escape(key),
                format!(
                    "key {} holds arrays within an array, which llama.cpp does not read",
                    escape(key)
                ),
                "remove the key with another tool, or convert the model again",
            );
        }
    }
    findings.0.extend(ranges(gguf));
    for part in gguf.parts() {
        check_order(part, findings);
    }
}

/// Where tensors of a GGUF do not lie within their file, aligned and apart.
pub fn ranges(gguf: &Gguf) -> Vec<Finding> {
    let faults = gguf
        .parts()
        .iter()
        .flat_map(|part| part.header.range_faults(part.file_len()));
    let finding = |fault: FormatError| {
        let tensor = fault.misplaced().map(str::to_owned);
        let finding = Finding::error("data-range", fault.to_string());
        finding.about(tensor).hint(fault.hint())
    };
    faults.map(finding).collect()
}

/// llama.cpp wants each tensor right behind the one that the header lists before it, up to the alignment.
fn check_order(part: &Part, findings: &mut Findings) {
    let mut expected = Some(0_u64);
    for info in &part.header.tensors {
        let name = escape(&info.name);
        let Some(size) = info.size() else {
            findings.error(
                "tensor-type",
                name.clone(),
                format!(
                    "tensor {name} has the type {}, which llama.cpp does not know",
                    info.ty.0
                ),
                "convert the model again to a type that llama.cpp has",
            );
            expected = None;
            continue;
        };
        if let Some(expected) = expected.filter(|&expected| expected != info.offset) {
            findings.error(
                "tensor-order",
                name.clone(),
                format!(
                    "tensor {name} starts at data offset {}, and llama.cpp insists on {expected}, right behind the \
                     tensor before it",
                    info.offset
                ),
                MIGRATE,
            );
        }
        let end = info.offset.checked_add(size);
        expected = end.and_then(|end| end.checked_next_multiple_of(part.header.alignment));
    }
}
