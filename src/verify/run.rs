//! Runs target and drafter, and judges what comes of it.

use super::drafts::{self, Differences, StepDifference};
use super::error::VerifyError;
use super::files::Files;
use super::options::{Options, PROVED_UP_TO, Prompt};
use super::overlay::Overlay;
use super::probe::{self, Probes};
use super::report::{AgreementReport, CheckpointReport, ForwardReport, StepReport, SuiteReport};
use super::speculate::{Acceptance, Follower, Limits, Rehearsal, Writer, tokens};
use super::suite;
use super::tokenize::Tokenizer;
use super::watch::Phase;
use super::words::code;
use super::{dump, finite, judge, repair, template};
use crate::finding::Finding;
use crate::model::{
    CENTROIDS, CheckpointWeights, Config, Drafter, DrafterConfig, Head, ModelError, Moment, ORDERING,
    Settings, Target,
};
use std::path::Path;

/// What running the models gave.
#[derive(Default)]
pub(super) struct Run {
    pub findings: Vec<Finding>,
    pub prompt: Vec<u32>,
    pub forward: Option<ForwardReport>,
    pub agreement: Option<Vec<AgreementReport>>,
    pub acceptance: Option<Acceptance>,
    pub source_acceptance: Option<Acceptance>,
    pub surprise: Option<f64>,
    pub source_surprise: Option<f64>,
    pub output: Vec<u32>,
    pub output_is_greedy: Option<bool>,
    pub suite: Option<SuiteReport>,
    pub checkpoints: Option<CheckpointReport>,
    /// Whether the watcher ended it early.
    pub is_partial: bool,
    /// Whether a finding says that drafter and target are no pair.
    pub is_stranger: bool,
}

impl Run {
    pub fn new(
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
            Prompt::Text(text) => encoder(options, files)?(text)?,
            Prompt::Tokens(tokens) => tokens.clone(),
        };
        target.check_prompt(&prompt)?;
        let wanted = options.limits(files.target_bytes());
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
        let mut followers: Vec<&mut dyn Follower> = Vec::new();
        followers.extend(rehearsal.as_mut().map(|r| r as &mut dyn Follower));
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
        let of_prompt = writer.probes();
        let probes = of_prompt.iter().chain(&speculation.probes);
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

        if !options.suite.is_empty() && !run.is_partial {
            let kinds = options.suite(files.target_bytes());
            let encode = encoder(options, files)?;
            run.suite = Some(suite::run(&target, drafter, wanted, &kinds, watcher, encode)?);
            run.is_partial = watcher.wants_end();
        }
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

/// What makes tokens of texts, by what the target's GGUF carries.
fn encoder(
    options: &Options,
    files: &Files,
) -> Result<impl Fn(&str) -> Result<Vec<u32>, VerifyError>, VerifyError> {
    let tokenizer = Tokenizer::new(&files.target)?;
    Ok(move |text: &str| {
        Ok(match options.is_chat {
            true => tokenizer.encode(&template::render(&files.target, text)?)?,
            false => tokenizer.encode(text)?,
        })
    })
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
