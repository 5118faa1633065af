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
mod explain;
mod finite;
mod judge;
mod overlay;
mod plausible;
mod probe;
mod repair;
mod report;
mod settings;
mod source;
mod speculate;
mod tokenize;
mod watch;
mod words;

pub use crate::model::{Arithmetic, CacheType, Compute, Head, ModelError, Window};
pub use compare::{TensorError, ceiling};
pub use judge::wilson;
pub use report::*;
pub use speculate::{Acceptance, Limits};
pub use tokenize::{TokenizeError, Tokenizer};
pub use watch::{Phase, Watch, Watcher};

use crate::arch::{Arch, ArchError, Registry};
use crate::checkpoint::{Checkpoint, CheckpointError, CheckpointErrorKind};
use crate::facts::drafter::{Kind, kind_of};
use crate::finding::Finding;
use crate::gguf::{Gguf, GgufError, GgufErrorKind};
use crate::io::kind::{DrafterKind, FileKind, Wanted};
use crate::io::output::{self, OutputError};
use crate::io::{Inputs, ReadError};
use crate::model::{
    CENTROIDS, CheckpointWeights, Config, Drafter, DrafterConfig, Moment, ORDERING, Settings, Target, Weights,
};
use bstr::BStr;
use drafts::{Differences, StepDifference};
use overlay::Overlay;
use probe::Probes;
use speculate::{Rehearsal, Writer, tokens};
use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use words::code;

/// What to verify and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The drafter's GGUF.
    pub drafter: PathBuf,
    /// The target's GGUF.
    pub target: PathBuf,
    /// The checkpoint that the drafter was converted from.
    pub source: Option<PathBuf>,
    /// The checkpoint that the target was converted from.
    pub target_source: Option<PathBuf>,
    /// What the target continues.
    pub prompt: Prompt,
    /// How much is drafted and generated.
    pub limits: Limits,
    /// Which keys sliding layers of the drafter see.
    pub window: Window,
    /// How the drafter scores the vocabulary.
    pub head: Head,
    /// Where to write every intermediate of one run.
    pub dump: Option<PathBuf>,
    /// Whether the dump may replace a file.
    pub force: bool,
    /// An architecture file for the drafter, instead of the one compiled in.
    pub arch: Option<PathBuf>,
    /// How target and drafter are computed; checkpoints are in `f32`.
    pub compute: Compute,
    /// Whether the target writes its text a second time, without the drafter. `None`: where it is small.
    pub prove_greedy: Option<bool>,
    /// Whether no more than [`QUICK_TOKENS`] tokens are written where the target is larger than [`LARGE`].
    pub quick: bool,
    /// Who is told how far it has come, and may end it early.
    pub watcher: Watcher,
}

/// Tokens that a quick verification writes.
pub const QUICK_TOKENS: usize = 32;
/// Bytes of a target above which a verification is quick where nobody says how much to write.
pub const LARGE: u64 = 2 << 30;

/// The prompt where none is given: code and prose, so that positions differ.
const DEFAULT_PROMPT: &str = "\
import os
import sys

def read_file(path):
    \"\"\"Return the lines of a file, without the empty ones.\"\"\"
    with open(path) as file:
        lines = [line.strip() for line in file]
    return [line for line in lines if line]


class Config:
    \"\"\"Settings of a program, read from a file and from the environment.\"\"\"

    def __init__(self, name, values=None):
        self.name = name
        self.values = values or {}

    def update(self, other):
        for key in sorted(other):
            if key not in self.values:
                raise KeyError(key)
";

