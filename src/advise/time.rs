//! How long a round of drafting takes, and what speed follows.
//!
//! A round drafts `n` tokens and has the target look at `n + 1` at once. It takes
//! `pass · growth(n + 1) + n · step + overhead`, and yields one token and those accepted. `growth` is 1 for a dense model,
//! as its weights are read once however many tokens there are; of a model with experts, `n + 1` tokens touch more of them
//! than one does. What each further token costs in computing is part of `step`.

use serde::Serialize;

/// The experts of a target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Experts {
    /// How many there are.
    pub count: f64,
    /// How many a token uses.
    pub used: f64,
    /// Share of a pass over one token that goes into reading experts.
    pub share: f64,
}

impl Experts {
    /// How many experts some tokens touch, if each chooses for itself.
    fn touched(&self, tokens: f64) -> f64 {
        self.count * (1.0 - (1.0 - self.used / self.count).powf(tokens))
    }
}

/// Costs of a round, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Costs {
    /// A pass of the target over one token.
    pub pass: f64,
    /// A token more: a step of the drafter, and the target's computing.
    pub step: f64,
    /// What a round takes besides.
    pub overhead: f64,
    /// The target's experts, if it has some.
    pub experts: Option<Experts>,
}

/// A measured speed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Most tokens a draft; 0 is off.
    pub n_max: u32,
    /// Tokens generated a second.
    pub speed: f64,
    /// Tokens that a round yields.
    pub length: f64,
}

/// What is expected of a number of tokens a draft.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Prediction {
    /// Most tokens a draft.
    pub n_max: u32,
    /// Tokens generated a second.
    pub tokens_per_second: f64,
    /// Its speed by that without drafting.
    pub ratio: f64,
    /// Tokens that a round yields.
    pub mean_length: f64,
    /// The share of drafted tokens that must be accepted, each by the same chance, for drafting to cost nothing; absent
    /// where even all are not enough, or for 0.
    pub break_even: Option<f64>,
}

/// Shares of drafts that the target accepted up to each place, for drafts of any length.
#[derive(Debug, Clone, PartialEq)]
pub struct Acceptance(Vec<f64>);

impl Acceptance {
    /// From the shares up to the first places; further places follow as the last did its predecessor.
    pub fn new(shares: &[f64]) -> Acceptance {
        Acceptance(shares.iter().map(|share| share.clamp(0.0, 1.0)).collect())
    }

    /// The same chance at each place.
    pub fn even(chance: f64) -> Acceptance {
        Acceptance::new(&[chance])
    }

    /// Tokens that a round with drafts of `n` yields.
    pub fn length(&self, n: u32) -> f64 {
        let known = &self.0;
        let last = known.last().copied().unwrap_or(0.0);
        let before = known
            .len()
            .checked_sub(2)
            .and_then(|at| known.get(at))
            .copied()
            .unwrap_or(1.0);
        let chance = if before > 0.0 {
            (last / before).min(1.0)
        } else {
            0.0
        };
        let mut share = last;
        let places = (0..n as usize).map(|place| match known.get(place) {
            Some(share) => *share,
            None => {
                share *= chance;
                share
            }
        });
        1.0 + places.sum::<f64>()
    }
}

impl Costs {
    /// Seconds of a round with drafts of `n`.
    pub fn round(&self, n: u32) -> f64 {
        let extra = match n {
            0 => 0.0,
            n => f64::from(n) * self.step + self.overhead,
        };
        self.pass * growth(self.experts, n) + extra
    }

    /// What is expected of drafts of `n`.
    pub fn predict(&self, n: u32, acceptance: &Acceptance) -> Prediction {
        let length = acceptance.length(n);
        let speed = length / self.round(n);
        Prediction {
            n_max: n,
            tokens_per_second: speed,
            ratio: speed * self.round(0),
            mean_length: length,
            break_even: self.break_even(n),
        }
    }

    fn break_even(&self, n: u32) -> Option<f64> {
        let wanted = self.round(n) / self.round(0);
        if n == 0 || Acceptance::even(1.0).length(n) < wanted {
            return None;
        }
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..40 {
            let middle = (low + high) / 2.0;
            match Acceptance::even(middle).length(n) < wanted {
                true => low = middle,
                false => high = middle,
            }
        }
        Some(high)
    }

