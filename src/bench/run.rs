//! Carries a benchmark out: servers up, warm-up, the scheduled calls, servers down.

use super::BenchError;
use super::client::{self, Client, Counters, Manner};
use super::interrupt::Interrupt;
use super::record::{Call, Condition, FORMAT, Header, KindCount, Machine, ModelFile, Protocol, Run};
use super::schedule::{self, Step};
use super::server::{Launch, Server};
use crate::prompts::{self, Kind, Prompt};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Tokens that the first call to each server generates.
const PROBE_TOKENS: usize = 24;
/// How often a call that runs is looked after.
const POLL: Duration = Duration::from_millis(20);

/// Where a condition's answers come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A server that is started for it.
    Launch(Launch),
    /// A server that runs.
    Url(String),
    /// Ollama, which is told `n_max` with each call.
    Ollama(String),
}

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Conditions, with where their answers come from.
    pub conditions: Vec<(Condition, Source)>,
    /// Kinds of prompts.
    pub kinds: Vec<Kind>,
    /// Lengths of long prompts in tokens.
    pub contexts: Vec<usize>,
    /// Whether thoughts are a kind of their own, where the template knows them.
    pub thinking: bool,
    /// Calls a condition.
    pub calls: usize,
    /// Calls after each start of a server that do not count.
    pub warmup: usize,
    /// Tokens to generate a call.
    pub predict: usize,
    /// Of the order and of the statistics.
    pub seed: u64,
    /// 0 where all servers stand side by side, else the number of blocks.
    pub blocks: usize,
    /// The number of blocks if it turns out that the servers cannot stand side by side.
    pub or_blocks: Option<usize>,
    /// How servers are talked to.
    pub manner: Manner,
    /// Model files.
    pub files: Vec<ModelFile>,
}

