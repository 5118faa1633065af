//! `--install`: the drafter where a program looks for it, and nothing there replaced.

use crate::common::home::Home;
use crate::common::*;
use std::path::{Path, PathBuf};

fn dense(name: &str) -> PathBuf {
    fixture("mini-dense").join(name)
}

/// Runs a conversion in a folder, without or with an `ollama` on the PATH.
fn convert(home: &Home, path: &Path, code: i32, args: &[&str]) -> String {
    let work = home.path("work");
    std::fs::create_dir_all(&work).unwrap();
    let mut program = home.program();
    program
        .current_dir(&work)
        .env("PATH", path)
        .arg(dense("drafter"))
        .args(args);
    let output = program.output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
    err
}

#[test]
fn a_model_of_ollama_is_made_of_target_and_drafter() {
    let home = Home::new();
    let target = dense("target-bf16.gguf");
    home.ollama("registry.ollama.ai/library/mini/it", &[("model", &target)]);
    let nowhere = home.path("nowhere");
    let args = [
        "--target",
        "ollama:mini:it",
        "-o",
        "d.gguf",
        "--install",
        "ollama:fast",
    ];
    let err = convert(&home, &nowhere, 0, &args);
    assert!(
        err.contains("run: ollama create fast:latest -f d.Modelfile"),
        "{err}"
    );
    let modelfile = home.path("work/d.Modelfile");
    let text = std::fs::read_to_string(&modelfile).unwrap();
    let drafter = home.path("work/d.gguf").canonicalize().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "FROM mini:it");
    let named = lines[1].strip_prefix("DRAFT ").unwrap();
    assert_eq!(Path::new(named).canonicalize().unwrap(), drafter);
    assert_eq!(lines[2], "PARAMETER draft_num_predict 3");
    // Neither the drafter nor the Modelfile is replaced, whatever is forced.
    std::fs::remove_file(&drafter).unwrap();
    let forced = [&args[..], &["--force"]].concat();
    let err = convert(&home, &nowhere, 2, &forced);
    assert!(err.contains("d.Modelfile exists already"), "{err}");
    assert!(!drafter.exists());
    let err = convert(
        &home,
        &nowhere,
        2,
        &["--target", "ollama:mini:it", "--install", "ollama:MINI:it"],
    );
    assert!(err.contains("exists already"), "{err}");
    let err = convert(&home, &nowhere, 2, &["--install", "ollama:fast"]);
    assert!(err.contains("--target"), "{err}");
}

#[cfg(unix)]
#[test]
fn ollama_is_run_where_it_is() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let bin = home.path("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let script = |text: &str| {
        let path = bin.join("ollama");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let target = dense("target-bf16.gguf");
    let log = home.path("log");
    script(&format!("echo \"$@\" > {}", log.display()));
    let args = |output| {
        [
            "--target",
            path_str(&target),
            "-o",
            output,
            "--install",
            "ollama:me/fast:1",
        ]
    };
    convert(&home, &bin, 0, &args("a.gguf"));
    assert_eq!(
        std::fs::read_to_string(&log).unwrap(),
        "create me/fast:1 -f a.Modelfile\n"
    );
    let text = std::fs::read_to_string(home.path("work/a.Modelfile")).unwrap();
    assert!(
        text.starts_with(&format!("FROM {}\n", target.display())),
        "{text}"
    );
    script("echo no >&2; exit 7");
    let err = convert(&home, &bin, 4, &args("b.gguf"));
    assert!(err.contains("7") && err.contains("Modelfile is kept"), "{err}");
}

#[test]
fn folders_of_programs_take_the_drafter_under_their_names() {
    let home = Home::new();
    let nowhere = home.path("nowhere");
    let name = "mtp-drafter-Q8_0.gguf";
    for (program, place) in [
        (
            "lmstudio",
            format!(".lmstudio/models/gguf-conv/mtp-drafter-Q8_0/{name}"),
        ),
        ("llama.cpp", format!("llama/{name}")),
    ] {
        let folder = home.path("llama");
        let run = |code, more: &[&str]| {
            let mut command = home.program();
            command.env("LLAMA_CACHE", &folder).env("PATH", &nowhere);
            command
                .arg(dense("drafter"))
                .args(["--outtype", "q8_0", "--install", program])
                .args(more);
            let output = command.output().unwrap();
            let err = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{err}");
            err
        };
        let err = run(0, &[]);
        assert!(err.contains("installed as"), "{err}");
        assert!(home.path(&place).is_file(), "{place}");
        let before = sha256(&home.path(&place));
        assert!(run(2, &["--force"]).contains("exists already"));
        assert_eq!(sha256(&home.path(&place)), before);
        assert!(run(2, &["-o", "x.gguf"]).contains("leave out -o"));
    }
}
