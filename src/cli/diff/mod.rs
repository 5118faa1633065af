//! `gguf-conv diff`: arguments and report of a comparison of two models.

mod report;

use super::Outcome;
use super::json;
use super::page::Page;
use super::print;
use super::shared::{ArchArgs, FormatArgs};
use super::sources::{Finder, Reach, SourceArgs, source};
use crate::Error;
use crate::diff::{
    self, Data, Diff, FirstDifference, Form, KeyDifference, NumberDifference, Options, TensorDifference,
};
use crate::gguf::{Gguf, Value};
use crate::io::Inputs;
use crate::io::kind::Wanted;
use crate::source::Source;
use crate::storage::ModelFile;
use crate::text::{self, Glob, escape};

const ABOUT: &str = "\
Byte order, GGUF version and the cutting of a split model are told, but are no differences: values are compared by what \
they mean. The order of keys and tensors is one; what has moved is told. Tensors of different types, and tensors of one \
type with different bytes, are decoded, and how far their numbers are apart is told: largest difference, root mean \
square (absolute, and in percent of A's own), cosine.

A drafter's checkpoint beside a GGUF is compared as what `convert` would make of it in the type of the GGUF: tensors \
and metadata by upstream's names, in whatever dialect the GGUF is. Of its tensors only the numbers count, not types and \
order. Where it cannot be converted (no config.json and no --target), only the tensors are compared.

Exit code 0: no difference. 1: differences.";

const EXAMPLES: &str = "\
Examples:
  gguf-conv diff drafter-bf16.gguf drafter-q4_k_m.gguf
          what quantizing has cost, tensor by tensor
  gguf-conv diff mine.gguf downloaded.gguf --ignore 'general.*'
          whatever they are called and whoever made them
  gguf-conv diff old.gguf new.gguf --ignore '*.weight'
          the metadata alone
  gguf-conv diff gemma-4-12B-it-assistant/ drafter.gguf
          a checkpoint and what was made of it";

/// Arguments of a comparison.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{ABOUT}\n\n{EXAMPLES}"))]
pub(super) struct Args {
    /// A GGUF (of a split model any part), .safetensors file or checkpoint folder
    #[arg(value_parser = source())]
    a: Source,
    /// What to compare it with
    #[arg(value_parser = source())]
    b: Source,
    /// Leave out the keys and tensors whose name fits; * stands for any characters, ? for one. Can be repeated
    #[arg(long, value_name = "KEYGLOB")]
    ignore: Vec<Glob>,
    /// GGUF of the model that a drafter is for: supplies what a checkpoint lacks, as in a conversion
    #[arg(long, value_name = "T.gguf", value_parser = source())]
    target: Option<Source>,
    /// Show long values whole
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    pub(super) format: FormatArgs,
    #[command(flatten)]
    arch: ArchArgs,
}

/// Compares the models and lists what differs.
pub(super) fn run(args: &Args, inputs: &Inputs) -> Result<Outcome, Error> {
    let registry = args.arch.registry(inputs)?;
    let finder = Finder::new(inputs, args.sources.download);
    let open = |source| {
        finder
            .find(source, Wanted::Weights, Reach::Parts)
            .and_then(|path| Ok(ModelFile::open(inputs, &path)?))
    };
    let (a, b) = (open(&args.a)?, open(&args.b)?);
    let target = finder.find_if(args.target.as_ref(), Wanted::Target, Reach::Parts)?;
    let target = target.map(|path| Gguf::open(inputs, &path)).transpose()?;
    let options = Options {
        registry: &registry,
        target: target.as_ref(),
        ignore: &args.ignore,
    };
    let elements = |model: &ModelFile| {
        let tensors = model.tensors();
        let elements = tensors.iter().map(|tensor| tensor.elements());
        elements.fold(0, u64::saturating_add)
    };
    let bar = print::progress_bar(elements(&a).min(elements(&b)), print::NUMBERS_BAR);
    let diff = diff::diff(&a, &b, options, &|compared| bar.inc(compared));
    bar.finish_and_clear();
    print::detail("compared");
    if args.format.json {
        json::write(inputs, "diff", &[report::of(args, &diff)], &[])?;
    } else {
        let page = match print::is_quiet() {
            true => Page::of_line(summary(&diff)),
            false => text(args, &diff),
        };
        print::stdout(&page, inputs)?;
    }
    Ok(match diff.is_empty() {
        true => Outcome::Done,
        false => Outcome::Difference,
    })
}

