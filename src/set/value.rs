//! Values as they are typed on a command line.

use crate::gguf::{Array, Strings, Value, ValueType};
use serde_json::Value as Json;
use std::fmt;

/// The type of a value: a single one, or a list of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueSpec {
    /// A single value.
    One(ValueType),
    /// A list.
    Many(ValueType),
}

impl fmt::Display for ValueSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueSpec::One(ty) => f.write_str(ty.name()),
            ValueSpec::Many(ty) => write!(f, "{}[]", ty.name()),
        }
    }
}

/// The types that can be typed.
const TYPES: [ValueType; 12] = [
    ValueType::U8,
    ValueType::I8,
    ValueType::U16,
    ValueType::I16,
    ValueType::U32,
    ValueType::I32,
    ValueType::U64,
    ValueType::I64,
    ValueType::F32,
    ValueType::F64,
    ValueType::Bool,
    ValueType::String,
];

/// Reads `u32`, `string`, `f32[]`.
pub fn parse_type(text: &str) -> Result<ValueSpec, String> {
    let (name, is_list) = match text.strip_suffix("[]") {
        Some(name) => (name, true),
        None => (text, false),
    };
    let ty = TYPES.into_iter().find(|ty| ty.name() == name).ok_or_else(|| {
        let names: Vec<&str> = TYPES.iter().map(|ty| ty.name()).collect();
        format!(
            "{text:?} is no type; those are {}, and each with [] for a list",
            names.join(", ")
        )
    })?;
    Ok(match is_list {
        true => ValueSpec::Many(ty),
        false => ValueSpec::One(ty),
    })
}

impl ValueSpec {
    /// That of a value.
    pub(super) fn of(value: &Value) -> ValueSpec {
        match value {
            Value::Array(array) => ValueSpec::Many(array.element_type()),
            value => ValueSpec::One(value.value_type()),
        }
    }

    /// Reads a value: a list as JSON has it.
    pub(super) fn parse(self, text: &str) -> Result<Value, String> {
        let ty = match self {
            ValueSpec::One(ty) => return one(ty, text),
            ValueSpec::Many(ty) => ty,
        };
        let items: Vec<Json> = serde_json::from_str(text)
            .map_err(|_| "give a list as JSON: [1, 2], [\"a\", \"b\"]".to_owned())?;
        let item = |json: &Json| match (json, ty) {
            (Json::String(text), ValueType::String) => one(ty, text),
            (Json::String(_) | Json::Array(_) | Json::Object(_), _) | (_, ValueType::String) => {
                Err(format!("{json} is no {}", ty.name()))
            }
            (json, _) => one(ty, &json.to_string()),
        };
        let values = items.iter().map(item).collect::<Result<Vec<Value>, String>>()?;
        list(ty, values).ok_or_else(|| "lists within lists cannot be typed".to_owned())
    }
}

fn one(ty: ValueType, text: &str) -> Result<Value, String> {
    fn number<T: std::str::FromStr + Into<Value>>(text: &str, allowed: &str) -> Result<Value, String> {
        text.trim()
            .parse::<T>()
            .map(Into::into)
            .map_err(|_| format!("give {allowed}"))
    }
    match ty {
        ValueType::U8 => number::<u8>(text, "an integer from 0 to 255"),
        ValueType::I8 => number::<i8>(text, "an integer from -128 to 127"),
        ValueType::U16 => number::<u16>(text, "an integer from 0 to 65535"),
        ValueType::I16 => number::<i16>(text, "an integer from -32768 to 32767"),
        ValueType::U32 => number::<u32>(text, "an integer from 0 to 4294967295"),
        ValueType::I32 => number::<i32>(text, "an integer from -2147483648 to 2147483647"),
        ValueType::U64 => number::<u64>(text, "an integer from 0 to 2^64 - 1"),
        ValueType::I64 => number::<i64>(text, "an integer from -2^63 to 2^63 - 1"),
        ValueType::F32 => match text.trim().parse::<f32>() {
            // A number that no f32 holds would become an infinity.
            Ok(value) if value.is_finite() => Ok(value.into()),
            _ => Err("give a number that an f32 holds".to_owned()),
        },
        ValueType::F64 => match text.trim().parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value.into()),
            _ => Err("give a number that an f64 holds".to_owned()),
        },
        ValueType::Bool => number::<bool>(text, "true or false"),
        ValueType::String => Ok(text.into()),
        ValueType::Array => Err("lists within lists cannot be typed".to_owned()),
    }
}

/// The list of values that are all of this type.
fn list(ty: ValueType, values: Vec<Value>) -> Option<Value> {
    macro_rules! gather {
        ($($name:ident),*) => {
            match ty {
                $(ValueType::$name => Array::$name(
                    values.into_iter().filter_map(|value| match value {
                        Value::$name(value) => Some(value),
                        _ => None,
                    }).collect(),
                ),)*
                ValueType::String => {
                    let mut strings = Strings::with_capacity(values.len());
                    for value in &values {
                        strings.push(value.as_bytes()?);
                    }
                    Array::String(strings)
                }
                ValueType::Array => return None,
            }
        };
    }
    Some(gather!(U8, I8, U16, I16, U32, I32, F32, Bool, U64, I64, F64).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_of_their_type_or_refused() {
        let parse = |ty: &str, text: &str| parse_type(ty).unwrap().parse(text);
        assert_eq!(parse("u32", "7"), Ok(Value::U32(7)));
        assert_eq!(parse("f32", "1e-6"), Ok(Value::F32(1e-6)));
        assert_eq!(parse("bool", "true"), Ok(Value::Bool(true)));
        assert_eq!(parse("string", " a=b "), Ok(" a=b ".into()));
        assert_eq!(parse("i8[]", "[1, -2]"), Ok(Array::I8(vec![1, -2]).into()));
        assert_eq!(parse("bool[]", "[]"), Ok(Array::Bool(vec![]).into()));
        let strings: Strings = ["a", "7"].into_iter().collect();
        assert_eq!(
            parse("string[]", "[\"a\", \"7\"]"),
            Ok(Array::String(strings).into())
        );
        for (ty, text) in [
            ("u32", "-1"),
            ("u32", "1.5"),
            ("u8", "256"),
            ("f32", "1e39"),
            ("f64", "nan"),
            ("bool", "1"),
            ("u32[]", "1,2"),
            ("u32[]", "[1, \"2\"]"),
            ("string[]", "[1]"),
            ("u32[]", "[[1]]"),
        ] {
            assert!(parse(ty, text).is_err(), "{ty} {text}");
        }
        assert!(parse_type("u33").is_err() && parse_type("[]").is_err());
    }
}
