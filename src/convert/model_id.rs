//! Takes a model's name apart, as llama.cpp's converter does (gguf-py `metadata.py`, October 2026), so that files get
//! the same `general.*` keys: `gemma-4-E4B-it` has the base name `gemma-4-E4B` and the fine-tune `it`.

use crate::plan::PlannedTensor;
use regex::{Regex, RegexBuilder};
use std::sync::LazyLock;

/// The parts of a name that could be made out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ModelId {
    pub name: String,
    pub organization: Option<String>,
    pub basename: Option<String>,
    pub finetune: Option<String>,
    pub version: Option<String>,
    pub size_label: Option<String>,
}

/// What a part of a name can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Basename,
    SizeLabel,
    Finetune,
    Version,
    Type,
}

/// A part of a name and what it was taken for. More than one kind at a time happens only with `Basename`.
struct Part {
    text: String,
    kinds: Vec<Kind>,
}

impl Part {
    fn is(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }
}

/// A pattern for a whole part, in any case.
struct Whole(LazyLock<Regex>);

impl Whole {
    fn matches(&self, part: &str) -> bool {
        self.0.is_match(part)
    }
}

macro_rules! whole {
    ($pattern:literal) => {
        Whole(LazyLock::new(|| {
            let whole = concat!("^(?:", $pattern, ")$");
            // Without Unicode's tables, which the crate's features leave out, case is ASCII's.
            let regex = RegexBuilder::new(whole)
                .case_insensitive(true)
                .unicode(false)
                .build();
            #[allow(clippy::expect_used)] // a constant, which the tests build
            regex.expect("the pattern is well-formed")
        }))
    };
}

static VERSION: Whole = whole!("(v|iter)?[0-9]+([.][0-9]+)*");
static QUANTIZATION: Whole = whole!("i?q[0-9](_[0-9A-Za-z_])*|b?fp?(16|32)");
static SIZE: Whole = whole!("(A|[0-9]+x)?[0-9]+([._][0-9]+)?[KMBT][0-9]?|small|mini|medium|large|x?xl");
static FINETUNE: Whole = whole!("chat|instruct|vision|lora");

impl ModelId {
    /// Takes `organization/name`, `name`, or a title with blanks apart. `parameters` tells a size label from a context
    /// length: a label far from it is none.
    pub(super) fn parse(id: &str, parameters: u64) -> ModelId {
        if id.contains(' ') {
            return ModelId {
                name: id.to_owned(),
                ..ModelId::default()
            };
        }
        let (organization, name) = match id.split_once('/') {
            Some((organization, name)) => (Some(organization), name),
            None => (None, id),
        };
        let organization = organization.filter(|o| !o.starts_with('.')).map(str::to_owned);
        let mut id = ModelId {
            name: name.to_owned(),
            organization,
            ..ModelId::default()
        };
        let mut parts: Vec<Part> = name
            .split('-')
            .filter(|part| !part.is_empty())
            .enumerate()
            .map(|(i, part)| annotate(i, part, parameters))
            .collect();

        // A word such as "mini" is no size where a number tells it.
        let has_number =
            |part: &Part| part.is(Kind::SizeLabel) && part.text.contains(|c: char| c.is_ascii_digit());
        if parts.iter().any(has_number) {
            for part in &mut parts {
                if part.text.chars().all(char::is_alphabetic) {
                    part.kinds.retain(|kind| *kind != Kind::SizeLabel);
                }
            }
        }
        mark_basename(&mut parts);

        let join = |kind: Kind| {
            let texts: Vec<&str> = parts
                .iter()
                .filter(|p| p.is(kind))
                .map(|p| p.text.as_str())
                .collect();
            (!texts.is_empty()).then(|| texts.join("-"))
        };
        id.basename = join(Kind::Basename);
        id.finetune = join(Kind::Finetune);
        let mut sizes: Vec<&str> = Vec::new();
        for part in parts.iter().filter(|part| part.is(Kind::SizeLabel)) {
            if !sizes.contains(&part.text.as_str()) {
                sizes.push(&part.text);
            }
        }
        id.size_label = (!sizes.is_empty()).then(|| sizes.join("-"));
        let versions: Vec<&str> = parts
            .iter()
            .filter(|part| part.is(Kind::Version) && !part.is(Kind::Basename))
            .map(|part| part.text.as_str())
            .collect();
        id.version = (!versions.is_empty()).then(|| versions.join("-"));
        if id.size_label.is_none() && id.finetune.is_none() && id.version.is_none() {
            id.basename = None; // too little to tell a base name from a name
        }
        id
    }
}

