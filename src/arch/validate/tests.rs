//! Every shipped file is sound, and what is misspelt, said twice or by half is told with its line.

use crate::arch::registry::BUILTIN;
use crate::arch::{Arch, ArchError, Number, Numbers};
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

fn parse(text: &str) -> Result<Arch, ArchError> {
    Arch::parse(text, Path::new("a.toml"))
}

/// Keys whose texts name something in the same file, or a word that the program knows.
const REFERENCES: [&str; 47] = [
    "tokenizer",
    "unusable",
    "head_dim_of",
    "target_sliding",
    "target_full",
    "type",
    "axis_of",
    "divide",
    "layers_of",
    "target",
    "target_len",
    "target_ones",
    "from_target",
    "of_layer",
    "formula",
    "when",
    "times",
    "value",
    "group",
    "shape",
    "generate",
    "same_as",
    "hparam",
    "or",
    "keys",
    "must",
    "lacks",
    "groups",
    "number",
    "lacks_tensors",
    "key",
    "extra",
    "tensors",
    "from",
    "by_layer",
    "with",
    "sliding_when",
    "has",
    "differ",
    "list",
    "required_when",
    "rows",
    "heads",
    "ids_below",
    "below",
    "within",
    "len_of",
];

/// The places of all texts that name something, and of keys of tables that do.
fn references(table: &DeTable, is_top: bool, found: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        // The architecture's own target, texts of a dialect's extra keys, and names that are given, not used.
        let is_given = is_top && name == "target";
        match value.get_ref() {
            DeValue::Table(inner) if name == "keys" || name == "tensors" => {
                found.extend(inner.keys().map(Spanned::span));
            }
            _ if is_given || (!REFERENCES.contains(&name) && !has_tables(value)) => {}
            DeValue::Table(inner) => references(inner, false, found),
            DeValue::Array(list) => {
                for item in list.iter() {
                    match item.get_ref() {
                        DeValue::Table(inner) if name != "extra" => references(inner, false, found),
                        DeValue::String(_) => found.push(item.span()),
                        _ => {}
                    }
                }
            }
            DeValue::String(_) => found.push(value.span()),
            _ => {}
        }
    }
}

fn has_tables(value: &Spanned<DeValue>) -> bool {
    match value.get_ref() {
        DeValue::Table(_) => true,
        DeValue::Array(list) => list
            .iter()
            .any(|item| matches!(item.get_ref(), DeValue::Table(_))),
        _ => false,
    }
}

#[test]
fn every_shipped_file_is_sound() {
    for (path, text) in BUILTIN {
        Arch::parse(text, Path::new(path)).unwrap();
    }
}

#[test]
fn a_reference_that_is_misspelt_is_told_with_its_line() {
    for (path, text) in BUILTIN {
        let root = DeTable::parse(text).unwrap();
        let mut found = Vec::new();
        references(root.get_ref(), true, &mut found);
        assert!(found.len() > 80, "{path}: {} references", found.len());
        for span in found {
            // Behind the quote, where there is one.
            let at = span.start + usize::from(text.as_bytes()[span.start] == b'"');
            let misspelt = format!("{}x{}", &text[..at], &text[at..]);
            let line = text[..at].matches('\n').count() + 1;
            match parse(&misspelt) {
                Err(error) => assert!(error.line.is_some(), "{path}:{line}: {error}"),
                Ok(_) => panic!("{path}:{line}: {:?} misspelt is taken", &text[span]),
            }
        }
    }
}

/// Replaces a text of the drafter's file and wants an error that holds the words.
#[track_caller]
fn refuse(from: &str, to: &str, words: &[&str]) {
    let text = BUILTIN[0].1;
    assert!(text.contains(from), "{from}");
    let error = parse(&text.replacen(from, to, 1)).unwrap_err();
    assert!(error.line.is_some(), "{error}");
    let told = error.to_string();
    assert!(!told.contains('\n'), "{told}");
    for word in words {
        assert!(told.contains(word), "{told}");
    }
}

