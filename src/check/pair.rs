//! Whether a drafter and a target belong together.

use super::{Findings, tensors};
use crate::arch::Arch;
use crate::facts::drafter::{DrafterGguf, Kind, TensorEntry, kind_of};
use crate::facts::vocabulary::{self, TOKENS, VocabularyDifference};
use crate::facts::{Fault, Mismatch, MismatchKind, Provenance, Target, mismatches};
use crate::gguf::Gguf;
use crate::io::kind::{FileKind, Wanted};
use crate::text::escape;
use bstr::ByteSlice;

const OTHER_TARGET: &str = "use the drafter that was made for this target";

/// Whether the target is one for drafters of this architecture; a finding where it is not.
pub(super) fn is_target(arch: &Arch, target: &Gguf, findings: &mut Findings) -> bool {
    const ANOTHER: &str = "pass the GGUF of a Gemma 4 model with --target";
    let kind = target.kind();
    let role = kind_of(target, arch);
    let is_target = matches!(role, Ok(Kind::Target));
    let (message, way_out) = match kind {
        FileKind::OllamaModel(_) if is_target => {
            (format!("the target is {kind}"), kind.way_out(Wanted::Target))
        }
        _ if is_target => return true,
        FileKind::Model(_) if matches!(role, Ok(Kind::Drafter(_))) => (
            "the target's architecture is a drafter's".to_owned(),
            ANOTHER.into(),
        ),
        FileKind::Model(found) => (
            format!(
                "the target's architecture is {found}; these drafters work with {} only",
                arch.target
            ),
            ANOTHER.into(),
        ),
        FileKind::Gguf => ("the target states no architecture".to_owned(), ANOTHER.into()),
        kind => (format!("the target is {kind}"), kind.way_out(Wanted::Target)),
    };
    findings.error("target", "general.architecture".to_owned(), message, way_out);
    is_target
}

pub(super) fn check(drafter: &DrafterGguf, target: &Gguf, source: Target, findings: &mut Findings) {
    check_numbers(drafter, source, findings);
    check_factors(drafter, target, findings);
    check_vocabulary(drafter, target, findings);
    check_training(drafter, target, findings);
}

fn check_numbers(drafter: &DrafterGguf, source: Target, findings: &mut Findings) {
    for Mismatch { pair, kind } in mismatches(drafter.arch, &drafter.numbers, source) {
        let what = &pair.what;
        let message = match kind {
            MismatchKind::Differs { ours, theirs } => match &pair.refused {
                Some(refused) => format!(
                    "{what} is {ours} in the drafter, {} {theirs} in the target: {refused}",
                    pair.target
                ),
                None => format!("{what} is {ours} in the drafter and {theirs} in the target"),
            },
            MismatchKind::Outside { found, allowed } => {
                format!("{what} is {found} in the target; it must be {allowed}")
            }
            MismatchKind::Missing => format!(
                "the target has no {}, so its {what} cannot be compared",
                pair.target
            ),
            MismatchKind::Unreadable(error) => error.kind.to_string(),
        };
        findings.error("pair", pair.target.clone(), message, OTHER_TARGET);
    }
    for fault in &drafter.faults {
        if let Fault::Value {
            from: Provenance::Target(key),
            found,
            allowed,
        } = fault
            && drafter.arch.pairs.iter().all(|pair| pair.target != *key)
        {
            let message = format!("key {key} is {found} in the target; it must be {allowed}");
            findings.error("pair", key.clone(), message, OTHER_TARGET);
        }
    }
}

/// Queries of the drafter meet keys of the target, so both must be turned alike.
fn check_factors(drafter: &DrafterGguf, target: &Gguf, findings: &mut Findings) {
    for spec in drafter.arch.tensors.iter().filter(|spec| spec.same_in_target) {
        let name = spec.gguf.name(0);
        let theirs = target.parts().iter().find_map(|part| {
            let info = part
                .header
                .tensors
                .iter()
                .find(|info| info.name == name.as_str())?;
            let upstream = info.name.clone();
            tensors::factors(&TensorEntry { upstream, info, part })
        });
        let ours = drafter.tensor(&name).and_then(tensors::factors);
        if let (Some(ours), Some(theirs)) = (ours, theirs)
            && ours != theirs
        {
            let turning = |values: &[f32]| values.iter().filter(|value| **value == 1.0).count();
            let message = format!(
                "{name} differs from the target's: {} of {} pairs turn in the drafter, {} of {} in the target",
                turning(&ours),
                ours.len(),
                turning(&theirs),
                theirs.len()
            );
            findings.error("pair", name, message, OTHER_TARGET);
        }
    }
}

fn check_vocabulary(drafter: &DrafterGguf, target: &Gguf, findings: &mut Findings) {
    const HINT: &str =
        "convert the drafter with --tokenizer target, or use the drafter that was made for this target";
    let VocabularyDifference { tokens, keys } =
        vocabulary::compare(drafter.gguf.metadata(), target, drafter.arch);
    if let Some(difference) = tokens {
        let message = format!("the vocabularies differ: {difference}");
        findings.error("vocabulary", TOKENS.to_owned(), message, HINT);
    }
    for key in keys {
        let message = format!("{key} differs from the target's");
        findings.warning("vocabulary", key.to_owned(), message, HINT);
    }
}

/// A drafter that was trained for a target from quantization-aware training does worse with another, and the reverse.
/// Only what names and metadata say counts: nothing, where they do not name a Gemma.
fn check_training(drafter: &DrafterGguf, target: &Gguf, findings: &mut Findings) {
    let (ours, theirs) = (names(drafter.gguf), names(target));
    let is_qat = |names: &[String]| names.iter().any(|name| says_qat(name));
    let is_told = |names: &[String]| names.iter().any(|name| name.to_lowercase().contains("gemma"));
    let (we_are, they_are) = (is_qat(&ours), is_qat(&theirs));
    let message = match (we_are, they_are) {
        (true, false) if is_told(&theirs) => {
            "the drafter is for a QAT target, and the target is none by its name"
        }
        (false, true) if is_told(&ours) => {
            "the target is from QAT, and the drafter is not for one by its name"
        }
        _ => return,
    };
    let hint = "use drafter and target of the same training: both QAT or neither";
    findings.warning("qat", None, message, hint);
}

/// What a file calls itself: its name and the texts under `general.*`.
fn names(gguf: &Gguf) -> Vec<String> {
    let file = gguf
        .path()
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let texts = gguf.metadata().iter().filter(|(key, _)| {
        key.starts_with(b"general.") && !key.ends_with(b".architecture") && !key.contains_str("license")
    });
    let text = |(_, value): (_, &crate::gguf::Value)| Some(escape(value.as_bytes()?));
    file.into_iter().chain(texts.filter_map(text)).collect()
}

/// Whether `qat` stands in a name as a word of its own.
fn says_qat(name: &str) -> bool {
    let words = name.split(|c: char| !c.is_alphanumeric());
    words.into_iter().any(|word| word.eq_ignore_ascii_case("qat"))
}
