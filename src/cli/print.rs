//! What the commands share in printing: sizes, metadata values, JSON, standard output.

use crate::Error;
use crate::gguf::{Array, Value, escape};
use bstr::BStr;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::{Value as Json, json};
use std::io::Write;

/// Version of the JSON documents; raised when a field changes its meaning or goes away.
pub(super) const SCHEMA_VERSION: u32 = 1;

/// Writes a result to standard output.
pub(super) fn stdout(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Error::Stdout)
}

/// Writes a JSON document that ends in a newline.
pub(super) fn stdout_json(document: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(document).map_err(|e| Error::Stdout(e.into()))?;
    stdout(&(text + "\n"))
}

/// Writes a warning to standard error.
pub(super) fn warn(message: &str) {
    eprintln!("warning: {message}");
}

/// A bar of bytes on standard error, shown on a terminal only.
pub(super) fn progress_bar(len: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A count with its thousands in words: `422.9 M`.
pub(super) fn count(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{:.1} K", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", n as f64 / 1e6),
        _ => format!("{:.2} B", n as f64 / 1e9),
    }
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

/// A metadata value as JSON, whole. Numbers that JSON has no form for become strings, and strings that are no UTF-8
/// become an object with their escaped form.
pub(super) fn value_json(value: &Value) -> Json {
    match value {
        Value::String(text) => text_json(BStr::new(text)),
        Value::Array(array) => array_json(array),
        Value::U8(v) => json!(v),
        Value::I8(v) => json!(v),
        Value::U16(v) => json!(v),
        Value::I16(v) => json!(v),
        Value::U32(v) => json!(v),
        Value::I32(v) => json!(v),
        Value::F32(v) => float_json((*v).into()),
        Value::Bool(v) => json!(v),
        Value::U64(v) => json!(v),
        Value::I64(v) => json!(v),
        Value::F64(v) => float_json(*v),
    }
}

fn array_json(array: &Array) -> Json {
    match array {
        Array::String(strings) => strings.iter().map(text_json).collect(),
        other => (0..other.len())
            .filter_map(|i| other.get(i))
            .map(|item| value_json(&item))
            .collect(),
    }
}

/// Text as a JSON string, or an object with its escaped form where it is no UTF-8.
pub(super) fn text_json(text: &BStr) -> Json {
    match std::str::from_utf8(text) {
        Ok(text) => json!(text),
        Err(_) => json!({ "invalid_utf8": escape(text) }),
    }
}

fn float_json(value: f64) -> Json {
    if value.is_finite() {
        json!(value)
    } else {
        json!(value.to_string())
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
