//! Acceptance by kind of prompt: a drafter that is right about code may be wrong about prose.

use super::error::VerifyError;
use super::judge::wilson;
use super::report::{KindReport, PositionReport, SuiteReport};
use super::speculate::{Acceptance, Limits, Writer};
use super::watch::{Phase, Watcher};
use crate::model::{Drafter, Target};
use crate::prompts::Kind;

fn report(kind: &str, prompts: usize, acceptance: &Acceptance) -> KindReport {
    KindReport {
        kind: kind.to_owned(),
        prompts,
        drafted: acceptance.drafted,
        accepted: acceptance.accepted,
        rate: acceptance.rate(),
        interval: wilson(acceptance.accepted, acceptance.drafted),
        mean_accepted_length: acceptance.mean_length(),
        by_position: PositionReport::of(acceptance),
    }
}

/// Drafts for the answers to each prompt of each kind, `encode` making tokens of it. Where the watcher ends it, the report
/// is of what was answered until then.
pub(super) fn run(
    target: &Target,
    drafter: &dyn Drafter,
    limits: Limits,
    kinds: &[Kind],
    watcher: &Watcher,
    encode: impl Fn(&str) -> Result<Vec<u32>, VerifyError>,
) -> Result<SuiteReport, VerifyError> {
    watcher.begin(Phase::Suite, kinds.iter().map(|kind| kind.prompts.len()).sum());
    let quiet = watcher.quiet();
    let mut suite = SuiteReport::default();
    let (mut all, mut answered) = (Acceptance::default(), 0);
    for kind in kinds {
        let (mut of_kind, mut prompts) = (Acceptance::default(), 0);
        for prompt in &kind.prompts {
            let tokens = encode(&prompt.text)?;
            target.check_prompt(&tokens)?;
            let limits = Limits {
                generate: limits.generate.min(prompt.predict),
                ..limits
            };
            let limits = limits.within(target.config().context - tokens.len());
            let Some(mut writer) = Writer::new(target, &tokens, limits, drafter.taps(), &quiet) else {
                break;
            };
            of_kind.add(&writer.speculate(drafter, limits, &mut []).acceptance);
            prompts += 1;
            watcher.advance(1);
            if watcher.wants_end() {
                break;
            }
        }
        if prompts > 0 {
            suite.kinds.push(report(&kind.name, prompts, &of_kind));
        }
        all.add(&of_kind);
        answered += prompts;
        if watcher.wants_end() {
            break;
        }
    }
    suite.all = report("all", answered, &all);
    Ok(suite)
}