fn annotate(index: usize, text: &str, parameters: u64) -> Part {
    let mut part = Part {
        text: text.to_owned(),
        kinds: Vec::new(),
    };
    if VERSION.matches(text) {
        part.kinds.push(Kind::Version);
    } else if QUANTIZATION.matches(text) {
        part.kinds.push(Kind::Type);
        part.text = text.to_uppercase();
    } else if index > 0 && SIZE.matches(text) {
        let (text, kind) = size_or_context(text, parameters);
        part.text = text;
        part.kinds.push(kind);
    } else if index > 0 && FINETUNE.matches(text) {
        part.kinds.push(Kind::Finetune);
    }
    part
}

/// A part such as `7B`, `A4B`, `7b1` or `128k`: a size, or a context length where the model is nowhere near as large.
fn size_or_context(text: &str, parameters: u64) -> (String, Kind) {
    let mut chars: Vec<char> = text.replace('_', ".").chars().collect();
    if let [.., unit, digit] = chars[..]
        && digit.is_ascii_digit()
    {
        // `7b1` means 7.1 B.
        let at = chars.len() - 2;
        chars.splice(at.., ['.', digit, unit]);
    }
    if let [.., before, unit] = &mut chars[..]
        && before.is_ascii_digit()
    {
        unit.make_ascii_uppercase();
    }
    let label: String = chars.iter().collect();
    let (digits, unit) = label.split_at(label.len() - 1);
    let power = " KMBT".find(unit).unwrap_or(0) as i32;
    if parameters != 0
        && let Ok(number) = digits.parse::<f64>()
    {
        let size = number * 1000_f64.powi(power);
        if (size - parameters as f64).abs() > (7 * parameters / 8) as f64 {
            return (format!("{digits}{}", unit.to_lowercase()), Kind::Finetune);
        }
    }
    (label, Kind::SizeLabel)
}

/// The base name is what stands in front of the first part that is something else, a trailing version excepted.
fn mark_basename(parts: &mut [Part]) {
    let mut at_start = true;
    for part in parts.iter_mut() {
        let starts_with_letter = part.text.starts_with(char::is_alphabetic);
        if at_start && ((part.kinds.is_empty() && starts_with_letter) || part.is(Kind::Version)) {
            part.kinds.push(Kind::Basename);
        } else {
            at_start = false;
            if part.kinds.is_empty() {
                part.kinds.push(Kind::Finetune);
            }
        }
    }
    for part in parts.iter_mut().rev() {
        if !(part.is(Kind::Basename) && part.kinds.len() > 1) {
            break;
        }
        part.kinds.retain(|kind| *kind != Kind::Basename);
    }
}

/// A name as a title: blanks for hyphens, words in lower case capitalized, versions and numbers left alone.
pub(super) fn title(name: &str) -> String {
    let words: Vec<String> = name
        .replace('-', " ")
        .split_whitespace()
        .map(|word| {
            let is_lower = word.chars().any(char::is_lowercase) && !word.chars().any(char::is_uppercase);
            if is_lower && !is_version(word) {
                capitalize(word)
            } else {
                word.to_owned()
            }
        })
        .collect();
    words.join(" ")
}

