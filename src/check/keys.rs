//! The metadata: what is missing, of the wrong type, or at odds with the rest.

use super::{CONVERT, Findings, MIGRATE};
use crate::arch::{MetadataSpec, Relation, ScalarType};
use crate::facts::drafter::{DrafterGguf, in_words};
use crate::facts::{Fault, Provenance, broken_rules, differ};
use crate::gguf::{Value, ValueType};
use crate::text::escape;

pub(super) fn check(drafter: &DrafterGguf, findings: &mut Findings) {
    for spec in &drafter.arch.metadata {
        match drafter.key(&spec.key).map(|key| (escape(key.found), key.value)) {
            None => check_missing(drafter, spec, findings),
            Some((name, value)) => check_value(drafter, spec, name, value, findings),
        }
    }
    check_rules(drafter, findings);
}

fn check_missing(drafter: &DrafterGguf, spec: &MetadataSpec, findings: &mut Findings) {
    let bare = spec.key.strip_prefix(&format!("{}.", drafter.arch.architecture));
    let is_lacked = drafter
        .dialect
        .zip(bare)
        .is_some_and(|(dialect, bare)| dialect.lacks_key(bare));
    let applies = drafter.numbers.applies(spec.when.as_deref());
    if spec.may_lack || spec.optional || spec.group.is_some() || is_lacked || !applies {
        return;
    }
    let hint = match drafter.numbers.key(spec) {
        Ok(_) => MIGRATE.to_owned(),
        Err(_) => format!("{MIGRATE}, with --target for what only the target knows"),
    };
    let key = spec.key.clone();
    match &spec.without {
        Some(without) => findings.warning(
            "key-missing",
            key.clone(),
            format!("key {key} is missing: {without}"),
            hint,
        ),
        None => {
            let message = format!("key {key} is missing, and llama.cpp does not load the file without it");
            findings.error("key-missing", key, message, hint);
        }
    }
}

fn check_value(
    drafter: &DrafterGguf,
    spec: &MetadataSpec,
    name: String,
    value: &Value,
    findings: &mut Findings,
) {
    if let Some(expected) = wrong_type(spec, drafter.arch.is_list(spec), value) {
        let message = format!(
            "key {name} is of type {}; llama.cpp takes {expected}",
            value.type_name()
        );
        findings.error("key-type", name, message, MIGRATE);
        return;
    }
    let is_it = |from: &Provenance| matches!(from, Provenance::Key(key) if *key == name);
    let outside = drafter.faults.iter().find_map(|fault| match fault {
        Fault::Value { from, found, allowed } if is_it(from) => {
            Some(format!("key {name} is {found}; it must be {allowed}"))
        }
        _ => None,
    });
    if let Some(message) = outside {
        findings.error("key-value", name, message, CONVERT);
        return;
    }
    let layers = drafter.numbers.count("layers");
    if let (Value::Array(array), Some(layers)) = (value, layers.filter(|_| spec.by_layer.is_some()))
        && array.len() != layers
    {
        let message = format!("key {name} has {} entries for {layers} layers", array.len());
        findings.error("key-length", name, message, CONVERT);
        return;
    }
    // Relations that the runtime itself checks have findings of their own.
    let has_rule = drafter
        .arch
        .rules
        .iter()
        .any(|rule| rule.keys.contains(&spec.key));
    let expected = drafter.numbers.key(spec).ok().flatten().filter(|_| !has_rule);
    if let Some(expected) = expected.filter(|expected| differ(expected, value)) {
        let message = format!(
            "key {name} is {}; with the other keys it should be {}",
            in_words(value),
            in_words(&expected)
        );
        if spec.may_lack {
            findings.warning("key-value", name, message, CONVERT);
        } else {
            findings.error("key-value", name, message, CONVERT);
        }
    }
}

/// What type the key should have, in words, where it has another. llama.cpp takes integers of one width only.
fn wrong_type(spec: &MetadataSpec, is_list: bool, value: &Value) -> Option<String> {
    let list = spec.by_layer.as_ref().map(|by_layer| by_layer.ty);
    let list = list.or(spec.ty.filter(|_| is_list));
    let is_right = match value {
        Value::Array(array) => list.is_some_and(|ty| {
            let element = array.element_type();
            match ty {
                ScalarType::U32 | ScalarType::I32 => matches!(element, ValueType::U32 | ValueType::I32),
                ScalarType::F32 => element == ValueType::F32,
                ScalarType::Bool => matches!(element, ValueType::Bool | ValueType::U32 | ValueType::I32),
                ScalarType::String => element == ValueType::String,
            }
        }),
        _ if is_list => false,
        scalar => spec.ty.is_some_and(|ty| scalar.value_type() == ty.value_type()),
    };
    if is_right {
        return None;
    }
    let single = spec.ty.filter(|_| !is_list);
    let single = single.map(|ty| ty.value_type().name().to_owned());
    let list = list.map(|ty| format!("{}[]", ty.value_type().name()));
    Some(single.into_iter().chain(list).collect::<Vec<_>>().join(" or "))
}

fn check_rules(drafter: &DrafterGguf, findings: &mut Findings) {
    for rule in broken_rules(drafter.arch, |key| drafter.key(key).map(|key| key.value)) {
        let [Some(a), Some(b)] = rule.keys.each_ref().map(|key| drafter.key(key)) else {
            continue;
        };
        let (a_name, b_name) = (escape(a.found), escape(b.found));
        let (message, hint) = match rule.must {
            Relation::Differ => (
                format!("keys {a_name} and {b_name} are both {}", in_words(a.value)),
                "convert the checkpoint again; if the values are true, this drafter does not run in llama.cpp",
            ),
            Relation::Agree => (
                format!(
                    "key {a_name} is {} and {b_name} is {}",
                    in_words(a.value),
                    in_words(b.value)
                ),
                CONVERT,
            ),
        };
        let message = format!("{message}, and llama.cpp refuses {}", rule.refused);
        findings.error("rule", a_name, message, hint);
    }
}
