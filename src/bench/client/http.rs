//! HTTP as the clients need it: JSON in, JSON or a stream of JSON out, and what goes wrong told by its cause.
//!
//! Only the address that was given is contacted: no proxy of the environment stands between, no redirect is followed.

use crate::bench::BenchError;
use crate::text::escape;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};
use ureq::Agent;

/// Longest answer that is read.
const MAX_ANSWER: u64 = 64 << 20;
/// Most of a message of a server that is told.
const MAX_MESSAGE: usize = 300;

/// A server's address, with a connection for each request.
#[derive(Debug, Clone)]
pub struct Http {
    agent: Agent,
    base: String,
    timeout: Duration,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub body: String,
}

impl Http {
    /// An address, `http://HOST:PORT` with or without a path.
    pub fn new(url: &str, timeout: Duration) -> Result<Http, BenchError> {
        let base = url.trim_end_matches('/');
        let rest = base.strip_prefix("http://");
        if base.starts_with("https://") {
            let message = format!(
                "{url}: only http is spoken here; give the server's own port, or a tunnel to it (ssh -L 8080:localhost:8080 HOST)"
            );
            return Err(BenchError::Usage(message));
        }
        if rest.is_none_or(str::is_empty) {
            let message = format!("{url:?} is no address; give one like http://localhost:8080");
            return Err(BenchError::Usage(message));
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_global(Some(timeout))
            .timeout_connect(Some(timeout.min(Duration::from_secs(10))))
            // A server may close an idle connection at the moment a request is sent on it; whether it has seen that
            // request cannot be told, and a second one would be measured with what the first left in its cache.
            .max_idle_connections(0)
            .build()
            .into();
        Ok(Http {
            agent,
            // Interfaces are given below the base, whether the address names theirs or not.
            base: base.strip_suffix("/v1").unwrap_or(base).to_owned(),
            timeout,
        })
    }

    /// The address.
    pub fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// A short answer of whatever status.
    pub(super) fn get(&self, path: &str) -> Result<Answer, BenchError> {
        let response = self.agent.get(self.url(path)).call();
        let response = response.map_err(|error| self.failed(path, error))?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        let mut reader = response.into_body().into_reader().take(MAX_ANSWER);
        reader
            .read_to_end(&mut body)
            .map_err(|error| self.broken_off(path, &error))?;
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status, body })
    }

    /// Sends JSON and hands each line of the answer to `take`, until it says that it has all. An answer of another status
    /// than 200 is an error.
    pub(super) fn post(
        &self,
        path: &str,
        body: &Value,
        mut take: impl FnMut(&str) -> Result<Flow, BenchError>,
    ) -> Result<(), BenchError> {
        let request = self.agent.post(self.url(path)).content_type("application/json");
        let response = request.send(body.to_string());
        let response = response.map_err(|error| self.failed(path, error))?;
        let status = response.status().as_u16();
        let mut reader = BufReader::new(response.into_body().into_reader().take(MAX_ANSWER));
        if status != 200 {
            let mut message = String::new();
            let mut limited = reader.take(1 << 16);
            let _ = limited.read_to_string(&mut message);
            return Err(self.refused(path, status, &message));
        }
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line);
            if read.map_err(|error| self.broken_off(path, &error))? == 0 {
                return Ok(());
            }
            if take(String::from_utf8_lossy(&line).trim())? == Flow::Done {
                // Nothing of interest follows the last event, but the server is free again only once it has ended its answer.
                let _ = std::io::copy(&mut reader, &mut std::io::sink());
                return Ok(());
            }
        }
    }

    /// Sends JSON and hands each event of the answer to `take`, one JSON document a line, as they are or as server-sent
    /// events, until the answer is whole. Gives the clock that was running.
    pub(super) fn stream<E: DeserializeOwned>(
        &self,
        path: &str,
        request: &Value,
        mut take: impl FnMut(E, &mut Watch) -> Flow,
    ) -> Result<Watch, BenchError> {
        let mut watch = Watch::start();
        let mut end = Flow::More;
        self.post(path, request, |line| {
            let data = line.strip_prefix("data:").map_or(line, str::trim);
            // Comments keep a stream alive.
            if data.is_empty() || data.starts_with(':') || data.starts_with("event:") {
                return Ok(Flow::More);
            }
            if data == "[DONE]" {
                end = Flow::Done;
                return Ok(end);
            }
            let event = self.json(path, data)?;
            if event.get("error").is_some_and(|error| !error.is_null()) {
                return Err(self.refused(path, 400, data));
            }
            let event = serde_json::from_value(event).map_err(|_| self.not_a_model_server(path, data))?;
            end = take(event, &mut watch);
            Ok(end)
        })?;
        match end {
            Flow::More => Err(BenchError::BrokenOff {
                url: self.url(path),
                message: "the stream ended before the answer did".to_owned(),
            }),
            Flow::Whole | Flow::Done => Ok(watch),
        }
    }

    /// Sends JSON for one JSON document.
    pub(super) fn post_for_json(&self, path: &str, body: &Value) -> Result<Value, BenchError> {
        let mut text = String::new();
        self.post(path, body, |line| {
            text.push_str(line);
            text.push('\n');
            Ok(Flow::More)
        })?;
        self.json(path, &text)
    }

    /// The JSON of an answer, or what it is instead.
    pub(super) fn json(&self, path: &str, body: &str) -> Result<Value, BenchError> {
        serde_json::from_str(body).map_err(|_| self.not_a_model_server(path, body))
    }

    pub(super) fn not_a_model_server(&self, path: &str, body: &str) -> BenchError {
        let start = body.trim_start();
        let found = match start.starts_with('<') {
            true => "HTML".to_owned(),
            false if start.is_empty() => "nothing".to_owned(),
            false => format!("{:?}", shortened(start, 60)),
        };
        BenchError::NotAModelServer {
            url: self.url(path),
            found,
            hint: "a proxy or another program listens there: give the address of the model server itself",
        }
    }

    /// An answer of another status than 200.
    pub(super) fn refused(&self, path: &str, status: u16, body: &str) -> BenchError {
        let url = self.url(path);
        let json: Option<Value> = serde_json::from_str(body).ok();
        let told = json.as_ref().and_then(|json| {
            let error = json.get("error").unwrap_or(json);
            error.get("message").unwrap_or(error).as_str()
        });
        let Some(message) = told.map(|message| shortened(message, MAX_MESSAGE)) else {
            let hint = match status {
                404 => "the server has no such interface: give the address of a model server",
                502..=504 => "a proxy stands between: give the address of the model server itself",
                401 | 403 | 407 => "the server wants a key: start it without one for the benchmark",
                _ => "look at the server's log",
            };
            let message = match body.trim_start().starts_with('<') {
                true => "a page of HTML".to_owned(),
                false => shortened(body.trim(), 60),
            };
            return BenchError::Status {
                url,
                status,
                message,
                hint,
            };
        };
        let about_context =
            |word: &str| word.contains("context") && (word.contains("exceed") || word.contains("length"));
        if status < 500 && about_context(&message.to_lowercase()) {
            return BenchError::TooLong { url, message };
        }
        BenchError::Status {
            url,
            status,
            message,
            hint: match status {
                404 => "give the name of a model that the server has with --model",
                401 | 403 => "the server wants a key: start it without one for the benchmark",
                503 => "wait until it has loaded its model",
                _ => "look at the server's log",
            },
        }
    }

    fn failed(&self, path: &str, error: ureq::Error) -> BenchError {
        let url = self.url(path);
        match error {
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
                BenchError::Unreachable {
                    url,
                    message: "no connection in time".to_owned(),
                }
            }
            ureq::Error::Timeout(_) => self.timed_out(url),
            ureq::Error::BadUri(message) => BenchError::Usage(format!("{url} is no address ({message})")),
            ureq::Error::Io(error) if is_timeout(&error) => self.timed_out(url),
            ureq::Error::Io(error) if is_broken(&error) => BenchError::BrokenOff {
                url,
                message: error.to_string(),
            },
            ureq::Error::Io(_) | ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
                BenchError::Unreachable {
                    url,
                    message: error.to_string(),
                }
            }
            error => BenchError::NotAModelServer {
                url,
                found: format!("no HTTP ({error})"),
                hint: "another program listens there: give the address of the model server",
            },
        }
    }

    fn timed_out(&self, url: String) -> BenchError {
        let seconds = self.timeout.as_secs();
        BenchError::TimedOut { url, seconds }
    }

    fn broken_off(&self, path: &str, error: &std::io::Error) -> BenchError {
        let url = self.url(path);
        match is_timeout(error) {
            true => self.timed_out(url),
            false => BenchError::BrokenOff {
                url,
                message: error.to_string(),
            },
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock
    ) || error
        .get_ref()
        .is_some_and(|inner| matches!(inner.downcast_ref(), Some(ureq::Error::Timeout(_))))
}

