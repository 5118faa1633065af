//! What `check` and `verify` object to: one kind of finding, one rule for what fails.

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// Nothing is wrong; worth knowing.
    Note,
    /// The file works, but may draft worse than it could.
    Warning,
    /// The file does not load, drafts nonsense, or does not hold what it should.
    Error,
}

impl Severity {
    /// In a word: `error`.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// Something that is wrong or worth knowing, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of finding it is, in a word that does not change between versions.
    pub code: &'static str,
    /// The key or tensor, as the file spells it, where it is about one.
    pub subject: Option<String>,
    /// What is wrong, in a sentence without a full stop.
    pub message: String,
    /// What to do about it, where something is known to help.
    pub hint: Option<String>,
}

impl Finding {
    /// A finding that is about no key or tensor and has no hint yet.
    pub fn new(severity: Severity, code: &'static str, message: impl Into<String>) -> Finding {
        Finding {
            severity,
            code,
            subject: None,
            message: message.into(),
            hint: None,
        }
    }

    /// An error.
    pub fn error(code: &'static str, message: impl Into<String>) -> Finding {
        Finding::new(Severity::Error, code, message)
    }

    /// A warning.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Finding {
        Finding::new(Severity::Warning, code, message)
    }

    /// A note.
    pub fn note(code: &'static str, message: impl Into<String>) -> Finding {
        Finding::new(Severity::Note, code, message)
    }

    /// The same about a key or tensor.
    pub fn about(self, subject: impl Into<Option<String>>) -> Finding {
        Finding {
            subject: subject.into(),
            ..self
        }
    }

    /// The same with what to do about it.
    pub fn hint(self, hint: impl Into<String>) -> Finding {
        Finding {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Whether these findings fail what was looked at: an error does, a warning only if `strict`, a note never.
pub fn fail(findings: &[Finding], strict: bool) -> bool {
    let least = if strict {
        Severity::Warning
    } else {
        Severity::Error
    };
    findings.iter().any(|finding| finding.severity >= least)
}

/// How many findings are of this severity.
pub fn count(findings: &[Finding], severity: Severity) -> usize {
    let same = |finding: &&Finding| finding.severity == severity;
    findings.iter().filter(same).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_fails_only_what_is_strict_and_a_note_nothing() {
        let note = Finding::note("n", "a note");
        let warning = Finding::warning("w", "a warning");
        let error = Finding::error("e", "an error");
        let verdicts = |findings: &[Finding]| (fail(findings, false), fail(findings, true));
        assert_eq!(verdicts(&[]), (false, false));
        assert_eq!(verdicts(std::slice::from_ref(&note)), (false, false));
        assert_eq!(verdicts(&[note.clone(), warning.clone()]), (false, true));
        assert_eq!(verdicts(&[note, warning, error]), (true, true));
    }
}
