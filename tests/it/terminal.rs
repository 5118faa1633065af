//! Habits of the terminal: colour, how much is told, what was meant, completions, the version.

use crate::common::*;

/// Variables, options, and whether colours are wanted.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], bool);

const ESCAPE: char = '\u{1b}';

fn drafter() -> String {
    path_str(&fixture("mini-dense/drafter-q8_0.gguf")).to_owned()
}

/// Standard output and standard error of a run, whatever it comes to.
#[track_caller]
fn run(variables: &[(&str, &str)], args: &[&str]) -> (String, String) {
    let mut command = program();
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    let output = command
        .envs(variables.iter().copied())
        .args(args)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn colour_is_shown_where_it_is_wanted() {
    let broken = path_str(&fixture("bad/empty-file.gguf")).to_owned();
    let file = drafter();
    let args = ["inspect", &file, &broken];
    // What is no terminal gets none by itself.
    let cases: [Case; 8] = [
        (&[], &[], false),
        (&[], &["--color", "always"], true),
        (&[], &["--color=auto"], false),
        (&[("CLICOLOR_FORCE", "1")], &[], true),
        (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], &[], false),
        (&[("CLICOLOR_FORCE", "1")], &["--color", "never"], false),
        (&[("NO_COLOR", "1")], &["--color", "always"], true),
        (&[("NO_COLOR", "")], &["--color", "always"], true),
    ];
    let (plain, _) = run(&[], &args);
    for (variables, options, wanted) in cases {
        for order in [[options, &args].concat(), [&args, options].concat()] {
            let (out, err) = run(variables, &order);
            assert_eq!(
                out.contains("\u{1b}[1mtensors\u{1b}[0m"),
                wanted,
                "{variables:?} {order:?}"
            );
            assert_eq!(
                err.contains("\u{1b}[31merror\u{1b}[0m: "),
                wanted,
                "{variables:?} {order:?}: {err}"
            );
            assert_eq!(out.contains(ESCAPE), wanted);
            // The text is the same.
            assert_eq!(anstream::adapter::strip_str(&out).to_string(), plain);
        }
    }
}

#[test]
fn help_and_wrong_usage_heed_the_colours_too() {
    let (help, _) = run(&[("CLICOLOR_FORCE", "1")], &["--color", "never", "--help"]);
    assert!(!help.contains(ESCAPE) && help.contains("Usage:"));
    let (help, _) = run(&[], &["inspect", "--help", "--color", "always"]);
    assert!(help.contains(ESCAPE));
    let (_, err) = run(&[], &["inspect", "--color", "always", "--wrong"]);
    assert!(err.contains("\u{1b}[31merror\u{1b}[0m: unexpected"), "{err}");
    let (_, err) = run(&[], &["inspect", "--wrong"]);
    assert!(err.starts_with("error: unexpected"), "{err}");
}

/// JSON and checksums are for programs.
#[test]
fn what_programs_read_has_no_colour() {
    let file = drafter();
    for args in [
        &["hash"][..],
        &["inspect", "--json"],
        &["check", "--json"],
        &["completions", "bash"],
    ] {
        let given = if args.contains(&"bash") {
            vec![]
        } else {
            vec![file.as_str()]
        };
        let (out, _) = run(&[("CLICOLOR_FORCE", "1")], &[args, &given].concat());
        assert!(!out.is_empty() && !out.contains(ESCAPE), "{args:?}");
    }
}

