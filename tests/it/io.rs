//! What is read is a regular file that nothing changes meanwhile; what is written loses nothing that was there.
#![cfg(unix)]

use crate::common::*;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const DRAFTER: &str = "mini-dense/drafter";
const TARGET: &str = "mini-dense/target-bf16.gguf";

/// A folder with a copy of the small drafter's checkpoint in it.
fn copied() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let drafter = folder.path().join("drafter");
    copy_folder(&fixture(DRAFTER), &drafter);
    (folder, drafter)
}

/// Runs the program, which must end by itself within a minute; exit code, standard output and standard error.
#[track_caller]
fn run(args: &[&str]) -> (i32, Vec<u8>, String) {
    let output = program()
        .args(args)
        .timeout(Duration::from_secs(60))
        .output()
        .unwrap();
    let code = output.status.code();
    let err = String::from_utf8(output.stderr).unwrap();
    (
        code.unwrap_or_else(|| panic!("{args:?}: {err}")),
        output.stdout,
        err,
    )
}

#[track_caller]
fn refused(code: i32, words: &str, args: &[&str]) {
    let (found, _, err) = run(args);
    assert!(found == code && err.contains(words), "{args:?}: {found}, {err}");
    assert!(!err.contains("os error"), "{err}");
}

fn folder_names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn no_file_that_is_read_is_replaced() {
    let (folder, drafter) = copied();
    let given = path_str(&drafter);
    for entry in fs::read_dir(&drafter).unwrap() {
        let path = entry.unwrap().path();
        let before = fs::read(&path).unwrap();
        refused(2, "one of the inputs", &[given, "-o", path_str(&path), "--force"]);
        // By another name too.
        let link = folder.path().join("link");
        fs::hard_link(&path, &link).unwrap();
        refused(2, "one of the inputs", &[given, "-o", path_str(&link), "--force"]);
        fs::remove_file(&link).unwrap();
        symlink(&path, &link).unwrap();
        refused(2, "one of the inputs", &[given, "-o", path_str(&link), "--force"]);
        fs::remove_file(&link).unwrap();
        assert!(fs::read(&path).unwrap() == before);
    }
    let arch = folder.path().join("arch.toml");
    let compiled_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("arch/gemma4_assistant.toml");
    fs::copy(compiled_in, &arch).unwrap();
    let arch = path_str(&arch);
    refused(
        2,
        "one of the inputs",
        &[given, "--arch", arch, "-o", arch, "--force"],
    );
}

#[test]
fn a_dump_replaces_neither_prompt_nor_config() {
    let (folder, drafter) = copied();
    let prompt = folder.path().join("prompt.txt");
    fs::write(&prompt, "def f(x):").unwrap();
    let gguf = fixture("mini-dense/drafter-q8_0.gguf");
    let target = fixture(TARGET);
    for path in [&prompt, &drafter.join("config.json")] {
        let args = [
            "verify",
            path_str(&gguf),
            "--target",
            path_str(&target),
            "--source",
            path_str(&drafter),
            "--prompt-file",
            path_str(&prompt),
            "--dump",
            path_str(path),
            "--force",
        ];
        refused(2, "one of the inputs", &args);
    }
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let (folder, drafter) = copied();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let (fifo, target) = (path_str(&fifo), fixture(TARGET));
    let gguf = fixture("mini-dense/drafter-q8_0.gguf");
    let out = folder.path().join("out.gguf");
    let (given, target, gguf, out) = (
        path_str(&drafter),
        path_str(&target),
        path_str(&gguf),
        path_str(&out),
    );
    for special in [fifo, "/dev/zero", "-"] {
        let words = "only regular files can be read; save it to a file first";
        for args in [
            vec!["inspect", special],
            vec!["hash", special],
            vec!["check", special],
            vec!["check", gguf, "--target", special],
            vec!["diff", gguf, special],
            vec!["migrate", special, "--dry-run"],
            vec!["quantize", special, "-o", out, "--outtype", "q8_0"],
            vec![
                "quantize",
                gguf,
                "-o",
                out,
                "--outtype",
                "q8_0",
                "--imatrix",
                special,
            ],
            vec![special, "-o", out],
            vec![given, "--arch", special, "-o", out],
            vec!["verify", gguf, "--target", target, "--prompt-file", special],
        ] {
            refused(3, words, &args);
        }
    }
    refused(3, "made by the system", &["inspect", "/proc/self/status"]);
    let (code, text, _) = {
        let list = folder.path().join("list");
        fs::write(&list, format!("{}  /dev/zero\n", "0".repeat(64))).unwrap();
        run(&["hash", "--check", path_str(&list)])
    };
    assert_eq!(code, 1);
    assert!(String::from_utf8(text).unwrap().contains("a device"));
    for name in ["config.json", "tokenizer.json", "generation_config.json"] {
        let path = drafter.join(name);
        let kept = fs::read(&path).ok();
        let _ = fs::remove_file(&path);
        symlink(fifo, &path).unwrap();
        refused(3, name, &[given, "-o", out]);
        fs::remove_file(&path).unwrap();
        if let Some(bytes) = kept {
            fs::write(&path, bytes).unwrap();
        }
    }
}

