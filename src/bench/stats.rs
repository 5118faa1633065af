//! Statistics of speeds: pure functions over numbers, reproducible from a seed.
//!
//! Speeds are compared as logarithms, so that a ratio is a difference and its interval does not depend on which of two
//! conditions is the first. A stratum holds the speeds of one prompt: between prompts speeds differ by what is accepted,
//! which is no noise, so spread is measured within strata only.
//!
//! A stratum's speed is its trimmed mean, with the standard error of Tukey and McLaughlin (1963) from the winsorized
//! spread: an outlier moves it little, and it moves without steps, as a median of few calls does not. Intervals are
//! bootstrap-t (Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 12): each draw's deviation is taken in
//! units of its own standard error, which makes up for spread that is known from the calls alone.

use fastrand::Rng;

/// Normal quantile of 80 %, the power at which the smallest effect is told.
const Z_80: f64 = 0.841_621;
/// Share of the draws inside an interval.
const LEVEL: f64 = 0.95;
/// No deviation below this is one.
const ROUNDING: f64 = 1e-12;
/// One of so many calls is cut at each end of a stratum.
const TRIM: usize = 5;
/// Median absolute deviations from which a call is an outlier, and the factor that makes them standard deviations.
const OUTLIER_MADS: f64 = 5.0;
const MAD_SCALE: f64 = 1.4826;
/// No deviation below this is an outlier, however regular the others are.
const OUTLIER_LEAST: f64 = 0.15;

/// The middle of some numbers, 0 of none.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// A quantile, between two numbers by their distance; 0 of none.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted_quantile(&sorted, share)
}

fn sorted_quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share.clamp(0.0, 1.0) * sorted.len().saturating_sub(1) as f64;
    let (below, above) = (
        sorted.get(place.floor() as usize),
        sorted.get(place.ceil() as usize),
    );
    match (below, above) {
        (Some(below), Some(above)) => below + (above - below) * place.fract(),
        _ => 0.0,
    }
}

/// A logarithm of a speed or of a ratio, with the square of its standard error.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Estimate {
    log: f64,
    variance: f64,
}

impl Estimate {
    /// The mean over strata, each with the same weight. The calls' variance is that of all strata together, so that one with
    /// a single call needs none of its own; `None` where no stratum has two.
    fn of_strata(
        sizes: impl Iterator<Item = usize>,
        mut stratum: impl FnMut(usize, &mut Vec<f64>),
    ) -> Option<Estimate> {
        let mut values = Vec::new();
        let (mut logs, mut squares, mut freedom, mut shares, mut strata) = (0.0, 0.0, 0, 0.0, 0.0);
        for (at, size) in sizes.enumerate().filter(|(_, size)| *size > 0) {
            values.clear();
            stratum(at, &mut values);
            values.sort_unstable_by(f64::total_cmp);
            let kept = trimmed(&values);
            logs += mean(kept.iter().copied());
            squares += winsorized_squares(kept, size);
            freedom += kept.len() - 1;
            shares += 1.0 / kept.len() as f64;
            strata += 1.0;
        }
        (freedom > 0).then(|| Estimate {
            log: logs / strata,
            variance: squares / freedom as f64 * shares / (strata * strata),
        })
    }

    fn minus(self, other: Estimate) -> Estimate {
        Estimate {
            log: self.log - other.log,
            variance: self.variance + other.variance,
        }
    }

    /// The mean of independent ones.
    fn mean(parts: impl Iterator<Item = Estimate>) -> Estimate {
        let (mut log, mut variance, mut count) = (0.0, 0.0, 0.0);
        for part in parts {
            log += part.log;
            variance += part.variance;
            count += 1.0;
        }
        Estimate {
            log: log / count,
            variance: variance / (count * count),
        }
    }

    fn standard_error(self) -> f64 {
        self.variance.sqrt()
    }
}

/// Sorted values without those that are cut at each end.
fn trimmed(sorted: &[f64]) -> &[f64] {
    let cut = sorted.len() / TRIM;
    sorted.get(cut..sorted.len() - cut).unwrap_or(sorted)
}

