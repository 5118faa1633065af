//! What a config, a metadata key or a formula says: a typed number, and the bounds in which it must lie.

use crate::gguf::{Array, Value, ValueType};
use serde::Deserialize;
use serde_json::Value as Json;

/// A setting of a model with its type. Integers are exact.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "Written")]
#[allow(missing_docs)]
pub enum Number {
    Bool(bool),
    /// Wide enough for every integer of JSON and GGUF.
    Integer(i128),
    Real(f64),
    Text(String),
    List(Vec<Number>),
}

/// A number as TOML has it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Bool(bool),
    Integer(i64),
    Real(f64),
    Text(String),
    List(Vec<Number>),
}

impl From<Written> for Number {
    fn from(written: Written) -> Number {
        match written {
            Written::Bool(truth) => Number::Bool(truth),
            Written::Integer(n) => Number::Integer(n.into()),
            Written::Real(x) => Number::Real(x),
            Written::Text(text) => Number::Text(text),
            Written::List(items) => Number::List(items),
        }
    }
}

/// The type that a number must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Kind {
    Integer,
    Real,
    Bool,
    Text,
}

/// Type and limits of a number. An infinity or NaN is never allowed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bounds {
    /// Its type; of a list, that of the elements.
    pub kind: Option<Kind>,
    /// Whether it is a list; then the limits hold for each element.
    pub list: bool,
    /// The least that it may be.
    pub min: Option<Number>,
    /// What it must be greater than.
    pub above: Option<Number>,
    /// The most that it may be.
    pub max: Option<Number>,
    /// All that it may be.
    pub one_of: Vec<Number>,
}

