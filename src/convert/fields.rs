//! Fields of the drafter's JSON files that have another type than they are read as: they are left out, and that is told.

use crate::checkpoint::{CheckpointError, CheckpointHead, SPECIAL_TYPES};
use serde_json::Value as Json;

/// Sampling parameters: key, the names that `generation_config.json` may use, and whether the number is whole.
pub(super) const SAMPLING: [(&str, &[&str], bool); 11] = [
    ("top_k", &["top_k"], true),
    ("top_p", &["top_p"], false),
    ("min_p", &["min_p"], false),
    ("xtc_probability", &["xtc_probability"], false),
    ("xtc_threshold", &["xtc_threshold"], false),
    ("temp", &["temperature"], false),
    ("penalty_last_n", &["penalty_last_n"], true),
    ("penalty_repeat", &["penalty_repeat", "repetition_penalty"], false),
    ("mirostat", &["mirostat"], true),
    ("mirostat_tau", &["mirostat_tau"], false),
    ("mirostat_eta", &["mirostat_eta"], false),
];

/// What a field must be. `null` is as good as absent everywhere.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Bool,
    Number,
    Whole,
    /// Text, or an object with the text as its `content`.
    Token,
    /// A token's number, or a list of them.
    Ids,
    /// A template, or a list of templates with their names.
    Templates,
    /// Tokens as a list or by name.
    Tokens,
}

impl Kind {
    fn fits(self, value: &Json) -> bool {
        let is_id = |id: &Json| id.as_u64().is_some_and(|id| u32::try_from(id).is_ok());
        match self {
            Kind::Text => value.is_string(),
            Kind::Bool => value.is_boolean(),
            Kind::Number => value.is_number(),
            Kind::Whole => whole(value).is_some(),
            Kind::Token => value.is_string() || value.get("content").is_some_and(Json::is_string),
            Kind::Ids => is_id(value) || value.as_array().is_some_and(|ids| ids.iter().all(is_id)),
            Kind::Templates => value.is_string() || value.is_array(),
            Kind::Tokens => value.is_array() || value.is_object(),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Bool => "true or false",
            Kind::Number => "a number",
            Kind::Whole => "a whole number",
            Kind::Token => "a token's text",
            Kind::Ids => "a token's number",
            Kind::Templates => "a template or a list of them",
            Kind::Tokens => "a list of tokens",
        }
    }
}

/// A whole number that an i32 holds, however it is written.
pub(super) fn whole(value: &Json) -> Option<i32> {
    let number = value.as_f64()?;
    let range = f64::from(i32::MIN)..=f64::from(i32::MAX);
    (number.fract() == 0.0 && range.contains(&number)).then_some(number as i32)
}

/// The fields of `file` that do not fit, in sentences.
fn misfits(file: &str, json: &Json, fields: &[(String, Kind)]) -> Vec<String> {
    let misfit = |(name, kind): &(String, Kind)| {
        let value = json
            .get(name)
            .filter(|value| !value.is_null() && !kind.fits(value))?;
        Some(format!(
            "{file}: {name} is {value}, not {}; it is left out",
            kind.words()
        ))
    };
    fields.iter().filter_map(misfit).collect()
}

/// What is wrong in the files beside the weights that sampling and tokenizer are read from.
pub(super) fn wrong_types(checkpoint: &CheckpointHead) -> Result<Vec<String>, CheckpointError> {
    let sampling = SAMPLING.iter().flat_map(|(_, names, is_whole)| {
        let kind = if *is_whole { Kind::Whole } else { Kind::Number };
        names.iter().map(move |name| ((*name).to_owned(), kind))
    });
    let generation: Vec<_> = sampling.chain([("sequence".to_owned(), Kind::Text)]).collect();
    let special = |form: &dyn Fn(&str) -> String, kind| -> Vec<(String, Kind)> {
        SPECIAL_TYPES.iter().map(|name| (form(name), kind)).collect()
    };
    let tokenizer = [
        special(&|name| format!("{name}_token"), Kind::Token),
        special(&|name| format!("add_{name}_token"), Kind::Bool),
        vec![
            ("tokenizer_class".to_owned(), Kind::Text),
            ("chat_template".to_owned(), Kind::Templates),
            ("extra_special_tokens".to_owned(), Kind::Tokens),
            ("additional_special_tokens".to_owned(), Kind::Tokens),
        ],
    ]
    .concat();
    let config = special(&|name| format!("{name}_token_id"), Kind::Ids);
    let template = vec![("chat_template".to_owned(), Kind::Text)];
    let mut found = Vec::new();
    let beside = [
        ("generation_config.json", generation),
        ("tokenizer_config.json", tokenizer),
        ("chat_template.json", template),
    ];
    for (file, fields) in beside {
        if let Some(json) = checkpoint.json(file)? {
            found.extend(misfits(file, &json, &fields));
        }
    }
    if let Some(json) = checkpoint.config()? {
        found.extend(misfits("config.json", json, &config));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whole_numbers_are_whole_however_they_are_written() {
        assert_eq!(whole(&json!(64)), Some(64));
        assert_eq!(whole(&json!(64.0)), Some(64));
        for other in [json!(64.5), json!(1e12), json!(-3e9), json!("64"), json!(null)] {
            assert_eq!(whole(&other), None, "{other}");
        }
    }
}
