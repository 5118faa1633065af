//! What verify objects to, in sentences.

use serde::Serialize;

/// Something that is wrong, or looks so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// Whether it fails the verification.
    pub severity: Severity,
    /// The sentence, without a full stop.
    pub message: String,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// Drafter and target against each other.
    Pair,
    /// The drafter's tensors by themselves.
    File,
    /// The tensors against the source's.
    Weights,
    /// What is drafted.
    Drafts,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The verification fails.
    Fault,
    /// Worth knowing.
    Warning,
}

impl Finding {
    /// A fault.
    pub fn fault(check: Check, message: impl Into<String>) -> Finding {
        Finding {
            check,
            severity: Severity::Fault,
            message: message.into(),
        }
    }

    /// A warning.
    pub fn warning(check: Check, message: impl Into<String>) -> Finding {
        Finding {
            severity: Severity::Warning,
            ..Finding::fault(check, message)
        }
    }

    /// Whether it fails the verification.
    pub fn is_fault(&self) -> bool {
        self.severity == Severity::Fault
    }
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

/// The sentence for rows that are all zeros.
pub(super) fn all_zeros(tensor: &str, zero: &[usize]) -> String {
    let verb = if zero.len() == 1 { "is" } else { "are" };
    format!("{} of {tensor} {verb} all zeros", rows(zero))
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
}
