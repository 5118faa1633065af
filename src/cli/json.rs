//! The JSON that every command writes: one envelope, described in `docs/json.md`; metadata and names, written without a
//! copy in between and safe to show on a terminal.

use super::{meant, print};
use crate::gguf::{Array, Metadata, Value};
use crate::io::{Inputs, guard};
use crate::text::{self, escape, is_hidden};
use crate::{Error, Fault};
use bstr::BStr;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::ser::{Formatter, PrettyFormatter};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Version of the JSON documents; raised when a field changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 2;

/// A whole document: what the command found, and what kept it from finding more.
#[derive(serde::Serialize)]
struct Envelope<'a, R: Serialize> {
    schema_version: u32,
    command: &'a str,
    results: &'a [R],
    errors: &'a [ErrorReport],
}

/// Why something could not be done.
#[derive(Debug, serde::Serialize)]
pub(super) struct ErrorReport {
    /// `usage`, `input` or `system`.
    pub fault: &'static str,
    /// One line.
    pub message: String,
    /// The file that it is about, where it is about one.
    pub path: Option<String>,
}

impl From<&Error> for ErrorReport {
    fn from(error: &Error) -> ErrorReport {
        ErrorReport {
            fault: error.fault().name(),
            message: text::line(&meant::told(error)),
            path: error.path().map(|path| path.display().to_string()),
        }
    }
}

/// Writes a document that ends in a newline to standard output, if the files that its results were made of are still
/// what they were.
pub(super) fn write<R: Serialize>(
    inputs: &Inputs,
    command: &str,
    results: &[R],
    errors: &[ErrorReport],
) -> Result<(), Error> {
    write_beside(inputs, None, command, results, errors)
}

/// Writes the document of a command that wrote `output`: to standard error where standard output holds the file. As
/// [`write`] otherwise.
pub(super) fn write_beside<R: Serialize>(
    inputs: &Inputs,
    output: Option<&Path>,
    command: &str,
    results: &[R],
    errors: &[ErrorReport],
) -> Result<(), Error> {
    inputs.check_unchanged()?;
    match output.is_some_and(print::is_stdout) {
        true => write_to(io::stderr().lock(), command, results, errors),
        false => write_to(io::stdout().lock(), command, results, errors),
    }
}

/// Writes the document of a command that found nothing since this is in the way.
pub(super) fn write_error(output: Option<&Path>, command: &str, error: ErrorReport) -> Result<(), Error> {
    let errors = &[error];
    match output.is_some_and(print::is_stdout) {
        true => write_to::<()>(io::stderr().lock(), command, &[], errors),
        false => write_to::<()>(io::stdout().lock(), command, &[], errors),
    }
}

/// Has a failure that only the system sees told as a document too, on the stream where the command's would be.
pub(super) fn write_sudden_failures(output: Option<&Path>, command: &str) {
    const MESSAGE: &str = "MESSAGE";
    let mut document = Vec::new();
    let error = ErrorReport {
        fault: Fault::System.name(),
        message: MESSAGE.to_owned(),
        path: None,
    };
    let written = write_to::<()>(&mut document, command, &[], &[error]);
    let text = String::from_utf8(document).unwrap_or_default();
    if let (Ok(()), Some((before, after))) = (written, text.split_once(&format!("\"{MESSAGE}\""))) {
        let stream = match output.is_some_and(print::is_stdout) {
            true => guard::Stream::Error,
            false => guard::Stream::Output,
        };
        guard::tell_as_document(stream, before, after);
    }
}

fn write_to<R: Serialize>(
    out: impl Write,
    command: &str,
    results: &[R],
    errors: &[ErrorReport],
) -> Result<(), Error> {
    let envelope = Envelope {
        schema_version: SCHEMA_VERSION,
        command,
        results,
        errors,
    };
    let mut out = BufWriter::new(out);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Safe::new());
    envelope
        .serialize(&mut serializer)
        .map_err(io::Error::from)
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
        .map_err(Error::Stdout)
}

/// A metadata key in JSON reports.
#[derive(serde::Serialize)]
pub(super) struct KeyReport<'a> {
    pub key: Text<'a>,
    #[serde(rename = "type")]
    pub ty: String,
    pub value: Whole<'a>,
}

