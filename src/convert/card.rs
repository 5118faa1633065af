//! The YAML front matter of a model card (`README.md` beside the weights).

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use std::collections::BTreeMap;

/// Front matter: the values of its top-level keys as text.
#[derive(Debug, Default)]
pub(super) struct Card(BTreeMap<String, Field>);

#[derive(Debug)]
enum Field {
    Text(String),
    List(Vec<String>),
}

impl Card {
    /// Reads the front matter of a model card. A card without one, or with one that is no YAML mapping, is empty:
    /// it is documentation, and nothing of it is needed.
    pub(super) fn parse(readme: &str) -> Card {
        let Some(rest) = readme
            .strip_prefix("---\n")
            .or_else(|| readme.strip_prefix("---\r\n"))
        else {
            return Card::default();
        };
        let front: String = rest
            .lines()
            .take_while(|line| *line != "---")
            // YAML has no tabs for indentation; cards have.
            .flat_map(|line| [line.replace('\t', "  "), "\n".to_owned()])
            .collect();
        let documents = Yaml::load_from_str(&front).unwrap_or_default();
        let Some(Yaml::Mapping(mapping)) = documents.into_iter().next() else {
            return Card::default();
        };
        let fields = mapping.iter().filter_map(|(key, value)| {
            let field = match value {
                Yaml::Sequence(items) => Field::List(items.iter().filter_map(text).collect()),
                other => Field::Text(text(other)?),
            };
            Some((text(key)?, field))
        });
        Card(fields.collect())
    }

    /// The text of a key that holds one.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        match self.0.get(key)? {
            Field::Text(text) => Some(text.clone()),
            Field::List(_) => None,
        }
    }

    /// The items of a key; one text counts as a list of one.
    pub(super) fn list(&self, key: &str) -> Option<Vec<String>> {
        match self.0.get(key)? {
            Field::Text(text) => Some(vec![text.clone()]),
            Field::List(items) => Some(items.clone()),
        }
    }
}

fn text(value: &Yaml) -> Option<String> {
    match value {
        Yaml::Value(Scalar::String(text)) => Some(text.to_string()),
        Yaml::Value(Scalar::Boolean(value)) => Some(value.to_string()),
        Yaml::Value(Scalar::Integer(value)) => Some(value.to_string()),
        Yaml::Value(Scalar::FloatingPoint(value)) => Some(format!("{:?}", value.into_inner())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_texts_are_told_apart() {
        let card = Card::parse("---\nlicense: gemma\ntags:\n- a\n- no\nbase_model: x/y\n---\n# Text\n");
        assert_eq!(card.text("license").as_deref(), Some("gemma"));
        assert_eq!(card.list("tags"), Some(vec!["a".to_owned(), "no".to_owned()]));
        assert_eq!(card.list("base_model"), Some(vec!["x/y".to_owned()]));
        assert_eq!(card.text("tags"), None);
    }

    #[test]
    fn a_card_without_front_matter_is_empty() {
        for readme in ["", "# Title\n", "---\n[broken\n---\n", "---\n- list\n---\n"] {
            assert!(Card::parse(readme).0.is_empty(), "{readme:?}");
        }
    }
}
