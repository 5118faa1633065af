//! What the numbers of a tensor are like: range, mean, zeros, and numbers that are none.

use crate::storage::Numbers;
use rayon::prelude::*;

/// Figures over all elements of a tensor. `min`, `max`, `mean` and `rms` are of the finite ones and absent where there
/// are none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stats {
    /// Number of elements.
    pub elements: u64,
    /// Smallest finite element.
    pub min: Option<f32>,
    /// Largest finite element.
    pub max: Option<f32>,
    /// Mean of the finite elements.
    pub mean: Option<f64>,
    /// Root of the mean square of the finite elements.
    pub rms: Option<f64>,
    /// Elements that are zero, of either sign.
    pub zeros: u64,
    /// Elements that are no number.
    pub nan: u64,
    /// Elements that are infinite, of either sign.
    pub infinite: u64,
}

/// Steps of a [`Histogram`].
pub const STEPS: usize = 12;

/// How many of the finite elements lie in each of [`STEPS`] equal steps from the smallest to the largest; an element
/// between two steps counts for the upper one. Where all are equal the steps reach half a unit to either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Histogram(pub [u64; STEPS]);

/// What the numbers of a tensor are like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Range, mean and the like.
    pub stats: Stats,
    /// How they are spread; absent where none is finite.
    pub histogram: Option<Histogram>,
}

impl Figures {
    /// Reads a whole tensor, on all cores. `progress` is told the number of elements as they are read.
    pub fn of(numbers: &Numbers, progress: &(dyn Fn(u64) + Sync)) -> Figures {
        let stats = Stats::of(numbers, progress);
        // What was just read is still in memory.
        let histogram = Histogram::of(numbers, &stats);
        Figures { stats, histogram }
    }
}

impl Histogram {
    /// As bars, as high as the logarithm of what they count: one number is seen beside millions.
    pub fn bars(&self) -> String {
        const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let most = self.0.iter().copied().max().unwrap_or(0) as f64;
        let bar = |&count: &u64| match count as f64 {
            0.0 => BARS[0],
            // The logarithm of one is no measure.
            _ if most == 1.0 => BARS[8],
            count => BARS[1 + (count.ln() / most.ln() * 7.0).round() as usize],
        };
        self.0.iter().map(bar).collect()
    }

    /// Reads the tensor that `stats` is of again, on all cores; `None` where no element is finite.
    pub fn of(numbers: &Numbers, stats: &Stats) -> Option<Histogram> {
        let (min, max) = (f64::from(stats.min?), f64::from(stats.max?));
        let (first, last) = match min == max {
            true => (min - 0.5, max + 0.5),
            false => (min, max),
        };
        let width = (last - first) / STEPS as f64;
        let edges: [f64; STEPS + 1] = std::array::from_fn(|at| match at {
            STEPS => last,
            at => first + at as f64 * width,
        });
        let step = |value: f64| {
            let at = ((value - first) / (last - first) * STEPS as f64) as usize;
            let at = at.min(STEPS - 1);
            // Rounding must not lead across an edge.
            let below = usize::from(value < edges[at]);
            let above = usize::from(value >= edges[at + 1] && at + 1 < STEPS);
            at + above - below
        };
        let counts = (0..numbers.chunks())
            .into_par_iter()
            .map_init(Vec::new, |values, chunk| {
                let mut counts = [0; STEPS];
                numbers.decode(chunk, values);
                for value in values.iter().filter(|value| value.is_finite()) {
                    counts[step(f64::from(*value))] += 1;
                }
                counts
            })
            .reduce(|| [0; STEPS], |a, b| std::array::from_fn(|at| a[at] + b[at]));
        Some(Histogram(counts))
    }
}

/// Sums over a part of a tensor.
#[derive(Debug, Clone, Copy)]
struct Sums {
    elements: u64,
    min: f32,
    max: f32,
    sum: f64,
    squares: f64,
    zeros: u64,
    nan: u64,
    infinite: u64,
}

impl Stats {
    /// Reads a whole tensor, on all cores. `progress` is told the number of elements as they are read. The figures do
    /// not depend on the cores: the parts are summed in order.
    pub fn of(numbers: &Numbers, progress: &(dyn Fn(u64) + Sync)) -> Stats {
        let parts: Vec<Sums> = (0..numbers.chunks())
            .into_par_iter()
            .map_init(Vec::new, |values, chunk| {
                numbers.decode(chunk, values);
                let sums = Sums::of(values);
                progress(sums.elements);
                sums
            })
            .collect();
        let total = parts.into_iter().fold(Sums::EMPTY, Sums::and);
        let finite = total.elements - total.nan - total.infinite;
        let of_finite = |value: f64| (finite > 0).then_some(value);
        let mean_square = total.squares / finite as f64;
        Stats {
            elements: total.elements,
            min: of_finite(0.0).map(|_| total.min),
            max: of_finite(0.0).map(|_| total.max),
            mean: of_finite(total.sum / finite as f64),
            rms: of_finite(mean_square.sqrt()),
            zeros: total.zeros,
            nan: total.nan,
            infinite: total.infinite,
        }
    }

    /// Share of zeros, between 0 and 1.
    pub fn zero_share(&self) -> f64 {
        self.zeros as f64 / self.elements.max(1) as f64
    }
}

impl Sums {
    const EMPTY: Sums = Sums {
        elements: 0,
        min: f32::INFINITY,
        max: f32::NEG_INFINITY,
        sum: 0.0,
        squares: 0.0,
        zeros: 0,
        nan: 0,
        infinite: 0,
    };

    fn of(values: &[f32]) -> Sums {
        let mut sums = Sums {
            elements: values.len() as u64,
            ..Sums::EMPTY
        };
        for &value in values {
            if value.is_finite() {
                sums.min = sums.min.min(value);
                sums.max = sums.max.max(value);
                sums.sum += f64::from(value);
                sums.squares += f64::from(value) * f64::from(value);
                sums.zeros += u64::from(value == 0.0);
            } else if value.is_nan() {
                sums.nan += 1;
            } else {
                sums.infinite += 1;
            }
        }
        sums
    }

    fn and(self, other: Sums) -> Sums {
        Sums {
            elements: self.elements + other.elements,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            sum: self.sum + other.sum,
            squares: self.squares + other.squares,
            zeros: self.zeros + other.zeros,
            nan: self.nan + other.nan,
            infinite: self.infinite + other.infinite,
        }
    }
}