#[test]
fn what_is_said_twice_or_by_half_is_refused() {
    let again = |text: &str| format!("{text}\n{text}");
    let norm =
        "[[tensor]]\nhf = \"model.norm.weight\"\ngguf = \"output_norm.weight\"\nshape = [\"hidden\"]\n";
    refuse(norm, &again(norm), &["two tensors", "output_norm.weight"]);
    let other = norm.replace("output_norm", "other_norm");
    refuse(
        norm,
        &format!("{norm}\n{other}"),
        &["model.norm.weight", "the source of output_norm.weight already"],
    );
    refuse(
        "hf = \"model.layers.{l}.layer_scalar\"\n",
        "",
        &["a.toml:", "comes from nowhere"],
    );
    refuse("value = \"context\"\n", "", &["context_length has no value"]);
    refuse(
        "type = \"u32\"\nvalue = \"context\"",
        "value = \"context\"",
        &["has no type"],
    );
    refuse(
        "type = \"u32\"\nvalue = \"hidden\"",
        "type = \"bool\"\nvalue = \"hidden\"",
        &["hidden"],
    );
    refuse(
        "name = \"hidden\"",
        "name = \"layers\"",
        &["\"layers\" stands twice"],
    );
    refuse(
        "key = \"gemma4-assistant.context_length\"",
        "key = \"gemma4-assistant.block_count\"",
        &["stands twice"],
    );
    refuse(
        "formula = \"layers\"",
        "formula = \"context\"",
        &["\"context\" is used before it is defined"],
    );
    refuse(
        "min = 1\nmax = 512",
        "min = 513\nmax = 512",
        &["layers can be nothing at all"],
    );
    refuse(
        "min = 1\nmax = 512",
        "min = 1.5\nmax = 512",
        &["no limit for layers"],
    );
    refuse(
        "one_of = [0]\nfrom",
        "one_of = [\"none\"]\nfrom",
        &["is not allowed"],
    );
    refuse(
        "value = \"hidden\"",
        "value = \"hiden\"",
        &["\"hiden\"", "nearest are hidden"],
    );
    refuse("axis = 1", "axis = 2", &["pre_projection.weight has 2 axes"]);
    refuse(
        "name = \"ik\"",
        "name = \"atomic\"",
        &["dialect \"atomic\" stands twice"],
    );
    refuse("optional = true", "optinal = true", &["optinal"]);
    refuse(
        "value = \"softcap\"\noptional = true",
        "value = \"softcap\"",
        &["softcap may stay unknown"],
    );
    refuse(
        "group = \"centroids\"\noptional = true\n\n[[tensor]]",
        "group = \"centroids\"\n\n[[tensor]]",
        &["centroids may stay unknown"],
    );
    refuse(
        "tokenizer = \"gemma4\"",
        "tokenizer = \"gemma\"",
        &["nearest are gemma4"],
    );
}

#[test]
fn what_an_origin_says_wrong_is_told_in_words() {
    let layers = "{ layers_of = \"model.layers.{l}.self_attn.q_proj.weight\" }";
    let with = |other: &str| format!("{{ {other} }}");
    refuse(layers, &with("formula = \"2 %\""), &["2 %", "no operator"]);
    refuse(layers, &with("formula = \"2 *\""), &["ends in an operator"]);
    refuse(
        layers,
        &with("layer_of = \"x\""),
        &["unknown field `layer_of`", "layers_of"],
    );
    refuse(
        layers,
        &with("floor = true"),
        &["one of config, generation, axis_of"],
    );
    refuse(
        layers,
        &with("config = \"/a\", target = \"gemma4.block_count\""),
        &["target does not belong"],
    );
    refuse(
        layers,
        &with("axis_of = \"model.norm.weight\""),
        &["which axis of model.norm.weight"],
    );
    refuse(
        "from_target = \"token_embd.weight\"",
        "from_target = \"token_emb.weight\"",
        &["no tensor of a target", "nearest are token_embd.weight"],
    );
}

#[test]
fn a_formula_that_comes_to_no_length_is_told_with_its_line() {
    let text = BUILTIN[0].1.replacen(
        "shape = [\"head_dim.full / 2\"]",
        "shape = [\"head_dim.full / 1000\"]",
        1,
    );
    let line = 1 + text.lines().position(|line| line.contains("/ 1000")).unwrap();
    let arch = parse(&text).unwrap();
    let mut numbers = Numbers::default();
    numbers.set("head_dim.full", Number::Integer(512));
    let error = numbers.shape(&arch.tensors[0], None).unwrap_err();
    assert_eq!(
        arch.unknown(&error).to_string(),
        format!("a.toml:{line}: formula \"head_dim.full / 1000\" has no value: 0.512 is no length")
    );
}
