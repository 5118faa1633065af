//! Looks for what keeps a drafter's GGUF from loading or drafting well in llama.cpp, alone and with its target.

mod container;
mod data;
mod keys;
mod pair;
mod tensors;
mod vocabulary;

use crate::arch::Arch;
use crate::facts::Target;
use crate::facts::drafter::{DrafterGguf, Kind, kind_of};
use crate::finding::{Finding, Severity};
use crate::gguf::Gguf;
use crate::io::kind::Wanted;

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

/// Checks a drafter, best opened with [`Gguf::look`], and its fit with a target. All data is read; `progress` is told the
/// number of elements as they are. An empty result means that nothing is wrong.
pub fn check(
    arch: &Arch,
    gguf: &Gguf,
    target: Option<&Gguf>,
    progress: &(dyn Fn(u64) + Sync),
) -> Vec<Finding> {
    let mut findings = Findings::default();
    container::check(gguf, &mut findings);
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
            tensors::check(&drafter, &mut findings);
            vocabulary::check(&drafter, &mut findings);
            if let (Some(target), Some(source)) = (fit, source) {
                pair::check(&drafter, target, source, &mut findings);
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
    data::check(arch, gguf, &mut findings, progress);
    findings.0
}
