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
use std::collections::{HashMap, HashSet};
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

    /// The file that describes it; of one that is compiled in, its path in the sources.
    pub fn path(&self) -> &Path {
        &self.path
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

    /// Whether a key holds a list that is not one by layer.
    pub(crate) fn is_list(&self, spec: &MetadataSpec) -> bool {
        let mut names = spec.value.iter().flat_map(Formula::names);
        names.any(|name| self.hparam(name).is_some_and(|spec| spec.list))
    }

    /// What is said of the tensor of this name, upstream's in a GGUF.
    pub(crate) fn tensor_spec(&self, name: &str) -> Option<&TensorSpec> {
        self.tensors.iter().find(|spec| spec.gguf.matches(name).is_some())
    }

    /// Whether a file cannot do without a tensor, `groups` being those of which it holds something.
    pub(crate) fn is_required(&self, spec: &TensorSpec, numbers: &Numbers, groups: &HashSet<&str>) -> bool {
        if !numbers.applies(spec.when.as_deref()) {
            return false;
        }
        let is_asked = spec
            .required_when
            .as_ref()
            .is_some_and(|name| numbers.is_set(name));
        let is_there = match spec.group.as_deref().and_then(|name| self.group(name)) {
            Some(group) => !group.on_demand && groups.contains(group.name.as_str()),
            None => true,
        };
        is_asked || (is_there && !spec.optional)
    }

    /// The width of the target that a drafter's numbers ask for.
    pub(crate) fn target_width(&self, numbers: &Numbers) -> Option<usize> {
        let key = format!("{}.embedding_length", self.target);
        let pair = self.pairs.iter().find(|pair| pair.target == key)?;
        numbers.count(&pair.hparam)
    }

    /// Whether a tensor, by upstream's name, is written only where the user asks for it.
    pub(crate) fn is_on_demand(&self, name: &str) -> bool {
        let group = self.tensor_spec(name).and_then(|spec| spec.group.as_ref());
        group.is_some_and(|name| self.group(name).is_some_and(|group| group.on_demand))
    }

    /// How a runtime drafts with a file that has these tensors.
    pub(crate) fn run(&self, has: impl Fn(&str) -> bool) -> Option<&Run> {
        let fits = |run: &&Run| run.with.as_ref().is_none_or(|name| has(name));
        self.runs.iter().find(fits)
    }

    /// What is said of the tensor that checkpoints usually call so.
    pub(crate) fn source_spec(&self, name: &Pattern) -> Option<&TensorSpec> {
        self.tensors.iter().find(|spec| spec.hf.as_ref() == Some(name))
    }

    /// What is said of a group of tensors.
    pub(crate) fn group(&self, name: &str) -> Option<&GroupSpec> {
        self.groups.iter().find(|group| group.name == name)
    }
}