impl Number {
    /// What JSON says; `None` for null and objects.
    pub(crate) fn from_json(json: &Json) -> Option<Number> {
        Some(match json {
            Json::Null | Json::Object(_) => return None,
            Json::Bool(truth) => Number::Bool(*truth),
            Json::String(text) => Number::Text(text.clone()),
            Json::Array(items) => Number::List(items.iter().map(Number::from_json).collect::<Option<_>>()?),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(n), _) => Number::Integer(n.into()),
                (None, Some(n)) => Number::Integer(n.into()),
                (None, None) => Number::Real(number.as_f64()?),
            },
        })
    }

    /// What a metadata value says; `None` for text that is no UTF-8 and arrays within an array.
    pub(crate) fn from_value(value: &Value) -> Option<Number> {
        Some(match value {
            Value::Bool(truth) => Number::Bool(*truth),
            Value::String(text) => Number::Text(str::from_utf8(text).ok()?.to_owned()),
            Value::Array(Array::Array(_)) => return None,
            Value::Array(array) => Number::List(
                (0..array.len())
                    .map(|i| Number::from_value(&array.get(i)?))
                    .collect::<Option<_>>()?,
            ),
            Value::F32(_) | Value::F64(_) => Number::Real(value.as_f64()?),
            Value::I64(n) => Number::Integer((*n).into()),
            Value::I32(n) => Number::Integer((*n).into()),
            Value::I16(n) => Number::Integer((*n).into()),
            Value::I8(n) => Number::Integer((*n).into()),
            unsigned => Number::Integer(unsigned.as_u64()?.into()),
        })
    }

    /// The number as a real one; `None` for what is no number.
    pub(crate) fn as_f64(&self) -> Option<f64> {
        match self {
            Number::Integer(n) => Some(*n as f64),
            Number::Real(x) => Some(*x),
            Number::Bool(_) | Number::Text(_) | Number::List(_) => None,
        }
    }

    /// The number as a count, if it is one.
    pub(crate) fn as_count(&self) -> Option<usize> {
        match self {
            Number::Integer(n) => usize::try_from(*n).ok(),
            _ => None,
        }
    }

    /// The number with what is behind the point cut off.
    pub(crate) fn floor(self) -> Number {
        match self {
            Number::Real(x) => whole(x.floor()).unwrap_or(Number::Real(x)),
            other => other,
        }
    }

    /// The product; `None` for what is no number, or too large.
    pub(crate) fn times(&self, other: &Number) -> Option<Number> {
        match (self, other) {
            (Number::Integer(a), Number::Integer(b)) => a.checked_mul(*b).map(Number::Integer),
            (a, b) => Some(Number::Real(a.as_f64()? * b.as_f64()?)),
        }
    }

    /// The quotient, an integer where there is no remainder; `None` for what is no number, and by 0.
    pub(crate) fn over(&self, other: &Number) -> Option<Number> {
        match (self, other) {
            (Number::Integer(a), Number::Integer(b)) if a.checked_rem(*b)? == 0 => {
                a.checked_div(*b).map(Number::Integer)
            }
            (a, b) => Some(Number::Real(a.as_f64()? / b.as_f64()?)),
        }
    }

    /// The sum; `None` for what is no number, or too large.
    pub(crate) fn plus(&self, other: &Number) -> Option<Number> {
        match (self, other) {
            (Number::Integer(a), Number::Integer(b)) => a.checked_add(*b).map(Number::Integer),
            (a, b) => Some(Number::Real(a.as_f64()? + b.as_f64()?)),
        }
    }

    /// The difference; `None` for what is no number, or too large.
    pub(crate) fn minus(&self, other: &Number) -> Option<Number> {
        match (self, other) {
            (Number::Integer(a), Number::Integer(b)) => a.checked_sub(*b).map(Number::Integer),
            (a, b) => Some(Number::Real(a.as_f64()? - b.as_f64()?)),
        }
    }

    /// The quotient without what is behind the point; `None` for what is no number, and by 0.
    pub(crate) fn over_floor(&self, other: &Number) -> Option<Number> {
        match (self, other) {
            (Number::Integer(a), Number::Integer(b)) => a.checked_div_euclid(*b).map(Number::Integer),
            (a, b) => Some(Number::Real(a.as_f64()? / b.as_f64()?).floor()),
        }
    }

    /// The power, a real number; `None` for what is no number.
    pub(crate) fn power(&self, other: &Number) -> Option<Number> {
        Some(Number::Real(self.as_f64()?.powf(other.as_f64()?)))
    }

    /// The number in the type that is asked for, where it is the same number there.
    fn cast(self, kind: Kind) -> Option<Number> {
        match (kind, self) {
            (Kind::Integer, Number::Real(x)) => whole(x),
            (Kind::Real, Number::Integer(n)) => Some(Number::Real(n as f64)),
            (Kind::Real, Number::Real(x)) if !x.is_finite() => None,
            (Kind::Integer, n @ Number::Integer(_))
            | (Kind::Real, n @ Number::Real(_))
            | (Kind::Bool, n @ Number::Bool(_))
            | (Kind::Text, n @ Number::Text(_)) => Some(n),
            _ => None,
        }
    }
}

/// A real number as an integer, if it is one that f64 holds exactly.
fn whole(x: f64) -> Option<Number> {
    (x.fract() == 0.0 && x.abs() < 2_f64.powi(53)).then_some(Number::Integer(x as i128))
}

impl From<u64> for Number {
    fn from(n: u64) -> Number {
        Number::Integer(n.into())
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Number::Bool(truth) => truth.fmt(f),
            Number::Integer(n) => n.fmt(f),
            // As short as can be read back, in powers of ten where the digits would run on.
            Number::Real(x) if *x != 0.0 && !(1e-12..1e15).contains(&x.abs()) => write!(f, "{x:e}"),
            Number::Real(x) => x.fmt(f),
            Number::Text(text) => write!(f, "{text:?}"),
            Number::List(items) => {
                let items: Vec<String> = items.iter().map(Number::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
        }
    }
}

impl Bounds {
    /// The number in its type, if it is allowed.
    pub fn admit(&self, number: Number) -> Option<Number> {
        match number {
            Number::List(items) if self.list => {
                let items = items.into_iter().map(|item| self.admit_one(item));
                items.collect::<Option<_>>().map(Number::List)
            }
            _ if self.list => None,
            one => self.admit_one(one),
        }
    }

