//! Formulas over named numbers: `heads * head_dim`, `head_dim.full / 2`. Left to right, no precedence.

use super::Number;
use serde::Deserialize;
use serde::de::{Deserializer, Error};

/// A product or quotient of names and numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Formula {
    text: String,
    /// Where it stands in its file, in bytes; 0 for one that is in no file.
    start: usize,
    first: Operand,
    rest: Vec<(Operator, Operand)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Number(Number),
    Name(String),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Operator {
    Times,
    Over,
}

impl Formula {
    /// Parses words separated by blanks: an operand, then operators (`*`, `/`) and operands in turn.
    pub fn parse(text: &str) -> Result<Formula, String> {
        let mut words = text.split_whitespace();
        let first = words
            .next()
            .map(Operand::parse)
            .ok_or_else(|| "an empty formula".to_owned())?;
        let mut rest = Vec::new();
        while let Some(operator) = words.next() {
            let operator = match operator {
                "*" => Operator::Times,
                "/" => Operator::Over,
                other => return Err(format!("{other:?} in formula {text:?} is neither * nor /")),
            };
            let operand = words
                .next()
                .ok_or_else(|| format!("formula {text:?} ends in an operator"))?;
            rest.push((operator, Operand::parse(operand)));
        }
        Ok(Formula {
            text: text.to_owned(),
            start: 0,
            first,
            rest,
        })
    }

    /// Where it stands in its file, in bytes.
    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// The name, where the formula is nothing but one.
    pub fn as_name(&self) -> Option<&str> {
        match (&self.first, self.rest.as_slice()) {
            (Operand::Name(name), []) => Some(name),
            _ => None,
        }
    }

    /// The number, where the formula is nothing but one.
    pub fn as_number(&self) -> Option<&Number> {
        match (&self.first, self.rest.as_slice()) {
            (Operand::Number(number), []) => Some(number),
            _ => None,
        }
    }

    /// The names in it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let operands = std::iter::once(&self.first).chain(self.rest.iter().map(|(_, operand)| operand));
        operands.filter_map(|operand| match operand {
            Operand::Name(name) => Some(name.as_str()),
            Operand::Number(_) => None,
        })
    }

    /// The value, with names looked up by `value_of`. Integers stay integers as long as divisions leave no remainder.
    /// The error is the first name that has no value, or words for a result that is none.
    pub fn eval(&self, value_of: &dyn Fn(&str) -> Option<Number>) -> Result<Number, String> {
        let value = |operand: &Operand| match operand {
            Operand::Number(number) => Ok(number.clone()),
            Operand::Name(name) => value_of(name).ok_or_else(|| name.clone()),
        };
        let mut result = value(&self.first)?;
        for (operator, operand) in &self.rest {
            let operand = value(operand)?;
            let (next, word) = match operator {
                Operator::Times => (result.times(&operand), "*"),
                Operator::Over => (result.over(&operand), "/"),
            };
            result = next.ok_or_else(|| format!("{result} {word} {operand}"))?;
        }
        Ok(result)
    }
}

impl Operand {
    fn parse(word: &str) -> Operand {
        let integer = word.parse().map(Number::Integer);
        let number = integer.or_else(|_| word.parse().map(Number::Real));
        number.map_or_else(
            |_: std::num::ParseFloatError| match word.parse() {
                Ok(truth) => Operand::Number(Number::Bool(truth)),
                Err(_) => Operand::Name(word.to_owned()),
            },
            Operand::Number,
        )
    }
}

impl std::fmt::Display for Formula {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Formula {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Formula, D::Error> {
        let text = toml::Spanned::<String>::deserialize(deserializer)?;
        let formula = Formula::parse(text.get_ref()).map_err(D::Error::custom)?;
        Ok(Formula {
            start: text.span().start,
            ..formula
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_apply_from_left_to_right() {
        let value_of = |name: &str| (name == "head_dim.full").then_some(Number::Integer(64));
        let eval = |text| Formula::parse(text).unwrap().eval(&value_of);
        assert_eq!(eval("2 * head_dim.full / 4"), Ok(Number::Integer(32)));
        assert_eq!(
            eval("head_dim.full / 3 * 0.5"),
            Ok(Number::Real(64.0 / 3.0 * 0.5))
        );
        assert_eq!(eval("1 / 0"), Err("1 / 0".to_owned()));
        assert_eq!(eval("heads * 2"), Err("heads".to_owned()));
        assert!(Formula::parse("2 *").is_err());
        assert!(Formula::parse("2 + 2").is_err());
        assert!(Formula::parse(" ").is_err());
    }
}