#[test]
fn quiet_tells_errors_and_the_result() {
    let folder = tempfile::tempdir().unwrap();
    let drafter = fixture("mini-edge/drafter");
    let target = fixture("mini-edge/target-bf16.gguf");
    let target = path_str(&target);
    let out = folder.path().join("d.gguf");
    let out = path_str(&out);
    // It tells what it left out, and how to run the result.
    let convert = [path_str(&drafter), "--target", target, "-o", out, "--force"];
    let (usual, notes) = run(&[], &convert);
    assert!(usual.lines().count() > 1 && !notes.is_empty());
    for order in [
        ["-q"].iter().chain(&convert).copied().collect::<Vec<_>>(),
        [&convert[..], &["--quiet"]].concat(),
    ] {
        assert_eq!(run(&[], &order), (format!("{out}\n"), String::new()));
    }
    let small = folder.path().join("d-Q4_0.gguf");
    let small = format!("{}\n", path_str(&small));
    assert_eq!(run(&[], &["quantize", out, "q4_0", "-q"]), (small, String::new()));
    // What goes to standard output is the file alone.
    let to_stdout = program()
        .args(["quantize", out, "q8_0", "-q", "-o", "-"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(to_stdout.stderr).unwrap(), "");
    assert_eq!(
        run(&[], &["check", out, "--target", target, "-q"]),
        (String::new(), String::new())
    );
    let (line, _) = run(&[], &["diff", out, target, "-q"]);
    assert!(line.lines().count() == 1 && line.contains("differ"), "{line}");
    let (nothing, error) = run(&[], &["inspect", "-q", "nowhere.gguf"]);
    assert!(
        nothing.is_empty() && error.starts_with("error: nowhere.gguf: "),
        "{error}"
    );
    misuse(&["--quiet", "--verbose"], &["inspect", out, "-q", "-v"]);
}

#[test]
fn verbose_tells_more() {
    let file = drafter();
    let (_, usual) = run(&[], &["inspect", &file]);
    let (_, more) = run(&[], &["-v", "inspect", &file]);
    assert!(usual.is_empty(), "{usual}");
    for words in [
        " on ",
        &format!("{file} is {file}, a path"),
        &format!("{file} is read as gemma4-assistant by arch/gemma4_assistant.toml"),
        &format!("opened {file}, "),
        "done",
    ] {
        assert!(more.contains(words), "{words}: {more}");
    }
    // Each line says when it was so.
    let times: Vec<f64> = more
        .lines()
        .map(|line| line[1..8].trim().parse().unwrap())
        .collect();
    assert!(times.is_sorted(), "{more}");
    // And what it was that a migration found.
    let old = fixture("mini-dense/drafter-lq-q4_0.gguf");
    let (_, old) = run(&[], &["-v", "migrate", path_str(&old), "--dry-run"]);
    assert!(old.contains("planned"), "{old}");
}

#[test]
fn a_misspelt_command_is_told() {
    for (args, meant) in [
        (&["quantise", "in.gguf", "Q4_K_M"][..], "quantize"),
        (&["inspekt", "in.gguf"], "inspect"),
        (&["-q", "chek"], "check"),
        (&["quant"], "quantize"),
    ] {
        let (_, err) = run(&[], args);
        assert!(
            err.contains(&format!("did you mean the command `gguf-conv {meant}`?")),
            "{args:?}: {err}"
        );
    }
    let (_, err) = run(&[], &["drafter", "--wrong"]);
    assert!(!err.contains("did you mean"), "{err}");
}

#[test]
fn a_misspelt_path_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("drafter-q8_0.gguf");
    std::fs::copy(drafter(), &there).unwrap();
    let there = path_str(&there);
    let wrong = there.replace("q8_0", "q8-0");
    let meant = format!("did you mean {there}?");
    refuse(3, &[&wrong, &meant], &["inspect", &wrong]);
    refuse(3, &[&wrong, &meant], &["check", there, "--target", &wrong]);
    refuse(3, &[&wrong, &meant], &["quantize", &wrong, "q4_0"]);
    refuse(3, &[&wrong, &meant], &["verify", &wrong, "--target", there]);
    let (document, _) = run(&[], &["diff", &wrong, there, "--json"]);
    assert!(document.contains(&meant), "{document}");
    // An output need not be there.
    let (_, err) = run(
        &[],
        &[
            "quantize",
            there,
            "q4_0",
            "-o",
            path_str(&folder.path().join("x/drafter-q8-0.gguf")),
        ],
    );
    assert!(
        err.starts_with("error: ") && !err.contains("did you mean"),
        "{err}"
    );
}

#[test]
fn shells_get_their_scripts() {
    for (shell, word) in [
        ("bash", "complete -F _gguf__conv"),
        ("zsh", "#compdef gguf-conv"),
        ("fish", "complete -c gguf-conv"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion"),
    ] {
        let (script, _) = succeed(&["completions", shell]);
        assert!(script.contains(word) && script.contains("quantize"), "{shell}");
    }
    misuse(&["tcsh"], &["completions", "tcsh"]);
}

/// The version, the commit where whoever built it gave one, the machine; nothing of where it was built.
#[test]
fn the_version_tells_the_build() {
    let (version, _) = succeed(&["--version"]);
    let machine = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let build = match option_env!("GGUF_CONV_COMMIT") {
        Some(commit) => format!("{commit}, {machine}"),
        None => machine,
    };
    assert_eq!(
        version,
        format!("gguf-conv {} ({build})\n", env!("CARGO_PKG_VERSION"))
    );
}

/// It can be copied into a shell as it stands.
#[test]
fn the_recipe_names_the_target_that_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("the target's.gguf");
    std::fs::copy(fixture("mini-edge/target-bf16.gguf"), &target).unwrap();
    let drafter = fixture("mini-edge/drafter");
    let out = folder.path().join("d.gguf");
    let recipe = |target: &[&str]| {
        let args = [path_str(&drafter), "-o", path_str(&out), "--force"];
        let (text, _) = run(&[], &[&args, target].concat());
        let line = text.lines().find_map(|line| line.strip_prefix("run it with: "));
        shlex::split(line.unwrap()).unwrap()
    };
    let options = [
        "--spec-type",
        "draft-mtp",
        "--spec-draft-n-max",
        "3",
        "--parallel",
        "1",
    ];
    let wanted = |target: &str| {
        let words = ["llama-server", "-m", target, "--model-draft", path_str(&out)];
        let words = words.into_iter().chain(options);
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        recipe(&["--target", path_str(&target)]),
        wanted(path_str(&target))
    );
    assert_eq!(recipe(&[]), wanted("TARGET.gguf"));
}

/// Told to end while it writes as much as the context holds.
#[cfg(target_os = "linux")]
#[test]
fn an_interrupted_verification_reports_what_was_done() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};
    let child = Command::new(assert_cmd::cargo::cargo_bin("gguf-conv"))
        .args(["verify", &drafter(), "--json", "--generate", "100000", "--target"])
        .arg(fixture("mini-dense/target-bf16.gguf"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Until it has a handler of its own for SIGINT, the signal just ends it.
    let start = Instant::now();
    let handles = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let caught = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:"))
            .unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & 0b10 != 0
    };
    while !handles() {
        assert!(start.elapsed() < Duration::from_secs(300));
        std::thread::sleep(Duration::from_millis(20));
    }
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("ended early"), "{err}");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["results"][0]["partial"], true);
}