impl Options {
    /// The default prompt, limits and readings, without checkpoints and without a dump.
    pub fn new(drafter: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Options {
        Options {
            drafter: drafter.into(),
            target: target.into(),
            source: None,
            target_source: None,
            prompt: Prompt::default(),
            limits: Limits::default(),
            window: Window::default(),
            head: Head::default(),
            dump: None,
            force: false,
            arch: None,
            compute: Compute::default(),
            prove_greedy: None,
            quick: false,
            watcher: Watcher::default(),
        }
    }
}

/// Bytes of a target up to which its text is written a second time, without the drafter, if nobody says whether to.
const PROVED_UP_TO: u64 = 256 << 20;

/// What the target continues.
#[derive(Debug, Clone)]
pub enum Prompt {
    /// Text, which the GGUF's vocabulary makes tokens of.
    Text(String),
    /// Tokens as they are.
    Tokens(Vec<u32>),
}

impl Default for Prompt {
    fn default() -> Prompt {
        Prompt::Text(DEFAULT_PROMPT.to_owned())
    }
}

/// A verification that could not be done.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum VerifyError {
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Arch(#[from] ArchError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("{}: it is in the dialect of {of}; rewrite it with `gguf-conv migrate` first", path.display())]
    Dialect { path: PathBuf, of: String },
    #[error("{}: {message}", path.display())]
    Dump { path: PathBuf, message: String },
    #[error("{option} is for Gemma 4's assistants only, {} is a drafter of the kind {kind}; leave it out", path.display())]
    Option {
        path: PathBuf,
        option: &'static str,
        kind: DrafterKind,
    },
}

impl VerifyError {
    /// The file that it is about, where it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            VerifyError::Gguf(error) => Some(&error.path),
            VerifyError::Checkpoint(error) => Some(&error.path),
            VerifyError::Arch(error) => Some(&error.path),
            VerifyError::Model(error) => error.path(),
            VerifyError::Tokenize(error) => error.path(),
            VerifyError::Output(error) => error.path(),
            VerifyError::Dialect { path, .. }
            | VerifyError::Dump { path, .. }
            | VerifyError::Option { path, .. } => Some(path),
        }
    }
}

impl VerifyError {
    /// Why a file could not be read, where that is the cause.
    pub fn read(&self) -> Option<&ReadError> {
        let kind = match self {
            VerifyError::Gguf(error)
            | VerifyError::Model(ModelError::Gguf(error))
            | VerifyError::Tokenize(TokenizeError::Gguf(error)) => &error.kind,
            VerifyError::Checkpoint(error) | VerifyError::Model(ModelError::Checkpoint(error)) => {
                return match &error.kind {
                    CheckpointErrorKind::Read(error) => Some(error),
                    _ => None,
                };
            }
            VerifyError::Arch(error) => return error.io.as_ref(),
            _ => return None,
        };
        match kind {
            GgufErrorKind::Read(error) => Some(error),
            _ => None,
        }
    }
}

/// The files of a verification, open.
struct Files<'a> {
    inputs: &'a Inputs,
    drafter: Gguf,
    target: Gguf,
    source: Option<Checkpoint>,
    target_source: Option<Checkpoint>,
    registry: Registry,
}