/// As `pipe_empty.py` has it: a whole file in a pipe.
#[test]
fn a_pipe_is_called_a_pipe() {
    let gguf = fs::read(fixture("mini-dense/drafter-q8_0.gguf")).unwrap();
    for name in ["/dev/stdin", "-"] {
        let output = program()
            .args(["inspect", name])
            .write_stdin(gguf.clone())
            .output()
            .unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert!(
            err.contains("save it to a file first") && !err.contains("empty"),
            "{err}"
        );
    }
}

#[test]
fn texts_are_bounded_and_may_have_a_mark() {
    let (folder, drafter) = copied();
    let (given, out) = (path_str(&drafter), folder.path().join("out.gguf"));
    let config = drafter.join("config.json");
    let text = fs::read(&config).unwrap();
    fs::write(&config, [b"\xef\xbb\xbf".as_slice(), &text].concat()).unwrap();
    assert_eq!(run(&[given, "-o", path_str(&out)]).0, 0);
    File::create(&config).unwrap().set_len(17 << 20).unwrap();
    refused(3, "config.json", &[given, "-o", path_str(&out), "--force"]);
}

/// The bytes of the file go through a pipe; the report goes beside.
#[test]
fn standard_output_gets_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (out, drafter) = (folder.path().join("out.gguf"), fixture(DRAFTER));
    let (out, drafter) = (path_str(&out), path_str(&drafter));
    for more in [&["--outtype", "q8_0"][..], &["--outtype", "q4_0"], &[]] {
        let args = |to| [&[drafter, "-o", to, "--force"][..], more].concat();
        assert_eq!(run(&args(out)).0, 0);
        let (code, bytes, err) = run(&args("-"));
        assert_eq!(code, 0, "{err}");
        assert!(bytes == fs::read(out).unwrap(), "{more:?}");
        assert!(err.contains("wrote standard output"), "{err}");
    }
    let (_, bytes, err) = run(&[drafter, "-o", "-", "--json"]);
    assert!(bytes.starts_with(b"GGUF"));
    assert!(err.contains("\"schema_version\""), "{err}");
    for command in [
        &["quantize", out, "--outtype", "q8_0", "-o", "-"][..],
        &["migrate", out, "-o", "-"],
    ] {
        assert!(run(command).1.starts_with(b"GGUF"));
    }
    // A reader that stops early has not got the file.
    let program = assert_cmd::cargo::cargo_bin("gguf-conv");
    let mut child = Command::new(program)
        .args([drafter, "-o", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdout.take().unwrap().read_exact(&mut [0; 4]).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4));
}

