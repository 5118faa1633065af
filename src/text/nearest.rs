//! The names that someone may have meant.

use super::escape;

/// Most names that are told.
const SHOWN: usize = 5;

/// Names that exist in a line, those most like `name` first; more than a few are cut.
pub fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_by_cached_key(|other| (strsim::damerau_levenshtein(name, other), (*other).to_owned()));
    known.dedup();
    match known.len() {
        0 => "none".to_owned(),
        1..=SHOWN => known.join(", "),
        _ => format!("{}, …", known[..SHOWN].join(", ")),
    }
}

/// The one name that was probably meant: hardly another, or one that begins so.
pub fn likely<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let typed = name.to_lowercase();
    let distance = |other: &str| match other.to_lowercase() {
        // An ending that was left out is no misspelling.
        other if typed.len() >= SHORTEST && other.starts_with(&typed) => 1,
        other => strsim::damerau_levenshtein(&typed, &other),
    };
    let near = known.into_iter().map(|other| (distance(other), other));
    let near = near.filter(|&(distance, _)| distance * LETTERS <= typed.chars().count());
    near.min().map(|(_, other)| other)
}

/// Of dotted names, as of keys and tensors, those that are most like `meant`, the most alike first, escaped. What is meant
/// may be a part of a name, such as `attn_q`, and hold signs of a pattern.
pub fn names_like<'n>(meant: &str, known: impl IntoIterator<Item = &'n str>, most: usize) -> Vec<String> {
    let is_wild = |c: char| !(c.is_alphanumeric() || "._-".contains(c));
    let plain = meant.to_lowercase().replace(is_wild, "");
    let likeness = |name: &str| {
        let ends = name.match_indices('.').filter_map(|(at, _)| name.get(at + 1..));
        let parts = name.split('.').chain(ends);
        let parts = parts.chain([name, name.trim_end_matches(".weight")]);
        parts
            .map(|part| strsim::jaro_winkler(part, &plain))
            .fold(0.0, f64::max)
    };
    let known = known.into_iter();
    let mut known: Vec<(f64, &str)> = known.map(|name| (likeness(name), name)).collect();
    // Stable, so that of equals the first comes first.
    known.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let shown = known.into_iter().take(most);
    shown.map(|(_, name)| escape(name.as_bytes())).collect()
}

/// Letters of a name to each that may be wrong.
const LETTERS: usize = 3;
/// Shortest beginning that tells what is meant.
const SHORTEST: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_likely_name_is_near() {
        let commands = ["quantize", "inspect", "check", "diff", "hash"];
        for (typed, meant) in [
            ("quantise", Some("quantize")),
            ("Quantize", Some("quantize")),
            ("quant", Some("quantize")),
            ("inpsect", Some("inspect")),
            ("dif", Some("diff")),
            ("chek", Some("check")),
            ("drafter", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(likely(typed, commands), meant, "{typed}");
        }
    }

    #[test]
    fn the_names_that_are_told_are_those_that_were_meant() {
        let names = [
            "token_embd.weight",
            "blk.0.attn_q.weight",
            "blk.0.ffn_up.weight",
            "blk.1.ffn_up.weight",
            "gemma4.attention.head_count",
        ];
        let nearest = |meant| names_like(meant, names, 3);
        assert_eq!(nearest("atn_q")[0], names[1]);
        assert_eq!(nearest("*token_embed*")[0], names[0]);
        assert_eq!(nearest("blk.1.fnn_up.weight")[0], names[3]);
        assert_eq!(nearest("fn_up")[..2], names[2..4]);
        assert_eq!(nearest("llama.attention.head_count")[0], names[4]);
        assert_eq!(nearest("attention.head_cuont")[0], names[4]);
    }

    #[test]
    fn the_most_alike_comes_first() {
        assert_eq!(
            nearest("hiden", ["layers", "heads", "hidden"]),
            "hidden, heads, layers"
        );
        assert_eq!(nearest("a", []), "none");
        assert!(nearest("a", ["b", "c", "d", "e", "f", "a"]).starts_with("a, b, "));
    }
}
