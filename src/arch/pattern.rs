//! Names with a place for the layer's number: `blk.{l}.attn_q.weight`.

use serde::Deserialize;

const LAYER: &str = "{l}";

/// A name, or one for each layer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

/// How a name fits a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// It is the pattern, which names no layer.
    Whole,
    /// It is the pattern with this layer.
    Layer(usize),
}

impl Pattern {
    /// A pattern of this text.
    pub fn new(text: &str) -> Pattern {
        Pattern(text.to_owned())
    }

    /// The pattern as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern has a place for a layer.
    pub fn is_by_layer(&self) -> bool {
        self.0.contains(LAYER)
    }

    /// The name for a layer; the pattern itself where it names none.
    pub fn name(&self, layer: usize) -> String {
        self.0.replace(LAYER, &layer.to_string())
    }

    /// Whether `name` is this pattern, and of which layer.
    pub fn matches(&self, name: &str) -> Option<Match> {
        let Some((prefix, suffix)) = self.0.split_once(LAYER) else {
            return (self.0 == name).then_some(Match::Whole);
        };
        let number = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
        let layer: usize = number.parse().ok()?;
        // `007` and `+7` are not how layers are counted.
        (layer.to_string() == number).then_some(Match::Layer(layer))
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_a_plain_number() {
        let pattern = Pattern("blk.{l}.w".to_owned());
        assert_eq!(pattern.matches("blk.12.w"), Some(Match::Layer(12)));
        for other in ["blk.012.w", "blk.+1.w", "blk..w", "blk.1.v", "blk.1"] {
            assert_eq!(pattern.matches(other), None, "{other}");
        }
        assert_eq!(Pattern("w".to_owned()).matches("w"), Some(Match::Whole));
    }
}
