//! Reads `arch/*.toml`: what an architecture's numbers, metadata and tensors are and how they are spelled.
//!
//! The files' format is described in `arch/README.md`. They are compiled in; `--arch FILE` reads another. A file as it is
//! written is an [`ArchSpec`]; an [`Arch`] is one in which every name that is used exists, so that what works with it
//! needs to look for none in vain.

mod dialect;
mod formula;
mod number;
mod numbers;
mod origin;
mod pattern;
mod places;
mod registry;
mod spec;
mod validate;

pub use dialect::{Dialect, ExtraKey};
pub use formula::Formula;
pub use number::{Bounds, Kind, Misfit, Number, ScalarType};
pub(crate) use numbers::Numbers;
pub use numbers::{UnknownNumber, ValueError};
pub use pattern::{Match, Pattern};
pub use registry::Registry;
pub use spec::*;
pub(crate) use validate::{FILE_TYPE, IS_SLIDING};

use crate::io::{Inputs, ReadError, TextLimit};
use places::Places;
use std::collections::HashMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// An architecture that was found to be sound.
#[derive(Debug)]
pub struct Arch {
    spec: ArchSpec,
    /// Position of each number by its name.
    hparams: HashMap<String, usize>,
    /// The file, and where its lines end, for errors in formulas that only the numbers of a model bring out.
    path: PathBuf,
    line_ends: Vec<usize>,
}

impl Deref for Arch {
    type Target = ArchSpec;

    fn deref(&self) -> &ArchSpec {
        &self.spec
    }
}

/// An architecture file that cannot be read or is not sound.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {message}", path.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct ArchError {
    /// The file.
    pub path: PathBuf,
    /// Where in it, counted from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// Set where the file could not be opened or read.
    #[source]
    pub io: Option<ReadError>,
}

impl Arch {
    /// The Gemma 4 drafter, as compiled in.
    pub fn gemma4_assistant() -> Result<Arch, ArchError> {
        let path = Path::new("arch/gemma4_assistant.toml");
        Arch::parse(include_str!("../../arch/gemma4_assistant.toml"), path)
    }

    /// Reads an architecture file.
    pub fn read(inputs: &Inputs, path: &Path) -> Result<Arch, ArchError> {
        let text = inputs.text(path, TextLimit::SETTINGS).map_err(|e| ArchError {
            path: path.to_owned(),
            line: None,
            message: e.to_string(),
            io: Some(e),
        })?;
        Arch::parse(&text, path)
    }

    /// Reads the text of an architecture file; `path` is what errors call it.
    pub fn parse(text: &str, path: &Path) -> Result<Arch, ArchError> {
        let error = |line, message: String| ArchError {
            path: path.to_owned(),
            line,
            message,
            io: None,
        };
        let malformed = |e: toml::de::Error| {
            let line = e.span().map(|span| places::line_at(text, span.start));
            error(line, e.message().replace('\n', " "))
        };
        let spec: ArchSpec = toml::from_str(text).map_err(malformed)?;
        if let Err(fault) = validate::validate(&spec) {
            let places = Places::of(text).map_err(malformed)?;
            return Err(error(Some(places.line_of(&fault.at)), fault.message));
        }
        let names = spec.hparams.iter().enumerate();
        let hparams = names.map(|(at, spec)| (spec.name.clone(), at)).collect();
        Ok(Arch {
            spec,
            hparams,
            path: path.to_owned(),
            line_ends: text.match_indices('\n').map(|(at, _)| at).collect(),
        })
    }

    /// The error for a formula that a model's numbers make nothing of.
    pub(crate) fn unknown(&self, error: &UnknownNumber) -> ArchError {
        ArchError {
            path: self.path.clone(),
            line: Some(self.line_ends.partition_point(|end| *end < error.start) + 1),
            message: error.to_string(),
            io: None,
        }
    }

    /// Whether models of this architecture draft for those of another.
    pub(crate) fn is_drafter(&self) -> bool {
        self.target != self.architecture
    }

    /// What is said of a number.
    pub(crate) fn hparam(&self, name: &str) -> Option<&HparamSpec> {
        self.spec.hparams.get(*self.hparams.get(name)?)
    }

    /// The limits of a number that is listed layer by layer, by its name with or without a kind of layer behind it.
    pub(crate) fn by_layer_bounds(&self, name: &str) -> Option<Bounds> {
        let of_kind = |kind: LayerKind| self.hparam(&format!("{name}.{}", kind.name()));
        let spec = self
            .hparam(name)
            .or_else(|| LayerKind::ALL.into_iter().find_map(of_kind));
        spec.map(HparamSpec::bounds)
    }

    /// What is said of the tensor of this name, upstream's in a GGUF.
    pub(crate) fn tensor_spec(&self, name: &str) -> Option<&TensorSpec> {
        self.tensors.iter().find(|spec| spec.gguf.matches(name).is_some())
    }

    /// What is said of a group of tensors.
    pub(crate) fn group(&self, name: &str) -> Option<&GroupSpec> {
        self.groups.iter().find(|group| group.name == name)
    }
}
