//! Proves a drafter's GGUF: its weights against the checkpoint, its drafts against the target.
//!
//! [`verify`] looks at four things. The pair: numbers in which drafter and target must agree. The weights: every tensor
//! against the source's, or, without a source, what a tensor shows by itself. The drafts: a forward pass of target and
//! drafter, and where a source is given of that too. The acceptance: greedy speculative decoding as llama.cpp does it.
//! What is wrong becomes a [`Finding`], a sentence that says what a converter did.
//!
//! ```
//! # use gguf_conv::{arch::Arch, checkpoint::Checkpoint, convert, gguf::Gguf};
//! use gguf_conv::io::Inputs;
//! use gguf_conv::verify::{self, Options};
//! use std::path::Path;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let inputs = Inputs::new();
//! let target = Path::new("fixtures/mini-dense/target-bf16.gguf");
//! # let folder = tempfile::tempdir()?;
//! # let drafter = folder.path().join("drafter.gguf");
//! # let checkpoint = Checkpoint::open(&inputs, Path::new("fixtures/mini-dense/drafter"))?;
//! # let gguf = Gguf::open(&inputs, target)?;
//! # let plan = convert::plan(&Arch::gemma4_assistant()?, &checkpoint, Some(&gguf), convert::Options::default())?.plan;
//! # plan.write(&drafter, &inputs, false, &|_bytes| ())?;
//! let mut options = Options::new(&drafter, target);
//! options.source = Some("fixtures/mini-dense/drafter".into());
//! let report = verify::verify(&inputs, &options)?;
//! println!("{}", report.verdict.line);
//! assert!(report.verdict.ok);
//! # Ok(())
//! # }
//! ```

mod compare;
mod drafts;
mod dump;
mod error;
mod explain;
mod files;
mod finite;
mod judge;
mod options;
mod overlay;
mod plausible;
mod probe;
mod repair;
mod report;
mod run;
mod settings;
mod source;
mod speculate;
mod suite;
mod template;
mod tokenize;
mod watch;
mod words;

pub use crate::model::{Arithmetic, CacheType, Compute, Head, ModelError, Window};
pub use compare::{TensorError, ceiling};
pub use error::VerifyError;
pub use judge::wilson;
pub use options::{LARGE, Options, Prompt, QUICK_TOKENS};
pub use report::*;
pub use speculate::{Acceptance, Limits};
pub use tokenize::{TokenizeError, Tokenizer};
pub use watch::{Phase, Watch, Watcher};

use crate::finding::Finding;
use crate::io::{Inputs, output};
use crate::model::CheckpointWeights;
use compare::Comparison;
use files::{Files, check_kinds, check_options};
use run::Run;
use std::cmp::Reverse;
use std::path::PathBuf;
use words::code;

/// Verifies a drafter. Faults of the drafter are findings of the report; errors are what stands in the way of one.
pub fn verify(inputs: &Inputs, options: &Options) -> Result<Report, VerifyError> {
    // Among the threads that compute: from outside each product would wait until one of them takes it up.
    rayon::scope(|_| verify_here(inputs, options))
}

fn verify_here(inputs: &Inputs, options: &Options) -> Result<Report, VerifyError> {
    let files = Files::open(inputs, options)?;
    if let Some(dump) = &options.dump {
        // Told before the work.
        output::check(dump, inputs, options.force)?;
    }
    check_kinds(&files.drafter, &files.target, files.drafter_arch())?;
    check_options(&files.drafter, options)?;
    let (mut config, mut target_config) = (files.drafter_config()?, files.target_config()?);
    config.set_compute(options.compute);
    target_config.compute = options.compute;
    let raw = match &files.source {
        Some(source) => Some(CheckpointWeights::new(source, files.source_arch(source)?)),
        None => None,
    };
    let source_config = files
        .source
        .as_ref()
        .map(|source| files.source_config(source, &config, &target_config))
        .transpose()?;
    let source = match (&raw, &source_config) {
        (Some(raw), Some(config)) => Some(source::as_converted(raw, config, &files.drafter)?),
        _ => None,
    };
    let mut findings = Vec::new();

    let mismatches = plausible::mismatches(&files.drafter, &config, &files.target, &target_config);
    let reasons: Vec<String> = mismatches.iter().map(|m| m.message.clone()).collect();
    let mut is_runnable = mismatches.iter().all(|mismatch| !mismatch.fatal);
    if let Some(config) = config.assistant() {
        findings.extend(plausible::odd_rope_freqs(&files.drafter, config, &files.target)?);
    }
    if let Some(source_config) = &source_config {
        findings.extend(settings::differences(&config, source_config));
    }
    options.watcher.begin(Phase::Weights, 0);
    let weights = match (&source, &raw) {
        (Some(source), Some(raw)) => {
            let comparisons = compare::compare_all(&files.drafter, source)?;
            findings.extend(explain::explain(&files.drafter, source, raw, &comparisons)?);
            is_runnable &= comparisons.iter().all(Comparison::is_in_shape);
            Some(comparisons.iter().map(TensorReport::from).collect())
        }
        _ => {
            findings.extend(plausible::odd_settings(&files.drafter, &config)?);
            findings.extend(plausible::odd_tensors(&files.drafter, &files.target)?);
            findings.extend(plausible::odd_scales(&files.drafter, config.layers())?);
            None
        }
    };

    let is_assistant = config.assistant().is_some();
    let mut run = Run::default();
    if is_runnable {
        let has_faults = !findings.is_empty();
        run = Run::new(
            options,
            &files,
            config,
            target_config,
            source.as_ref().zip(source_config),
            &reasons,
            has_faults,
        )?;
    }
    if !reasons.is_empty() && !run.is_stranger {
        findings.push(Finding::error(code::PAIR, judge::stranger(&reasons)));
    }
    findings.append(&mut run.findings);
    findings.sort_by_key(|finding| Reverse(finding.severity));
    let shown = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    Ok(Report {
        verdict: judge::verdict(
            &findings,
            &options.drafter,
            &options.target,
            run.acceptance.as_ref(),
            run.source_acceptance.as_ref(),
            options.source.is_some(),
        ),
        findings,
        drafter: options.drafter.display().to_string(),
        target: options.target.display().to_string(),
        source: shown(&options.source),
        target_source: shown(&options.target_source),
        window: is_assistant.then(|| options.window.name()),
        head: is_assistant.then(|| options.head.name()),
        arithmetic: options.compute.arithmetic.name(),
        prompt: run.prompt,
        weights,
        forward: run.forward,
        agreement: run.agreement,
        acceptance: run.acceptance.as_ref().map(|acceptance| AcceptanceReport {
            output: Some(run.output),
            output_is_greedy: run.output_is_greedy,
            surprise: run.surprise,
            ..acceptance.into()
        }),
        source_acceptance: run.source_acceptance.as_ref().map(|acceptance| AcceptanceReport {
            surprise: run.source_surprise,
            ..acceptance.into()
        }),
        suite: run.suite,
        checkpoints: run.checkpoints,
        is_partial: run.is_partial,
    })
}
