//! Runs the program on a case and says what is wrong with what it did.

use crate::common::sha256;
use gguf_conv::gguf::Gguf;
use gguf_conv::io::Inputs;
use gguf_conv::storage::ModelFile;
use gguf_conv::storage::stats::Stats;
use gguf_conv::text::is_hidden;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Far more than any run takes, even where other programs keep the machine busy.
const TIME: Duration = Duration::from_secs(60);
/// Address space of a run, in KiB: inputs are below 3 MB, the rest is the threads' and the allocator's.
const MEMORY: u64 = 1 << 20;
/// Most bytes that a run says to people, and in a line.
const SAID: usize = 100_000;
const LINE: usize = 10_000;
/// Most bytes of a document, which spells out what a table says in a line.
const DOCUMENT: usize = 400_000;

/// A run: the command line, with inputs under `folder/in`; it runs in `folder/out`, where outputs belong.
pub struct Case {
    pub folder: tempfile::TempDir,
    /// What was done to the input, for who reads of a failure.
    pub change: String,
    pub args: Vec<String>,
}

impl Case {
    pub fn new() -> Case {
        let folder = tempfile::tempdir().unwrap();
        for name in ["in", "out"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        Case {
            folder,
            change: String::new(),
            args: Vec::new(),
        }
    }

    /// Adds an input, and its path.
    pub fn input(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.path().join("in").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn has(&self, flag: &str) -> bool {
        self.args.iter().any(|arg| arg == flag)
    }
}

/// Every file below a folder, with its checksum.
fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), sha256(&path));
        }
    }
    found
}

/// How many numbers of a model are none; `None` where it cannot be read.
fn not_finite(path: &Path) -> Option<u64> {
    let model = ModelFile::look(&Inputs::new(), path).ok()?;
    let bad = |tensor: &gguf_conv::storage::ModelTensor| {
        let stats = Stats::of(&tensor.numbers().ok()?, &|_| ());
        Some(stats.nan + stats.infinite)
    };
    Some(model.tensors().iter().filter_map(bad).sum())
}

struct Run {
    /// `None` where the time was over.
    status: Option<ExitStatus>,
    out: String,
    err: String,
}

fn run(case: &Case) -> Run {
    let program = assert_cmd::cargo::cargo_bin("gguf-conv");
    let mut command = if cfg!(target_os = "linux") {
        let mut shell = Command::new("sh");
        let limit = format!("ulimit -v {MEMORY}; exec \"$0\" \"$@\"");
        shell.args(["-c", &limit]).arg(program);
        shell
    } else {
        Command::new(program)
    };
    let said = |name: &str| case.folder.path().join(name);
    let mut child = command
        .args(&case.args)
        .current_dir(said("out"))
        .env("RAYON_NUM_THREADS", "2")
        .stdin(Stdio::null())
        .stdout(File::create(said("stdout")).unwrap())
        .stderr(File::create(said("stderr")).unwrap())
        .spawn()
        .expect("the program starts");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if start.elapsed() > TIME {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(3));
    };
    // What is no UTF-8 is told by a character that must not be there.
    let read = |name: &str| match String::from_utf8(std::fs::read(said(name)).unwrap()) {
        Ok(text) => text,
        Err(_) => "\0 no UTF-8".to_owned(),
    };
    Run {
        status,
        out: read("stdout"),
        err: read("stderr"),
    }
}

/// What is wrong with what the program did; nothing, mostly.
pub fn judge(case: &Case) -> Vec<String> {
    let before = files(&case.folder.path().join("in"));
    let run = run(case);
    let mut faults = Vec::new();
    let mut hold = |holds: bool, fault: String| {
        if !holds {
            faults.push(fault);
        }
    };
    let Some(status) = run.status else {
        return vec![format!("still running after {TIME:?}")];
    };
    let code = status.code().unwrap_or(-1);
    hold((0..=4).contains(&code), format!("ended with {status}"));

    let errors = run.err.lines().filter(|line| line.starts_with("error: ")).count();
    let expected = usize::from(code >= 2);
    hold(
        errors == expected,
        format!("{errors} errors told, exit code {code}"),
    );
    if case.has("--json") {
        let document: Result<serde_json::Value, _> = serde_json::from_str(&run.out);
        hold(document.is_ok(), format!("no document: {document:?}"));
    }
    for (name, text) in [("stdout", &run.out), ("stderr", &run.err)] {
        let hidden = text.chars().find(|c| is_hidden(*c) && *c != '\n');
        hold(hidden.is_none(), format!("{name} holds {hidden:?}"));
        if case.has("--full") {
            continue;
        }
        let (most, most_a_line) = match case.has("--json") && name == "stdout" {
            true => (DOCUMENT, DOCUMENT),
            false => (SAID, LINE),
        };
        let longest = text.lines().map(str::len).max().unwrap_or(0);
        hold(text.len() <= most, format!("{name} is {} bytes long", text.len()));
        hold(
            longest <= most_a_line,
            format!("{name}: a line of {longest} bytes"),
        );
    }

    let changed = files(&case.folder.path().join("in")) != before;
    hold(!changed, "an input was changed".to_owned());
    let outputs = files(&case.folder.path().join("out"));
    hold(
        outputs.len() <= usize::from(code == 0),
        format!("left with exit code {code}: {outputs:?}"),
    );
    for path in outputs.keys() {
        let opened = Gguf::open(&Inputs::new(), path);
        hold(
            opened.is_ok(),
            format!("wrote what cannot be read: {:?}", opened.err()),
        );
        let was_finite = before.keys().all(|input| not_finite(input).unwrap_or(0) == 0);
        let bad = not_finite(path).unwrap_or(0);
        hold(
            !was_finite || bad == 0,
            format!("wrote {bad} numbers that are none"),
        );
    }
    if !faults.is_empty() {
        let told = run.err.chars().take(600).collect::<String>();
        faults.push(format!("stderr: {told}"));
    }
    faults
}