fn text(args: &Args, diff: &Diff) -> Page {
    let mut page = if args.full { Page::whole() } else { Page::new() };
    page.line(format!("A  {}", print::path(args.a.typed())));
    page.line(format!("B  {}", print::path(args.b.typed())));
    for note in &diff.notes {
        page.line(format!("note: {note}"));
    }
    let container = diff.container.iter();
    let container: Vec<Vec<String>> = container
        .map(|d| vec![d.what.to_owned(), format!("{} -> {}", d.a, d.b)])
        .collect();
    let keys: Vec<Vec<String>> = diff.keys.iter().map(|key| key_row(key, args.full)).collect();
    let tensors: Vec<Vec<String>> = diff.tensors.iter().map(tensor_row).collect();
    page.section("container (no difference in what the files say)", &container);
    page.section("metadata", &keys);
    page.section("tensors", &tensors);
    page.line(summary(diff));
    page
}

/// How much differs.
fn summary(diff: &Diff) -> String {
    let count = |keys: usize, tensors: usize| {
        format!(
            "{} and {}",
            print::many(keys, "key"),
            print::many(tensors, "tensor")
        )
    };
    let equal = count(diff.equal_keys, diff.equal_tensors);
    match diff.is_empty() {
        true => format!("no difference: {equal} are the same"),
        false => format!(
            "{} differ, {equal} are the same",
            count(diff.keys.len(), diff.tensors.len())
        ),
    }
}

/// What is the matter with something, in a word.
fn word(has_a: bool, has_b: bool, differs: bool) -> &'static str {
    match (has_a, has_b) {
        (true, false) => "only in A",
        (false, true) => "only in B",
        _ if differs => "differs",
        _ => "moved",
    }
}

fn key_row(key: &KeyDifference, full: bool) -> Vec<String> {
    let differs = key.has_other_value();
    let mut parts = Vec::new();
    match (&key.a, &key.b) {
        (Some(a), Some(b)) if differs => parts.push(sides(a, b, key.first, full)),
        (Some(_), Some(_)) => {}
        (a, b) => parts.extend(a.iter().chain(b).map(|value| print::value(value, full))),
    }
    parts.extend(key.moved.map(place));
    let word = word(key.a.is_some(), key.b.is_some(), differs);
    vec![word.to_owned(), text::name(&key.key), parts.join("; ")]
}

fn place((from, to): (usize, usize)) -> String {
    format!("moved from place {} to {}", from + 1, to + 1)
}

/// Longest string that is shown whole on both sides.
const SHOWN_BYTES: usize = 40;

/// Two values that differ: short ones whole, of long ones where they begin to differ.
fn sides(a: &Value, b: &Value, first: Option<FirstDifference>, full: bool) -> String {
    let (ty, other) = (a.type_name(), b.type_name());
    if ty != other {
        return format!(
            "{ty} {} -> {other} {}",
            print::value(a, full),
            print::value(b, full)
        );
    }
    match (a, b, first) {
        (Value::Array(a), Value::Array(b), Some(first)) => {
            let element =
                |value: Option<Value>| value.map_or_else(|| "nothing".to_owned(), |v| print::value(&v, full));
            let lens = match a.len() == b.len() {
                true => format!("{ty} of {}", a.len()),
                false => format!("{ty} of {} -> of {}", a.len(), b.len()),
            };
            let differ = match first.count {
                1 => "1 differs, at".to_owned(),
                count => format!("{count} differ, the first at"),
            };
            let (a, b) = (element(a.get(first.index)), element(b.get(first.index)));
            format!("{lens}; {differ} [{}]: {a} -> {b}", first.index)
        }
        (Value::String(a), Value::String(b), Some(first)) if !full && a.len().max(b.len()) > SHOWN_BYTES => {
            let lens = format!("string of {} -> of {} bytes", a.len(), b.len());
            let (a, b) = (excerpt(a, first.index), excerpt(b, first.index));
            format!("{lens}; from byte {}: {a} -> {b}", first.index)
        }
        _ => format!("{} -> {}", print::value(a, full), print::value(b, full)),
    }
}