/// `v2`, `v1.5`, or anything that starts with a digit.
fn is_version(word: &str) -> bool {
    let numbers = |text: &str| {
        text.split('.')
            .all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    word.starts_with(|c: char| c.is_ascii_digit()) || word.strip_prefix('v').is_some_and(numbers)
}

/// Every run of letters with its first in upper case: `my_drafter.v2` becomes `My_Drafter.V2`.
fn capitalize(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    let mut in_word = false;
    for c in word.chars() {
        if in_word {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        in_word = c.is_alphabetic();
    }
    out
}

/// A parameter count in two or more digits: `296K`, `3.9M`, `12B`.
pub(crate) fn size_label(parameters: u64) -> String {
    let count = parameters as f64;
    let (scaled, unit) = match parameters {
        n if n > 1_000_000_000_000 => (count * 1e-12, "T"),
        n if n > 1_000_000_000 => (count * 1e-9, "B"),
        n if n > 1_000_000 => (count * 1e-6, "M"),
        _ => (count * 1e-3, "K"),
    };
    let whole = scaled.round_ties_even();
    let digits = if whole == 0.0 { 0 } else { format!("{whole}").len() };
    let decimals = 2_usize.saturating_sub(digits);
    format!("{scaled:.decimals$}{unit}")
}

/// The label of a model of these tensors: of one with experts their number, and the size of what one and all share.
pub(super) fn size_label_of(tensors: &[PlannedTensor]) -> String {
    let (mut shared, mut one, mut counted, mut experts) = (0, 0, 0, 0);
    for tensor in tensors {
        let count = tensor.dims.get(2).filter(|_| tensor.name.contains("_exps."));
        match (count, tensor.elements()) {
            (Some(&count), elements) if count > 0 => {
                one += elements / count;
                experts += count;
                counted += 1;
            }
            (_, elements) => shared += elements,
        }
    }
    match experts.checked_div(counted) {
        Some(experts) => format!("{experts}x{}", size_label(shared + one)),
        None => size_label(shared),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles() {
        assert_eq!(title("my_drafter.v2"), "My_Drafter.V2");
        assert_eq!(title("gemma-4-12B-it-assistant"), "Gemma 4 12B It Assistant");
        assert_eq!(title("model-v2-7b"), "Model v2 7b");
    }

    // Expected values: gguf-py 0.19 `Metadata.get_model_id_components`.
    #[test]
    fn names_are_taken_apart_as_upstream_does() {
        let parse = |id: &str, parameters| {
            let id = ModelId::parse(id, parameters);
            [id.basename, id.finetune, id.version, id.size_label].map(Option::unwrap_or_default)
        };
        assert_eq!(parse("drafter", 296_000), ["", "", "", ""]);
        assert_eq!(
            parse("gemma-4-12B-it-assistant", 422_900_000),
            ["gemma-4", "12b-it-assistant", "", ""]
        );
        assert_eq!(
            parse("gemma-4-E4B-it-qat-q4_0-unquantized-assistant", 78_000_000),
            ["gemma-4-E4B-it-qat", "unquantized-assistant", "", ""]
        );
        assert_eq!(
            parse("gemma-4-26B-A4B-it", 422_900_000),
            ["gemma-4", "26b-it", "", "A4B"]
        );
        assert_eq!(
            parse("Mistral-7B-Instruct-v0.2", 7_200_000_000),
            ["Mistral", "Instruct", "v0.2", "7B"]
        );
        assert_eq!(parse("bloom-7b1", 7_100_000_000), ["bloom", "", "", "7.1B"]);
        assert_eq!(
            parse("Phi-3-mini-4k-instruct", 3_800_000_000),
            ["Phi-3", "4k-instruct", "", "mini"]
        );
    }

    #[test]
    fn size_labels() {
        for (count, label) in [
            (296_032, "296K"),
            (3_900_000, "3.9M"),
            (422_900_000, "423M"),
            (999, "1.0K"),
            (12_000_000_000, "12B"),
        ] {
            assert_eq!(size_label(count), label);
        }
    }
}
