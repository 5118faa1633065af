//! The JSON report of diff.

use super::Args;
use crate::cli::json::{Text, Whole};
use crate::diff::{Data, Diff, Form, KeyDifference, NumberDifference, TensorDifference};
use crate::gguf::Value;
use bstr::BStr;
use serde::{Serialize, Serializer};

/// The JSON report.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    a: String,
    b: String,
    equal: bool,
    /// How the containers differ, which does not make the models different.
    container: Vec<ContainerReport<'a>>,
    keys: Vec<KeyReport<'a>>,
    tensors: Vec<TensorReport<'a>>,
    equal_keys: usize,
    equal_tensors: usize,
    notes: &'a [String],
}

#[derive(Serialize)]
struct ContainerReport<'a> {
    what: &'a str,
    a: &'a str,
    b: &'a str,
}

#[derive(Serialize)]
struct KeyReport<'a> {
    key: Text<'a>,
    /// `only_in_a`, `only_in_b`, `value`, or `moved` where nothing else differs.
    difference: &'static str,
    /// Absent where the key is.
    a: Option<ValueReport<'a>>,
    b: Option<ValueReport<'a>>,
    /// Where lists or strings begin to differ: an element, or a byte.
    first_difference: Option<usize>,
    /// How many elements or bytes differ.
    differing: Option<usize>,
    moved: Option<Moved>,
}

#[derive(Serialize)]
struct ValueReport<'a> {
    #[serde(rename = "type")]
    ty: String,
    /// Absent for lists of more than [`WHOLE`] elements.
    value: Option<Whole<'a>>,
    /// Number of elements of a list.
    length: Option<usize>,
    /// The element at `first_difference`, where the list reaches that far.
    element: Option<Owned>,
}

/// Longest list that is reported whole.
const WHOLE: usize = 64;

struct Owned(Value);

impl Serialize for Owned {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Whole(&self.0).serialize(serializer)
    }
}

/// Places among all keys or tensors, counted from 0.
#[derive(Serialize)]
struct Moved {
    from: usize,
    to: usize,
}

#[derive(Serialize)]
struct TensorReport<'a> {
    name: Text<'a>,
    /// `only_in_a`, `only_in_b`, `dims`, `type` (with or without other numbers), `data`, or `moved` where nothing else
    /// differs.
    difference: &'static str,
    a: Option<FormReport<'a>>,
    b: Option<FormReport<'a>>,
    /// How the numbers differ; absent where they do not, or were not compared.
    error: Option<ErrorReport>,
    /// Why the data was not compared.
    not_compared: Option<&'a str>,
    moved: Option<Moved>,
}

#[derive(Serialize)]
struct FormReport<'a> {
    #[serde(rename = "type")]
    ty: &'a str,
    /// Innermost first.
    dims: &'a [u64],
}

/// The measures leave out pairs in which one is infinite or no number.
#[derive(Serialize)]
struct ErrorReport {
    elements: u64,
    differing: u64,
    first_difference: Option<u64>,
    not_finite: u64,
    max: f64,
    rms: f64,
    /// The rms in units of A's; absent where A is all zeros.
    relative: Option<f64>,
    cosine: f64,
}

pub(super) fn of<'a>(args: &Args, diff: &'a Diff) -> Report<'a> {
    let container = diff.container.iter().map(|difference| ContainerReport {
        what: difference.what,
        a: &difference.a,
        b: &difference.b,
    });
    Report {
        a: args.a.typed().display().to_string(),
        b: args.b.typed().display().to_string(),
        equal: diff.is_empty(),
        container: container.collect(),
        keys: diff.keys.iter().map(key).collect(),
        tensors: diff.tensors.iter().map(tensor).collect(),
        equal_keys: diff.equal_keys,
        equal_tensors: diff.equal_tensors,
        notes: &diff.notes,
    }
}

fn moved(moved: Option<(usize, usize)>) -> Option<Moved> {
    moved.map(|(from, to)| Moved { from, to })
}

fn key(key: &KeyDifference) -> KeyReport<'_> {
    let first = key.first.map(|first| first.index);
    let value = |value: &'_ Value| -> Option<Owned> { Some(Owned(value.as_array()?.get(first?)?)) };
    let report = |side| -> ValueReport<'_> {
        let length = Value::as_array(side).map(|array| array.len());
        ValueReport {
            ty: side.type_name(),
            value: length.is_none_or(|length| length <= WHOLE).then_some(Whole(side)),
            length,
            element: value(side),
        }
    };
    KeyReport {
        key: Text(BStr::new(&key.key)),
        difference: match (&key.a, &key.b) {
            (Some(_), None) => "only_in_a",
            (None, Some(_)) => "only_in_b",
            _ if key.has_other_value() => "value",
            _ => "moved",
        },
        a: key.a.as_ref().map(report),
        b: key.b.as_ref().map(report),
        first_difference: first,
        differing: key.first.map(|first| first.count),
        moved: moved(key.moved),
    }
}

fn tensor(tensor: &TensorDifference) -> TensorReport<'_> {
    fn form(form: &Form) -> FormReport<'_> {
        FormReport {
            ty: &form.type_name,
            dims: &form.dims,
        }
    }
    TensorReport {
        name: Text(BStr::new(&tensor.name)),
        difference: match (&tensor.a, &tensor.b) {
            (Some(_), None) => "only_in_a",
            (None, Some(_)) => "only_in_b",
            (Some(a), Some(b)) if a.dims != b.dims => "dims",
            (Some(a), Some(b)) if a.type_name != b.type_name => "type",
            _ if tensor.data != Data::Same => "data",
            _ => "moved",
        },
        a: tensor.a.as_ref().map(form),
        b: tensor.b.as_ref().map(form),
        error: match &tensor.data {
            Data::Numbers(numbers) => Some(error(numbers)),
            _ => None,
        },
        not_compared: match &tensor.data {
            Data::Unreadable(why) => Some(why),
            _ => None,
        },
        moved: moved(tensor.moved),
    }
}

fn error(numbers: &NumberDifference) -> ErrorReport {
    ErrorReport {
        elements: numbers.elements,
        differing: numbers.differing,
        first_difference: numbers.first,
        not_finite: numbers.not_finite,
        max: numbers.max,
        rms: numbers.rms,
        relative: Some(numbers.relative).filter(|relative| relative.is_finite()),
        cosine: numbers.cosine,
    }
}
