//! The words of what verify objects to: its codes, and lists as people write them.

/// Codes of findings: what was looked at.
pub mod code {
    /// Drafter and target against each other.
    pub const PAIR: &str = "pair";
    /// The drafter's tensors by themselves.
    pub const FILE: &str = "file";
    /// The tensors against the source's.
    pub const WEIGHTS: &str = "weights";
    /// What is drafted.
    pub const DRAFTS: &str = "drafts";
    /// A model that computes NaN or infinity.
    pub const NON_FINITE: &str = "non-finite";
    /// A target that is no model.
    pub const TARGET: &str = "target";
    /// Too little was drafted, or accepted, for a verdict.
    pub const ACCEPTANCE: &str = "acceptance";
}

/// Most items that [`list`] names.
const LISTED: usize = 4;

/// Items as words: `a`, `a and b`, `a, b, c, d and 3 more`.
pub fn list<T: ToString>(items: &[T]) -> String {
    let shown: Vec<String> = items.iter().take(LISTED).map(T::to_string).collect();
    match (shown.as_slice(), items.len() - shown.len()) {
        ([], _) => String::new(),
        ([one], 0) => one.clone(),
        ([first @ .., last], 0) => format!("{} and {last}", first.join(", ")),
        (shown, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Rows of a matrix as words: `row 17`, `rows 1, 2 and 3`.
pub fn rows(rows: &[usize]) -> String {
    let noun = if rows.len() == 1 { "row" } else { "rows" };
    format!("{noun} {}", list(rows))
}

/// The sentence for rows, of `count`, that are all zeros.
pub(super) fn all_zeros(tensor: &str, zero: &[usize], count: usize) -> String {
    match zero.len() {
        all if all == count => format!("{tensor} is all zeros"),
        1 => format!("{} of {tensor} is all zeros", rows(zero)),
        _ => format!("{} of {tensor} are all zeros", rows(zero)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_words() {
        assert_eq!(rows(&[17]), "row 17");
        assert_eq!(rows(&[1, 2]), "rows 1 and 2");
        assert_eq!(rows(&[1, 2, 3, 4, 5, 6]), "rows 1, 2, 3, 4 and 2 more");
    }

    #[test]
    fn a_tensor_of_zeros_has_no_rows_to_name() {
        assert_eq!(all_zeros("t", &[0], 1), "t is all zeros");
        assert_eq!(all_zeros("t", &[3], 8), "row 3 of t is all zeros");
        assert_eq!(all_zeros("t", &[3, 4], 8), "rows 3 and 4 of t are all zeros");
    }
}