    fn admit_one(&self, number: Number) -> Option<Number> {
        let number = match self.kind {
            Some(kind) => number.cast(kind)?,
            None => number,
        };
        let value = number.as_f64();
        let holds = |limit: &Option<Number>, is_kept: fn(f64, f64) -> bool| match limit {
            None => true,
            Some(limit) => value
                .zip(limit.as_f64())
                .is_some_and(|(value, limit)| is_kept(value, limit)),
        };
        let is_allowed = holds(&self.min, |value, limit| value >= limit)
            && holds(&self.above, |value, limit| value > limit)
            && holds(&self.max, |value, limit| value <= limit)
            && (self.one_of.is_empty() || self.one_of.contains(&number));
        is_allowed.then_some(number)
    }
}

/// What is allowed, in words.
impl std::fmt::Display for Bounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match (self.kind, self.list) {
            (Some(Kind::Integer), false) => "an integer",
            (Some(Kind::Integer), true) => "a list of integers",
            (Some(Kind::Real) | None, false) => "a number",
            (Some(Kind::Real) | None, true) => "a list of numbers",
            (Some(Kind::Bool), false) => "true or false",
            (Some(Kind::Bool), true) => "a list of true and false",
            (Some(Kind::Text), false) => "a string",
            (Some(Kind::Text), true) => "a list of strings",
        };
        f.write_str(kind)?;
        match (&self.min, &self.max) {
            (Some(min), Some(max)) => write!(f, " from {min} to {max}")?,
            (Some(min), None) => write!(f, " of at least {min}")?,
            (None, Some(max)) if self.above.is_none() => write!(f, " of at most {max}")?,
            (None, _) => {}
        }
        if let Some(above) = &self.above {
            write!(f, " above {above}")?;
            if let (None, Some(max)) = (&self.min, &self.max) {
                write!(f, " and at most {max}")?;
            }
        }
        if !self.one_of.is_empty() {
            let words: Vec<String> = self.one_of.iter().map(Number::to_string).collect();
            write!(f, ": {}", words.join(" or "))?;
        }
        Ok(())
    }
}

/// Types of metadata values that an architecture file can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum ScalarType {
    U32,
    I32,
    F32,
    Bool,
    String,
}

/// A number that has no place in a metadata value of the type that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it would be {found}; expected {allowed}")]
pub struct Misfit {
    /// The number.
    pub found: String,
    /// What the type holds, in words.
    pub allowed: &'static str,
}

impl ScalarType {
    /// A number as a value of this type. Nothing is rounded but a real number to the nearest of its width.
    pub(crate) fn value(self, number: &Number) -> Result<Value, Misfit> {
        let misfit = || Misfit {
            found: number.to_string(),
            allowed: self.allowed(),
        };
        self.fitting(number).ok_or_else(misfit)
    }

    fn fitting(self, number: &Number) -> Option<Value> {
        let integer = || match number.clone().cast(Kind::Integer)? {
            Number::Integer(n) => Some(n),
            _ => None,
        };
        Some(match self {
            ScalarType::U32 => Value::U32(integer()?.try_into().ok()?),
            ScalarType::I32 => Value::I32(integer()?.try_into().ok()?),
            ScalarType::F32 => {
                let exact = number.as_f64()?;
                let rounded = exact as f32;
                let is_lost = !rounded.is_finite() || (rounded == 0.0 && exact != 0.0);
                Value::F32((!is_lost).then_some(rounded)?)
            }
            ScalarType::Bool => match number {
                Number::Bool(truth) => Value::Bool(*truth),
                _ => return None,
            },
            ScalarType::String => match number {
                Number::Text(text) => Value::from(text.as_str()),
                _ => return None,
            },
        })
    }

