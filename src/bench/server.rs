//! Starts llama-server and stops it again, with everything that it started.

use super::BenchError;
use super::interrupt::Interrupt;
use crate::io::growing;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// How often a server is looked at.
const POLL: Duration = Duration::from_millis(50);
/// Lines of a log that are told, and most characters of them.
const TOLD_LINES: usize = 3;
const TOLD_CHARS: usize = 400;
/// Most bytes of a log that are looked at.
const MAX_LOG: u64 = 1 << 20;

/// How a server is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// llama-server.
    pub program: PathBuf,
    /// Its arguments, but for host and port.
    pub args: Vec<String>,
    /// Where its log goes.
    pub log: PathBuf,
    /// Longest time until it answers.
    pub timeout: Duration,
}

/// A server that runs; it ends with this value.
#[derive(Debug)]
pub struct Server {
    child: Child,
    label: String,
    log: PathBuf,
    /// Where it listens.
    pub url: String,
}

/// A port of the loopback interface on which nothing listens.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

impl Server {
    /// Starts a server and waits until it answers.
    pub fn start(launch: &Launch, label: &str, interrupt: &Interrupt) -> Result<Server, BenchError> {
        // Between the choice of a port and the server's use of it another program may take it.
        let mut tries = 3;
        loop {
            let mut server = Server::spawn(launch, label)?;
            match server.wait(launch.timeout, interrupt) {
                Err(BenchError::Died { lines, .. }) if tries > 1 && is_port_taken(&lines) => tries -= 1,
                result => return result.map(|()| server),
            }
        }
    }

    fn spawn(launch: &Launch, label: &str) -> Result<Server, BenchError> {
        let fail = |source| BenchError::Start {
            program: launch.program.clone(),
            source,
        };
        let unwritten = |source| BenchError::Write {
            path: launch.log.clone(),
            source,
        };
        let port = free_port().map_err(fail)?;
        let (output, errors) = growing::log(&launch.log).map_err(unwritten)?;
        let mut command = Command::new(&launch.program);
        command
            .args(&launch.args)
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        // A group of its own: what it starts can be ended with it, and Ctrl-C at the terminal does not reach it first.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Ok(Server {
            child: command.spawn().map_err(fail)?,
            label: label.to_owned(),
            log: launch.log.clone(),
            url: format!("http://127.0.0.1:{port}"),
        })
    }

    fn wait(&mut self, timeout: Duration, interrupt: &Interrupt) -> Result<(), BenchError> {
        let start = Instant::now();
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(2)))
            .build()
            .into();
        let health = format!("{}/health", self.url);
        loop {
            if let Some(error) = self.died() {
                return Err(error);
            }
            if agent
                .get(&health)
                .call()
                .is_ok_and(|response| response.status() == 200)
            {
                return Ok(());
            }
            interrupt.check()?;
            if start.elapsed() > timeout {
                return Err(BenchError::NotReady {
                    label: self.label.clone(),
                    seconds: timeout.as_secs(),
                    log: self.log.clone(),
                });
            }
            std::thread::sleep(POLL);
        }
    }

    /// Why it does not run any more, if so.
    pub fn died(&mut self) -> Option<BenchError> {
        let status = self.child.try_wait().ok()??;
        Some(BenchError::Died {
            label: self.label.clone(),
            status: told_status(status),
            lines: telling_lines(&self.log),
            log: self.log.clone(),
        })
    }

    /// [`Server::died`] for one that did not answer: killed while it did, it is gone a moment after its connection.
    pub fn died_just_now(&mut self) -> Option<BenchError> {
        let start = Instant::now();
        loop {
            let died = self.died();
            if died.is_some() || start.elapsed() > Duration::from_millis(500) {
                return died;
            }
            std::thread::sleep(POLL);
        }
    }

    #[cfg(unix)]
    fn signal(&self, signal: rustix::process::Signal) {
        if let Some(group) = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        {
            // An error says that nothing of the group is left.
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        #[cfg(unix)]
        {
            self.signal(rustix::process::Signal::TERM);
            let start = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < GRACE {
                std::thread::sleep(POLL / 5);
            }
            // Its group may outlive it.
            self.signal(rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn told_status(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return format!("by signal {signal}");
    }
    status
        .code()
        .map_or("no exit code".to_owned(), |code| format!("exit code {code}"))
}

fn is_port_taken(lines: &str) -> bool {
    let lines = lines.to_lowercase();
    lines.contains("address already in use") || lines.contains("bind")
}

/// The lines of a log that tell why a server ended, in one line, with the cause where it is known.
fn telling_lines(log: &Path) -> String {
    let bytes = growing::tail(log, MAX_LOG).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let words = [
        "error",
        "fail",
        "assert",
        "abort",
        "invalid",
        "exception",
        "bind",
        "unable",
    ];
    // llama.cpp tries a drafter alone before it loads it for good, and says itself that this fails.
    let is_usual = |line: &str| line.contains("memory fitting") || line.contains("failed to measure");
    let tells = |line: &&&str| {
        let lower = line.to_lowercase();
        words.iter().any(|word| lower.contains(word)) && !is_usual(line)
    };
    let mut told: Vec<&str> = lines
        .iter()
        .filter(tells)
        .rev()
        .take(TOLD_LINES)
        .copied()
        .collect();
    if told.is_empty() {
        told = lines.iter().rev().take(TOLD_LINES).copied().collect();
    }
    told.reverse();
    let mut line: String = told.join(" | ").chars().take(TOLD_CHARS).collect();
    if line.is_empty() {
        line = "its log is empty".to_owned();
    }
    if text.contains("GGML_ASSERT(ubatch") && text.contains("embd_state") {
        line =
            format!("the drafter was loaded without --spec-type draft-mtp, pass --spec-type auto ({line})");
    }
    line
}