/// Metadata for JSON, every value whole.
pub(super) fn keys(metadata: &Metadata) -> Vec<KeyReport<'_>> {
    metadata
        .iter()
        .map(|(key, value)| KeyReport::new(key, value))
        .collect()
}

impl<'a> KeyReport<'a> {
    pub(super) fn new(key: &'a BStr, value: &'a Value) -> KeyReport<'a> {
        KeyReport {
            key: Text(key),
            ty: value.type_name(),
            value: Whole(value),
        }
    }
}

/// Text as a JSON string, or an object with its escaped form where it is no UTF-8.
#[derive(Clone, Copy)]
pub(super) struct Text<'a>(pub &'a BStr);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("invalid_utf8", &escape(self.0))?;
                map.end()
            }
        }
    }
}

/// A metadata value, whole. Numbers that JSON has no form for become strings.
#[derive(Clone, Copy)]
pub(super) struct Whole<'a>(pub &'a Value);

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::String(text) => Text(BStr::new(text)).serialize(serializer),
            Value::Array(array) => Elements(array).serialize(serializer),
            Value::U8(v) => v.serialize(serializer),
            Value::I8(v) => v.serialize(serializer),
            Value::U16(v) => v.serialize(serializer),
            Value::I16(v) => v.serialize(serializer),
            Value::U32(v) => v.serialize(serializer),
            Value::I32(v) => v.serialize(serializer),
            Value::F32(v) => Float((*v).into()).serialize(serializer),
            Value::Bool(v) => v.serialize(serializer),
            Value::U64(v) => v.serialize(serializer),
            Value::I64(v) => v.serialize(serializer),
            Value::F64(v) => Float(*v).serialize(serializer),
        }
    }
}

struct Elements<'a>(&'a Array);

impl Serialize for Elements<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Array::String(strings) => serializer.collect_seq(strings.iter().map(Text)),
            Array::Array(arrays) => serializer.collect_seq(arrays.iter().map(Elements)),
            scalars => {
                let mut seq = serializer.serialize_seq(Some(scalars.len()))?;
                for value in (0..scalars.len()).filter_map(|i| scalars.get(i)) {
                    seq.serialize_element(&Whole(&value))?;
                }
                seq.end()
            }
        }
    }
}

/// A number, or its name where it is infinite or none.
struct Float(f64);

impl Serialize for Float {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() {
            serializer.serialize_f64(self.0)
        } else {
            serializer.collect_str(&self.0)
        }
    }
}

/// Indented JSON in which every character that could drive a terminal is escaped.
pub(super) struct Safe<'a>(PrettyFormatter<'a>);

impl Safe<'_> {
    pub(super) fn new() -> Self {
        Safe(PrettyFormatter::new())
    }
}

impl Formatter for Safe<'_> {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(|c: char| is_hidden(c)) {
            let (shown, hidden) = rest.split_at(at);
            writer.write_all(shown.as_bytes())?;
            let mut chars = hidden.chars();
            if let Some(c) = chars.next() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn begin_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Strings;

    fn json(value: &impl Serialize) -> String {
        let mut out = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, Safe::new());
        value.serialize(&mut serializer).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_come_back_as_they_were_and_hide_nothing() {
        let text = "\u{1b}[2J \u{9b}31m \u{202e}x \u{e0041} \u{7f} \"\\ é";
        let shown = json(&Text(BStr::new(text)));
        assert!(!shown.contains(|c: char| is_hidden(c)), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }

    #[test]
    fn values_that_json_does_not_know_become_words() {
        let strings: Strings = [&b"a"[..], b"\xff"].into_iter().collect();
        let value = Value::Array(Array::Array(vec![
            Array::String(strings),
            Array::F32(vec![0.5, f32::NAN, f32::INFINITY]),
        ]));
        let back: serde_json::Value = serde_json::from_str(&json(&Whole(&value))).unwrap();
        let expected = serde_json::json!([["a", { "invalid_utf8": "\\xff" }], [0.5, "NaN", "inf"]]);
        assert_eq!(back, expected);
    }
}
