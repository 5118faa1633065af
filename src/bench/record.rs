//! What a benchmark keeps: a header, and a line for every call. Everything that is reported is derived from these, so that
//! a run can be stopped, resumed, compared and shown again. `docs/bench.md` describes the fields.
//!
//! The names of a call's counts and durations are those of Ollama's `/api/generate`, so that logs of that API are read as
//! they are.

use super::BenchError;
use crate::io::{Inputs, TextLimit};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Version of the format; raised when a field changes its meaning or goes away.
pub const FORMAT: u32 = 1;

/// A benchmark: what was measured, how, and each call.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What was measured, and how.
    pub header: Header,
    /// In the order in which they ended.
    pub calls: Vec<Call>,
}

/// The first line of a file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// [`FORMAT`].
    pub format: u32,
    /// Name and version of the program.
    pub program: String,
    /// When the run began, in seconds since 1970.
    pub started_unix: u64,
    /// Where the benchmark ran; the servers may be elsewhere.
    pub machine: Machine,
    /// The model files, where they are known.
    pub files: Vec<ModelFile>,
    /// How it was measured.
    pub protocol: Protocol,
    /// What was measured.
    pub conditions: Vec<Condition>,
}

/// A computer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// Operating system and architecture.
    pub system: String,
    /// Name of the processor, where the system tells it.
    pub processor: Option<String>,
    /// Threads that run at once.
    pub threads: usize,
    /// Bytes of memory, where the system tells it.
    pub memory: Option<u64>,
}

/// A model's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFile {
    /// `target` or `drafter`.
    pub role: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Its checksum.
    pub sha256: String,
}

/// How a run is measured.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Protocol {
    /// Calls a condition that were asked for.
    pub calls: usize,
    /// Calls after each start of a server that do not count.
    pub warmup: usize,
    /// Tokens to generate a call.
    pub predict: usize,
    /// Of the order of calls and of the statistics.
    pub seed: u64,
    /// Parts into which a run falls where servers cannot stand side by side; 0 where conditions alternate call by call.
    pub blocks: usize,
    /// Kinds of prompts with the number of prompts of each.
    pub kinds: Vec<KindCount>,
    /// A checksum of all prompts.
    pub prompts_sha256: String,
}

/// A kind of prompts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindCount {
    /// Its name.
    pub kind: String,
    /// How many prompts it has.
    pub prompts: usize,
}

/// One of the things that are compared.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// Its name, which calls refer to.
    pub label: String,
    /// Most tokens a draft, where it is known; 0 is off.
    pub n_max: Option<u32>,
    /// Calls at the same time.
    pub parallel: u32,
    /// Whether it should draft.
    pub drafts: bool,
    /// The condition that it is compared with.
    pub baseline: Option<String>,
    /// What answers: `llama-server`, `openai`, `ollama`, or `file`.
    pub server: String,
    /// Its address, of servers that ran before.
    pub url: Option<String>,
    /// The program and its arguments, of servers that were started.
    pub command: Vec<String>,
    /// What the server says of itself (`/props` of llama-server, `/v1/models`, `/api/version`).
    pub props: serde_json::Value,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Call {
    /// The condition's label.
    pub condition: String,
    /// Kind of the prompt.
    pub kind: String,
    /// Number of the prompt within its kind.
    pub prompt: usize,
    /// Place in the order of all calls.
    pub seq: usize,
    /// Calls with the same number ran at the same time.
    pub group: usize,
    /// Number of the block.
    pub block: usize,
    /// Not counted.
    pub warmup: bool,
    /// Nanoseconds from the start of the run to the start of the call.
    pub at_ns: u64,
    /// Nanoseconds from request to the end of the answer.
    pub wall_ns: u64,
    /// Nanoseconds from request to the first token.
    pub ttft_ns: Option<u64>,
    /// Tokens of the prompt that were read, without those from a cache.
    pub prompt_eval_count: Option<u64>,
    /// Nanoseconds for reading the prompt.
    pub prompt_eval_duration: Option<u64>,
    /// Tokens of the prompt that a cache supplied.
    pub cached: Option<u64>,
    /// Tokens generated.
    pub eval_count: u64,
    /// Nanoseconds for generating them.
    pub eval_duration: u64,
    /// Nanoseconds for loading the model.
    pub load_duration: Option<u64>,
    /// Tokens drafted; absent where the server does not tell.
    pub drafted: Option<u64>,
    /// Drafted tokens that the target accepted.
    pub accepted: Option<u64>,
    /// Drafts made by the calls of this group; stands in the first of them.
    pub drafts: Option<u64>,
    /// Accepted tokens by place in the draft, likewise.
    pub accepted_by_position: Option<Vec<u64>>,
    /// Why the call failed.
    pub error: Option<String>,
}

impl Call {
    /// Tokens generated a second, of calls that generated some.
    pub fn speed(&self) -> Option<f64> {
        let is_whole = self.error.is_none() && self.eval_count > 0 && self.eval_duration > 0;
        is_whole.then(|| self.eval_count as f64 / self.eval_duration as f64 * 1e9)
    }

