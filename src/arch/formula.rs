//! Formulas over named numbers: `heads * head_dim`, `head_dim.full / 2`. Left to right, no precedence; of a list each
//! element by itself.

use super::Number;
use serde::Deserialize;
use serde::de::{Deserializer, Error};

/// What operators make of names, numbers and texts.
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
    /// Without what is behind the point.
    OverFloor,
    Plus,
    Minus,
    Power,
}

impl Operator {
    const ALL: [(Operator, &str); 6] = [
        (Operator::Times, "*"),
        (Operator::Over, "/"),
        (Operator::OverFloor, "//"),
        (Operator::Plus, "+"),
        (Operator::Minus, "-"),
        (Operator::Power, "^"),
    ];

    fn parse(word: &str) -> Option<Operator> {
        let (operator, _) = Operator::ALL.iter().find(|(_, known)| *known == word)?;
        Some(*operator)
    }

    fn word(self) -> &'static str {
        let found = Operator::ALL.iter().find(|(operator, _)| *operator == self);
        found.map_or("", |(_, word)| word)
    }

    fn apply(self, a: &Number, b: &Number) -> Option<Number> {
        if let Number::List(items) = a {
            let items = items.iter().map(|item| self.apply(item, b));
            return items.collect::<Option<_>>().map(Number::List);
        }
        match self {
            Operator::Times => a.times(b),
            Operator::Over => a.over(b),
            Operator::OverFloor => a.over_floor(b),
            Operator::Plus => a.plus(b),
            Operator::Minus => a.minus(b),
            Operator::Power => a.power(b),
        }
    }
}

impl Formula {
    /// Parses words separated by blanks: an operand, then operators (`*`, `/`, `//`, `+`, `-`, `^`) and operands in turn.
    /// A text stands in single quotes.
    pub fn parse(text: &str) -> Result<Formula, String> {
        let mut words = text.split_whitespace();
        let first = words
            .next()
            .map(Operand::parse)
            .ok_or_else(|| "an empty formula".to_owned())?;
        let mut rest = Vec::new();
        while let Some(operator) = words.next() {
            let operator = Operator::parse(operator).ok_or_else(|| {
                let known = Operator::ALL.map(|(_, word)| word).join(" ");
                format!("{operator:?} in formula {text:?} is no operator, which are {known}")
            })?;
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

    /// The number or text, where the formula is nothing but one.
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
            let next = operator.apply(&result, &operand);
            result = next.ok_or_else(|| format!("{result} {} {operand}", operator.word()))?;
        }
        Ok(result)
    }
}

impl Operand {
    fn parse(word: &str) -> Operand {
        let quoted = word.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        if let Some(text) = quoted {
            return Operand::Number(Number::Text(text.to_owned()));
        }
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
        assert_eq!(eval("7 // 2 + 1 - 5"), Ok(Number::Integer(-1)));
        assert_eq!(eval("7 // 0"), Err("7 // 0".to_owned()));
        assert_eq!(eval("head_dim.full ^ 0.5"), Ok(Number::Real(8.0)));
        assert_eq!(eval("'silu'"), Ok(Number::Text("silu".to_owned())));
        assert_eq!(eval("'silu' * 2"), Err("\"silu\" * 2".to_owned()));
        assert_eq!(eval("heads * 2"), Err("heads".to_owned()));
        assert!(Formula::parse("2 *").is_err());
        assert!(Formula::parse("2 % 2").is_err());
        assert!(Formula::parse(" ").is_err());
    }

    #[test]
    fn operators_apply_to_each_element_of_a_list() {
        let list = |items: &[i128]| Number::List(items.iter().copied().map(Number::Integer).collect());
        let value_of = |_: &str| Some(list(&[0, 2, 3]));
        let formula = Formula::parse("layers + 1").unwrap();
        assert_eq!(formula.eval(&value_of), Ok(list(&[1, 3, 4])));
    }
}
