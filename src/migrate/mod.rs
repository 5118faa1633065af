//! Rewrites a drafter's GGUF of any known dialect into upstream's, or another: keys and tensors renamed, missing ones
//! derived, data copied bit for bit. A plan first, as with a conversion; [`Plan::write`] writes it.

mod error;
mod keys;
mod tensors;

pub use error::MigrateError;

use crate::arch::{Arch, Dialect};
use crate::convert::size_label;
use crate::facts::drafter::{DrafterGguf, Kind, kind_of};
use crate::facts::{Provenance, Target};
use crate::gguf::{Endian, Gguf, Metadata};
use crate::io::kind::{FileKind, Wanted};
use crate::plan::{Plan, PlannedTensor};

/// The name of upstream's own spelling among the dialects.
const UPSTREAM: &str = "upstream";

/// What the user asks for.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Options<'a> {
    /// The dialect to write, by name; `upstream` for upstream's own.
    pub to: &'a str,
    /// Keep the centroid head where the dialect has no place for it.
    pub keep_centroids: bool,
    /// Leave out tensors that are no part of a drafter.
    pub drop_extra: bool,
    /// Byte order of the output.
    pub endian: Endian,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            to: UPSTREAM,
            keep_centroids: false,
            drop_extra: false,
            endian: Endian::default(),
        }
    }
}

/// A migration before a byte is written: the output's plan, and how it differs from the input.
#[derive(Debug)]
#[non_exhaustive]
pub struct Migration<'a> {
    /// The output.
    pub plan: Plan<'a>,
    /// What becomes different. Empty where the file is as it should be.
    pub changes: Vec<Change>,
}

/// A difference between input and output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it is about.
    pub subject: Subject,
    /// What it was; `None` for what is added.
    pub from: Option<String>,
    /// What it becomes; `None` for what is left out.
    pub to: Option<String>,
    /// Why, or where it comes from; empty for a mere change of spelling.
    pub why: String,
}

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The container: version, byte order, number of files.
    File,
    /// The architecture's name, and with it the front of every key of its own.
    Architecture,
    /// A metadata key.
    Key,
    /// A tensor.
    Tensor,
}

impl Change {
    fn renamed(subject: Subject, from: String, to: String) -> Change {
        Change {
            subject,
            from: Some(from),
            to: Some(to),
            why: String::new(),
        }
    }

    fn added(subject: Subject, to: String, why: String) -> Change {
        Change {
            subject,
            from: None,
            to: Some(to),
            why,
        }
    }

    fn dropped(subject: Subject, from: String, why: impl Into<String>) -> Change {
        Change {
            subject,
            from: Some(from),
            to: None,
            why: why.into(),
        }
    }
}

/// Plans the migration of `gguf`, with `target` as a source for numbers that the file lacks.
pub fn plan<'a>(
    arch: &'a Arch,
    gguf: &'a Gguf,
    target: Option<&'a Gguf>,
    options: Options,
) -> Result<Migration<'a>, MigrateError> {
    let to = dialect(arch, options.to)?;
    let target = target.map(|gguf| Target::accept(gguf, arch)).transpose()?;
    let no_drafter = |found: String| MigrateError::Architecture {
        path: gguf.path().to_owned(),
        found,
        known: architectures(arch),
    };
    let from = match gguf.key(kind_of(gguf, arch))? {
        Kind::Drafter(dialect) => dialect,
        Kind::Target => return Err(no_drafter(arch.target.clone())),
        Kind::Other(FileKind::Model(found)) => return Err(no_drafter(found)),
        Kind::Other(_) => return Err(gguf.wrong_kind(Wanted::Drafter).into()),
    };
    let drafter = DrafterGguf::read(gguf, arch, from, target);
    let mut changes = container_changes(gguf, options.endian);
    let (old, new) = (architecture(arch, from), architecture(arch, to));
    if old != new {
        changes.push(Change::renamed(
            Subject::Architecture,
            old.to_owned(),
            new.to_owned(),
        ));
    }
    let job = Job {
        drafter: &drafter,
        to,
        options,
        has_target: target.is_some(),
    };
    let mut metadata = job.metadata(&mut changes)?;
    let tensors = job.tensors(&mut changes)?;
    job.relabel_size(&mut metadata, &tensors, &mut changes);
    let warnings = job.warnings(&tensors, &changes);
    let plan = Plan::new(metadata, tensors, options.endian, warnings)?;
    Ok(Migration { plan, changes })
}

