//! Rotary position embedding: element `i` of a head turns with element `i + pairs`, or neighbours turn together.

/// Frequencies of one kind of layer, in radians a position, one a pair.
#[derive(Debug, Clone)]
pub struct Rope {
    frequencies: Vec<f32>,
}

impl Rope {
    /// `base^(-2i/dims)` for each of the `dims / 2` pairs, divided by its factor where `factors` are given.
    ///
    /// A factor of 1e30, as `rope_freqs.weight` has it, stops a pair.
    pub fn new(base: f64, dims: usize, factors: Option<&[f32]>) -> Rope {
        let frequencies = (0..dims / 2)
            .map(|i| {
                let frequency = base.powf(-2.0 * i as f64 / dims as f64) as f32;
                match factors.and_then(|factors| factors.get(i)) {
                    Some(factor) => frequency / factor,
                    None => frequency,
                }
            })
            .collect();
        Rope { frequencies }
    }

    /// Sines and cosines for some positions.
    pub fn angles(&self, positions: impl Iterator<Item = usize>) -> Angles {
        let pairs = self.frequencies.len();
        // The angle is a product in f32, as in transformers and llama.cpp: at a position of some thousands its
        // rounding is larger than that of the functions.
        let turns = positions
            .flat_map(|position| self.frequencies.iter().map(move |f| position as f32 * f))
            .map(|angle| f64::from(angle).sin_cos())
            .map(|(sin, cos)| (sin as f32, cos as f32))
            .collect();
        Angles { pairs, turns }
    }
}

/// Sines and cosines, `[positions, pairs]`.
#[derive(Debug)]
pub struct Angles {
    pairs: usize,
    turns: Vec<(f32, f32)>,
}

impl Angles {
    /// Turns each head in `rows` (`[positions, heads, head_dim]`) by its position, in place.
    pub fn rotate(&self, rows: &mut [f32], heads: usize, head_dim: usize) {
        for (row, turns) in rows
            .chunks_exact_mut(heads * head_dim)
            .zip(self.turns.chunks_exact(self.pairs))
        {
            for head in row.chunks_exact_mut(head_dim) {
                let (first, second) = head.split_at_mut(self.pairs);
                for ((a, b), (sin, cos)) in first.iter_mut().zip(second).zip(turns) {
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
        }
    }

    /// As [`Angles::rotate`], with each pair side by side: element `2i` turns with element `2i + 1`.
    pub fn rotate_neighbours(&self, rows: &mut [f32], heads: usize, head_dim: usize) {
        for (row, turns) in rows
            .chunks_exact_mut(heads * head_dim)
            .zip(self.turns.chunks_exact(self.pairs))
        {
            for head in row.chunks_exact_mut(head_dim) {
                for ([a, b], (sin, cos)) in head.as_chunks_mut().0.iter_mut().zip(turns) {
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_turn_exchanges_the_halves_and_a_stopped_pair_stays() {
        // Base 1 turns every pair by one radian a position.
        let rope = Rope::new(1.0, 4, Some(&[1.0 / std::f32::consts::FRAC_PI_2, 1e30]));
        let mut head = [1.0, 2.0, 3.0, 4.0];
        rope.angles(1..2).rotate(&mut head, 1, 4);
        for (v, expected) in head.iter().zip([-3.0, 2.0, 1.0, 4.0]) {
            assert!((v - expected).abs() < 1e-6, "{head:?}");
        }
    }

    #[test]
    fn neighbours_turn_as_halves_do_in_another_order() {
        let rope = Rope::new(10_000.0, 4, None);
        let (mut halves, mut neighbours) = ([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]);
        rope.angles(5..6).rotate(&mut halves, 1, 4);
        rope.angles(5..6).rotate_neighbours(&mut neighbours, 1, 4);
        assert_eq!(
            halves,
            [neighbours[0], neighbours[2], neighbours[1], neighbours[3]]
        );
    }

    #[test]
    fn dims_beyond_the_rotated_ones_stay() {
        let rope = Rope::new(10_000.0, 2, None);
        let mut heads = [1.0, 0.0, 7.0, 8.0, 0.0, 1.0, 5.0, 6.0];
        rope.angles(3..4).rotate(&mut heads, 2, 4);
        assert_eq!(heads[2..4], [7.0, 8.0]);
        assert!((heads[0] - 3.0f32.cos()).abs() < 1e-6);
        assert!((heads[4] + 3.0f32.sin()).abs() < 1e-6);
    }
}
