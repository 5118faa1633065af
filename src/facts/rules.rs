//! What must hold between numbers: the rules of the architecture file, and what a pair must share.

use super::Target;
use crate::arch::{Arch, Bounds, Number, Numbers, PairRelation, PairSpec, Relation, Rule};
use crate::gguf::{GgufError, Value};

/// The rules that a file's values break.
pub(crate) fn broken_rules<'r, 'v>(
    arch: &'r Arch,
    value: impl Fn(&str) -> Option<&'v Value>,
) -> impl Iterator<Item = &'r Rule> {
    arch.rules.iter().filter(move |rule| {
        let [first, second] = &rule.keys;
        let (Some(first), Some(second)) = (value(first), value(second)) else {
            return false;
        };
        match rule.must {
            Relation::Agree => differ(first, second),
            Relation::Differ => !differ(first, second),
        }
    })
}

/// Whether two values are other numbers; a single one stands for as many as there are layers. What is no number does not
/// differ.
pub(crate) fn differ(a: &Value, b: &Value) -> bool {
    let list = |value: &Value| match Number::from_value(value)? {
        Number::List(items) => Some(items),
        Number::Text(_) => None,
        one => Some(vec![one]),
    };
    let (Some(a), Some(b)) = (list(a), list(b)) else {
        return false;
    };
    let at = |list: &[Number], i: usize| match list {
        [one] => comparable(Some(one)),
        several => comparable(several.get(i)),
    };
    (0..a.len().max(b.len())).any(|i| at(&a, i) != at(&b, i))
}

/// A number by its value alone: truth values count as 1 and 0, as in patterns of layers that are written as integers.
fn comparable(number: Option<&Number>) -> Option<f64> {
    match number? {
        Number::Bool(truth) => Some(f64::from(u8::from(*truth))),
        other => other.as_f64(),
    }
}

/// A number that drafter and target should share, and do not.
pub(crate) struct Mismatch<'a> {
    pub pair: &'a PairSpec,
    pub kind: MismatchKind,
}

/// What of a shared number is wrong.
pub(crate) enum MismatchKind {
    /// It is another in the target.
    Differs { ours: Number, theirs: Number },
    /// The target's is not allowed.
    Outside { found: Number, allowed: String },
    /// The target does not have it.
    Missing,
    /// The target's cannot be read.
    Unreadable(GgufError),
}

/// Whether a drafter's number, or each element of a list, relates to the target's as it should.
fn fits(ours: &Number, theirs: &Number, must: PairRelation) -> bool {
    if let Number::List(items) = ours {
        return items.iter().all(|item| fits(item, theirs, must));
    }
    let holds = |relation: fn(f64, f64) -> bool| {
        let both = ours.as_f64().zip(theirs.as_f64());
        both.is_some_and(|(ours, theirs)| relation(ours, theirs))
    };
    match must {
        PairRelation::Agree => ours == theirs,
        PairRelation::Below => holds(|ours, theirs| ours < theirs),
        PairRelation::Within => holds(|ours, theirs| ours <= theirs),
    }
}

/// The numbers that drafter and target should share, and do not. What the drafter does not have is not compared.
pub(crate) fn mismatches<'a>(
    arch: &'a Arch,
    numbers: &'a Numbers,
    target: Target<'a>,
) -> impl Iterator<Item = Mismatch<'a>> {
    let applies = move |pair: &&PairSpec| numbers.applies(pair.when.as_deref());
    arch.pairs.iter().filter(applies).filter_map(move |pair| {
        let or = || numbers.get(pair.or.as_deref()?, None);
        let ours = numbers.get(&pair.hparam, None).or_else(or)?;
        let kind = match target.number(&pair.target, pair.of_layer) {
            Ok(Some(found)) => {
                let bounds = Bounds {
                    list: false,
                    ..arch.hparam(&pair.hparam)?.bounds()
                };
                match bounds.admit(found.clone()) {
                    Some(theirs) if fits(&ours, &theirs, pair.must) => return None,
                    Some(theirs) => MismatchKind::Differs { ours, theirs },
                    None => MismatchKind::Outside {
                        found,
                        allowed: bounds.to_string(),
                    },
                }
            }
            Ok(None) => MismatchKind::Missing,
            Err(error) => MismatchKind::Unreadable(error),
        };
        Some(Mismatch { pair, kind })
    })
}