/// A migration in the making.
struct Job<'j, 'a> {
    drafter: &'j DrafterGguf<'a>,
    /// The dialect to write; `None` for upstream's.
    to: Option<&'a Dialect>,
    options: Options<'j>,
    has_target: bool,
}

impl Job<'_, '_> {
    /// Whether the output holds a group of keys and tensors.
    fn keeps(&self, group: &str) -> bool {
        let belongs = self
            .to
            .is_some_and(|dialect| dialect.groups.iter().any(|known| known == group));
        let is_on_demand = self
            .drafter
            .arch
            .group(group)
            .is_some_and(|group| group.on_demand);
        belongs || self.options.keep_centroids || !is_on_demand
    }

    /// Where the label of the size was counted from the tensors, it is counted again.
    fn relabel_size(&self, metadata: &mut Metadata, tensors: &[PlannedTensor], changes: &mut Vec<Change>) {
        const KEY: &str = "general.size_label";
        let entries = self.drafter.tensors.iter();
        let before = entries
            .map(|entry| entry.info.elements())
            .fold(0, u64::saturating_add);
        let after = tensors
            .iter()
            .map(PlannedTensor::elements)
            .fold(0, u64::saturating_add);
        let (before, after) = (size_label(before), size_label(after));
        if before != after && metadata.string(KEY).is_ok_and(|label| label == before.as_str()) {
            metadata.set(KEY, after.as_str());
            let (from, to) = (format!("{KEY} {before}"), format!("{KEY} {after}"));
            changes.push(Change::renamed(Subject::Key, from, to));
        }
    }

    fn warnings(&self, tensors: &[PlannedTensor], changes: &[Change]) -> Vec<String> {
        let is_used = |from: &str| changes.iter().any(|change| change.why.contains(from));
        let mut warnings: Vec<String> = self
            .drafter
            .derived
            .iter()
            .filter(|derived| {
                matches!(derived.from, Provenance::Assumed(_)) && is_used(&derived.from.to_string())
            })
            .map(|derived| format!("{} = {}: {}", derived.name, derived.value, derived.from))
            .collect();
        let arch = self.drafter.arch;
        if self.to.is_none() {
            for group in &arch.groups {
                let is_member = |tensor: &PlannedTensor| {
                    let spec = arch.tensor_spec(&tensor.name);
                    spec.is_some_and(|spec| spec.group.as_ref() == Some(&group.name))
                };
                if let (Some(refused), true) = (&group.refused, tensors.iter().any(is_member)) {
                    warnings.push(format!("{} is kept: {refused}", group.what));
                }
            }
        }
        warnings
    }
}

fn dialect<'a>(arch: &'a Arch, name: &str) -> Result<Option<&'a Dialect>, MigrateError> {
    if name == UPSTREAM {
        return Ok(None);
    }
    let mut dialects = arch.dialects.iter();
    dialects
        .find(|dialect| dialect.name == name)
        .map(Some)
        .ok_or_else(|| MigrateError::Dialect {
            name: name.to_owned(),
            known: std::iter::once(UPSTREAM)
                .chain(arch.dialects.iter().map(|dialect| dialect.name.as_str()))
                .collect::<Vec<_>>()
                .join(", "),
        })
}

fn architecture<'a>(arch: &'a Arch, dialect: Option<&'a Dialect>) -> &'a str {
    dialect.map_or(&arch.architecture, |dialect| &dialect.architecture)
}

fn architectures(arch: &Arch) -> String {
    std::iter::once(&arch.architecture)
        .chain(arch.dialects.iter().map(|dialect| &dialect.architecture))
        .cloned()
        .collect::<Vec<_>>()
        .join(", ")
}

fn container_changes(gguf: &Gguf, endian: Endian) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut file = |from: String, to: &str| {
        changes.push(Change::renamed(Subject::File, from, to.to_owned()));
    };
    let parts = gguf.parts();
    if let Some(part) = parts.iter().find(|part| part.header.version != 3) {
        file(format!("GGUF version {}", part.header.version), "version 3");
    }
    let order = |endian| match endian {
        Endian::Little => "little-endian",
        Endian::Big => "big-endian",
    };
    if let Some(part) = parts.iter().find(|part| part.header.endian != endian) {
        file(order(part.header.endian).to_owned(), order(endian));
    }
    if parts.len() > 1 {
        file(format!("{} files", parts.len()), "one file");
    }
    changes
}
