//! Greedy speculative decoding, round by round as `llama-speculative-simple --spec-type draft-mtp` does it.
//!
//! A round starts with a last token that the target has not seen. The drafter guesses what follows, from the hidden
//! state of the position before; the target reads the last token and the guesses at once and says after each what it
//! would have written; guesses count until the first that differs, and what the target wrote there starts the next
//! round. The first round's last token is the last of the prompt.

use super::watch::{Phase, Watcher};
use crate::model::ops::{argmax, log_probability};
use crate::model::{DraftStep, Drafter, Memory, Moment, Pass, State, Target};
use rayon::prelude::*;
use std::collections::VecDeque;

/// What came of drafting.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acceptance {
    /// Rounds, that is, passes of the target.
    pub rounds: usize,
    /// Tokens drafted.
    pub drafted: usize,
    /// Drafted tokens that the target confirmed.
    pub accepted: usize,
    /// By place in the draft: drafted, accepted.
    pub by_position: Vec<(usize, usize)>,
}

impl Acceptance {
    fn count(&mut self, drafted: usize, accepted: usize) {
        self.rounds += 1;
        self.drafted += drafted;
        self.accepted += accepted;
        if self.by_position.len() < drafted {
            self.by_position.resize(drafted, (0, 0));
        }
        for (i, (d, a)) in self.by_position.iter_mut().take(drafted).enumerate() {
            *d += 1;
            *a += usize::from(i < accepted);
        }
    }

    /// Counts another's drafts as well.
    pub fn add(&mut self, other: &Acceptance) {
        self.rounds += other.rounds;
        self.drafted += other.drafted;
        self.accepted += other.accepted;
        if self.by_position.len() < other.by_position.len() {
            self.by_position.resize(other.by_position.len(), (0, 0));
        }
        for ((drafted, accepted), more) in self.by_position.iter_mut().zip(&other.by_position) {
            *drafted += more.0;
            *accepted += more.1;
        }
    }

    /// Accepted tokens out of drafted ones, if any were drafted.
    pub fn rate(&self) -> Option<f64> {
        (self.drafted > 0).then(|| self.accepted as f64 / self.drafted as f64)
    }

    /// The same for the first token of each draft.
    pub fn first_rate(&self) -> Option<f64> {
        let (drafted, accepted) = self.by_position.first()?;
        Some(*accepted as f64 / *drafted as f64)
    }

    /// Tokens that a pass of the target yields: its own and the accepted ones before it.
    pub fn mean_length(&self) -> Option<f64> {
        (self.rounds > 0).then(|| 1.0 + self.accepted as f64 / self.rounds as f64)
    }
}

/// How much is drafted and written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Most tokens a draft.
    pub draft_max: usize,
    /// A draft ends before the first token of which the drafter is less sure than this, from 0 to 1.
    pub p_min: f32,
    /// Tokens to write; the last round may go beyond.
    pub generate: usize,
    /// Most positions of the prompt at whose next token the drafter's surprise is measured.
    pub probes: usize,
}

/// What llama.cpp drafts by default, and enough tokens for a verdict.
impl Default for Limits {
    fn default() -> Limits {
        Limits {
            draft_max: 3,
            p_min: 0.0,
            generate: 128,
            probes: PROBES,
        }
    }
}

impl Limits {
    /// As much of this as fits into `room` positions behind the prompt.
    pub fn within(self, room: usize) -> Limits {
        Limits {
            generate: self.generate.min(room.saturating_sub(self.draft_max + 1)),
            ..self
        }
    }

    /// Whether another round follows after so many tokens.
    fn goes_on(self, written: usize) -> bool {
        self.generate > 0 && written <= self.generate
    }

    /// Length of the next draft after so many tokens: no longer than what is wanted behind the target's own token.
    /// Where nothing is, llama.cpp takes the bound of 0 for none, and so does this, to be compared with it.
    fn draft(self, written: usize) -> usize {
        match self.generate.saturating_sub(written + 1) {
            0 => self.draft_max,
            wanted => self.draft_max.min(wanted),
        }
    }

    /// A draft as far as its drafter is sure enough of it.
    fn cut(self, mut draft: Vec<DraftStep>) -> Vec<DraftStep> {
        let is_unsure = |step: &DraftStep| self.p_min > 0.0 && step.certainty() < self.p_min;
        if let Some(end) = draft.iter().position(is_unsure) {
            draft.truncate(end);
        }
        draft
    }