/// As `stdout_symlink.py` has it.
#[test]
fn links_stay_links() {
    let folder = tempfile::tempdir().unwrap();
    let drafter = fixture(DRAFTER);
    let drafter = path_str(&drafter);
    for to in ["/proc/self/fd/1", "/dev/null", "/dev/stdout"] {
        let link = folder.path().join("link");
        symlink(to, &link).unwrap();
        refused(2, "`-o -`", &[drafter, "-o", path_str(&link), "--force"]);
        assert!(link.is_symlink());
        // The same with a regular file as standard output.
        let file = folder.path().join("file");
        let status = Command::new(assert_cmd::cargo::cargo_bin("gguf-conv"))
            .args([drafter, "-o", path_str(&link), "--force"])
            .stdout(File::create(&file).unwrap())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(2));
        assert!(link.is_symlink() && file.metadata().unwrap().len() == 0);
        fs::remove_file(&link).unwrap();
    }
    refused(2, "`-o -`", &[drafter, "-o", "/dev/null", "--force"]);

    let real = folder.path().join("real");
    fs::write(&real, "old").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
    let link = folder.path().join("link");
    symlink("real", &link).unwrap();
    assert_eq!(run(&[drafter, "-o", path_str(&link), "--force"]).0, 0);
    assert!(link.is_symlink() && fs::read(&real).unwrap().starts_with(b"GGUF"));
    assert_eq!(real.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_folder_gets_a_file_of_the_default_name() {
    let folder = tempfile::tempdir().unwrap();
    let (into, drafter) = (path_str(folder.path()), fixture(DRAFTER));
    let gguf = folder.path().join("d-bf16.gguf");
    let old = fixture("mini-dense/drafter-q8_0.gguf");
    for args in [
        &[path_str(&drafter), "-o", path_str(&gguf)][..],
        &[path_str(&drafter), "-o", into, "--outtype", "q8_0"],
        &["quantize", path_str(&gguf), "-o", into, "--outtype", "q4_0"],
        &["migrate", path_str(&old), "-o", into],
    ] {
        let (code, _, err) = run(args);
        assert_eq!(code, 0, "{args:?}: {err}");
    }
    let expected = [
        "d-Q4_0.gguf",
        "d-bf16.gguf",
        "drafter-q8_0.gguf",
        "mtp-drafter-Q8_0.gguf",
    ];
    assert_eq!(folder_names(folder.path()), expected);
}

/// A file whose header is whole and whose data ends early, as one that is cut while it is mapped: a SIGBUS without the
/// guard. The program waits at the pipe that its standard output is until the file has shrunk.
#[test]
fn a_file_that_shrinks_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // Larger than what a pipe and the first chunks hold, so that the program is still reading.
    let input = folder.path().join("in.gguf");
    sparse_gguf(&input, 256 << 20);
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("gguf-conv"))
        .args(["quantize", path_str(&input), "-", "f16", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 4]).unwrap();
    File::options()
        .write(true)
        .open(&input)
        .unwrap()
        .set_len(8192)
        .unwrap();
    let drained = std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{err}, {drained}");
    // The document goes to standard error too, since standard output is the file.
    let (document, line) = err.trim_end().rsplit_once('\n').unwrap();
    assert!(line.contains("in.gguf changed while it was read"), "{err}");
    assert_eq!(format!("error: {}", sudden_error(document)), line);
}

/// The message in the document of a failure that only the system saw.
fn sudden_error(document: &str) -> String {
    let document: serde_json::Value = serde_json::from_str(document).unwrap();
    assert_eq!(document["results"], serde_json::json!([]));
    assert_eq!(document["errors"][0]["fault"], "system");
    document["errors"][0]["message"].as_str().unwrap().to_owned()
}

/// Runs the program and does something to its input once it is mapped.
#[cfg(target_os = "linux")]
fn meddled(args: &[&str], input: &Path, meddle: impl FnOnce(&File)) -> (Option<i32>, String, String) {
    let file = File::options().write(true).open(input).unwrap();
    let child = Command::new(assert_cmd::cargo::cargo_bin("gguf-conv"))
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let maps = format!("/proc/{}/maps", child.id());
    let name = path_str(input);
    let is_mapped = || fs::read_to_string(&maps).map_or(true, |maps| maps.contains(name));
    while !is_mapped() {
        std::thread::sleep(Duration::from_millis(1));
    }
    meddle(&file);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Nothing is said of a file that is not what it was, and nothing is made of it.
#[cfg(target_os = "linux")]
#[test]
fn no_report_is_made_of_a_file_that_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (folder.path().join("in.gguf"), folder.path().join("out.gguf"));
    let (given, out) = (path_str(&input), path_str(&out));
    let touch = |file: &File| file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let words = "in.gguf changed while it was read";
    for args in [
        &["hash", given][..],
        &["inspect", "--stats", given],
        &["quantize", given, out, "q8_0"],
        &["quantize", given, out, "q8_0", "--json"],
    ] {
        sparse_gguf(&input, 512 << 20);
        let (code, said, told) = meddled(args, &input, touch);
        assert_eq!(code, Some(4), "{args:?}: {said} {told}");
        assert!(told.contains(words), "{told}");
        match args.contains(&"--json") {
            true => assert!(sudden_error(&said).contains(words)),
            false => assert_eq!(said, "", "{args:?}"),
        }
        assert_eq!(folder_names(folder.path()), ["in.gguf"], "{args:?}");
    }
    // Tensors that stay as they are go through the kernel, which just stops where the file ends.
    sparse_gguf(&input, 512 << 20);
    let shrink = |file: &File| file.set_len(8192).unwrap();
    let (code, _, told) = meddled(&["quantize", given, out, "copy"], &input, shrink);
    assert_eq!((code, told.contains(words)), (Some(4), true), "{told}");
    assert_eq!(folder_names(folder.path()), ["in.gguf"]);
}