fn is_broken(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
}

fn shortened(text: &str, chars: usize) -> String {
    let mut short: String = escape(text.as_bytes()).chars().take(chars).collect();
    if text.chars().nth(chars).is_some() {
        short.push('…');
    }
    short
}

/// Whether a stream goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// The answer is not whole yet.
    More,
    /// It is, but more may be told.
    Whole,
    /// Nothing of interest follows.
    Done,
}

/// Measures a call: the time to its first token and to its end.
#[derive(Debug)]
pub(super) struct Watch {
    start: Instant,
    first: Option<Duration>,
    last: Option<Duration>,
    /// Pieces of text seen.
    pub pieces: u64,
}

impl Watch {
    pub(super) fn start() -> Watch {
        Watch {
            start: Instant::now(),
            first: None,
            last: None,
            pieces: 0,
        }
    }

    /// A piece of text has come.
    pub(super) fn piece(&mut self) {
        let now = self.start.elapsed();
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.pieces += 1;
    }

    /// Nanoseconds to the first piece.
    pub(super) fn first_ns(&self) -> Option<u64> {
        self.first.map(nanoseconds)
    }

    /// Nanoseconds from the first piece to the last.
    pub(super) fn between_ns(&self) -> u64 {
        match (self.first, self.last) {
            (Some(first), Some(last)) => nanoseconds(last - first),
            _ => 0,
        }
    }

    /// Nanoseconds until now.
    pub(super) fn wall_ns(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