/// Sum of squared deviations of `size` sorted values, of which those that were cut count as the outermost that are left.
fn winsorized_squares(kept: &[f64], size: usize) -> f64 {
    let (Some(first), Some(last)) = (kept.first(), kept.last()) else {
        return 0.0;
    };
    let cut = (size - kept.len()) as f64 / 2.0;
    let center = (kept.iter().sum::<f64>() + cut * (first + last)) / size as f64;
    let square = |value: &f64| (value - center).powi(2);
    kept.iter().map(square).sum::<f64>() + cut * (square(first) + square(last))
}

/// Speeds of one condition and kind of prompts, a stratum a prompt.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Logarithms of speeds.
    strata: Vec<Vec<f64>>,
    /// Absent where no prompt was called twice.
    estimate: Option<Estimate>,
    /// Deviations from the strata's trimmed means.
    residuals: Vec<f64>,
}

impl Sample {
    /// Speeds with the prompt that each belongs to. Where most prompts were called once only, all are one stratum.
    pub fn new(speeds: impl IntoIterator<Item = (usize, f64)>) -> Sample {
        let mut by_prompt: std::collections::BTreeMap<usize, Vec<f64>> = Default::default();
        for (prompt, speed) in speeds {
            by_prompt.entry(prompt).or_default().push(speed.ln());
        }
        let count: usize = by_prompt.values().map(Vec::len).sum();
        let mut strata: Vec<Vec<f64>> = by_prompt.into_values().collect();
        if count < 2 * strata.len() {
            strata = vec![strata.concat()];
        }
        let deviations = |stratum: &Vec<f64>| {
            let mut sorted = stratum.clone();
            sorted.sort_unstable_by(f64::total_cmp);
            let middle = mean(trimmed(&sorted).iter().copied());
            stratum.iter().map(move |v| v - middle).collect::<Vec<_>>()
        };
        let take = |at: usize, values: &mut Vec<f64>| values.extend(&strata[at]);
        Sample {
            estimate: Estimate::of_strata(strata.iter().map(Vec::len), take),
            residuals: strata.iter().flat_map(deviations).collect(),
            strata,
        }
    }

    /// Number of calls.
    pub fn len(&self) -> usize {
        self.residuals.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.residuals.is_empty()
    }

    /// Coefficient of variation within strata, of the calls that are no outliers, and how many those are.
    pub fn variation(&self) -> (f64, usize) {
        let freedom = self.len().saturating_sub(self.strata.len()).max(1) as f64;
        // As wide as deviations from the true middles would be.
        let widen = (self.len() as f64 / freedom).sqrt();
        let deviations: Vec<f64> = self.residuals.iter().map(|r| r * widen).collect();
        let limit = outlier_limit(&deviations);
        let kept = || deviations.iter().filter(|d| d.abs() <= limit);
        (
            mean(kept().map(|d| d * d)).sqrt(),
            deviations.len() - kept().count(),
        )
    }

    /// What this sample could have been, around 0.
    fn resampled(&self, rng: &mut Rng) -> Option<Estimate> {
        let draw = |at: usize, values: &mut Vec<f64>| {
            values.extend(
                (0..self.strata[at].len()).map(|_| self.residuals[rng.usize(..self.residuals.len())]),
            );
        };
        Estimate::of_strata(self.strata.iter().map(Vec::len), draw)
    }
}

/// How far from the middle a deviation is an outlier.
pub fn outlier_limit(deviations: &[f64]) -> f64 {
    let sizes: Vec<f64> = deviations.iter().map(|d| d.abs()).collect();
    (OUTLIER_MADS * MAD_SCALE * median(&sizes)).max(OUTLIER_LEAST)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0_usize);
    for value in values {
        sum += value;
        count += 1;
    }
    sum / count.max(1) as f64
}

/// A ratio of speeds with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Ratio {
    /// Speed of the condition by that of its baseline.
    pub ratio: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The smallest effect, as a share of the baseline's speed, that as many calls with as much variation show in four of
    /// five runs.
    pub smallest_effect: f64,
}