/// A few characters of a string from a byte on.
fn excerpt(string: &[u8], from: usize) -> String {
    // A character that begins in front of the byte is shown from its beginning.
    let is_continuation = |at: &usize| string.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let start = (0..=from).rev().find(|at| !is_continuation(at)).unwrap_or(from);
    let rest = escape(string.get(start..).unwrap_or_default());
    let before = if start == 0 { "" } else { "…" };
    match rest.char_indices().nth(SHOWN_BYTES) {
        Some((end, _)) => format!("\"{before}{}…\"", &rest[..end]),
        None => format!("\"{before}{rest}\""),
    }
}

fn tensor_row(tensor: &TensorDifference) -> Vec<String> {
    let form = |form: &Form| format!("{} {}", form.type_name, text::dims(&form.dims));
    let mut parts = Vec::new();
    let mut differs = true;
    match (&tensor.a, &tensor.b) {
        (Some(a), Some(b)) if a.dims != b.dims => parts.push(format!("{} -> {}", form(a), form(b))),
        (Some(a), Some(b)) if a.type_name != b.type_name => {
            parts.push(format!("{} -> {}", a.type_name, b.type_name));
            parts.extend(data(&tensor.data, false));
        }
        (Some(a), Some(_)) => {
            differs = tensor.data != Data::Same;
            parts.extend(differs.then(|| a.type_name.clone()));
            parts.extend(data(&tensor.data, true).filter(|_| differs));
        }
        (a, b) => parts.extend(a.iter().chain(b).map(form)),
    }
    parts.extend(tensor.moved.map(place));
    let word = word(tensor.a.is_some(), tensor.b.is_some(), differs);
    vec![word.to_owned(), text::name(&tensor.name), parts.join("; ")]
}

/// How the data differs. How many numbers do is worth telling for data of one type only.
fn data(data: &Data, is_one_type: bool) -> Option<String> {
    Some(match data {
        Data::Same => "the same numbers".to_owned(),
        Data::Numbers(numbers) => self::numbers(numbers, is_one_type),
        Data::Bytes => "other bytes".to_owned(),
        Data::Unreadable(why) => format!("not compared: {}", escape(why.as_bytes())),
        Data::None => return None,
    })
}

fn numbers(numbers: &NumberDifference, is_one_type: bool) -> String {
    let Some(first) = numbers.first else {
        return "other bytes for the same numbers".to_owned();
    };
    let mut text = String::new();
    if is_one_type {
        let (differing, elements) = (numbers.differing, numbers.elements);
        text.push_str(&format!(
            "{differing} of {elements} differ, the first at {first}; "
        ));
    }
    text.push_str(&format!(
        "max {}, rms {} ({} %), cosine {:.8}",
        figure(numbers.max),
        figure(numbers.rms),
        figure(numbers.relative * 100.0),
        numbers.cosine,
    ));
    if numbers.not_finite > 0 {
        text.push_str(&format!(
            "; {} are infinite or no number and left out of these",
            numbers.not_finite
        ));
    }
    text
}

/// A measure with four digits that count: `0.0002212`, `8.611`, `1.200e30`.
fn figure(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    match value.abs().log10().floor() {
        size @ -5.0..4.0 => format!("{value:.*}", (3.0 - size) as usize),
        _ => format!("{value:.3e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_four_digits_that_count() {
        for (value, text) in [
            (0.0, "0"),
            (0.000_221_23, "0.0002212"),
            (8.6115, "8.611"),
            (133.48, "133.5"),
            (9999.0, "9999"),
            (1.2e30, "1.200e30"),
            (1.5e-7, "1.500e-7"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn long_strings_are_shown_from_where_they_differ() {
        let (a, b) = ("é".repeat(60), "é".repeat(30) + &"è".repeat(30));
        let first = FirstDifference { index: 61, count: 30 };
        let shown = sides(&a.as_str().into(), &b.as_str().into(), Some(first), false);
        let (a, b) = ("é".repeat(30), "è".repeat(30));
        assert_eq!(
            shown,
            format!("string of 120 -> of 120 bytes; from byte 61: \"…{a}\" -> \"…{b}\"")
        );
    }
}