    /// Numbers as an array of this type.
    pub(crate) fn array(self, numbers: &[Number]) -> Result<Array, Misfit> {
        macro_rules! collect {
            ($variant:ident, $array:expr) => {{
                let values = numbers.iter().map(|number| match self.value(number)? {
                    Value::$variant(value) => Ok(value),
                    _ => Err(Misfit {
                        found: number.to_string(),
                        allowed: self.allowed(),
                    }),
                });
                $array(values.collect::<Result<_, Misfit>>()?)
            }};
        }
        Ok(match self {
            ScalarType::U32 => collect!(U32, Array::U32),
            ScalarType::I32 => collect!(I32, Array::I32),
            ScalarType::F32 => collect!(F32, Array::F32),
            ScalarType::Bool => collect!(Bool, Array::Bool),
            ScalarType::String => collect!(String, Array::String),
        })
    }

    /// What a GGUF calls it.
    pub(crate) fn value_type(self) -> ValueType {
        match self {
            ScalarType::U32 => ValueType::U32,
            ScalarType::I32 => ValueType::I32,
            ScalarType::F32 => ValueType::F32,
            ScalarType::Bool => ValueType::Bool,
            ScalarType::String => ValueType::String,
        }
    }

    fn allowed(self) -> &'static str {
        match self {
            ScalarType::U32 => "an integer from 0 to 4294967295",
            ScalarType::I32 => "an integer from -2147483648 to 2147483647",
            ScalarType::F32 => "a number that f32 can hold",
            ScalarType::Bool => "true or false",
            ScalarType::String => "a string",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer() -> Bounds {
        Bounds {
            kind: Some(Kind::Integer),
            min: Some(Number::Integer(1)),
            max: Some(Number::Integer(10)),
            ..Bounds::default()
        }
    }

    #[test]
    fn integers_stay_exact() {
        let large = Number::Integer(i128::from(u64::MAX));
        assert_eq!(Number::from_json(&u64::MAX.into()), Some(large.clone()));
        let doubled = large.times(&Number::Integer(2)).unwrap();
        assert_eq!(doubled.over(&Number::Integer(2)), Some(large));
        assert_eq!(
            Number::Integer(i128::MAX).times(&Number::Integer(2)),
            None,
            "too large"
        );
        assert_eq!(
            Number::Integer(3).over(&Number::Integer(2)),
            Some(Number::Real(1.5))
        );
        assert_eq!(Number::Integer(3).over(&Number::Integer(0)), None);
    }

    #[test]
    fn bounds_admit_what_is_allowed_and_nothing_else() {
        for good in [Number::Integer(1), Number::Integer(10), Number::Real(3.0)] {
            assert!(matches!(integer().admit(good), Some(Number::Integer(1..=10))));
        }
        let bad = [
            Number::Integer(0),
            Number::Integer(11),
            Number::Real(3.5),
            Number::Real(f64::NAN),
            Number::Bool(true),
            Number::Text("3".to_owned()),
            Number::List(vec![Number::Integer(3)]),
        ];
        for bad in bad {
            assert_eq!(integer().admit(bad.clone()), None, "{bad}");
        }
        let real = Bounds {
            kind: Some(Kind::Real),
            above: Some(Number::Integer(0)),
            ..Bounds::default()
        };
        assert_eq!(real.admit(Number::Integer(2)), Some(Number::Real(2.0)));
        assert_eq!(real.admit(Number::Real(0.0)), None);
        assert_eq!(real.admit(Number::Real(f64::INFINITY)), None);
        assert_eq!(integer().to_string(), "an integer from 1 to 10");
        assert_eq!(real.to_string(), "a number above 0");
    }

    #[test]
    fn a_value_takes_only_what_it_can_hold() {
        for (ty, bad) in [
            (ScalarType::U32, Number::Integer(-5)),
            (ScalarType::U32, Number::Real(131072.5)),
            (ScalarType::U32, Number::Integer(1_000_000_000_000)),
            (ScalarType::I32, Number::Integer(1 << 31)),
            (ScalarType::F32, Number::Real(1e300)),
            (ScalarType::F32, Number::Real(1e-300)),
            (ScalarType::F32, Number::Real(f64::NAN)),
            (ScalarType::Bool, Number::Integer(1)),
        ] {
            assert!(ty.value(&bad).is_err(), "{bad} as {ty:?}");
        }
        assert_eq!(ScalarType::U32.value(&Number::Real(8.0)), Ok(Value::U32(8)));
    }
}
