//! What the commands share in printing: sizes, metadata values, standard output.

use super::page::Page;
use super::{meant, style};
use crate::Error;
use crate::finding::Finding;
use crate::gguf::Value;
use crate::io::Inputs;
use crate::text::{self, escape, is_hidden};
use bstr::BStr;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{LazyLock, OnceLock};
use std::time::Instant;

/// How much is told beside the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Loudness {
    /// Errors.
    Quiet,
    /// Warnings, notes, and how far a long work is.
    #[default]
    Usual,
    /// Also details: where a model was found, how long it took.
    Verbose,
}

/// Said once, by the command line.
static LOUDNESS: OnceLock<Loudness> = OnceLock::new();

impl Loudness {
    /// Has everything that is printed from now on heed it.
    pub(super) fn choose(self) {
        LOUDNESS.get_or_init(|| self);
    }
}

fn loudness() -> Loudness {
    LOUDNESS.get().copied().unwrap_or_default()
}

/// Whether only errors and results are wanted, and of a long result its end.
pub(super) fn is_quiet() -> bool {
    loudness() == Loudness::Quiet
}

/// Whether details are wanted too.
pub(super) fn is_verbose() -> bool {
    loudness() == Loudness::Verbose
}

/// Writes a result to standard output, if the files that it was made of are still what they were.
pub(super) fn stdout(page: &Page, inputs: &Inputs) -> Result<(), Error> {
    inputs.check_unchanged()?;
    page.write(style::stream(io::stdout().lock()))
        .map_err(Error::Stdout)
}

/// Writes a result that may be no UTF-8, as paths are, and has no colours; as [`stdout`].
pub(super) fn stdout_bytes(bytes: &[u8], inputs: &Inputs) -> Result<(), Error> {
    inputs.check_unchanged()?;
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(Error::Stdout)
}

/// Writes the report of a command that wrote `output`: to standard output, or to standard error where that holds the
/// file. As [`stdout`] otherwise.
pub(super) fn report(page: &Page, output: Option<&Path>, inputs: &Inputs) -> Result<(), Error> {
    match output.is_some_and(is_stdout) {
        true => {
            inputs.check_unchanged()?;
            page.write(style::stream(io::stderr().lock()))
                .map_err(Error::Stdout)
        }
        false => stdout(page, inputs),
    }
}

/// Writes the report of a command whose result is the file `output`, which alone is told where that is wanted; as
/// [`report`].
pub(super) fn written(page: &Page, output: &Path, inputs: &Inputs) -> Result<(), Error> {
    match (is_quiet(), is_stdout(output)) {
        (false, _) => report(page, Some(output), inputs),
        (true, true) => Ok(inputs.check_unchanged()?),
        (true, false) => all_written(page, &[output], inputs),
    }
}

/// The same of several files.
pub(super) fn all_written(page: &Page, outputs: &[&Path], inputs: &Inputs) -> Result<(), Error> {
    if !is_quiet() {
        return stdout(page, inputs);
    }
    let line = |path: &&Path| escape(path.as_os_str().as_encoded_bytes()) + "\n";
    let lines: String = outputs.iter().map(line).collect();
    stdout_bytes(lines.as_bytes(), inputs)
}

/// Whether this output is standard output.
pub(super) fn is_stdout(output: &Path) -> bool {
    output.as_os_str() == "-"
}

/// Writes a line to standard error, however little is to be told.
pub(super) fn say(message: &str) {
    let line = style::line(&text::line(message));
    // Where standard error is closed, nobody is told.
    let _ = writeln!(style::stream(io::stderr().lock()), "{line}");
}

/// Writes a remark to standard error.
pub(super) fn tell(message: &str) {
    if !is_quiet() {
        say(message);
    }
}

/// When the program began.
static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Counts from now on.
pub(super) fn begin() {
    LazyLock::force(&BEGUN);
}

/// Writes to standard error what only those want to know who ask for it, and when it was so.
pub(super) fn detail(message: &str) {
    if is_verbose() {
        say(&format!("[{:7.3} s] {message}", BEGUN.elapsed().as_secs_f64()));
    }
}

