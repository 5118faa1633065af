//! Models as they are named on the command line: `value_parser` for the arguments, and where the models lie.

use crate::Error;
use crate::io::Inputs;
use crate::io::kind::Wanted;
use crate::source::{Places, Source};
use clap::builder::{OsStringValueParser, TypedValueParser};
use std::path::PathBuf;

/// Reads the name of a model.
pub(super) fn source() -> impl TypedValueParser<Value = Source> {
    OsStringValueParser::new().try_map(Source::parse)
}

/// Finds models.
pub(super) struct Finder<'a> {
    inputs: &'a Inputs,
    places: Places,
}

impl<'a> Finder<'a> {
    /// Looks where this process's environment says.
    pub(super) fn new(inputs: &'a Inputs) -> Finder<'a> {
        let places = Places::of_environment();
        Finder { inputs, places }
    }

    /// Where a model lies, as what is wanted of it.
    pub(super) fn find(&self, source: &Source, wanted: Wanted) -> Result<PathBuf, Error> {
        Ok(source.find(self.inputs, &self.places, wanted)?)
    }

    /// The same for what need not be given.
    pub(super) fn find_if(&self, source: Option<&Source>, wanted: Wanted) -> Result<Option<PathBuf>, Error> {
        source.map(|source| self.find(source, wanted)).transpose()
    }
}