/// A change of speed and how many of its standard errors lie between it and none; `None` where no prompt was called twice.
pub fn change(sample: &Sample, baseline: &Sample) -> Option<(f64, f64)> {
    let difference = sample.estimate?.minus(baseline.estimate?);
    Some((
        difference.log.exp_m1(),
        difference.log.abs() / difference.standard_error(),
    ))
}

/// A ratio's logarithm, and draws of it around 0.
#[derive(Debug, Clone)]
pub struct Resampled {
    estimate: Estimate,
    draws: Vec<Estimate>,
}

/// Resamples the ratio of two samples' speeds `times` times; `None` where the calls of one tell no variation.
pub fn resample(sample: &Sample, baseline: &Sample, times: usize, rng: &mut Rng) -> Option<Resampled> {
    let mut draw = || Some(sample.resampled(rng)?.minus(baseline.resampled(rng)?));
    Some(Resampled {
        estimate: sample.estimate?.minus(baseline.estimate?),
        draws: (0..times).map(|_| draw()).collect::<Option<_>>()?,
    })
}

/// The mean of several ratios' logarithms, so that each counts the same.
pub fn combine(parts: &[Resampled]) -> Option<Resampled> {
    let times = parts.iter().map(|part| part.draws.len()).min()?;
    let draw = |at: usize| Estimate::mean(parts.iter().filter_map(|part| part.draws.get(at)).copied());
    Some(Resampled {
        estimate: Estimate::mean(parts.iter().map(|part| part.estimate)),
        draws: (0..times).map(draw).collect(),
    })
}

