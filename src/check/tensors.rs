//! The tensors: what is missing, too much, misshapen, or of a type that llama.cpp cannot use.

use super::{CONVERT, Findings, MAX_LAYERS, MIGRATE};
use crate::arch::{Generator, TensorSpec};
use crate::facts::drafter::{DrafterGguf, TensorEntry};
use crate::facts::vocabulary::fault_of_ids;
use crate::gguf::Endian;
use crate::quant::GgmlType;
use crate::text::escape;
use bstr::ByteSlice;

pub(super) fn check(drafter: &DrafterGguf, findings: &mut Findings) {
    let layers = drafter.numbers.layers.len();
    if layers > MAX_LAYERS
        || drafter
            .numbers
            .count("layers")
            .is_some_and(|count| count > MAX_LAYERS)
    {
        let message = format!("there are more layers than the {MAX_LAYERS} that llama.cpp has room for");
        findings.error("layers", None, message, CONVERT);
    }
    let groups = drafter.groups();
    for spec in &drafter.arch.tensors {
        let is_required = drafter.arch.is_required(spec, &drafter.numbers, &groups);
        for layer in drafter.numbers.layers_of(&spec.gguf).take(MAX_LAYERS) {
            check_spec(drafter, spec, layer, is_required, findings);
        }
    }
    for entry in &drafter.tensors {
        check_extra(drafter, entry, findings);
    }
}

fn check_spec(
    drafter: &DrafterGguf,
    spec: &TensorSpec,
    layer: Option<usize>,
    is_required: bool,
    findings: &mut Findings,
) {
    let upstream = spec.gguf.name(layer.unwrap_or(0));
    let lacked = drafter.dialect.iter().flat_map(|dialect| &dialect.lacks_tensors);
    let Some(entry) = drafter.tensor(&upstream) else {
        let is_lacked = lacked.into_iter().any(|name| *name == upstream);
        if is_required && !is_lacked {
            let name = drafter.arch.spell_tensor(&upstream, drafter.dialect);
            let hint = if spec.generate.is_some() { MIGRATE } else { CONVERT };
            let message =
                format!("tensor {name} is missing, and llama.cpp does not load the file without it");
            findings.error("tensor-missing", name, message, hint);
        }
        return;
    };
    check_shape(drafter, spec, layer, entry, findings);
    check_type(drafter, spec, entry, findings);
    if spec.generate == Some(Generator::RopeFreqs) {
        check_factors(entry, findings);
    }
    let limit = spec
        .ids_below
        .as_ref()
        .and_then(|name| drafter.numbers.count(name));
    if let Some(limit) = limit {
        check_ids(entry, limit, findings);
    }
}

/// Each of the drafter's tokens is one of the target's, and no two are the same.
fn check_ids(entry: &TensorEntry, limit: usize, findings: &mut Findings) {
    let Ok(raw) = entry.part.raw_tensor(entry.info) else {
        return; // told where the container is checked
    };
    if raw.ty != GgmlType::I64 || raw.endian != Endian::Little {
        return;
    }
    let ids: Vec<i64> = raw
        .data
        .as_chunks()
        .0
        .iter()
        .copied()
        .map(i64::from_le_bytes)
        .collect();
    if let Some(fault) = fault_of_ids(&ids, limit) {
        let name = escape(&entry.info.name);
        let message = format!("tensor {name}: {fault}, and the drafter proposes other tokens than it means");
        findings.error("ids", name, message, CONVERT);
    }
}

fn check_shape(
    drafter: &DrafterGguf,
    spec: &TensorSpec,
    layer: Option<usize>,
    entry: &TensorEntry,
    findings: &mut Findings,
) {
    let Ok(mut expected) = drafter.numbers.shape(spec, layer) else {
        return; // a key that is missing, which is a finding already
    };
    expected.reverse();
    if expected != entry.info.dims {
        let name = escape(&entry.info.name);
        let formulas: Vec<String> = spec
            .shape
            .iter()
            .rev()
            .map(|formula| formula.to_string())
            .collect();
        let message = format!(
            "tensor {name} has dims {:?}; by the keys it should be {expected:?} ({})",
            entry.info.dims,
            formulas.join(", ")
        );
        findings.error("tensor-shape", name, message, CONVERT);
    }
}

