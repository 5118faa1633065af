//! Whether a forward pass stays among the finite numbers.

use std::fmt;
use std::sync::OnceLock;

/// A place in a forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// What goes into the first layer.
    Input,
    /// The output of a layer.
    Layer(usize),
    /// The hidden state after the final norm.
    Hidden,
    /// The scores of the vocabulary.
    Logits,
    /// The hidden state that a drafter hands to its next step.
    State,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Input => f.write_str("the input of the first layer"),
            Place::Layer(layer) => write!(f, "the output of layer {layer}"),
            Place::Hidden => f.write_str("the hidden state after the final norm"),
            Place::Logits => f.write_str("the scores of the vocabulary"),
            Place::State => f.write_str("the state for the next draft step"),
        }
    }
}

/// Remembers the first place at which a model computed a NaN or an infinity. Whatever follows from there is no result,
/// so a model keeps one for all of its passes.
#[derive(Debug, Default)]
pub(super) struct Watch(OnceLock<Place>);

impl Watch {
    /// Looks at what was computed here.
    pub(super) fn look(&self, numbers: &[f32], place: Place) {
        if !numbers.iter().all(|v| v.is_finite()) {
            // The first one stays.
            let _ = self.0.set(place);
        }
    }

    /// The first place, if there is one.
    pub(super) fn first(&self) -> Option<Place> {
        self.0.get().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_is_remembered() {
        let watch = Watch::default();
        watch.look(&[1.0, f32::MAX, -0.0], Place::Input);
        assert_eq!(watch.first(), None);
        watch.look(&[1.0, f32::NEG_INFINITY], Place::Layer(3));
        watch.look(&[f32::NAN], Place::Logits);
        assert_eq!(watch.first(), Some(Place::Layer(3)));
    }
}
