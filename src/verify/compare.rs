//! A drafter's weights against the checkpoint that they were made of.

use crate::gguf::Gguf;
use crate::model::{Matrix, ModelError, Weights};
use crate::quant::GgmlType;
use crate::storage::deviation::Deviation;
use crate::text::escape;
use rayon::prelude::*;

/// How far one tensor is from its source.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// Name in the GGUF.
    pub name: String,
    /// Type in the GGUF.
    pub ty: GgmlType,
    /// What the comparison gave.
    pub outcome: Outcome,
}

/// What the comparison of a tensor gave.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Both have it in the same shape.
    Compared(TensorError),
    /// The source has it in this shape (outermost first).
    Shape(Vec<usize>),
    /// The source has no such tensor.
    NotInSource,
}

/// The differences between a tensor and its source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TensorError {
    /// Whether every number is what the type makes of the source's.
    pub exact: bool,
    /// Largest difference.
    pub max: f64,
    /// Root mean square of the differences.
    pub rms: f64,
    /// The same, in units of the source's root mean square.
    pub relative: f64,
    /// Cosine between both.
    pub cosine: f64,
    /// Rows that are all zeros here and not in the source.
    pub zero_rows: Vec<usize>,
    /// Rows that differ by more than the type's ceiling.
    pub bad_rows: Vec<usize>,
}

/// Largest relative error (root mean squares) that a type may have, about twice what ggml's quantizers leave on trained
/// weights. Types that hold floating-point numbers must be exact.
pub fn ceiling(ty: GgmlType) -> f64 {
    match ty {
        GgmlType::F64 | GgmlType::F32 | GgmlType::F16 | GgmlType::BF16 => 0.0,
        GgmlType::Q8_0 => 0.015,
        GgmlType::Q6_K => 0.05,
        GgmlType::Q5_0 | GgmlType::Q5_1 | GgmlType::Q5_K => 0.10,
        GgmlType::Q4_0 | GgmlType::Q4_1 | GgmlType::Q4_K | GgmlType::IQ4_NL | GgmlType::IQ4_XS => 0.20,
        GgmlType::Q3_K => 0.35,
        _ => 0.60,
    }
}

/// A row may be this much worse than its whole tensor may: its scale can be unlucky.
const ROW_ALLOWANCE: f64 = 2.0;

impl Comparison {
    /// Whether the tensor is as near to its source as its type allows.
    pub fn is_good(&self) -> bool {
        match &self.outcome {
            Outcome::Compared(error) => error.is_good(self.ty),
            Outcome::Shape(_) => false,
            Outcome::NotInSource => true,
        }
    }

    /// Whether the source has the tensor in the same shape, if it has it.
    pub fn is_in_shape(&self) -> bool {
        !matches!(self.outcome, Outcome::Shape(_))
    }
}

impl TensorError {
    /// Whether the tensor is as near to its source as the type allows.
    pub fn is_good(&self, ty: GgmlType) -> bool {
        match ty.is_quantized() {
            true => self.relative <= ceiling(ty) && self.bad_rows.is_empty() && self.zero_rows.is_empty(),
            false => self.exact,
        }
    }
}

/// Every tensor of the file against the source, in the order of the file. `rope_freqs.weight`, which no checkpoint has,
/// is left out.
pub fn compare_all(gguf: &Gguf, source: &dyn Weights) -> Result<Vec<Comparison>, ModelError> {
    let mut comparisons = Vec::new();
    for info in gguf.tensors() {
        let name = escape(&info.name);
        let Some(tensor) = Weights::tensor(gguf, &name)? else {
            continue;
        };
        if name == "rope_freqs.weight" {
            continue;
        }
        let ty = tensor.ty;
        let outcome = match source.tensor(&name)? {
            None => Outcome::NotInSource,
            Some(theirs) if theirs.shape != tensor.shape => Outcome::Shape(theirs.shape),
            Some(theirs) => Outcome::Compared(match (tensor.integers(), theirs.integers()) {
                (Some(ours), Some(theirs)) => TensorError {
                    exact: ours == theirs,
                    ..TensorError::default()
                },
                _ => {
                    let ours = gguf.shaped(&name, &tensor.shape)?;
                    compare(ty, &ours, &source.shaped(&name, &theirs.shape)?)
                }
            }),
        };
        comparisons.push(Comparison { name, ty, outcome });
    }
    Ok(comparisons)
}

/// Sums over some numbers of a tensor and of its source.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    differs: bool,
    numbers: Deviation,
}

impl Sums {
    fn of(ty: GgmlType, ours: &[f32], theirs: &[f32]) -> Sums {
        let mut numbers = Deviation::default();
        for (&a, &b) in ours.iter().zip(theirs) {
            numbers.push(a.into(), b.into());
        }
        Sums {
            differs: !is_rounded(ty, ours, theirs),
            numbers,
        }
    }

    fn and(self, other: Sums) -> Sums {
        Sums {
            differs: self.differs || other.differs,
            numbers: self.numbers.and(other.numbers),
        }
    }
}

/// Whether floating-point numbers are those of the source, rounded to their type. Quantized numbers are not asked.
fn is_rounded(ty: GgmlType, ours: &[f32], theirs: &[f32]) -> bool {
    let same = |round: fn(f32) -> f32| {
        let same = |(a, b): (&f32, &f32)| a.to_bits() == round(*b).to_bits() || (a.is_nan() && b.is_nan());
        ours.iter().zip(theirs).all(same)
    };
    match ty {
        GgmlType::F16 => same(|v| half::f16::from_f32(v).to_f32()),
        GgmlType::BF16 => same(|v| half::bf16::from_f32(v).to_f32()),
        _ => same(|v| v),
    }
}

/// Two tensors of the same shape, the first of type `ty`.
pub fn compare(ty: GgmlType, ours: &Matrix, theirs: &Matrix) -> TensorError {
    let rows: Vec<Sums> = (0..ours.rows())
        .into_par_iter()
        .map(|row| Sums::of(ty, &ours.row(row), &theirs.row(row)))
        .collect();
    let sums = rows.iter().copied().fold(Sums::default(), Sums::and);
    let positions = |is: &dyn Fn(&Sums) -> bool| (0..rows.len()).filter(|&row| is(&rows[row])).collect();
    let allowed = ceiling(ty) * ROW_ALLOWANCE;
    TensorError {
        exact: !sums.differs,
        max: sums.numbers.max,
        rms: sums.numbers.rms((ours.rows() * ours.cols()) as u64),
        relative: sums.numbers.relative(),
        cosine: sums.numbers.cosine(),
        zero_rows: positions(&|row| row.numbers.ours == 0.0 && row.numbers.theirs > 0.0),
        bad_rows: positions(&|row| match ty.is_quantized() {
            true => row.numbers.relative() > allowed || row.numbers.difference.is_nan(),
            false => row.differs,
        }),
    }
}