/// Writes a warning to standard error.
pub(super) fn warn(message: &str) {
    tell(&format!("warning: {message}"));
}

/// Writes an error to standard error.
pub(super) fn error(error: &Error) {
    say(&format!("error: {}", meant::told(error)));
}

/// A finding in one line.
pub(super) fn finding(finding: &Finding) -> String {
    let Finding {
        severity,
        message,
        hint,
        ..
    } = finding;
    let hint = hint.as_ref().map(|hint| format!("; {hint}"));
    format!("{}: {message}{}", severity.name(), hint.unwrap_or_default())
}

/// A path as it can be shown.
pub(super) fn path(path: &Path) -> String {
    text::name(path.as_os_str().as_encoded_bytes())
}

/// An output as it can be shown.
pub(super) fn output(output: &Path) -> String {
    match is_stdout(output) {
        true => "standard output".to_owned(),
        false => path(output),
    }
}

/// A path as a word of a command that the user copies into a shell; `otherwise` where no such word can be shown.
pub(super) fn word(path: &Path, otherwise: &str) -> String {
    let shown = path.to_str().filter(|path| !path.contains(is_hidden));
    let quoted = shown.and_then(|path| shlex::try_quote(path).ok());
    quoted.map_or_else(|| otherwise.to_owned(), |word| word.into_owned())
}

/// A bar on standard error for `total` of what `template` counts, shown on a terminal only.
pub(super) fn progress_bar(total: u64, template: &str) -> ProgressBar {
    let target = if io::stderr().is_terminal() && !is_quiet() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// A bar that counts numbers.
pub(super) const NUMBERS_BAR: &str = "{bar:40} {human_pos}/{human_len} numbers {eta}";

/// A bar that counts bytes.
pub(super) const BYTES_BAR: &str = "{bar:40} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}";

/// A count with its thousands in words: `422.9 M`.
pub(super) fn count(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{:.1} K", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", n as f64 / 1e6),
        _ => format!("{:.2} B", n as f64 / 1e9),
    }
}

/// A number with three digits that count: `0.945`, `0.0381`, `1.20e30`.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e6).contains(&size) {
        return format!("{value:.2e}");
    }
    let whole_digits = if size == 0.0 {
        0
    } else {
        size.log10().floor() as i32
    };
    let text = format!("{value:.*}", usize::try_from(2 - whole_digits).unwrap_or(0));
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A count with the word for what is counted: `1 key`, `2 keys`.
pub(super) fn many(count: usize, word: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {word}{plural}")
}

/// Longest text and most array elements shown of a value.
const SHOWN_CHARS: usize = 80;
const SHOWN_ELEMENTS: usize = 8;

/// A metadata value in one line; long ones shortened unless `full`.
pub(super) fn value(value: &Value, full: bool) -> String {
    match value {
        Value::String(text) => string(BStr::new(text), full),
        Value::Array(array) => {
            let shown = if full {
                array.len()
            } else {
                array.len().min(SHOWN_ELEMENTS)
            };
            let mut items: Vec<String> = (0..shown)
                .filter_map(|i| array.get(i))
                .map(|item| self::value(&item, full))
                .collect();
            if shown < array.len() {
                items.push(format!("… {} in all", array.len()));
            }
            format!("[{}]", items.join(", "))
        }
        Value::U8(v) => v.to_string(),
        Value::I8(v) => v.to_string(),
        Value::U16(v) => v.to_string(),
        Value::I16(v) => v.to_string(),
        Value::U32(v) => v.to_string(),
        Value::I32(v) => v.to_string(),
        Value::F32(v) => v.to_string(),
        Value::Bool(v) => v.to_string(),
        Value::U64(v) => v.to_string(),
        Value::I64(v) => v.to_string(),
        Value::F64(v) => v.to_string(),
    }
}

fn string(text: &BStr, full: bool) -> String {
    let escaped = escape(text);
    match escaped.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) if !full => format!("\"{}…\" ({} bytes)", &escaped[..end], text.len()),
        _ => format!("\"{escaped}\""),
    }
}