    /// Tokens of the prompt read a second.
    pub fn prompt_speed(&self) -> Option<f64> {
        match (self.prompt_eval_count?, self.prompt_eval_duration?) {
            (0, _) | (_, 0) => None,
            (count, duration) => Some(count as f64 / duration as f64 * 1e9),
        }
    }

    /// Whether the model was loaded for it: a second, or a tenth of the call.
    pub fn is_cold(&self) -> bool {
        self.load_duration
            .is_some_and(|load| load > 1_000_000_000 || load > self.wall_ns / 10 && load > 200_000_000)
    }
}

/// A line of a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
enum Line<H, C> {
    Header(H),
    Call(C),
}

/// A header as a line.
pub fn header_line(header: &Header) -> Result<String, serde_json::Error> {
    line(&Line::<&Header, &Call>::Header(header))
}

/// A call as a line.
pub fn call_line(call: &Call) -> Result<String, serde_json::Error> {
    line(&Line::<&Header, &Call>::Call(call))
}

fn line(line: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string(line).map(|text| text + "\n")
}

impl Run {
    /// Reads a file: of this program, or any with a JSON object a line that has `eval_count` and `eval_duration`, as the
    /// answers of Ollama have. A last line that was cut off is left out.
    pub fn read(inputs: &Inputs, path: &Path) -> Result<Run, BenchError> {
        let bytes = inputs
            .read(path, TextLimit::LIST)
            .map_err(|source| BenchError::Read {
                path: path.to_owned(),
                source,
            })?;
        let bad = |line: usize, message: String| BenchError::BadRecord {
            path: path.to_owned(),
            line,
            message,
        };
        let (mut header, mut calls) = (None, Vec::new());
        let mut places = std::collections::HashMap::new();
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        for (number, (start, line)) in lines(&bytes).enumerate().map(|(at, line)| (at + 1, line)) {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let value: serde_json::Value = match serde_json::from_slice(line) {
                Ok(value) => value,
                Err(_) if start >= whole => break,
                Err(error) => return Err(bad(number, error.to_string())),
            };
            match value.get("record").is_some() {
                true => {
                    match serde_json::from_value(value).map_err(|error| bad(number, error.to_string()))? {
                        Line::Header::<Header, Call>(found) if header.is_none() => header = Some(found),
                        Line::Header(_) => return Err(bad(number, "a second header".to_owned())),
                        Line::Call(call) => {
                            // A call that was made again, after an interruption, replaces the first.
                            let key = (call.seq, call.warmup);
                            match places.get(&key).filter(|_| !call.warmup) {
                                Some(&at) => calls[at] = call,
                                None => {
                                    places.insert(key, calls.len());
                                    calls.push(call);
                                }
                            }
                        }
                    }
                }
                false => calls.extend(foreign(value, calls.len())),
            }
        }
        if let Some(header) = &header
            && header.format > FORMAT
        {
            let message = format!(
                "is of format {}, this program knows up to {FORMAT}",
                header.format
            );
            return Err(bad(1, message));
        }
        let run = match header {
            Some(header) => Run { header, calls },
            None => Run::foreign(path, calls),
        };
        match run.calls.iter().any(|call| call.speed().is_some()) || !run.header.conditions.is_empty() {
            true => Ok(run),
            false => Err(bad(
                1,
                "no line is a call with eval_count and eval_duration".to_owned(),
            )),
        }
    }

    /// A run of another program, of one condition.
    fn foreign(path: &Path, mut calls: Vec<Call>) -> Run {
        let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy();
        let mut labels: Vec<String> = Vec::new();
        for call in &mut calls {
            if call.condition.is_empty() {
                call.condition = stem.clone().into_owned();
            }
            if !labels.contains(&call.condition) {
                labels.push(call.condition.clone());
            }
        }
        let condition = |label: String| Condition {
            label,
            parallel: 1,
            server: "file".to_owned(),
            ..Condition::default()
        };
        Run {
            header: Header {
                conditions: labels.into_iter().map(condition).collect(),
                ..Header::default()
            },
            calls,
        }
    }
}

/// Lines with where they start.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut start = 0;
    bytes.split_inclusive(|byte| *byte == b'\n').map(move |line| {
        let at = start;
        start += line.len();
        (at, line)
    })
}

/// A line that another program wrote; `None` where it is no call.
fn foreign(value: serde_json::Value, seq: usize) -> Option<Call> {
    let counts = value
        .get("eval_count")?
        .as_u64()
        .zip(value.get("eval_duration")?.as_u64());
    counts?;
    let mut call: Call = serde_json::from_value(value.clone()).ok()?;
    if call.wall_ns == 0 {
        call.wall_ns = value
            .get("total_duration")
            .and_then(serde_json::Value::as_u64)
            .unwrap_or(0);
    }
    if call.kind.is_empty() {
        call.kind = "all".to_owned();
    }
    (call.seq, call.group) = (seq, seq);
    Some(call)
}
