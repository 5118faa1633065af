//! Tensors against tensors: types, shapes, order, and the numbers themselves.

use super::order::moved;
use super::side::{Content, Entry, Side};
use crate::storage::Numbers;
use crate::storage::deviation::Deviation;
use bstr::BString;
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};

/// A tensor that differs between two models.
#[derive(Debug, Clone)]
pub struct TensorDifference {
    /// Its name, or what a GGUF calls it.
    pub name: BString,
    /// What it is in the first model.
    pub a: Option<Form>,
    /// What it is in the second.
    pub b: Option<Form>,
    /// How the data differs.
    pub data: Data,
    /// Its places among the tensors of either, counted from 0, where it is not in the order of the others: of the list
    /// in the header, or of the data.
    pub moved: Option<(usize, usize)>,
}

/// What a tensor is, without its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// Type in the container's own words.
    pub type_name: String,
    /// Lengths, innermost first.
    pub dims: Vec<u64>,
}

/// What comparing the data of a tensor gave.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// The same bytes, or for different types the same numbers.
    Same,
    /// Other numbers, or other bytes that stand for the same numbers.
    Numbers(NumberDifference),
    /// Other bytes, of a type that is not read as numbers.
    Bytes,
    /// Nothing, for there is only one, or the shapes differ.
    None,
    /// Nothing, for this reason.
    Unreadable(String),
}

/// How the numbers of two tensors differ. Pairs in which one is infinite or no number are counted, but are no part of
/// the measures.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberDifference {
    /// Number of elements.
    pub elements: u64,
    /// How many of them differ. None may: a block can express the same numbers in several ways.
    pub differing: u64,
    /// The first that differs, counted from 0 in the order of the file.
    pub first: Option<u64>,
    /// How many of the differing ones are infinite or no number on either side.
    pub not_finite: u64,
    /// Largest difference.
    pub max: f64,
    /// Root mean square of the differences.
    pub rms: f64,
    /// The same in units of the first tensor's root mean square; infinite where that is 0.
    pub relative: f64,
    /// Cosine between both.
    pub cosine: f64,
}

/// The tensors that differ, and the number of those that do not. With `only_numbers`, types and order do not count.
pub(super) fn compare(
    a: &Side,
    b: &Side,
    only_numbers: bool,
    progress: &(dyn Fn(u64) + Sync),
) -> (Vec<TensorDifference>, usize) {
    let in_b: HashMap<&BString, usize> = b
        .tensors
        .iter()
        .enumerate()
        .map(|(at, t)| (&t.name, at))
        .collect();
    let in_a: HashSet<&BString> = a.tensors.iter().map(|tensor| &tensor.name).collect();
    let moves = if only_numbers {
        HashMap::new()
    } else {
        moves(a, b, &in_b)
    };
    let mut found = Vec::new();
    let mut equal = 0;
    for (at, ours) in a.tensors.iter().enumerate() {
        let Some(theirs) = in_b.get(&ours.name).map(|&at| &b.tensors[at]) else {
            found.push(TensorDifference::one_sided(ours, true));
            continue;
        };
        let data = compare_data(ours, theirs, progress);
        let has_same_numbers = match &data {
            Data::Same => true,
            Data::Numbers(numbers) => only_numbers && numbers.differing == 0,
            _ => false,
        };
        let has_same_type = only_numbers || ours.type_name == theirs.type_name;
        let moved = moves.get(&at).copied();
        if has_same_numbers && has_same_type && moved.is_none() {
            equal += 1;
            continue;
        }
        found.push(TensorDifference {
            name: ours.name.clone(),
            a: Some(ours.form()),
            b: Some(theirs.form()),
            data,
            moved,
        });
    }
    let only_in_b = b.tensors.iter().filter(|tensor| !in_a.contains(&tensor.name));
    found.extend(only_in_b.map(|tensor| TensorDifference::one_sided(tensor, false)));
    (found, equal)
}

/// By their place in the first model, the tensors of both that are not in the order of the others: of the headers, or
/// of the data.
fn moves(a: &Side, b: &Side, in_b: &HashMap<&BString, usize>) -> HashMap<usize, (usize, usize)> {
    let mut shared: Vec<(usize, usize)> = a
        .tensors
        .iter()
        .enumerate()
        .filter_map(|(at, tensor)| Some((at, *in_b.get(&tensor.name)?)))
        .collect();
    let mut found = HashMap::new();
    let mut collect = |shared: &[(usize, usize)], places: &[usize]| {
        let pairs = shared.iter().zip(moved(places));
        found.extend(pairs.filter(|(_, moved)| *moved).map(|(&(a, b), _)| (a, (a, b))));
    };
    let places: Vec<usize> = shared.iter().map(|&(_, b)| b).collect();
    collect(&shared, &places);

    shared.sort_by_key(|&(at, _)| (a.tensors[at].place, at));
    let mut by_data: Vec<usize> = (0..b.tensors.len()).collect();
    by_data.sort_by_key(|&at| (b.tensors[at].place, at));
    let mut rank = vec![0; by_data.len()];
    for (place, at) in by_data.into_iter().enumerate() {
        rank[at] = place;
    }
    let places: Vec<usize> = shared.iter().map(|&(_, b)| rank[b]).collect();
    collect(&shared, &places);
    found
}

