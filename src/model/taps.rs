//! What drafters read of a target beside its last hidden state: the inputs of some of its layers.

/// Inputs of some layers of a target, by position. That of the layer behind the last one is the hidden state after the
/// final norm.
#[derive(Debug, Clone, Default)]
pub struct Taps {
    width: usize,
    layers: Vec<usize>,
    /// By layer, `[positions, width]`.
    rows: Vec<Vec<f32>>,
}

impl Taps {
    /// Nothing yet, of these layers of a target of this width.
    pub(super) fn new(width: usize, layers: &[usize]) -> Taps {
        let mut layers = layers.to_vec();
        layers.sort_unstable();
        layers.dedup();
        Taps {
            width,
            rows: vec![Vec::new(); layers.len()],
            layers,
        }
    }

    /// The deepest of the layers, 0 where there is none.
    pub(super) fn deepest(&self) -> usize {
        self.layers.last().copied().unwrap_or(0)
    }

    /// Takes in the input of a layer, `[tokens, width]`, if it is one of those.
    pub(super) fn take(&mut self, layer: usize, rows: &[f32]) {
        if let Ok(at) = self.layers.binary_search(&layer) {
            self.rows[at].extend_from_slice(rows);
        }
    }

    /// Forgets the positions from `len` on.
    pub(super) fn truncate(&mut self, len: usize) {
        self.rows
            .iter_mut()
            .for_each(|rows| rows.truncate(len * self.width));
    }

    /// The inputs of these layers at a position, one behind the other, appended to `out`: nothing of a layer that was
    /// not asked for.
    pub fn gather(&self, layers: &[usize], position: usize, out: &mut Vec<f32>) {
        for layer in layers {
            let rows = self.layers.binary_search(layer).ok().map(|at| &self.rows[at]);
            let row = rows.and_then(|rows| rows.get(position * self.width..(position + 1) * self.width));
            out.extend_from_slice(row.unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_gathered_in_the_order_asked_for() {
        let mut taps = Taps::new(1, &[3, 1, 3]);
        for (layer, rows) in [(0, [9.0, 9.0]), (1, [1.0, 2.0]), (3, [5.0, 6.0])] {
            taps.take(layer, &rows);
        }
        let mut out = Vec::new();
        taps.gather(&[3, 1], 1, &mut out);
        assert_eq!(out, [6.0, 2.0]);
        taps.truncate(1);
        out.clear();
        taps.gather(&[3, 1], 1, &mut out);
        assert!(out.is_empty());
    }
}
