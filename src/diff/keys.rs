//! Metadata against metadata.

use super::order::moved;
use super::side::Side;
use crate::gguf::{Array, Metadata, Value};
use bstr::{BStr, BString};
use std::collections::HashMap;

/// A key that differs between two models.
#[derive(Debug, Clone)]
pub struct KeyDifference {
    /// The key.
    pub key: BString,
    /// Its value in the first model.
    pub a: Option<Value>,
    /// Its value in the second.
    pub b: Option<Value>,
    /// Where lists and strings that differ do so. Absent for other values, and where the types differ.
    pub first: Option<FirstDifference>,
    /// Its places among the keys of either, counted from 0, where it is not in the order of the others.
    pub moved: Option<(usize, usize)>,
}

/// Where two lists or strings differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstDifference {
    /// The first element that differs, or byte of a string, counted from 0. It may lie behind the end of one of them.
    pub index: usize,
    /// How many differ, those that only one has included.
    pub count: usize,
}

impl KeyDifference {
    /// Whether the values differ, or only one model has the key.
    pub fn has_other_value(&self) -> bool {
        match (&self.a, &self.b) {
            (Some(a), Some(b)) => !is_same(a, b),
            _ => true,
        }
    }
}

/// The keys that differ, and the number of those that do not. Without `ordered` their order is not looked at.
pub(super) fn compare(a: &Side, b: &Side, ordered: bool) -> (Vec<KeyDifference>, usize) {
    let (Some(a), Some(b)) = (&a.keys, &b.keys) else {
        return (Vec::new(), 0);
    };
    let places = if ordered { moves(a, b) } else { HashMap::new() };
    let places_of_b: HashMap<&BStr, &Value> = b.iter().collect();
    let mut found = Vec::new();
    let mut equal = 0;
    for (key, value) in a.iter() {
        let other = places_of_b.get(key).copied();
        let moved = places.get(key).copied();
        if other.is_some_and(|other| is_same(value, other)) && moved.is_none() {
            equal += 1;
            continue;
        }
        found.push(KeyDifference {
            key: key.into(),
            a: Some(value.clone()),
            b: other.cloned(),
            first: other.and_then(|other| first_difference(value, other)),
            moved,
        });
    }
    let in_a: HashMap<&BStr, &Value> = a.iter().collect();
    found.extend(
        b.iter()
            .filter(|(key, _)| !in_a.contains_key(key))
            .map(|(key, value)| KeyDifference {
                key: key.into(),
                a: None,
                b: Some(value.clone()),
                first: None,
                moved: None,
            }),
    );
    (found, equal)
}

/// The keys of both that are not in the order of the others, with their places.
fn moves<'m>(a: &'m Metadata, b: &Metadata) -> HashMap<&'m BStr, (usize, usize)> {
    let in_b: HashMap<&BStr, usize> = b.iter().enumerate().map(|(at, (key, _))| (key, at)).collect();
    let place = |(at, (key, _)): (usize, (&'m BStr, _))| Some((key, (at, *in_b.get(key)?)));
    let shared: Vec<(&BStr, (usize, usize))> = a.iter().enumerate().filter_map(place).collect();
    let places: Vec<usize> = shared.iter().map(|(_, (_, at))| *at).collect();
    let pairs = shared.into_iter().zip(moved(&places));
    pairs.filter(|(_, moved)| *moved).map(|(pair, _)| pair).collect()
}

/// Whether two values are of one type and say the same. Floats are the same where their bits are.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::F32(a), Value::F32(b)) => a.to_bits() == b.to_bits(),
        (Value::F64(a), Value::F64(b)) => a.to_bits() == b.to_bits(),
        (Value::Array(a), Value::Array(b)) => is_same_array(a, b),
        _ => a == b,
    }
}

fn is_same_array(a: &Array, b: &Array) -> bool {
    match (a, b) {
        (Array::F32(a), Array::F32(b)) => a.iter().map(|v| v.to_bits()).eq(b.iter().map(|v| v.to_bits())),
        (Array::F64(a), Array::F64(b)) => a.iter().map(|v| v.to_bits()).eq(b.iter().map(|v| v.to_bits())),
        (Array::Array(a), Array::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same_array(a, b))
        }
        _ => a == b,
    }
}

/// Where two lists of one type, or two strings, begin to differ.
fn first_difference(a: &Value, b: &Value) -> Option<FirstDifference> {
    let found = |shared: usize, lens: [usize; 2], is_same: &dyn Fn(usize) -> bool| {
        let differing = || (0..shared).filter(|&at| !is_same(at));
        let surplus = lens[0].abs_diff(lens[1]);
        let count = differing().count() + surplus;
        (count > 0).then(|| FirstDifference {
            index: differing().next().unwrap_or(shared),
            count,
        })
    };
    match (a, b) {
        (Value::String(a), Value::String(b)) => found(a.len().min(b.len()), [a.len(), b.len()], &|at| {
            a.get(at) == b.get(at)
        }),
        (Value::Array(a), Value::Array(b)) if a.element_type() == b.element_type() => {
            let same = |at| matches!((a.get(at), b.get(at)), (Some(a), Some(b)) if is_same(&a, &b));
            found(a.len().min(b.len()), [a.len(), b.len()], &same)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_the_same_where_their_bits_are() {
        assert!(is_same(&Value::F32(f32::NAN), &Value::F32(f32::NAN)));
        assert!(!is_same(&Value::F32(0.0), &Value::F32(-0.0)));
        let nested = |v| Value::Array(Array::Array(vec![Array::F64(vec![v])]));
        assert!(is_same(&nested(f64::NAN), &nested(f64::NAN)));
        assert!(!is_same(&nested(0.0), &nested(-0.0)));
        assert!(!is_same(&Value::U32(1), &Value::I32(1)));
    }

    #[test]
    fn the_first_difference_and_how_many() {
        let list = |items: &[&str]| Value::Array(Array::String(items.iter().collect()));
        let first = |a: &Value, b: &Value| first_difference(a, b).map(|first| (first.index, first.count));
        assert_eq!(
            first(&list(&["a", "b", "c"]), &list(&["a", "x", "y"])),
            Some((1, 2))
        );
        assert_eq!(
            first(&list(&["a", "b"]), &list(&["a", "b", "c", "d"])),
            Some((2, 2))
        );
        assert_eq!(first(&list(&["a"]), &list(&["a"])), None);
        assert_eq!(first(&list(&["a"]), &Value::Array(Array::U8(vec![1]))), None);
        assert_eq!(first(&"abc".into(), &"abd".into()), Some((2, 1)));
        assert_eq!(first(&Value::U8(1), &Value::U8(2)), None);
    }
}
