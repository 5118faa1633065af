//! What the commands share in printing: sizes, metadata values, JSON, standard output.

use super::json::Safe;
use crate::Error;
use crate::gguf::Value;
use crate::text::escape;
use bstr::BStr;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;

/// Version of the JSON documents; raised when a field changes its meaning or goes away.
pub(super) const SCHEMA_VERSION: u32 = 1;

/// Writes a result to standard output.
pub(super) fn stdout(text: &str) -> Result<(), Error> {
    stdout_bytes(text.as_bytes())
}

/// Writes a result that may be no UTF-8, as paths are, to standard output.
pub(super) fn stdout_bytes(bytes: &[u8]) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(Error::Stdout)
}

/// Writes a JSON document that ends in a newline.
pub(super) fn stdout_json(document: &impl Serialize) -> Result<(), Error> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Safe::new());
    document
        .serialize(&mut serializer)
        .map_err(io::Error::from)
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
        .map_err(Error::Stdout)
}

/// Writes a warning to standard error, in one line whatever it quotes.
pub(super) fn warn(message: &str) {
    eprintln!("warning: {}", escape(message.as_bytes()));
}

/// Writes the error that ends the program to standard error, in one line whatever it quotes.
pub(super) fn error(error: &Error) {
    eprintln!("error: {}", escape(error.to_string().as_bytes()));
}

/// A path as it can be shown.
pub(super) fn path(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes())
}

/// A bar on standard error for `total` of what `template` counts, shown on a terminal only.
pub(super) fn progress_bar(total: u64, template: &str) -> ProgressBar {
    let target = if io::stderr().is_terminal() {
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

/// A number with five digits that count: `0.94537`, `1.2e30`.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || (1e-4..1e6).contains(&size) {
        let whole_digits = size.max(1.0).log10().floor() as usize;
        let text = format!("{value:.*}", 5_usize.saturating_sub(whole_digits));
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.4e}")
    }
}

/// A count with the word for what is counted: `1 key`, `2 keys`.
pub(super) fn many(count: usize, word: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {word}{plural}")
}

/// Lengths as `64 × 1024`, innermost first.
pub(super) fn shape(dims: &[u64]) -> String {
    dims.iter().map(u64::to_string).collect::<Vec<_>>().join(" × ")
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

/// Lines in columns, each as wide as its widest cell; the last column is not padded.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..rows.iter().map(Vec::len).max().unwrap_or(0))
        .map(width)
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::from(" ");
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!(" {cell:<width$} "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
