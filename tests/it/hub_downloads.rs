//! Downloads from the Hub where they do not go smoothly: no space, another program at the same, a question at a terminal.

use crate::common::home::Home;
use crate::common::hub::{COMMIT, FakeHub, etag};
use crate::common::*;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

const FILE: &str = "mini-Q8_0.gguf";

struct Setting {
    hub: FakeHub,
    home: Home,
    bytes: Vec<u8>,
}

impl Setting {
    fn new() -> Setting {
        let hub = FakeHub::new();
        let bytes = std::fs::read(fixture("mini-dense/drafter-q8_0.gguf")).unwrap();
        hub.add("a/mini-GGUF", [(FILE.to_owned(), bytes.clone())]);
        let home = Home::new();
        Setting { hub, home, bytes }
    }

    /// A command with the environment of the program here.
    fn command(&self, name: &str, args: &[&str]) -> Command {
        let program = self.home.program();
        let mut command = Command::new(name);
        command.args(args).stdin(Stdio::null());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
            .env_remove("HF_HUB_OFFLINE")
            .env("HF_ENDPOINT", &self.hub.url);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn program(&self) -> String {
        let program = self.home.program();
        program.get_program().to_str().unwrap().to_owned()
    }

    fn download(&self) -> Child {
        let args = ["inspect", "a/mini-GGUF", "--download"];
        self.command(&self.program(), &args).spawn().unwrap()
    }

    fn blob(&self) -> PathBuf {
        let name = format!("hf/hub/models--a--mini-GGUF/blobs/{}", etag(&self.bytes));
        self.home.path(&name)
    }

    fn snapshot(&self) -> PathBuf {
        let name = format!("hf/hub/models--a--mini-GGUF/snapshots/{COMMIT}");
        self.home.path(&name)
    }

    #[track_caller]
    fn assert_whole(&self, output: &Output) {
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{err}");
        assert!(std::fs::read(self.snapshot().join(FILE)).unwrap() == self.bytes);
    }
}

/// One line, exit code 4, nothing under a final name; and the next run does not begin anew.
#[test]
fn without_space_nothing_is_half_written() {
    let it = Setting::new();
    it.hub.trouble().size = Some(1 << 60);
    let output = it.download().wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), err.lines().count()), (Some(4), 1), "{err}");
    assert!(
        err.contains("bytes free") && err.contains("HF_HUB_CACHE"),
        "{err}"
    );
    it.hub.trouble().size = None;

    // The disk that fills up while bytes come: the system takes no more than so many of a file.
    let line = format!(
        "ulimit -f 100; exec '{}' inspect a/mini-GGUF --download",
        it.program()
    );
    let output = it.command("sh", &["-c", &line]).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), err.lines().count()), (Some(4), 1), "{err}");
    assert!(
        err.starts_with("error: ") && err.contains(&etag(&it.bytes)),
        "{err}"
    );
    assert!(!it.blob().exists() && !it.snapshot().exists());
    it.assert_whole(&it.download().wait_with_output().unwrap());
}

/// Of two at once one fetches, and the other waits for it.
#[test]
fn two_downloads_at_once_are_one() {
    let it = Setting::new();
    it.hub.sent();
    let both = [it.download(), it.download()];
    for child in both {
        it.assert_whole(&child.wait_with_output().unwrap());
    }
    let (sent, size) = (it.hub.sent(), it.bytes.len() as u64);
    assert!((size..size + size / 2).contains(&sent), "{sent} of {size}");
}

/// The lock is the one that huggingface_hub takes.
#[test]
fn a_download_of_another_program_is_waited_for() {
    let it = Setting::new();
    let locks = it.home.path("hf/hub/.locks/models--a--mini-GGUF");
    std::fs::create_dir_all(&locks).unwrap();
    let path = locks.join(format!("{}.lock", etag(&it.bytes)));
    let lock = std::fs::File::create(path).unwrap();
    lock.lock().unwrap();
    let mut child = it.download();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    err.read_line(&mut line).unwrap();
    assert_eq!(line, format!("another program fetches {FILE}; waiting for it\n"));
    // The other one is done.
    std::fs::create_dir_all(it.blob().parent().unwrap()).unwrap();
    std::fs::write(it.blob(), &it.bytes).unwrap();
    it.hub.sent();
    drop(lock);
    it.assert_whole(&child.wait_with_output().unwrap());
    assert!(it.hub.sent() < 1000, "what is here does not travel");
}

/// At a terminal, which `script` of util-linux makes, a question stands before anything is fetched.
#[cfg(target_os = "linux")]
#[test]
fn a_terminal_is_asked() {
    for (answer, fetched) in [("n\n", false), ("\n", false), ("y\n", true), ("YES\n", true)] {
        let it = Setting::new();
        let line = format!("'{}' inspect --no-tensors a/mini-GGUF", it.program());
        let mut script = it.command("script", &["-qec", &line, "/dev/null"]);
        let Ok(mut child) = script.stdin(Stdio::piped()).spawn() else {
            eprintln!("skipped: there is no script");
            return;
        };
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(answer.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        drop(stdin);
        let shown = String::from_utf8_lossy(&output.stdout);
        let question = "a/mini-GGUF is not here; fetch 346.03 KiB in 1 file into ";
        assert!(shown.contains(question) && shown.contains("[y/N] "), "{shown}");
        assert_eq!(it.blob().exists(), fetched, "{answer:?}: {shown}");
        assert_eq!(output.status.code(), Some(if fetched { 0 } else { 2 }), "{shown}");
        assert_eq!(shown.contains("general.architecture"), fetched, "{shown}");
    }
}