    /// Positions behind the prompt that a run may touch.
    pub fn room(self) -> usize {
        match self.generate {
            0 => 0,
            generate => generate.saturating_add(self.draft_max + 1),
        }
    }
}

/// The tokens of a draft.
pub fn tokens(draft: &[DraftStep]) -> Vec<u32> {
    draft.iter().map(DraftStep::token).collect()
}

/// Someone who follows the target as it writes.
pub trait Follower {
    /// What the target writes at this moment is `next`.
    fn follow(&mut self, moment: Moment, next: u32);
}

/// A position of the target's text: what a drafter knows there, and what the target wrote.
#[derive(Debug, Clone)]
pub struct Probe {
    /// The last token.
    pub last: u32,
    /// Hidden state of the position before it.
    pub hidden: Vec<f32>,
    /// Where it stands.
    pub position: usize,
    /// The target's next token.
    pub next: u32,
    /// The one after that, where the target wrote on from its own.
    pub after: Option<u32>,
}

/// A target that has read all of a prompt but its last token. Each run forgets what the one before wrote.
#[derive(Debug)]
pub struct Writer<'a> {
    target: &'a Target<'a>,
    state: State,
    /// The tokens that the state is of.
    text: Vec<u32>,
    /// Number of tokens before the last of the prompt.
    start: usize,
    /// Hidden state of the position before it; zeros where the prompt is one token.
    hidden: Vec<f32>,
    last: u32,
    /// The newest of the hidden states before it, in order; the first row may stand before the prompt.
    rows: Vec<f32>,
    watcher: Watcher,
}

/// Most positions of what is written that are kept as probes, and of the prompt unless told otherwise.
const PROBES: usize = 128;
/// Rows of a prompt whose logits are taken at once.
const LOGIT_ROWS: usize = 32;

