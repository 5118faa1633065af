//! Colour: which words have one, and whether a stream shows it. `NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE` and `TERM` count as
//! they do elsewhere; `--color` comes before them.

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use clap::ValueEnum;
use clap::builder::styling::{AnsiColor, Style};
use std::ffi::OsString;

const BAD: Style = AnsiColor::Red.on_default().bold();
const DOUBTFUL: Style = AnsiColor::Yellow.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const REMARK: Style = AnsiColor::Cyan.on_default().bold();
const HEADING: Style = Style::new().bold();

/// The words at the beginning of a line that have a colour: how bad a finding is, and verdicts.
const WORDS: [(&str, Style); 8] = [
    ("error", BAD),
    ("warning", DOUBTFUL),
    ("note", REMARK),
    ("tip", REMARK),
    ("ok", GOOD),
    ("NOT OK", BAD),
    ("low acceptance", DOUBTFUL),
    ("not decided", DOUBTFUL),
];

/// When colour is shown.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum When {
    /// On a terminal
    Auto,
    Always,
    Never,
}

impl When {
    /// What a command line says that may be wrong elsewhere.
    pub(super) fn of(arguments: &[OsString]) -> When {
        let words: Vec<&str> = arguments
            .iter()
            .map_while(|word| Some(word.to_str().unwrap_or_default()).filter(|word| *word != "--"))
            .collect();
        let behind = words
            .iter()
            .skip_while(|word| **word != "--color")
            .nth(1)
            .copied();
        let said = words.iter().find_map(|word| word.strip_prefix("--color="));
        let when = said.or(behind).map(|when| When::from_str(when, false));
        when.and_then(Result::ok).unwrap_or(When::Auto)
    }

    /// Has every stream heed it.
    pub(super) fn choose(self) {
        let choice = match self {
            When::Auto => ColorChoice::Auto,
            When::Always => ColorChoice::Always,
            When::Never => ColorChoice::Never,
        };
        choice.write_global();
    }
}

/// A stream that shows colours, or takes them out where they are not wanted.
pub(super) fn stream<S: RawStream>(stream: S) -> AutoStream<S> {
    AutoStream::auto(stream)
}

/// A line, escaped already, with the word that it begins with in its colour, if that has one.
pub(super) fn line(line: &str) -> String {
    let text = line.trim_start_matches(' ');
    let indent = &line[..line.len() - text.len()];
    for (word, style) in WORDS {
        if let Some(rest) = text.strip_prefix(word)
            && (rest.starts_with(':') || rest.starts_with("  "))
        {
            return format!("{indent}{style}{word}{style:#}{rest}");
        }
    }
    line.to_owned()
}

/// What stands above a table, escaped already.
pub(super) fn heading(text: &str) -> String {
    format!("{HEADING}{text}{HEADING:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;
    use crate::verify::Outcome;

    #[test]
    fn severities_and_verdicts_have_a_colour() {
        let severities = [Severity::Note, Severity::Warning, Severity::Error].map(Severity::name);
        let verdicts = [Outcome::Ok, Outcome::NotOk, Outcome::Low, Outcome::NotDecided].map(Outcome::name);
        for word in severities.into_iter().chain(verdicts) {
            let painted = line(&format!("{word}: what it is"));
            assert!(
                painted.starts_with("\u{1b}[") && painted.ends_with("\u{1b}[0m: what it is"),
                "{word}"
            );
        }
    }

    #[test]
    fn only_the_first_word_has_a_colour() {
        for plain in ["errors: 3", "no error: x", "ok", "note that", ""] {
            assert_eq!(line(plain), plain);
        }
        assert!(line("  warning  a").starts_with("  \u{1b}["));
    }

    #[test]
    fn a_command_line_that_is_wrong_elsewhere_still_says_when() {
        let when = |words: &[&str]| When::of(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(matches!(when(&["x", "--color", "never", "--wrong"]), When::Never));
        assert!(matches!(when(&["--color=always"]), When::Always));
        for words in [
            &["--color"][..],
            &["--color", "blue"],
            &["--", "--color", "never"],
            &[],
        ] {
            assert!(matches!(when(words), When::Auto), "{words:?}");
        }
    }
}
