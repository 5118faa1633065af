//! Where in an architecture file something stands.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A step from a table or list of a TOML file to a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The value of this key.
    Key(String),
    /// The item at this place.
    Item(usize),
}

/// A TOML file with the place of each value.
pub(super) struct Places<'t> {
    text: &'t str,
    root: Spanned<DeTable<'t>>,
}

impl<'t> Places<'t> {
    /// Reads a file that is valid TOML.
    pub(super) fn of(text: &'t str) -> Result<Places<'t>, toml::de::Error> {
        let root = DeTable::parse(text)?;
        Ok(Places { text, root })
    }

    /// The line, from 1, of what the steps lead to, or of the last part on the way that exists.
    pub(super) fn line_of(&self, steps: &[Step]) -> usize {
        let mut start = self.root.span().start;
        let mut table = Some(self.root.get_ref());
        let mut list = None;
        for step in steps {
            let value = match step {
                Step::Key(key) => {
                    let entry = table.and_then(|table| table.get_key_value(key.as_str()));
                    if let Some((key, _)) = entry {
                        start = key.span().start;
                    }
                    entry.map(|(_, value)| value)
                }
                Step::Item(at) => list.and_then(|list: &toml::de::DeArray| list.get(*at)),
            };
            let Some(value) = value else { break };
            // A list of tables has its place at the first of them.
            if matches!(step, Step::Item(_)) {
                start = value.span().start;
            }
            (table, list) = match value.get_ref() {
                DeValue::Table(table) => (Some(table), None),
                DeValue::Array(list) => (None, Some(list)),
                _ => (None, None),
            };
        }
        line_at(self.text, start)
    }
}

/// The line, from 1, of a byte of a text.
pub(super) fn line_at(text: &str, byte: usize) -> usize {
    let before = text.as_bytes().get(..byte).unwrap_or_default();
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_lead_to_lines() {
        let text = "a = 1\n\n[[b]]\nc = 2\n\n[[b]]\nc = [\n  3,\n  { d = 4 },\n]\n";
        let places = Places::of(text).unwrap();
        let key = |key: &str| Step::Key(key.to_owned());
        assert_eq!(places.line_of(&[key("a")]), 1);
        assert_eq!(places.line_of(&[key("b"), Step::Item(0), key("c")]), 4);
        let second = [key("b"), Step::Item(1), key("c")];
        assert_eq!(places.line_of(&second), 7);
        assert_eq!(
            places.line_of(&[&second[..], &[Step::Item(1), key("d")]].concat()),
            9
        );
        // A part that is not there: the part on the way that is.
        assert_eq!(places.line_of(&[key("b"), Step::Item(1), key("x")]), 6);
    }
}