impl<'a> Writer<'a> {
    /// Reads a prompt, which must not be empty, and makes ready for runs that write as much as `limits` says, with
    /// drafters that read the inputs of the layers `taps`; `None` where the watcher ends it before.
    pub fn new(
        target: &'a Target<'a>,
        prompt: &[u32],
        limits: Limits,
        taps: &[usize],
        watcher: &Watcher,
    ) -> Option<Writer<'a>> {
        let width = target.config().width;
        let mut state = target.tapped_state(limits.room() + 1, taps);
        let (last, before) = prompt
            .split_last()
            .map_or((0, prompt), |(last, rest)| (*last, rest));
        // As many as probes need. Nothing stands before the prompt.
        let newest = limits.probes + 1;
        let mut rows = match before.len() < newest {
            true => vec![0.0; width],
            false => Vec::new(),
        };
        watcher.begin(Phase::Prompt, prompt.len());
        target.read_prompt_while(&mut state, before, newest, |hidden, tokens| {
            rows.extend_from_slice(hidden);
            watcher.advance(tokens);
            !watcher.wants_end()
        });
        if watcher.wants_end() {
            return None;
        }
        Some(Writer {
            target,
            state,
            text: before.to_vec(),
            start: before.len(),
            hidden: rows[rows.len() - width..].to_vec(),
            last,
            rows,
            watcher: watcher.clone(),
        })
    }

    /// The newest positions of the prompt, and what the target would have written there.
    pub fn probes(&self) -> Vec<Probe> {
        let (target, width) = (self.target, self.target.config().width);
        let before = &self.text[..self.start];
        // Row `i` stands for position `first + i - 1`.
        let first = before.len() + 1 - self.rows.len() / width;
        // Logits some rows at a time: with a vocabulary of 262144 a row takes 1 MiB.
        let own: Vec<u32> = self.rows[width..]
            .chunks(LOGIT_ROWS * width)
            .flat_map(|rows| {
                let logits = target.logits(rows, Pass::Prompt);
                let best = logits.chunks_exact(target.vocab()).map(argmax);
                best.map(|token| token as u32).collect::<Vec<_>>()
            })
            .collect();
        self.rows
            .chunks_exact(width)
            .zip(&own)
            .enumerate()
            .map(|(i, (hidden, &next))| (i, first + i, hidden, next))
            .filter(|(_, position, ..)| *position > 0)
            .map(|(i, position, hidden, next)| Probe {
                last: before[position],
                hidden: hidden.to_vec(),
                position,
                next,
                // Known only where the prompt goes on as the target would have.
                after: own
                    .get(i + 1)
                    .filter(|_| before.get(position + 1) == Some(&next))
                    .copied(),
            })
            .collect()
    }

    /// A moment of the text so far: what comes at `position` is `last`.
    pub fn moment<'m>(&'m self, position: usize, last: u32, hidden: &'m [f32]) -> Moment<'m> {
        Moment {
            target: self.target,
            text: &self.text[..position],
            last,
            hidden,
            kv: self.target.shared_kv(&self.state),
            taps: self.state.taps(),
        }
    }

    /// The target.
    pub fn target(&self) -> &'a Target<'a> {
        self.target
    }

    /// The first position of which all keys and values that it sees are still kept.
    pub fn first_remembered(&self) -> usize {
        match self.target.shared_kv(&self.state).sliding.positions().start {
            0 => 0,
            kept => kept + self.target.config().window,
        }
    }

    /// Lets the target read tokens; their hidden states.
    fn read(&mut self, tokens: &[u32]) -> Vec<f32> {
        self.text.extend_from_slice(tokens);
        self.target.forward(&mut self.state, tokens, Pass::Step)
    }

    /// Forgets what stands from `len` on.
    fn truncate(&mut self, len: usize) {
        self.state.truncate(len);
        self.text.truncate(len);
    }

    /// Shows the moment after the prompt, with the target's first own token as the last.
    pub fn after_prompt<T>(&mut self, show: impl FnOnce(Moment) -> T) -> T {
        self.truncate(self.start);
        let hidden = self.read(&[self.last]);
        let last = argmax(&self.target.logits(&hidden, Pass::Step)) as u32;
        show(self.moment(self.text.len(), last, &hidden))
    }

    /// Writes with the help of a drafter, and for followers then alone as far as `limits` has room: what the target says
    /// at each position is told to them. A draft changes nothing of it, so this is the target's own greedy text.
    pub fn speculate(
        &mut self,
        drafter: &dyn Drafter,
        limits: Limits,
        followers: &mut [&mut dyn Follower],
    ) -> Speculation {
        let target = self.target;
        let width = target.config().width;
        self.truncate(self.start);
        let (mut hidden, mut last) = (self.hidden.clone(), self.last);
        let mut memory = drafter.memory();
        let is_followed = !followers.is_empty();
        let mut teller = Teller::new(followers);
        let mut written = Vec::new();
        let mut acceptance = Acceptance::default();
        let mut surprise = 0.0;
        self.watcher.begin(Phase::Drafting, limits.generate);
        while limits.goes_on(written.len()) && !self.watcher.wants_end() {
            let position = self.text.len();
            let moment = self.moment(position, last, &hidden);
            let draft = drafter.draft(&mut memory, &moment, limits.draft(written.len()));
            let draft = tokens(&limits.cut(draft));
            let batch = [&[last], draft.as_slice()].concat();
            let rows = self.read(&batch);
            let logits = target.logits(&rows, Pass::Step);
            let own: Vec<u32> = logits
                .chunks_exact(target.vocab())
                .map(|logits| argmax(logits) as u32)
                .collect();
            let rows_of_own = logits.par_chunks_exact(target.vocab()).zip(&own);
            let surprises: Vec<f64> = rows_of_own
                .map(|(logits, &own)| -log_probability(logits, own as usize))
                .collect();
            let accepted = draft.iter().zip(&own).take_while(|(d, o)| d == o).count();
            surprise += surprises[..=accepted].iter().sum::<f64>();
            self.watcher.advance(accepted + 1);
            acceptance.count(draft.len(), accepted);
            let before = std::iter::once(hidden.as_slice()).chain(rows.chunks_exact(width));
            for (i, (hidden, &next)) in before.zip(&own[..=accepted]).enumerate() {
                teller.tell(self.moment(position + i, batch[i], hidden), next);
            }
            written.extend_from_slice(&own[..=accepted]);
            last = own[accepted];
            hidden.copy_from_slice(&rows[accepted * width..][..width]);
            self.truncate(position + accepted + 1);
        }
        if is_followed && !self.watcher.wants_end() {
            let left = limits.room().saturating_sub(written.len());
            self.go_on(last, hidden, left, &mut teller);
        }
        Speculation {
            surprise: (!written.is_empty()).then(|| surprise / written.len() as f64),
            written,
            acceptance,
            probes: teller.probes.into(),
        }
    }

    /// Writes `count` tokens with the target alone, one after the other.
    pub fn write_alone(&mut self, count: usize) -> Vec<u32> {
        self.truncate(self.start);
        let mut teller = Teller::new(&mut []);
        self.go_on(self.last, self.hidden.clone(), count, &mut teller)
    }

    /// Writes `count` tokens after `last`, which the target has not seen; `hidden` is of the position before.
    fn go_on(&mut self, mut last: u32, mut hidden: Vec<f32>, count: usize, teller: &mut Teller) -> Vec<u32> {
        let target = self.target;
        let mut written = Vec::new();
        for _ in 0..count {
            let position = self.text.len();
            let row = self.read(&[last]);
            let next = argmax(&target.logits(&row, Pass::Step)) as u32;
            teller.tell(self.moment(position, last, &hidden), next);
            written.push(next);
            (last, hidden) = (next, row);
        }
        written
    }
}

