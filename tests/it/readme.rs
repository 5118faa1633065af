//! What is written of the program is held to the code: README's commands, options, types, dialects and exit codes are those
//! that it has, and the manual pages are made of its help.

use crate::common::*;
use gguf_conv::arch::Arch;
use gguf_conv::quant::recipe::FileType;
use std::collections::{BTreeMap, BTreeSet};

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap()
}

/// README and what it leads to.
fn manual() -> String {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
    let pages = folder.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    std::iter::once(readme()).chain(pages).collect()
}

fn help(command: &[&str]) -> String {
    succeed(&[command, &["--help"]].concat()).0
}

/// The subcommands, as `--help` lists them.
fn commands() -> Vec<String> {
    let help = help(&[]);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed.take_while(|line| !line.is_empty()).filter_map(|line| {
        let is_name = line.starts_with("  ") && !line.starts_with("   ");
        is_name.then(|| line.split_whitespace().next().unwrap().to_owned())
    });
    names.filter(|name| name != "help").collect()
}

/// Lines of the program in fenced blocks, with those that go on behind a backslash.
fn command_lines(readme: &str) -> Vec<String> {
    let blocks = readme
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap());
    let text: String = blocks.collect::<String>().replace("\\\n", " ");
    let lines = text.lines().flat_map(|line| line.split(" | "));
    let own = lines.filter_map(|line| line.trim().strip_prefix("gguf-conv "));
    own.map(str::to_owned).collect()
}

/// The words between backquotes in the row of a table that begins with this cell.
fn row(readme: &str, cell: &str) -> Vec<String> {
    let line = readme
        .lines()
        .find(|line| line.starts_with(&format!("| {cell} |")))
        .expect(cell);
    let cells = line.rsplit_once(&format!("| {cell} |")).unwrap().1;
    cells.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_command_is_shown_and_every_command_shown_is_one() {
    let (readme, commands) = (readme(), commands());
    let lines = command_lines(&readme);
    for command in &commands {
        let is_shown = |line: &String| line.split(' ').next() == Some(command.as_str());
        // Converting is what is done without a subcommand.
        assert!(
            command == "convert" || lines.iter().any(is_shown),
            "{command} is not shown"
        );
    }
    assert!(lines.len() > commands.len());
    for line in &command_lines(&manual()) {
        let words = shlex::split(line.split(" > ").next().unwrap()).expect("quotes are closed");
        let command = commands.iter().find(|command| **command == words[0]);
        let help = help(&[command.map_or("convert", String::as_str)]);
        for option in words.iter().filter(|word| word.starts_with('-') && *word != "-") {
            let option = option.split('=').next().unwrap();
            let is_known = help.lines().any(|line| {
                let words = line.split([' ', ',', '=']);
                line.trim_start().starts_with('-') && words.into_iter().any(|word| word == option)
            });
            assert!(is_known, "{option} in: gguf-conv {line}");
        }
    }
}

#[test]
fn every_option_named_in_the_text_is_one() {
    let mut known: BTreeSet<String> = ["--release", "--bench", "--help", "--path"]
        .map(str::to_owned)
        .into();
    for command in commands() {
        let help = help(&[&command]);
        known.extend(
            help.split(|c: char| !(c.is_alphanumeric() || c == '-'))
                .map(str::to_owned),
        );
    }
    let readme = manual();
    // Of the program's own options only: other programs' stand in fenced blocks or behind their names.
    let text: String = readme.split("```").step_by(2).collect();
    let quoted = text.split('`').skip(1).step_by(2);
    let options = quoted.filter(|word| word.starts_with("--"));
    let mut count = 0;
    for option in options {
        let name = option
            .split(|c: char| c.is_whitespace() || c == '=')
            .next()
            .unwrap();
        assert!(known.contains(name), "{option} is no option");
        count += 1;
    }
    assert!(count > 10);
}

#[test]
fn the_output_types_are_all_there_in_order() {
    let names = std::iter::once("auto").chain(FileType::ALL.iter().map(|file_type| file_type.name()));
    assert_eq!(row(&readme(), "`--outtype`"), names.collect::<Vec<_>>());
}

#[test]
fn the_dialects_are_all_there() {
    let arch = Arch::gemma4_assistant().unwrap();
    let names = std::iter::once("upstream").chain(arch.dialects.iter().map(|dialect| dialect.name.as_str()));
    let names: Vec<&str> = names.collect();
    let listed = row(&readme(), "`--to` of `migrate`");
    assert_eq!(listed, names);
    let help: String = help(&["migrate"])
        .split_whitespace()
        .map(|word| format!("{word} "))
        .collect();
    for name in names {
        assert!(help.contains(&format!("{name} (")), "{name} is not in the help");
    }
}

#[test]
fn the_exit_codes_are_those_of_the_help() {
    let (readme, help) = (readme(), help(&[]));
    let told = help.split("Exit codes:\n").nth(1).unwrap();
    for line in told.lines().filter(|line| !line.is_empty()) {
        let (code, meaning) = line.trim().split_once("  ").unwrap();
        let row = readme
            .lines()
            .find(|row| row.starts_with(&format!("| {code} |")))
            .expect(code);
        let words = meaning
            .split(|c: char| !c.is_alphabetic())
            .filter(|word| !word.is_empty());
        for word in words {
            assert!(row.contains(word), "{code}: {word} is not in {row}");
        }
    }
}

/// `UPDATE_MAN=1 cargo test --release --test it -- readme::manual` writes them.
#[test]
fn manual_pages_say_what_the_help_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/man");
    let made = tempfile::tempdir().unwrap();
    // What it was built from is not the same everywhere.
    let command = gguf_conv::cli::command().version(env!("CARGO_PKG_VERSION"));
    clap_mangen::generate_to(command, made.path()).unwrap();
    let pages = |folder: &std::path::Path| -> BTreeMap<String, String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        let paths = entries.map(|entry| entry.unwrap().path());
        let name = |path: &std::path::Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        paths
            .map(|path| (name(&path), std::fs::read_to_string(path).unwrap()))
            .collect()
    };
    let made = pages(made.path());
    assert!(made.len() > commands().len());
    if std::env::var_os("UPDATE_MAN").is_some() {
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir(folder).unwrap();
        for (name, page) in &made {
            std::fs::write(format!("{folder}/{name}"), page).unwrap();
        }
    }
    let there = pages(folder.as_ref());
    assert!(
        made.keys().eq(there.keys()),
        "run this test with UPDATE_MAN=1: {:?}",
        there.keys()
    );
    for (name, page) in &made {
        assert_eq!(
            &there[name], page,
            "man/{name} is not what --help says; run this test with UPDATE_MAN=1"
        );
    }
}