impl TensorDifference {
    fn one_sided(tensor: &Entry, is_first: bool) -> TensorDifference {
        let form = Some(tensor.form());
        let (a, b) = if is_first { (form, None) } else { (None, form) };
        TensorDifference {
            name: tensor.name.clone(),
            a,
            b,
            data: Data::None,
            moved: None,
        }
    }
}

impl Entry<'_> {
    fn form(&self) -> Form {
        Form {
            type_name: self.type_name.clone(),
            dims: self.dims.clone(),
        }
    }
}

fn compare_data(a: &Entry, b: &Entry, progress: &(dyn Fn(u64) + Sync)) -> Data {
    if a.dims != b.dims {
        return Data::None;
    }
    match (&a.content, &b.content) {
        (Content::Elsewhere, _) | (_, Content::Elsewhere) => Data::Same,
        (Content::Numbers(a), Content::Numbers(b)) => compare_numbers(a, b, progress),
        (Content::Bytes(ours, _), Content::Bytes(theirs, _)) if a.type_name == b.type_name => {
            match ours == theirs {
                true => Data::Same,
                false => Data::Bytes,
            }
        }
        (Content::Bytes(_, why) | Content::None(why), _)
        | (_, Content::Bytes(_, why) | Content::None(why)) => Data::Unreadable(why.clone()),
    }
}

fn compare_numbers(a: &Numbers, b: &Numbers, progress: &(dyn Fn(u64) + Sync)) -> Data {
    let chunks = (0..a.chunks()).into_par_iter();
    let has_same_bytes = |chunk| a.bytes(chunk) == b.bytes(chunk);
    if a.ggml_type() == b.ggml_type() && chunks.clone().all(has_same_bytes) {
        progress(a.len() as u64);
        return Data::Same;
    }
    // Summed in order, so that the figures do not depend on the cores.
    let parts: Vec<Part> = chunks
        .map_init(Buffers::default, |buffers, chunk| {
            let part = Part::of(a, b, chunk, buffers);
            progress(part.elements);
            part
        })
        .collect();
    let total = parts.into_iter().fold(Part::default(), Part::and);
    if total.differing == 0 && a.ggml_type() != b.ggml_type() {
        return Data::Same;
    }
    Data::Numbers(NumberDifference {
        elements: total.elements,
        differing: total.differing,
        first: total.first,
        not_finite: total.not_finite,
        max: total.deviation.max,
        rms: total.deviation.rms(total.finite),
        relative: total.deviation.relative(),
        cosine: total.deviation.cosine(),
    })
}

/// Room for the numbers of a chunk, of both sides.
#[derive(Default)]
struct Buffers {
    narrow: Vec<f32>,
    a: Vec<f64>,
    b: Vec<f64>,
}

/// What a run of elements gave.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    elements: u64,
    /// Pairs of which both are finite.
    finite: u64,
    differing: u64,
    /// Counted from the start of the run.
    first: Option<u64>,
    not_finite: u64,
    /// Of the second side from the first.
    deviation: Deviation,
}

impl Part {
    fn of(a: &Numbers, b: &Numbers, chunk: usize, buffers: &mut Buffers) -> Part {
        a.decode_wide(chunk, &mut buffers.narrow, &mut buffers.a);
        b.decode_wide(chunk, &mut buffers.narrow, &mut buffers.b);
        let mut part = Part::default();
        for (&a, &b) in buffers.a.iter().zip(&buffers.b) {
            let is_finite = a.is_finite() && b.is_finite();
            if is_finite {
                part.finite += 1;
                part.deviation.push(b, a);
            }
            if a != b && !(a.is_nan() && b.is_nan()) {
                part.differing += 1;
                part.not_finite += u64::from(!is_finite);
                part.first = part.first.or(Some(part.elements));
            }
            part.elements += 1;
        }
        part
    }

    /// Of two runs, the second behind the first.
    fn and(self, next: Part) -> Part {
        Part {
            elements: self.elements + next.elements,
            finite: self.finite + next.finite,
            differing: self.differing + next.differing,
            first: self.first.or(next.first.map(|first| self.elements + first)),
            not_finite: self.not_finite + next.not_finite,
            deviation: self.deviation.and(next.deviation),
        }
    }
}