impl<'a> Files<'a> {
    fn open(inputs: &'a Inputs, options: &Options) -> Result<Files<'a>, VerifyError> {
        let checkpoint = |path: &Option<PathBuf>| {
            let path = path.as_deref();
            path.map(|path| Checkpoint::open(inputs, path)).transpose()
        };
        Ok(Files {
            inputs,
            drafter: Gguf::open(inputs, &options.drafter)?,
            target: Gguf::open(inputs, &options.target)?,
            source: checkpoint(&options.source)?,
            target_source: checkpoint(&options.target_source)?,
            registry: match &options.arch {
                Some(path) => Registry::with(Arch::read(inputs, path)?)?,
                None => Registry::builtin()?,
            },
        })
    }

    fn drafter_arch(&self) -> &Arch {
        self.registry.of_gguf(&self.drafter)
    }

    /// How the checkpoint of a target is read.
    fn target_arch(&self) -> Result<&Arch, ModelError> {
        let name = &self.drafter_arch().target;
        self.registry
            .by_name(BStr::new(name))
            .ok_or_else(|| ModelError::Config {
                path: self.target.path().to_owned(),
                message: format!("no architecture file describes checkpoints of {name}"),
            })
    }

    /// Size of the target.
    fn target_bytes(&self) -> u64 {
        let parts = self.target.parts().iter();
        parts.map(|part| part.bytes().len() as u64).sum()
    }

    fn drafter_config(&self) -> Result<DrafterConfig, ModelError> {
        DrafterConfig::from_gguf(&self.drafter, &self.drafter_arch().architecture)
    }

    fn target_config(&self) -> Result<Config, ModelError> {
        Config::from_gguf(&self.target, &self.drafter_arch().target)
    }

    /// How the drafter's checkpoint is read.
    fn source_arch(&self, source: &Checkpoint) -> Result<&Arch, VerifyError> {
        Ok(match DrafterConfig::has_own_keys(&self.drafter) {
            true => self.registry.of_checkpoint(source, source.config()?),
            false => self.drafter_arch(),
        })
    }

    /// The numbers of the drafter's source; for a lone file without `config.json` those of the GGUF, the rotary factors
    /// those of the target.
    fn source_config(
        &self,
        source: &Checkpoint,
        ours: &DrafterConfig,
        target: &Config,
    ) -> Result<DrafterConfig, ModelError> {
        let DrafterConfig::Assistant(ours) = ours else {
            return DrafterConfig::from_checkpoint(source, ours, target);
        };
        if let Some(config) = Config::from_checkpoint(source)? {
            return Ok(DrafterConfig::Assistant(config));
        }
        let mut config = Config {
            path: source.path().to_owned(),
            compute: Compute::default(),
            ..ours.clone()
        };
        let pairs = config.rope_full.dims / 2;
        let factors = self.target.vector("rope_freqs.weight", pairs)?;
        config.rope_full.rotated_pairs = Some(factors.iter().filter(|f| **f == 1.0).count());
        Ok(DrafterConfig::Assistant(config))
    }
}

/// Both files are what they are taken for.
fn check_kinds(drafter: &Gguf, target: &Gguf, arch: &Arch) -> Result<(), VerifyError> {
    match drafter.key(kind_of(drafter, arch))? {
        _ if DrafterConfig::has_own_keys(drafter) => {}
        Kind::Drafter(None) => {}
        Kind::Drafter(Some(dialect)) => {
            return Err(VerifyError::Dialect {
                path: drafter.path().to_owned(),
                of: dialect.of.clone(),
            });
        }
        Kind::Target | Kind::Other(_) => return Err(drafter.wrong_kind(Wanted::Drafter).into()),
    }
    match target.kind() {
        FileKind::Model(found) if found == arch.target => Ok(()),
        _ => Err(target.wrong_kind(Wanted::Target).into()),
    }
}

/// Options that say how an assistant is read are given for one only.
fn check_options(drafter: &Gguf, options: &Options) -> Result<(), VerifyError> {
    let FileKind::OtherDrafter(kind) = drafter.kind() else {
        return Ok(());
    };
    let given = [
        ("--window", options.window != Window::default()),
        ("--head", options.head != Head::default()),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => Err(VerifyError::Option {
            path: drafter.path().to_owned(),
            option,
            kind,
        }),
        None => Ok(()),
    }
}

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
    let is_runnable = mismatches.iter().all(|mismatch| !mismatch.fatal);
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
        checkpoints: run.checkpoints,
        is_partial: run.is_partial,
    })
}

/// What running the models gave.
#[derive(Default)]
struct Run {
    findings: Vec<Finding>,
    prompt: Vec<u32>,
    forward: Option<ForwardReport>,
    agreement: Option<Vec<AgreementReport>>,
    acceptance: Option<Acceptance>,
    source_acceptance: Option<Acceptance>,
    surprise: Option<f64>,
    source_surprise: Option<f64>,
    output: Vec<u32>,
    output_is_greedy: Option<bool>,
    checkpoints: Option<CheckpointReport>,
    /// Whether the watcher ended it early.
    is_partial: bool,
    /// Whether a finding says that drafter and target are no pair.
    is_stranger: bool,
}

