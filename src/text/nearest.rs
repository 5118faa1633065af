//! The names that someone may have meant.

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
    fn the_most_alike_comes_first() {
        assert_eq!(
            nearest("hiden", ["layers", "heads", "hidden"]),
            "hidden, heads, layers"
        );
        assert_eq!(nearest("a", []), "none");
        assert!(nearest("a", ["b", "c", "d", "e", "f", "a"]).starts_with("a, b, "));
    }
}
