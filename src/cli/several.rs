//! Commands that take several files do the good ones and tell what is wrong with the others, as `sha256sum` does.

use super::json::ErrorReport;
use super::{Outcome, print};
use crate::Error;
use crate::source::Source;

/// Files that could be opened, and why others could not.
pub(super) struct Opened<T> {
    pub files: Vec<T>,
    pub failures: Failures,
}

/// Why files could not be opened; told already on standard error.
pub(super) struct Failures(Vec<Error>);

impl<T> Opened<T> {
    /// Opens each file; tells on standard error which could not be.
    pub(super) fn each(sources: &[Source], open: impl Fn(&Source) -> Result<T, Error>) -> Opened<T> {
        let mut opened = Opened {
            files: Vec::new(),
            failures: Failures(Vec::new()),
        };
        for source in sources {
            match open(source) {
                Ok(file) => opened.files.push(file),
                Err(error) => {
                    print::error(&error);
                    opened.failures.0.push(error);
                }
            }
        }
        opened
    }
}

impl Failures {
    /// For the JSON document.
    pub(super) fn reports(&self) -> Vec<ErrorReport> {
        self.0.iter().map(ErrorReport::from).collect()
    }

    /// The worst of them, or what the command found in the rest.
    pub(super) fn outcome(&self, rest: Outcome) -> Outcome {
        let faults = self.0.iter().map(Error::fault);
        faults.max().map_or(rest, Outcome::Failed)
    }
}