impl Run {
    fn new(
        options: &Options,
        files: &Files,
        mut config: DrafterConfig,
        target_config: Config,
        source: Option<(&Overlay, DrafterConfig)>,
        reasons: &[String],
        has_faults: bool,
    ) -> Result<Run, VerifyError> {
        let target = Target::load(&files.target, target_config)?;
        let prompt = match &options.prompt {
            Prompt::Text(text) => Tokenizer::new(&files.target)?.encode(text)?,
            Prompt::Tokens(tokens) => tokens.clone(),
        };
        target.check_prompt(&prompt)?;
        let mut wanted = options.limits;
        if options.quick && files.target_bytes() > LARGE {
            wanted.generate = wanted.generate.min(QUICK_TOKENS);
        }
        let limits = wanted.within(target.config().context - prompt.len());

        let mut ours = Overlay::new(&files.drafter);
        if let Some((source, DrafterConfig::Assistant(theirs))) = &source
            && let DrafterConfig::Assistant(config) = &mut config
            && options.head == Head::Centroid
            && files.drafter.info(CENTROIDS).is_none()
        {
            // Upstream's converter leaves the centroid head out; it does not depend on the output type.
            ours.borrow(CENTROIDS, *source);
            ours.borrow(ORDERING, *source);
            config.centroid_top_k = theirs.centroid_top_k;
        }
        let settings = Settings {
            window: options.window,
            head: options.head,
            draft_max: options.limits.draft_max,
        };
        let drafter = config.load(&ours, &target, settings)?;
        let source_drafter = match &source {
            Some((source, config)) => Some(config.load(*source, &target, settings)?),
            None => None,
        };
        let drafter: &dyn Drafter = drafter.as_ref();
        let source_drafter: Option<&dyn Drafter> = source_drafter.as_deref();

        let mut run = Run::default();
        drafter.check(&target)?;
        let watcher = &options.watcher;
        let taps: Vec<usize> = source_drafter
            .iter()
            .chain([&drafter])
            .flat_map(|d| d.taps())
            .copied()
            .collect();
        let Some(mut writer) = Writer::new(&target, &prompt, limits, &taps, watcher) else {
            return Ok(Run {
                prompt,
                is_partial: true,
                ..run
            });
        };
        let steps = options.limits.draft_max.max(dump::STEPS);
        run.forward = Some(writer.after_prompt(|moment| forward(drafter, source_drafter, &moment, steps)));
        let mut agreement: Vec<Differences> = Vec::new();
        let mut memory = drafter.memory();
        let mut rehearsal = source_drafter.map(|source| {
            Rehearsal::new(source, limits, |draft, moment| {
                let differences = drafts::differences(drafter, &mut memory, draft, &moment);
                drafts::collect(&mut agreement, differences);
            })
        });
        let mut followers: Vec<&mut dyn speculate::Follower> = Vec::new();
        followers.extend(rehearsal.as_mut().map(|r| r as &mut dyn speculate::Follower));
        let speculation = writer.speculate(drafter, limits, &mut followers);
        let (output, acceptance) = (speculation.written, speculation.acceptance);
        run.source_acceptance = rehearsal.map(|rehearsal| rehearsal.acceptance);
        run.agreement = source
            .as_ref()
            .map(|_| agreement.iter().map(AgreementReport::from).collect());

        let source_place = source_drafter.and_then(|source| source.non_finite());
        let models = ((&target, &files.target), (drafter, &files.drafter));
        if let Some(fault) = finite::fault(models.0, models.1, source_place) {
            // No figure of such a run is one.
            return Ok(Run {
                findings: vec![fault],
                prompt,
                ..Run::default()
            });
        }

        if watcher.wants_end() {
            return Ok(Run {
                acceptance: Some(acceptance),
                output,
                prompt,
                is_partial: true,
                ..run
            });
        }
        let probes = writer.probes().iter().chain(&speculation.probes);
        let probes = Probes::new(&writer, probes);
        let blind = (target.vocab() as f64).ln();
        let surprise = probes.surprise(drafter);
        run.surprise = Some(probe::mean(&surprise));
        let mean_surprise = |drafter: &dyn Drafter| probe::mean(&probes.surprise(drafter));
        run.source_surprise = source_drafter.map(mean_surprise);
        let figures = |acceptance, surprise: Option<f64>| judge::Figures {
            acceptance,
            surprise: surprise.unwrap_or(0.0) / blind,
            may_be_weak: config.assistant().is_none(),
        };
        let no_model = judge::target(speculation.surprise, blind);
        let judged = judge::acceptance(
            figures(&acceptance, run.surprise),
            run.source_acceptance
                .as_ref()
                .map(|source| figures(source, run.source_surprise)),
            reasons,
        );
        // The comparison with a source names what is wrong. Without one, or where it found nothing and yet little is
        // accepted, trials do.
        let is_unexplained =
            source.is_none() || (!has_faults && judged.as_ref().is_some_and(Finding::is_error));
        let fault = match is_unexplained && no_model.is_none() {
            true => repair::find_fault(&ours, &config, settings, &probes, &surprise, watcher)?,
            false => None,
        };
        // A drafter with a known fault is not called a stranger.
        run.is_stranger = fault.is_none()
            && no_model.is_none()
            && judged.as_ref().is_some_and(|finding| finding.code == code::PAIR);
        run.findings.extend(no_model.or(fault).or(judged));
        run.acceptance = Some(acceptance);
        let proves = options
            .prove_greedy
            .unwrap_or(files.target_bytes() <= PROVED_UP_TO);
        run.is_partial = watcher.wants_end();
        if proves && !run.is_partial {
            watcher.begin(Phase::Proof, 0);
            let is_greedy = writer.write_alone(output.len()) == output;
            run.output_is_greedy = Some(is_greedy);
            if !is_greedy {
                let message = "the output with the drafter is not the target's own greedy output";
                run.findings.push(Finding::error(code::DRAFTS, message));
            }
        }
        run.output = output;

        run.checkpoints = run_checkpoints(
            options,
            files,
            &target,
            source_drafter.unwrap_or(drafter),
            &prompt,
            limits,
        )?;
        run.prompt = prompt;
        Ok(run)
    }
}

