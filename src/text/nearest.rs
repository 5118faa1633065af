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

#[cfg(test)]
mod tests {
    use super::*;

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