impl Resampled {
    /// The ratio with its interval; `None` where so few calls do not bound it.
    pub fn ratio(&self) -> Option<Ratio> {
        let in_errors = |draw: &Estimate| match draw.log.abs() < ROUNDING {
            // Where nothing varies, one rounding error would be divided by another, or by 0.
            true => 0.0,
            false => draw.log.abs() / draw.standard_error(),
        };
        let mut sorted: Vec<f64> = self.draws.iter().map(in_errors).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let error = self.estimate.standard_error();
        let reach = sorted_quantile(&sorted, LEVEL) * error;
        let log = self.estimate.log;
        let ratio = Ratio {
            ratio: log.exp(),
            low: (log - reach).exp(),
            high: (log + reach).exp(),
            smallest_effect: (reach + Z_80 * error).exp_m1(),
        };
        (ratio.low.is_finite() && ratio.high.is_finite()).then_some(ratio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_numbers() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(quantile(&[0.0, 10.0], 0.95), 9.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn trimmed_means_have_the_standard_error_of_tukey_and_mclaughlin() {
        // Of ten values two are cut at each end; winsorized they are 3 3 3 4 5 6 7 8 8 8 around 5.5.
        let ten = Sample::new([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 100.0_f64].map(|v| (0, v.exp())));
        let estimate = ten.estimate.unwrap();
        let squares = 6.0 * 2.5_f64.powi(2) + 2.0 * 1.5_f64.powi(2) + 2.0 * 0.5_f64.powi(2);
        assert!((estimate.log - 5.5).abs() < 1e-9, "{estimate:?}");
        assert!(
            (estimate.variance - squares / (6.0 * 5.0)).abs() < 1e-9,
            "{estimate:?}"
        );
    }

    #[test]
    fn calls_that_tell_no_variation_have_no_interval() {
        let ratio = |calls: usize| {
            let sample = Sample::new((0..calls).map(|i| (0, 30.0 + i as f64)));
            resample(&sample, &sample, 500, &mut Rng::with_seed(1))?.ratio()
        };
        assert_eq!(ratio(1), None);
        // Half of what is drawn from two calls is the same call twice.
        assert_eq!(ratio(2), None);
        assert!(ratio(4).is_some_and(|ratio| ratio.low < 1.0 && ratio.high > 1.0));
    }

    #[test]
    fn what_never_varies_is_known() {
        let sample = |speed: f64| Sample::new((0..8).map(|i| (i % 2, speed)));
        let resampled = resample(&sample(40.0), &sample(20.0), 500, &mut Rng::with_seed(1)).unwrap();
        let ratio = resampled.ratio().unwrap();
        assert!(
            (ratio.low - 2.0).abs() < 1e-9 && (ratio.high - 2.0).abs() < 1e-9,
            "{ratio:?}"
        );
    }

    #[test]
    fn differences_between_prompts_are_no_variation() {
        let speeds = (0..40).map(|i| (i % 4, [10.0, 20.0, 40.0, 80.0][i % 4]));
        let (cv, outliers) = Sample::new(speeds).variation();
        assert!(cv < 1e-12 && outliers == 0, "{cv} {outliers}");
    }

    /// Noise of standard deviation 1.
    fn noise(rng: &mut Rng) -> f64 {
        let sum: f64 = (0..12).map(|_| rng.f64()).sum();
        sum - 6.0
    }

    #[test]
    fn the_coefficient_of_variation_is_that_of_the_calls() {
        let mut rng = Rng::with_seed(1);
        let speeds: Vec<(usize, f64)> = (0..2000)
            .map(|i| (i % 500, 30.0 * (0.05 * noise(&mut rng)).exp()))
            .collect();
        let (cv, outliers) = Sample::new(speeds).variation();
        // Around the middle of four, tails are longer than those of the noise: one call in 2000 may stand apart.
        assert!((cv - 0.05).abs() < 0.004 && outliers <= 1, "{cv} {outliers}");
    }

    /// Of `runs` simulated ones, how many intervals hold the true ratio of 1.05, and how many say that there is one.
    fn covered(
        runs: u64,
        (kinds, prompts, repeats): (usize, usize, usize),
        noise: fn(&mut Rng) -> f64,
    ) -> (u64, u64) {
        let mut rng = Rng::with_seed(7);
        let (mut covered, mut decided) = (0, 0);
        for _ in 0..runs {
            let mut draw = rng.fork();
            let mut sample = |ratio: f64| {
                let calls = (0..prompts * repeats).map(|call| call % prompts);
                Sample::new(calls.map(|at| (at, ratio * (at + 1) as f64 * (0.05 * noise(&mut rng)).exp())))
            };
            let parts: Vec<Resampled> = (0..kinds)
                .filter_map(|_| resample(&sample(1.05), &sample(1.0), 400, &mut draw))
                .collect();
            let ratio = combine(&parts).unwrap().ratio().unwrap();
            covered += u64::from(ratio.low <= 1.05 && 1.05 <= ratio.high);
            decided += u64::from(ratio.low > 1.0);
        }
        (covered, decided)
    }

    /// A run of 200 calls: six kinds of four prompts, nine times each.
    const WHOLE_RUN: (usize, usize, usize) = (6, 4, 9);
    const ONE_KIND: (usize, usize, usize) = (1, 4, 9);

    /// One call in twenty is slow by eight times the spread of the others.
    fn with_outliers(rng: &mut Rng) -> f64 {
        noise(rng) - if rng.f64() < 0.05 { 8.0 } else { 0.0 }
    }

    /// Calls are rarely fast and now and then slow.
    fn skewed(rng: &mut Rng) -> f64 {
        (1.0 - rng.f64()).ln() + 1.0
    }

    /// Student's distribution with three degrees of freedom: of infinite kurtosis.
    fn heavy_tailed(rng: &mut Rng) -> f64 {
        let square: f64 = (0..3).map(|_| noise(rng).powi(2)).sum();
        noise(rng) / square.sqrt()
    }

    #[test]
    fn intervals_cover_the_truth_as_often_as_they_say_whatever_the_noise() {
        for (name, noise) in [
            ("normal", noise as fn(&mut Rng) -> f64),
            ("outliers", with_outliers),
            ("skewed", skewed),
            ("heavy tails", heavy_tailed),
        ] {
            for shape in [WHOLE_RUN, ONE_KIND] {
                let (covered, decided) = covered(400, shape, noise);
                // Of 400 at 95 %, 20 are missed; three standard deviations are 13.
                assert!(
                    (367..=393).contains(&covered),
                    "{name}, {shape:?}: {covered} of 400"
                );
                assert!(
                    decided >= 372 || shape != WHOLE_RUN,
                    "{name}: {decided} of 400 decide 5 %"
                );
            }
        }
    }
}
