//! How far numbers are from others: the measures that [`crate::diff`] and [`crate::verify`] share.

/// Sums over pairs of numbers, ours and theirs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Deviation {
    /// Largest difference; NaN where one is.
    pub max: f64,
    /// Squares of the differences.
    pub difference: f64,
    /// Squares of our numbers.
    pub ours: f64,
    /// Squares of their numbers.
    pub theirs: f64,
    /// Products of both.
    pub product: f64,
}

impl Deviation {
    /// One more pair.
    pub fn push(&mut self, ours: f64, theirs: f64) {
        let difference = (ours - theirs).abs();
        self.max = larger(self.max, difference);
        self.difference += difference * difference;
        self.ours += ours * ours;
        self.theirs += theirs * theirs;
        self.product += ours * theirs;
    }

    /// Of the pairs of both.
    pub fn and(self, other: Deviation) -> Deviation {
        Deviation {
            max: larger(self.max, other.max),
            difference: self.difference + other.difference,
            ours: self.ours + other.ours,
            theirs: self.theirs + other.theirs,
            product: self.product + other.product,
        }
    }

    /// Root mean square of the differences of `count` pairs.
    pub fn rms(&self, count: u64) -> f64 {
        (self.difference / count.max(1) as f64).sqrt()
    }

    /// The same in units of their root mean square, 0 where nothing differs.
    pub fn relative(&self) -> f64 {
        match self.difference == 0.0 {
            true => 0.0,
            false => (self.difference / self.theirs).sqrt(),
        }
    }

    /// Cosine between both; 1 where both are all zeros, 0 where one is.
    pub fn cosine(&self) -> f64 {
        match self.ours * self.theirs == 0.0 {
            true => f64::from(u8::from(self.ours == self.theirs)),
            false => self.product / (self.ours * self.theirs).sqrt(),
        }
    }
}

/// The larger one; `f64::max` would lose a NaN.
fn larger(a: f64, b: f64) -> f64 {
    if b > a || b.is_nan() { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(f64, f64)]) -> Deviation {
        let mut deviation = Deviation::default();
        for &(ours, theirs) in pairs {
            deviation.push(ours, theirs);
        }
        deviation
    }

    #[test]
    fn measures_of_known_numbers() {
        let deviation = of(&[(1.0, 1.0), (2.0, 4.0)]).and(of(&[(-2.0, -1.0), (0.0, 0.0)]));
        assert_eq!(deviation.max, 2.0);
        assert_eq!(deviation.rms(4), 1.25_f64.sqrt());
        assert_eq!(deviation.relative(), (5.0_f64 / 18.0).sqrt());
        assert_eq!(deviation.cosine(), 11.0 / (9.0_f64 * 18.0).sqrt());
    }

    #[test]
    fn zeros_and_nan() {
        assert_eq!(of(&[(0.0, 0.0)]).cosine(), 1.0);
        assert_eq!(of(&[(0.0, 1.0)]).cosine(), 0.0);
        assert_eq!(of(&[(0.0, 0.0)]).relative(), 0.0);
        assert!(of(&[(f64::NAN, 0.0), (1.0, 0.0)]).max.is_nan());
        assert!(of(&[(1.0, 0.0)]).and(of(&[(f64::NAN, 0.0)])).max.is_nan());
    }
}
