//! `inspect --get`: one value, for scripts.

use super::Args;
use crate::Error;
use crate::cli::json::{self, Text, Whole};
use crate::cli::several::Opened;
use crate::cli::sources::{Finder, Reach};
use crate::cli::{Outcome, print};
use crate::gguf::Value;
use crate::inspect::{Got, get};
use crate::io::Inputs;
use crate::io::kind::Wanted;
use crate::storage::ModelFile;
use crate::text::escape;
use bstr::{BStr, ByteSlice};
use serde::Serialize;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

/// The JSON report on one file.
#[derive(Serialize)]
struct Report<'a> {
    path: String,
    /// As it was asked for.
    get: Text<'a>,
    /// `u32`, `string`, `f32[]`.
    #[serde(rename = "type")]
    ty: String,
    tensor_type: Option<&'a str>,
    first: Option<u64>,
    value: Whole<'a>,
}

/// Prints the value that `asked` names in each file.
pub(super) fn run(asked: &str, args: &Args, inputs: &Inputs) -> Result<Outcome, Error> {
    let finder = Finder::new(inputs, args.sources.download);
    let Opened { files, failures } = Opened::each(&args.files, |file| {
        let path = finder.find(file, Wanted::Weights, Reach::Parts)?;
        let model = ModelFile::look(inputs, &path)?;
        Ok((model.path().to_owned(), get(&model, asked)?))
    });
    if args.format.json {
        let reports: Vec<Report> = files.iter().map(|file| report(asked, file)).collect();
        json::write(inputs, "inspect", &reports, &failures.reports())?;
    } else {
        let mut text = Vec::new();
        for (_, got) in &files {
            write(&got.value, io::stdout().is_terminal(), &mut text);
        }
        print::stdout_bytes(&text, inputs)?;
    }
    Ok(failures.outcome(Outcome::Done))
}

fn report<'a>(asked: &'a str, (path, got): &'a (PathBuf, Got)) -> Report<'a> {
    Report {
        path: path.display().to_string(),
        get: Text(BStr::new(asked)),
        ty: got.value.type_name(),
        tensor_type: got.tensor_type.as_deref(),
        first: got.first,
        value: Whole(&got.value),
    }
}

/// A string as it is, but for what a terminal would obey where it is shown on one; of a list each element in a line of its
/// own, strings escaped so that they stay in theirs.
fn write(value: &Value, on_terminal: bool, text: &mut Vec<u8>) {
    match value {
        Value::String(string) if on_terminal => {
            let lines = string.split_str("\n").map(escape).collect::<Vec<_>>();
            text.extend_from_slice(lines.join("\n").as_bytes());
        }
        Value::String(string) => text.extend_from_slice(string),
        Value::Array(array) => {
            for element in (0..array.len()).filter_map(|at| array.get(at)) {
                match element {
                    Value::String(string) => text.extend_from_slice(escape(&string).as_bytes()),
                    element => text.extend_from_slice(print::value(&element, true).as_bytes()),
                }
                text.push(b'\n');
            }
            return;
        }
        scalar => text.extend_from_slice(print::value(scalar, true).as_bytes()),
    }
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Array;

    fn written(value: impl Into<Value>, on_terminal: bool) -> String {
        let mut text = Vec::new();
        write(&value.into(), on_terminal, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_script_gets_the_string_and_a_terminal_nothing_to_obey() {
        let text = "{{ a }}\n\u{1b}[2J\t\u{202e}x";
        assert_eq!(written(text, false), format!("{text}\n"));
        assert_eq!(written(text, true), "{{ a }}\n\\u{1b}[2J\\t\\u{202e}x\n");
    }

    #[test]
    fn a_list_has_a_line_for_each_element() {
        let strings = Array::String([&b"a b"[..], b"c\nd", b"\xff"].into_iter().collect());
        assert_eq!(written(strings, false), "a b\nc\\nd\n\\xff\n");
        let numbers = [1e-6, 0.1, f32::NAN, f32::NEG_INFINITY, 1e30];
        assert_eq!(
            written(Array::F32(numbers.to_vec()), false),
            format!("0.000001\n0.1\nNaN\n-inf\n1{}\n", "0".repeat(30))
        );
        assert_eq!(written(Array::Bool(Vec::new()), false), "");
        assert_eq!(
            written(Array::Array(vec![Array::U8(vec![1, 2])]), false),
            "[1, 2]\n"
        );
    }
}