/// The drafts after the prompt.
fn forward(
    drafter: &dyn Drafter,
    source: Option<&dyn Drafter>,
    moment: &Moment,
    steps: usize,
) -> ForwardReport {
    let draft = |drafter: &dyn Drafter| drafter.draft(&mut drafter.memory(), moment, steps);
    let source_draft = source.map(draft);
    let differences = source_draft
        .as_ref()
        .map(|draft| drafts::differences(drafter, &mut drafter.memory(), draft, moment));
    let report = |steps: Vec<StepDifference>| steps.into_iter().map(StepReport::from).collect();
    ForwardReport {
        position: moment.position(),
        next: moment.last,
        drafted: tokens(&draft(drafter)),
        source_drafted: source_draft.as_deref().map(tokens),
        steps: differences.map(report),
    }
}

/// The run that is dumped: with the checkpoints that are given, the GGUFs in the place of those that are not. Without
/// a target's checkpoint it is run for the dump only.
fn run_checkpoints(
    options: &Options,
    files: &Files,
    target: &Target,
    drafter: &dyn Drafter,
    prompt: &[u32],
    limits: Limits,
) -> Result<Option<CheckpointReport>, VerifyError> {
    let steps = options.limits.draft_max.max(dump::STEPS);
    let dump = |target: &Target| -> Result<CheckpointReport, VerifyError> {
        let run = dump::run(target, drafter, prompt, steps, limits.generate);
        if let Some(path) = &options.dump {
            run.write(path, files.inputs, options.force)?;
        }
        Ok(run.report)
    };
    let Some(checkpoint) = &files.target_source else {
        return match options.dump.is_some() {
            true => dump(target).map(|_| None),
            false => Ok(None),
        };
    };
    let target_arch = files.target_arch()?;
    let weights = CheckpointWeights::new(checkpoint, target_arch);
    let config = match Config::from_checkpoint(checkpoint)? {
        Some(config) => config,
        None => return Err(no_config(checkpoint.path())),
    };
    let checkpoint_target = Target::load(&weights, config)?;
    checkpoint_target.check_prompt(prompt)?;
    if (checkpoint_target.vocab(), checkpoint_target.config().width)
        != (target.vocab(), target.config().width)
    {
        return Err(VerifyError::Model(checkpoint_target.config().error(format!(
            "{} tokens of width {}, the target's GGUF has {} of width {}; these are different models",
            checkpoint_target.vocab(),
            checkpoint_target.config().width,
            target.vocab(),
            target.config().width,
        ))));
    }
    drafter.check(&checkpoint_target)?;
    dump(&checkpoint_target).map(Some)
}

fn no_config(path: &Path) -> VerifyError {
    VerifyError::Model(ModelError::Config {
        path: path.to_owned(),
        message: "config.json is missing beside the target's weights".to_owned(),
    })
}