fn check_type(drafter: &DrafterGguf, spec: &TensorSpec, entry: &TensorEntry, findings: &mut Findings) {
    let Some(ty) = entry.info.ty.known() else {
        return; // told where the container is checked
    };
    let name = escape(&entry.info.name);
    let wanted = match (spec.ty, spec.quantize) {
        (Some(fixed), _) if fixed != ty => Some(fixed.to_string()),
        (None, false) if ty != GgmlType::F32 => Some("F32".to_owned()),
        _ => None,
    };
    if let Some(wanted) = wanted {
        let message = format!("tensor {name} is of type {ty}; llama.cpp can use it as {wanted} only");
        findings.error("tensor-type", name, message, CONVERT);
    } else if spec.ty.is_none() && drafter.arch.unusable.contains(&ty) {
        let message = format!("tensor {name} is of type {ty}, which llama.cpp cannot multiply with");
        findings.error("tensor-type", name, message, CONVERT);
    }
}

/// The factors of the rotary frequencies: ones for the pairs that turn, then a number so large that the others stand
/// still.
fn check_factors(entry: &TensorEntry, findings: &mut Findings) {
    let Some(values) = factors(entry) else { return };
    let turning = values.iter().take_while(|value| **value == 1.0).count();
    let rest_stands = values.iter().skip(turning).all(|value| *value >= 1e29);
    if turning == 0 || !rest_stands {
        let name = escape(&entry.info.name);
        let message = format!(
            "tensor {name} should hold ones and then 1e30, and does not: the full layers draft nonsense"
        );
        findings.error("rope-freqs", name, message, CONVERT);
    }
}

/// The factors as they stand in the file, where they can be read and there are not absurdly many.
pub(super) fn factors(entry: &TensorEntry) -> Option<Vec<f32>> {
    const MOST_PAIRS: u64 = 1 << 16;
    let raw = entry.part.raw_tensor(entry.info).ok()?;
    let is_plain = raw.ty == GgmlType::F32 && raw.endian == Endian::Little;
    if !is_plain || entry.info.elements() > MOST_PAIRS {
        return None;
    }
    let mut values = vec![0.0; entry.info.elements() as usize];
    raw.ty.decode(raw.data, &mut values).ok()?;
    Some(values)
}

/// llama.cpp refuses a file with tensors that it does not use.
fn check_extra(drafter: &DrafterGguf, entry: &TensorEntry, findings: &mut Findings) {
    let name = escape(&entry.info.name);
    let upstream = entry.upstream.to_str().unwrap_or_default();
    if let Some(first) = drafter.tensor(upstream)
        && first.info.name != entry.info.name
    {
        let message = format!(
            "tensors {} and {name} are two spellings of the same",
            escape(&first.info.name)
        );
        findings.error("tensor-extra", name, message, CONVERT);
        return;
    }
    let Some(spec) = drafter.arch.tensor_spec(upstream) else {
        let message =
            format!("tensor {name} is no part of a drafter, and llama.cpp refuses a file that holds more");
        findings.error("tensor-extra", name, message, format!("{MIGRATE} --drop-extra"));
        return;
    };
    let group = spec.group.as_ref().and_then(|name| drafter.arch.group(name));
    if let Some((group, refused)) = group.and_then(|group| Some((group, group.refused.as_ref()?)))
        && drafter.dialect.is_none()
    {
        let message = format!("tensor {name} is part of {}: {refused}", group.what);
        findings.error(
            "tensor-extra",
            name,
            message,
            format!("{MIGRATE}, which leaves it out"),
        );
    } else if drafter.dialect.is_none() && entry.info.name != upstream {
        let message = format!("tensor {name} is called {upstream} in llama.cpp, which does not find it");
        findings.error("dialect", name, message, MIGRATE);
    }
}
