//! What may have been meant by words that lead nowhere.

use crate::Error;
use crate::io::folder_of;
use crate::text::{escape, likely};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

/// An error in one line, with what was probably meant where a path leads nowhere.
pub(super) fn told(error: &Error) -> String {
    let missing = error.path().filter(|_| error.is_missing());
    let is_first = |path: &&Path| first_word().is_some_and(|word| word == path.as_os_str());
    let meant = missing.and_then(|path| {
        let word = Some(path).filter(is_first).map(Path::as_os_str);
        word.and_then(command).or_else(|| near(path))
    });
    match meant {
        Some(meant) => format!("{error}; did you mean {meant}?"),
        None => error.to_string(),
    }
}

/// The word where a command stands.
pub(super) fn first_word() -> Option<OsString> {
    let is_option = |word: &OsString| word.as_encoded_bytes().starts_with(b"-");
    std::env::args_os().skip(1).find(|word| !is_option(word))
}

/// The command that was probably meant by a word that is none, and no path either.
pub(super) fn command(word: &OsStr) -> Option<String> {
    let word = word.to_str().filter(|word| !Path::new(word).exists())?;
    let command = super::command();
    let known = command.get_subcommands().map(clap::Command::get_name);
    let name = likely(word, known).filter(|name| *name != word)?;
    Some(format!("the command `gguf-conv {name}`"))
}

/// The path that is there and most like one that is not: of its parts the first that is not there is another's.
fn near(path: &Path) -> Option<String> {
    let mut there = PathBuf::new();
    let mut parts = path.components();
    let wrong = loop {
        let part = parts.next()?;
        if matches!(part, Component::Normal(_)) && there.join(part).symlink_metadata().is_err() {
            break part.as_os_str().to_str()?;
        }
        there.push(part);
    };
    let names = std::fs::read_dir(folder_of(&there.join(wrong))).ok()?.flatten();
    let names: Vec<String> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let mut meant = there.join(likely(wrong, names.iter().map(String::as_str))?);
    // An empty rest would make a folder of it.
    meant.extend(parts);
    // Of a path whose end is missing too, its beginning helps no one.
    let shown = escape(meant.as_os_str().as_encoded_bytes());
    meant.exists().then_some(shown.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_path_is_one_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("models/drafter-q8_0.gguf");
        std::fs::create_dir(there.parent().unwrap()).unwrap();
        std::fs::write(&there, "").unwrap();
        let near = |path: &str| near(&folder.path().join(path));
        let meant = Some(there.to_str().unwrap().to_owned());
        assert_eq!(near("models/drafter-q8-0.gguf"), meant);
        assert_eq!(near("modles/drafter-q8_0.gguf"), meant);
        assert_eq!(near("models/drafter-q8_0"), meant);
        for far in [
            "models/target.gguf",
            "modles/target.gguf",
            "x/drafter-q8_0.gguf",
            "models/drafter-q8_0.gguf",
        ] {
            assert_eq!(near(far), None, "{far}");
        }
    }
}
