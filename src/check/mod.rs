//! Looks for what keeps a drafter's GGUF from loading or drafting well in llama.cpp, alone and with its target.

mod container;
mod data;
mod keys;
mod pair;
mod target;
mod tensors;
mod vocabulary;

pub use container::ranges;

use crate::arch::Arch;
use crate::facts::Target;
use crate::facts::drafter::{DrafterGguf, Kind, kind_of};
use crate::finding::{Finding, Severity};
use crate::gguf::{Array, Gguf};
use crate::io::kind::Wanted;
use serde::Serialize;

/// Most layers that llama.cpp loads (`LLAMA_MAX_LAYERS`).
const MAX_LAYERS: usize = 512;

/// The findings so far.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn error(
        &mut self,
        code: &'static str,
        subject: impl Into<Option<String>>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Severity::Error, code, subject, message, hint);
    }

    fn warning(
        &mut self,
        code: &'static str,
        subject: impl Into<Option<String>>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Severity::Warning, code, subject, message, hint);
    }

    fn push(
        &mut self,
        severity: Severity,
        code: &'static str,
        subject: impl Into<Option<String>>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.0
            .push(Finding::new(severity, code, message).about(subject).hint(hint));
    }
}

/// What to do where [`crate::migrate`] mends it.
const MIGRATE: &str = "rewrite the file with `gguf-conv migrate`";
/// What to do where only a new conversion mends it.
const CONVERT: &str = "convert the drafter's checkpoint again with `gguf-conv`";

/// What a check reads.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Options {
    /// All numbers of drafter and target, for NaN, infinities and tensors of zeros, where the file is here.
    pub data: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { data: true }
    }
}

/// Whether a drafter and a target belong together, by what their headers say: what [`check`] finds of the pair is no
/// error. What else is wrong with either does not count.
pub fn fits(arch: &Arch, drafter: &Gguf, target: &Gguf) -> bool {
    let mut findings = Findings::default();
    let Ok(Kind::Drafter(dialect)) = kind_of(drafter, arch) else {
        return false;
    };
    if !pair::is_target(arch, target, &mut findings) {
        return false;
    }
    let Ok(source) = Target::accept(target, arch) else {
        return false;
    };
    let drafter = DrafterGguf::read(drafter, arch, dialect, Some(source));
    pair::check(&drafter, target, source, &mut findings);
    !findings.0.iter().any(Finding::is_error)
}

/// A group of checks that ran, and over how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Checked {
    /// What was looked at.
    pub group: &'static str,
    /// How much of it there was.
    pub count: usize,
    /// Of what, in the singular.
    pub of: &'static str,
    /// How much more of it there is that could not be looked at, as what is missing of a file that was cut off.
    pub unread: usize,
}

impl Checked {
    fn all(group: &'static str, count: usize, of: &'static str) -> Checked {
        let unread = 0;
        Checked {
            group,
            count,
            of,
            unread,
        }
    }

    /// The data of so many tensors of a file.
    fn data(group: &'static str, gguf: &Gguf, read: usize) -> Checked {
        Checked {
            unread: gguf.tensors().count().saturating_sub(read),
            ..Checked::all(group, read, "tensor")
        }
    }
}

/// What a check came to.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Examined {
    /// What is wrong; nothing where this is empty.
    pub findings: Vec<Finding>,
    /// The groups of checks that ran.
    pub checked: Vec<Checked>,
}

/// What the headers of a model tell, drafter or target, as far as its architecture is known.
pub(crate) fn headers(arch: &Arch, gguf: &Gguf) -> Vec<Finding> {
    if !matches!(kind_of(gguf, arch), Ok(Kind::Target)) {
        return check(arch, gguf, None, Options { data: false }, &|_| ());
    }
    let mut findings = Findings::default();
    container::check(gguf, &mut findings);
    target::check(arch, gguf, &mut findings);
    findings.0
}

/// What [`examine`] finds.
pub fn check(
    arch: &Arch,
    gguf: &Gguf,
    target: Option<&Gguf>,
    options: Options,
    progress: &(dyn Fn(u64) + Sync),
) -> Vec<Finding> {
    examine(arch, gguf, target, options, progress).findings
}

/// Checks a drafter, best opened with [`Gguf::look`], its fit with a target, and the target. `progress` is told the number
/// of elements as they are read.
pub fn examine(
    arch: &Arch,
    gguf: &Gguf,
    target: Option<&Gguf>,
    options: Options,
    progress: &(dyn Fn(u64) + Sync),
) -> Examined {
    let mut findings = Findings::default();
    let mut checked = Vec::new();
    let mut ran = |group, count, of| checked.push(Checked::all(group, count, of));
    container::check(gguf, &mut findings);
    ran("container", gguf.parts().len(), "file");
    match kind_of(gguf, arch) {
        Ok(Kind::Drafter(dialect)) => {
            if let Some(dialect) = dialect {
                findings.error(
                    "dialect",
                    "general.architecture".to_owned(),
                    format!(
                        "the file is in the dialect of {}; llama.cpp answers: unknown model architecture: '{}'",
                        dialect.of, dialect.architecture
                    ),
                    MIGRATE,
                );
            }
            let fit = target.filter(|target| pair::is_target(arch, target, &mut findings));
            let source = fit.and_then(|target| Target::accept(target, arch).ok());
            let drafter = DrafterGguf::read(gguf, arch, dialect, source);
            keys::check(&drafter, &mut findings);
            ran("metadata", gguf.metadata().len(), "key");
            tensors::check(&drafter, &mut findings);
            ran("tensors", gguf.tensors().count(), "tensor");
            vocabulary::check(&drafter, &mut findings);
            let tokens = gguf.metadata().array("tokenizer.ggml.tokens");
            ran("vocabulary", tokens.map_or(0, Array::len), "token");
            if let (Some(target), Some(source)) = (fit, source) {
                let before = findings.0.len();
                pair::check(&drafter, target, source, &mut findings);
                ran("pair", 2, "file");
                // What the pair tells of the target's numbers is not told twice. It asks for all tensors.
                if findings.0.len() == before && !target.is_distant() {
                    target::check(arch, target, &mut findings);
                    ran("target", target.tensors().count(), "tensor");
                }
            }
        }
        Ok(Kind::Target) => findings.error(
            "role",
            "general.architecture".to_owned(),
            format!("this is a target ({}), not a drafter", arch.target),
            "give the drafter here, and this file with --target",
        ),
        Ok(Kind::Other(found)) => findings.error(
            "role",
            "general.architecture".to_owned(),
            format!(
                "this is {found}; the architecture of a Gemma 4 drafter is {}",
                arch.architecture
            ),
            found.way_out(Wanted::Drafter),
        ),
        Err(error) => findings.error(
            "role",
            "general.architecture".to_owned(),
            error.to_string(),
            CONVERT,
        ),
    }
    if options.data {
        // Of a file elsewhere only the header is here.
        if !gguf.is_distant() {
            let read = data::check(arch, gguf, &mut findings, progress);
            checked.push(Checked::data("drafter's data", gguf, read));
        }
        if let Some(target) = target.filter(|target| !target.is_distant()) {
            let read = data::check_target(target, &mut findings, progress);
            checked.push(Checked::data("target's data", target, read));
        }
    }
    Examined {
        findings: findings.0,
        checked,
    }
}
