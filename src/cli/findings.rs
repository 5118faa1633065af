//! Findings in lines, those of a kind in one where there are many.

use super::print;
use crate::finding::Finding;

/// Findings of a kind that are told one by one: of a file that was cut off, nearly every tensor is one.
const EACH: usize = 4;
/// Names of the others that are told.
const NAMED: usize = 3;

/// Findings as they are told.
pub(super) struct Told {
    pub(super) lines: Vec<String>,
    /// Whether not each is told; `--verbose` tells each.
    pub(super) is_short: bool,
}

impl Told {
    /// Those of the same severity and code that the same helps against are together, in order.
    pub(super) fn of<'f>(findings: impl Iterator<Item = &'f Finding>) -> Told {
        let mut kinds: Vec<Vec<&Finding>> = Vec::new();
        for finding in findings {
            let is_same = |other: &&Finding| {
                (other.severity, other.code, &other.hint) == (finding.severity, finding.code, &finding.hint)
            };
            match kinds.iter_mut().find(|kind| kind.first().is_some_and(is_same)) {
                Some(kind) => kind.push(finding),
                None => kinds.push(vec![finding]),
            }
        }
        let is_short = |kind: &Vec<&Finding>| kind.len() > EACH && !print::is_verbose();
        Told {
            is_short: kinds.iter().any(is_short),
            lines: kinds
                .iter()
                .flat_map(|kind| match is_short(kind) {
                    true => together(kind),
                    false => kind.iter().map(|finding| print::finding(finding)).collect(),
                })
                .collect(),
        }
    }
}

/// Many of a kind in one line.
fn together(kind: &[&Finding]) -> Vec<String> {
    let [first, others @ ..] = kind else {
        return Vec::new();
    };
    let names: Vec<&str> = others
        .iter()
        .filter_map(|finding| finding.subject.as_deref())
        .take(NAMED)
        .collect();
    let such = match names.is_empty() {
        true => String::new(),
        false => format!(": {}, …", names.join(", ")),
    };
    let message = format!("{}, and {} more{such}", first.message, others.len());
    vec![print::finding(&Finding {
        message,
        ..(*first).clone()
    })]
}