/// What happens while a benchmark runs.
#[derive(Debug)]
pub enum Event<'a> {
    /// It begins.
    Begin(&'a Header),
    /// So many calls are to be made.
    Calls(usize),
    /// Calls were made.
    Made(&'a [Call]),
    /// Something that the user should know.
    Note(String),
}

/// What is told of events; an error stops the run.
pub type Tell<'t> = dyn FnMut(Event) -> Result<(), BenchError> + 't;

/// Carries a plan out, without the calls of `earlier`.
pub fn run(
    mut plan: Plan,
    earlier: Option<Run>,
    interrupt: &Interrupt,
    tell: &mut Tell,
) -> Result<Run, BenchError> {
    let start = Instant::now();
    let mut stand = Stand::new(&plan, interrupt);
    let mut probes = Vec::new();
    for at in 0..plan.conditions.len() {
        let client = match (stand.client(at), plan.or_blocks.take_if(|_| at > 0)) {
            (Err(BenchError::Died { lines, .. }), Some(blocks)) => {
                tell(Event::Note(format!(
                    "the servers do not fit side by side, so each is measured in {blocks} blocks ({lines})"
                )))?;
                plan.blocks = blocks;
                stand.one_at_a_time();
                stand.client(at)?
            }
            (client, or_blocks) => {
                plan.or_blocks = or_blocks;
                client?
            }
        };
        let condition = &mut plan.conditions[at].0;
        if let Some(slots) = client.slots().filter(|slots| *slots < condition.parallel) {
            let (label, parallel) = (&condition.label, condition.parallel);
            return Err(BenchError::Usage(format!(
                "{label}: the server answers {slots} at the same time, so that of {parallel} calls some would wait; start it \
                 with --parallel {parallel}, or leave {parallel} out of --parallel"
            )));
        }
        condition.server = client.name().to_owned();
        condition.props = client.props().clone();
        probes.extend(probe(&plan, at, &mut stand, start)?);
    }
    fit_kinds(&mut plan, &mut stand, tell)?;
    let header = header(&plan, earlier.as_ref());
    let silent = |call: &Call| {
        let condition = plan
            .conditions
            .iter()
            .find(|(condition, _)| condition.label == call.condition);
        condition.is_some_and(|(condition, _)| condition.drafts) && call.drafted == Some(0)
    };
    let mut run = match earlier {
        Some(earlier) => {
            check_same(&earlier.header, &header)?;
            earlier
        }
        None => {
            tell(Event::Begin(&header))?;
            Run {
                header,
                calls: Vec::new(),
            }
        }
    };
    tell(Event::Made(&probes))?;
    let is_silent = probes.iter().any(silent);
    run.calls.append(&mut probes);
    if is_silent {
        // That is the verdict; the rest would measure nothing.
        return Ok(run);
    }

    let steps = steps(&plan);
    let done: HashSet<usize> = run
        .calls
        .iter()
        .filter(|call| !call.warmup && call.error.is_none())
        .map(|call| call.seq)
        .collect();
    let is_done = |step: &Step| (step.seq..step.seq + step.prompts.len()).all(|seq| done.contains(&seq));
    let open: Vec<&Step> = steps.iter().filter(|step| !is_done(step)).collect();
    tell(Event::Calls(open.iter().map(|step| step.prompts.len()).sum()))?;
    // A step of which a part is there already is made again as a whole.
    let again: HashSet<usize> = open
        .iter()
        .flat_map(|step| step.seq..step.seq + step.prompts.len())
        .collect();
    run.calls
        .retain(|call| call.warmup || call.error.is_none() && !again.contains(&call.seq));

    let mut warm: BTreeMap<usize, usize> = BTreeMap::new();
    for step in open {
        let mut rounds = Vec::new();
        let launches = stand.ready(step.condition)?;
        if warm.insert(step.condition, launches) != Some(launches) {
            rounds.extend((0..plan.warmup).map(|_| true));
        }
        rounds.push(false);
        for warmup in rounds {
            interrupt.check()?;
            let mut calls = make(&plan, step, &mut stand, warmup, start)?;
            let error = calls.iter_mut().find_map(|(_, error)| error.take());
            let calls: Vec<Call> = calls.into_iter().map(|(call, _)| call).collect();
            tell(Event::Made(&calls))?;
            run.calls.extend(calls);
            if let Some(error) = error {
                return Err(stand.cause(step.condition, error));
            }
        }
    }
    Ok(run)
}

fn steps(plan: &Plan) -> Vec<Step> {
    let conditions: Vec<Condition> = plan
        .conditions
        .iter()
        .map(|(condition, _)| condition.clone())
        .collect();
    schedule::schedule(&conditions, &plan.kinds, plan.calls, plan.blocks, plan.seed)
}

/// One short call to each server tells whether it drafts, before time is spent.
fn probe(plan: &Plan, at: usize, stand: &mut Stand, start: Instant) -> Result<Vec<Call>, BenchError> {
    let Some(prompt) = plan.kinds.first().and_then(|kind| kind.prompts.first()) else {
        return Err(BenchError::Usage(
            "no prompts are left; name a kind that exists".to_owned(),
        ));
    };
    let prompt = Prompt {
        predict: PROBE_TOKENS,
        ..prompt.clone()
    };
    let step = Step {
        condition: at,
        kind: 0,
        prompts: vec![0],
        block: 0,
        seq: 0,
    };
    let made = stand.make(plan, &step, vec![prompt], true, start)?;
    let mut calls = Vec::new();
    for (call, error) in made {
        if let Some(error) = error {
            return Err(stand.cause(at, error));
        }
        calls.push(call);
    }
    Ok(calls)
}

fn make(
    plan: &Plan,
    step: &Step,
    stand: &mut Stand,
    warmup: bool,
    start: Instant,
) -> Result<Vec<(Call, Option<BenchError>)>, BenchError> {
    let prompts = step
        .prompts
        .iter()
        .map(|at| plan.kinds[step.kind].prompts[*at].clone())
        .collect();
    stand.make(plan, step, prompts, warmup, start)
}

/// Adds the kinds that depend on the servers: thoughts, and prompts of given lengths that fit.
fn fit_kinds(plan: &mut Plan, stand: &mut Stand, tell: &mut Tell) -> Result<(), BenchError> {
    let (mut can_think, mut fits, mut chars) = (true, usize::MAX, 4.0);
    for at in 0..plan.conditions.len() {
        let client = stand.client(at)?;
        can_think &= client.can_think();
        fits = fits.min(client.context().unwrap_or(usize::MAX));
        if at == 0 && !plan.contexts.is_empty() {
            let sample = prompts::long(1024, 4.0, 0);
            let sample = &sample.prompts[0].text;
            let counted = client.count_tokens(sample);
            let counted = counted.map_err(|error| stand.cause(at, error))?;
            if let Some(tokens) = counted.filter(|tokens| *tokens > 0) {
                chars = sample.len() as f64 / tokens as f64;
            }
        }
    }
    if plan.thinking && can_think {
        plan.kinds.extend(prompts::thinking(plan.predict));
    }
    // The chat template adds some tokens of its own.
    let room = fits.saturating_sub(plan.predict + 64);
    for tokens in plan.contexts.clone() {
        match tokens <= room {
            true => plan.kinds.push(prompts::long(tokens, chars, plan.predict)),
            false => tell(Event::Note(format!(
                "prompts of {tokens} tokens are left out: the servers' context is {fits}"
            )))?,
        }
    }
    Ok(())
}

fn header(plan: &Plan, earlier: Option<&Run>) -> Header {
    let (counts, _) = schedule::spread(plan.calls, &plan.kinds);
    let kind = |(kind, prompts): (&Kind, usize)| KindCount {
        kind: kind.name.clone(),
        prompts,
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs());
    Header {
        format: FORMAT,
        program: concat!("gguf-conv ", env!("CARGO_PKG_VERSION")).to_owned(),
        started_unix: earlier.map_or(now, |earlier| earlier.header.started_unix),
        machine: Machine::this(),
        files: plan.files.clone(),
        protocol: Protocol {
            calls: plan.calls,
            warmup: plan.warmup,
            predict: plan.predict,
            seed: plan.seed,
            blocks: plan.blocks,
            kinds: plan.kinds.iter().zip(counts).map(kind).collect(),
            prompts_sha256: prompts::sha256(&plan.kinds),
        },
        conditions: plan
            .conditions
            .iter()
            .map(|(condition, _)| condition.clone())
            .collect(),
    }
}

/// Refuses to go on with a run that was begun otherwise.
fn check_same(earlier: &Header, now: &Header) -> Result<(), BenchError> {
    let labels = |header: &Header| -> Vec<String> {
        header
            .conditions
            .iter()
            .map(|condition| condition.label.clone())
            .collect()
    };
    let sums =
        |header: &Header| -> Vec<String> { header.files.iter().map(|file| file.sha256.clone()).collect() };
    let message = if earlier.protocol.prompts_sha256 != now.protocol.prompts_sha256 {
        "it was begun with other prompts".to_owned()
    } else if earlier.protocol != now.protocol {
        let (calls, seed) = (earlier.protocol.calls, earlier.protocol.seed);
        format!("it was begun in another way (--calls {calls} --seed {seed} …)")
    } else if labels(earlier) != labels(now) {
        format!("it was begun with the conditions {}", labels(earlier).join(", "))
    } else if sums(earlier) != sums(now) {
        "it was begun with other model files".to_owned()
    } else {
        return Ok(());
    };
    Err(BenchError::OtherRun {
        path: PathBuf::from("--resume"),
        message,
    })
}

/// The servers of a run: all at once, or the one whose turn it is.
struct Stand<'i> {
    sources: Vec<(String, Source, Option<u32>)>,
    manner: Manner,
    side_by_side: bool,
    interrupt: &'i Interrupt,
    open: BTreeMap<usize, Open>,
    launches: usize,
}