/// What came of writing with a drafter.
pub struct Speculation {
    /// The tokens written.
    pub written: Vec<u32>,
    /// The target's own surprise by them, in nats a token.
    pub surprise: Option<f64>,
    /// How the drafts fared.
    pub acceptance: Acceptance,
    /// The newest of the positions written.
    pub probes: Vec<Probe>,
}

/// Tells followers what the target says, position by position, and keeps the newest of these as probes.
struct Teller<'t, 'f> {
    followers: &'f mut [&'t mut dyn Follower],
    probes: VecDeque<Probe>,
}

impl<'t, 'f> Teller<'t, 'f> {
    fn new(followers: &'f mut [&'t mut dyn Follower]) -> Teller<'t, 'f> {
        Teller {
            followers,
            probes: VecDeque::new(),
        }
    }

    fn tell(&mut self, moment: Moment, next: u32) {
        for follower in self.followers.iter_mut() {
            follower.follow(moment, next);
        }
        if let Some(probe) = self.probes.back_mut() {
            probe.after = Some(next);
        }
        if moment.position() == 0 {
            return;
        }
        if self.probes.len() == PROBES {
            self.probes.pop_front();
        }
        self.probes.push_back(Probe {
            last: moment.last,
            hidden: moment.hidden.to_vec(),
            position: moment.position(),
            next,
            after: None,
        });
    }
}

/// A drafter that drafts along while a target writes, whoever helps it, and counts how its drafts would have fared: the
/// same as in [`Writer::speculate`], since a draft changes nothing of what the target writes.
pub struct Rehearsal<'a, F> {
    drafter: &'a dyn Drafter,
    memory: Memory,
    limits: Limits,
    written: usize,
    /// The draft of this round and how much of it was confirmed.
    round: Option<(Vec<u32>, usize)>,
    /// What came of it so far.
    pub acceptance: Acceptance,
    /// Shown each draft.
    show: F,
}

impl<'a, F: FnMut(&[DraftStep], Moment)> Rehearsal<'a, F> {
    /// Nothing drafted yet.
    pub fn new(drafter: &'a dyn Drafter, limits: Limits, show: F) -> Rehearsal<'a, F> {
        Rehearsal {
            memory: drafter.memory(),
            drafter,
            limits,
            written: 0,
            round: None,
            acceptance: Acceptance::default(),
            show,
        }
    }
}

impl<F: FnMut(&[DraftStep], Moment)> Follower for Rehearsal<'_, F> {
    fn follow(&mut self, moment: Moment, next: u32) {
        let (draft, confirmed) = match self.round.take() {
            Some(round) => round,
            None if self.limits.goes_on(self.written) => {
                let count = self.limits.draft(self.written);
                let steps = self.drafter.draft(&mut self.memory, &moment, count);
                let steps = self.limits.cut(steps);
                (self.show)(&steps, moment);
                (tokens(&steps), 0)
            }
            None => return,
        };
        if draft.get(confirmed) == Some(&next) {
            self.round = Some((draft, confirmed + 1));
        } else {
            self.acceptance.count(draft.len(), confirmed);
            self.written += confirmed + 1;
        }
    }
}