    /// Costs that explain measured speeds: one without drafting and at least one with. Of two or more with drafting,
    /// overhead and step are those of least squares, neither below 0. `None` where that is not given.
    pub fn fit(points: &[Point], experts: Option<Experts>) -> Option<Costs> {
        let off = points.iter().find(|point| point.n_max == 0)?;
        let pass = off.length / off.speed;
        // Seconds that a round takes beyond the target's pass.
        let extra = |point: &Point| {
            let seconds = point.length / point.speed - pass * growth(experts, point.n_max);
            (f64::from(point.n_max), seconds)
        };
        let extras: Vec<(f64, f64)> = points.iter().filter(|point| point.n_max > 0).map(extra).collect();
        let count = extras.len() as f64;
        let mean = |figure: fn(&(f64, f64)) -> f64| extras.iter().map(figure).sum::<f64>() / count;
        let (mean_n, mean_extra) = (mean(|e| e.0), mean(|e| e.1));
        let spread = mean(|e| e.0 * e.0) - mean_n * mean_n;
        let through_zero = mean(|e| e.0 * e.1) / mean(|e| e.0 * e.0);
        let (mut step, mut overhead) = (through_zero, 0.0);
        if spread > 1e-9 {
            let slope = (mean(|e| e.0 * e.1) - mean_n * mean_extra) / spread;
            let rest = mean_extra - slope * mean_n;
            if rest > 0.0 {
                (step, overhead) = (slope.max(0.0), if slope > 0.0 { rest } else { mean_extra });
            }
        }
        (count > 0.0 && pass.is_finite() && step.is_finite()).then_some(Costs {
            pass,
            step: step.max(0.0),
            overhead: overhead.max(0.0),
            experts,
        })
    }

    /// Costs of a machine that reads `bandwidth` bytes a second and computes at once: the target's weights, caches and
    /// the drafter's weights are read, and nothing else takes time.
    pub fn of_bandwidth(target: f64, drafter: f64, bandwidth: f64, experts: Option<Experts>) -> Costs {
        Costs {
            pass: target / bandwidth,
            step: drafter / bandwidth,
            overhead: 0.0,
            experts,
        }
    }
}

/// What a pass over `n + 1` tokens takes, in passes over one.
fn growth(experts: Option<Experts>, n: u32) -> f64 {
    let Some(experts) = experts.filter(|experts| experts.count > 0.0 && experts.used > 0.0) else {
        return 1.0;
    };
    1.0 - experts.share + experts.share * experts.touched(f64::from(n) + 1.0) / experts.touched(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_yield_what_is_accepted() {
        assert_eq!(Acceptance::new(&[0.8, 0.4]).length(2), 2.2);
        // The third place follows the second as that did the first.
        assert!((Acceptance::new(&[0.8, 0.4]).length(3) - 2.4).abs() < 1e-12);
        assert!((Acceptance::even(0.5).length(3) - 1.875).abs() < 1e-12);
        assert_eq!(Acceptance::new(&[]).length(4), 1.0);
    }

    #[test]
    fn speeds_of_known_costs_give_the_costs() {
        let costs = Costs {
            pass: 0.030,
            step: 0.004,
            overhead: 0.002,
            experts: None,
        };
        let acceptance = Acceptance::new(&[0.8, 0.6, 0.4]);
        let point = |n_max| {
            let prediction = costs.predict(n_max, &acceptance);
            Point {
                n_max,
                speed: prediction.tokens_per_second,
                length: prediction.mean_length,
            }
        };
        let fitted = Costs::fit(&[point(0), point(1), point(3)], None).unwrap();
        assert!(
            (fitted.step - 0.004).abs() < 1e-9 && (fitted.overhead - 0.002).abs() < 1e-9,
            "{fitted:?}"
        );
        assert!(Costs::fit(&[point(0)], None).is_none());
        assert!(Costs::fit(&[point(1), point(2)], None).is_none());
    }

    #[test]
    fn at_the_break_even_acceptance_drafting_costs_nothing() {
        let costs = Costs {
            pass: 0.030,
            step: 0.006,
            overhead: 0.0,
            experts: None,
        };
        let even = costs.predict(3, &Acceptance::even(0.5)).break_even.unwrap();
        assert!((costs.predict(3, &Acceptance::even(even)).ratio - 1.0).abs() < 1e-6);
        let heavy = Costs { step: 0.050, ..costs };
        assert_eq!(heavy.predict(3, &Acceptance::even(0.5)).break_even, None);
    }
}