struct Open {
    client: Arc<dyn Client>,
    server: Option<Server>,
    /// Number of the start, so that a server that was started again is warmed up again.
    launch: usize,
}

impl<'i> Stand<'i> {
    fn new(plan: &Plan, interrupt: &'i Interrupt) -> Stand<'i> {
        let source = |(condition, source): &(Condition, Source)| {
            (condition.label.clone(), source.clone(), condition.n_max)
        };
        Stand {
            sources: plan.conditions.iter().map(source).collect(),
            manner: plan.manner.clone(),
            side_by_side: plan.blocks == 0,
            interrupt,
            open: BTreeMap::new(),
            launches: 0,
        }
    }

    /// Stops all servers and from now on has one of them only.
    fn one_at_a_time(&mut self) {
        self.side_by_side = false;
        self.open.retain(|_, open| open.server.is_none());
    }

    fn client(&mut self, at: usize) -> Result<Arc<dyn Client>, BenchError> {
        if let Some(open) = self.open.get(&at) {
            return Ok(open.client.clone());
        }
        let (label, source, n_max) = &self.sources[at];
        let mut server = None;
        let client = match source {
            Source::Url(url) => client::connect(url, &self.manner)?,
            Source::Ollama(url) => client::ollama(url, *n_max, &self.manner)?,
            Source::Launch(launch) => {
                if !self.side_by_side {
                    self.open.retain(|_, open| open.server.is_none());
                }
                let mut started = Server::start(launch, label, self.interrupt)?;
                let client = client::connect(&started.url, &self.manner)
                    .map_err(|error| started.died_just_now().unwrap_or(error))?;
                server = Some(started);
                client
            }
        };
        self.launches += 1;
        let client: Arc<dyn Client> = client.into();
        let open = Open {
            client: client.clone(),
            server,
            launch: self.launches,
        };
        self.open.insert(at, open);
        Ok(client)
    }

    /// Has a condition's server ready and tells the number of its start.
    fn ready(&mut self, at: usize) -> Result<usize, BenchError> {
        self.client(at)?;
        Ok(self.open.get(&at).map_or(0, |open| open.launch))
    }

    /// Why a condition's server did not answer: that it stopped, if so, says more than what its connection tells.
    fn cause(&mut self, at: usize, error: BenchError) -> BenchError {
        let server = self.open.get_mut(&at).and_then(|open| open.server.as_mut());
        server.and_then(Server::died_just_now).unwrap_or(error)
    }

    /// What a condition's server has counted so far.
    fn counters(&mut self, at: usize) -> Result<Option<Counters>, BenchError> {
        let counted = self.client(at)?.counters();
        counted.map_err(|error| self.cause(at, error))
    }

    /// Makes calls at the same time; failures are told beside them.
    fn make(
        &mut self,
        plan: &Plan,
        step: &Step,
        prompts: Vec<Prompt>,
        warmup: bool,
        start: Instant,
    ) -> Result<Vec<(Call, Option<BenchError>)>, BenchError> {
        let client = self.client(step.condition)?;
        let before = self.counters(step.condition)?;
        let (sender, results) = mpsc::channel();
        let mut calls: Vec<(Call, Option<BenchError>)> = Vec::new();
        for (offset, prompt) in prompts.into_iter().enumerate() {
            let number = step.prompts.get(offset).copied().unwrap_or(0);
            let place = Call {
                condition: plan.conditions[step.condition].0.label.clone(),
                kind: plan.kinds[step.kind].name.clone(),
                prompt: number,
                seq: step.seq + offset,
                group: step.seq,
                block: step.block,
                warmup,
                at_ns: u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),
                ..Call::default()
            };
            calls.push((place, None));
            let (client, sender) = (client.clone(), sender.clone());
            // A thread of its own, so that Ctrl-C need not wait for the answer.
            std::thread::spawn(move || {
                // Nobody listens any more where the run was stopped.
                let _ = sender.send((offset, client.call(&prompt)));
            });
        }
        drop(sender);
        let mut open = calls.len();
        while open > 0 {
            match results.recv_timeout(POLL) {
                Ok((offset, result)) => {
                    open -= 1;
                    let slot = &mut calls[offset];
                    match result {
                        Ok(call) => slot.0 = placed(call, &slot.0),
                        Err(error) => {
                            slot.0.error = Some(error.to_string());
                            slot.1 = Some(error);
                        }
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => self.interrupt.check()?,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        if calls.iter().all(|(_, error)| error.is_none()) {
            if let Some((call, _)) = calls.iter().find(|(call, _)| call.eval_count == 0) {
                return Err(BenchError::Nothing {
                    url: match &self.sources[step.condition].1 {
                        Source::Url(url) | Source::Ollama(url) => url.clone(),
                        Source::Launch(_) => call.condition.clone(),
                    },
                    kind: call.kind.clone(),
                });
            }
            let counted = self
                .counters(step.condition)?
                .map(|after| after.since(&before.unwrap_or_default()));
            if let (Some(counted), Some((first, _))) = (counted, calls.first_mut()) {
                take_counters(first, counted);
            }
        }
        Ok(calls)
    }
}

/// What a call measured, in its place.
fn placed(call: Call, place: &Call) -> Call {
    Call {
        condition: place.condition.clone(),
        kind: place.kind.clone(),
        prompt: place.prompt,
        seq: place.seq,
        group: place.group,
        block: place.block,
        warmup: place.warmup,
        at_ns: place.at_ns,
        ..call
    }
}

/// What the server counted for a group stands in its first call.
fn take_counters(first: &mut Call, counted: Counters) {
    if first.drafted.is_none() {
        first.drafted = Some(counted.drafted);
        first.accepted = Some(counted.accepted);
    }
    first.drafts = Some(counted.drafts);
    first.accepted_by_position = Some(counted.by_position);
}