/// What a killed run left for the same output goes; what belongs to a living one or to another output stays.
#[test]
fn the_next_run_clears_away_what_a_killed_one_left() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    let part = |output: &str, random: &str| {
        let name = folder.path().join("name");
        fs::write(&name, output).unwrap();
        let part = format!(".gguf-conv-{}-{random}.part", &sha256(&name)[..16]);
        fs::remove_file(&name).unwrap();
        fs::write(folder.path().join(&part), "x").unwrap();
        part
    };
    part("out.gguf", "killed");
    let living = part("out.gguf", "living");
    let other = part("other.gguf", "killed");
    let held = File::open(folder.path().join(&living)).unwrap();
    held.lock().unwrap();
    let drafter = fixture(DRAFTER);
    succeed(&[path_str(&drafter), "-o", path_str(&out)]);
    let mut expected = [living, other, "out.gguf".to_owned()];
    expected.sort();
    assert_eq!(folder_names(folder.path()), expected);
}

#[test]
fn a_file_that_is_replaced_keeps_its_mode_in_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    let (drafter, old) = (fixture(DRAFTER), fixture("mini-dense/drafter-q8_0.gguf"));
    let (drafter, old, to) = (path_str(&drafter), path_str(&old), path_str(&out));
    for (mode, args) in [
        (0o600, &[drafter, "-o", to, "--force"][..]),
        (0o640, &["quantize", old, to, "q8_0", "--force"]),
        (0o664, &["migrate", old, "-o", to, "--to", "ik", "--force"]),
    ] {
        fs::write(&out, "old").unwrap();
        fs::set_permissions(&out, fs::Permissions::from_mode(mode)).unwrap();
        succeed(args);
        assert!(fs::read(&out).unwrap().starts_with(b"GGUF"));
        assert_eq!(
            out.metadata().unwrap().permissions().mode() & 0o777,
            mode,
            "{args:?}"
        );
    }
}

/// A GGUF with one tensor of zeros, so many bytes of f32.
fn sparse_gguf(path: &Path, bytes: u64) {
    let mut header = Vec::new();
    header.extend(b"GGUF");
    header.extend(3u32.to_le_bytes());
    header.extend(1u64.to_le_bytes());
    header.extend(1u64.to_le_bytes());
    let string = |header: &mut Vec<u8>, text: &str| {
        header.extend((text.len() as u64).to_le_bytes());
        header.extend(text.as_bytes());
    };
    string(&mut header, "general.architecture");
    header.extend(8u32.to_le_bytes());
    string(&mut header, "gemma4-assistant");
    string(&mut header, "token_embd.weight");
    header.extend(2u32.to_le_bytes());
    header.extend(1024u64.to_le_bytes());
    header.extend((bytes / 4096).to_le_bytes());
    header.extend(0u32.to_le_bytes());
    header.extend(0u64.to_le_bytes());
    let data = header.len().next_multiple_of(32) as u64;
    fs::write(path, header).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(data + bytes).unwrap();
}

/// Limits of the shell: files of at most so many kilobytes, or so much memory.
#[test]
fn limits_of_the_system_are_errors_of_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    let program = assert_cmd::cargo::cargo_bin("gguf-conv");
    let limited = |limit: &str, args: &str| {
        let script = format!("ulimit {limit}; exec '{}' {args}", program.display());
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{limit}: {err}");
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(!err.contains("os error"), "{err}");
        err
    };
    let drafter = fixture(DRAFTER);
    let args = format!("'{}' -o '{}'", drafter.display(), out.display());
    assert!(limited("-f 16", &args).contains("ulimit -f"));
    assert!(folder_names(folder.path()).is_empty());
    // Somewhere between too little to start with and enough, memory runs out. Whatever asks for it then, the program ends
    // in order; below that the system's own loader fails.
    let gguf = fixture("mini-dense/drafter-q8_0.gguf");
    let starts = |kilobytes: u32| {
        let script = format!("ulimit -v {kilobytes}; exec '{}' --version", program.display());
        Command::new("bash")
            .args(["-c", &script])
            .output()
            .unwrap()
            .status
            .success()
    };
    let least = (1000..200_000)
        .step_by(1000)
        .find(|&kilobytes| starts(kilobytes))
        .unwrap();
    let (mut told, mut documents) = (0, 0);
    for kilobytes in (least..least + 12_000).step_by(2000) {
        let script = format!(
            "ulimit -v {kilobytes}; exec '{}' verify '{}' --target '{}' --generate 0 --json",
            program.display(),
            gguf.display(),
            fixture(TARGET).display()
        );
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(matches!(output.status.code(), Some(0 | 4)), "{kilobytes}: {err}");
        if err.contains("memory is short") {
            told += 1;
            let document = String::from_utf8(output.stdout).unwrap();
            // Before the arguments are read nobody knows that a document is wanted.
            if !document.is_empty() {
                documents += 1;
                assert_eq!(format!("error: {}\n", sudden_error(&document)), err);
            }
        }
    }
    assert!(told > 0 && documents > 0, "{told}, {documents}");
}
