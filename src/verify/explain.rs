//! Why a tensor differs from its source: guesses at what a converter did, each held against the numbers.

use super::compare::{Comparison, Outcome, TensorError, compare};
use super::repair::{Fault, PRE_PROJECTION, divide_first_half, exchange_halves, has_nibbles, swap_nibbles};
use super::words::{all_zeros, code, list, rows};
use crate::finding::Finding;
use crate::gguf::Gguf;
use crate::model::{CheckpointWeights, D2T, Matrix, ModelError, Tensor, Weights};
use crate::quant::GgmlType;

/// Largest relative error that a guess may leave in a tensor of floating-point numbers: a scale factor costs rounding.
const FLOAT_CEILING: f64 = 0.01;

/// What turned the source's tensor into the one found.
enum Cause {
    /// It is another tensor of the source.
    Is(String),
    Nibbles,
    /// In words.
    Other(String),
}

/// One finding for each way in which tensors differ from the source. `raw` is the source before anything was done to it.
pub fn explain(
    drafter: &Gguf,
    source: &dyn Weights,
    raw: &CheckpointWeights,
    comparisons: &[Comparison],
) -> Result<Vec<Finding>, ModelError> {
    let mut causes = Vec::new();
    for comparison in comparisons.iter().filter(|comparison| !comparison.is_good()) {
        let name = comparison.name.as_str();
        let cause = match &comparison.outcome {
            Outcome::Compared(error) => match is_untouched(drafter, raw, comparison)? {
                true => Cause::Other(untouched(name)),
                false => cause(drafter, source, comparisons, comparison, error)?,
            },
            Outcome::Shape(shape) => {
                let other = match Weights::tensor(drafter, name)?.map(first_rows) {
                    Some(ours) => held_instead(&ours, source, comparisons, name)?,
                    None => None,
                };
                other.map_or_else(
                    || Cause::Other(format!("{name} has another shape than the source's {shape:?}")),
                    Cause::Is,
                )
            }
            Outcome::NotInSource => continue,
        };
        causes.push((name, cause));
    }
    let mut findings = findings(&causes);
    findings.extend(missing(drafter, source, &raw.held())?);
    Ok(findings)
}

/// One sentence for what belongs together.
fn findings(causes: &[(&str, Cause)]) -> Vec<Finding> {
    let mut faults: Vec<Fault> = Vec::new();
    let mut messages = Vec::new();
    let mut nibbles = Vec::new();
    for (name, cause) in causes {
        match cause {
            Cause::Is(other) => {
                let is_mutual = |(partner, cause): &(&str, Cause)| {
                    partner == other && matches!(cause, Cause::Is(back) if back == name)
                };
                match (causes.iter().any(is_mutual), split(name), split(other)) {
                    (true, None, None) => {
                        if *name < other.as_str() {
                            messages.push(format!("{name} and {other} are exchanged"));
                        }
                    }
                    (true, Some((a, part)), Some((b, other_part))) if part == other_part => {
                        // Each exchange is seen from both sides.
                        if a < b {
                            exchange(&mut faults, part, a, b);
                        }
                    }
                    _ => messages.push(format!("{name} holds the source's {other}")),
                }
            }
            Cause::Nibbles => nibbles.push((*name).to_owned()),
            Cause::Other(message) => messages.push(message.clone()),
        }
    }
    if !nibbles.is_empty() {
        faults.push(Fault::Nibbles(nibbles));
    }
    let faults = faults.iter().map(Fault::to_string);
    let fault = |message| Finding::error(code::WEIGHTS, message);
    faults.chain(messages).map(fault).collect()
}

/// Whether a tensor is as the source has it, where something should have been done to it.
fn is_untouched(
    drafter: &dyn Weights,
    raw: &dyn Weights,
    comparison: &Comparison,
) -> Result<bool, ModelError> {
    let name = &comparison.name;
    let (Some(ours), Some(theirs)) = (drafter.tensor(name)?, raw.tensor(name)?) else {
        return Ok(false);
    };
    if let (Some(ours), Some(theirs)) = (ours.integers(), theirs.integers()) {
        return Ok(ours == theirs);
    }
    if ours.shape != theirs.shape {
        return Ok(false);
    }
    let matrices = Matrix::new(first_rows(ours)).zip(Matrix::new(first_rows(theirs)));
    Ok(matrices.is_some_and(|(ours, theirs)| compare(comparison.ty, &ours, &theirs).is_good(comparison.ty)))
}

/// What was left out, by the tensor.
fn untouched(name: &str) -> String {
    match name {
        D2T => format!("{name} holds the source's distances: the number of the row was not added"),
        name => format!(
            "{name} is not permuted: its rows lie as in the source, llama.cpp turns neighbouring ones together"
        ),
    }
}

/// Adds an exchanged part to the fault of its two blocks.
fn exchange(faults: &mut Vec<Fault>, part: &str, a: &str, b: &str) {
    let these = (a.to_owned(), b.to_owned());
    let known = faults.iter_mut().find_map(|fault| match fault {
        Fault::Exchanged { parts, blocks } if *blocks == these => Some(parts),
        _ => None,
    });
    match known {
        // The file has them by name; what reads comes before what writes.
        Some(parts) if part == "attn_q" => parts.insert(0, part.to_owned()),
        Some(parts) => parts.push(part.to_owned()),
        None => faults.push(Fault::Exchanged {
            parts: vec![part.to_owned()],
            blocks: these,
        }),
    }
}

/// `blk.0.attn_q.weight` to `blk.0` and `attn_q`.
fn split(name: &str) -> Option<(&str, &str)> {
    let end = name.match_indices('.').nth(1)?.0;
    let (block, rest) = name.split_at(end);
    block
        .starts_with("blk.")
        .then(|| (block, rest.trim_start_matches('.').trim_end_matches(".weight")))
}

/// What the source has and the file has not. `held`: the names of what the checkpoint holds.
fn missing(drafter: &Gguf, source: &dyn Weights, held: &[String]) -> Result<Option<Finding>, ModelError> {
    let mut missing = Vec::new();
    for name in held {
        if drafter.info(name).is_none() && source.tensor(name)?.is_some() {
            missing.push(name);
        }
    }
    let verb = match missing[..] {
        [] => return Ok(None),
        [_] => "is",
        _ => "are",
    };
    let message = format!("{} {verb} missing: the source has more tensors", list(&missing));
    Ok(Some(Finding::error(code::WEIGHTS, message)))
}

/// The tensor of the source that this one, called `name`, holds in the place of its own.
fn held_instead(
    ours: &Tensor,
    source: &dyn Weights,
    comparisons: &[Comparison],
    name: &str,
) -> Result<Option<String>, ModelError> {
    for candidate in comparisons.iter().filter(|candidate| candidate.name != name) {
        let Some(tensor) = source.tensor(&candidate.name)?.map(first_rows) else {
            continue;
        };
        if tensor.shape == ours.shape
            && let Some((a, b)) = Matrix::new(ours.clone()).zip(Matrix::new(tensor))
            && compare(ours.ty, &a, &b).is_good(ours.ty)
        {
            return Ok(Some(candidate.name.clone()));
        }
    }
    Ok(None)
}

/// Rows that are looked at: whatever happened to a whole tensor shows in its first ones.
const EXPLAINED_ROWS: usize = 4096;

/// The first rows of a matrix; other tensors whole.
fn first_rows(tensor: Tensor<'_>) -> Tensor<'_> {
    match tensor.shape[..] {
        [rows, cols] if rows > EXPLAINED_ROWS => Tensor {
            shape: vec![EXPLAINED_ROWS, cols],
            data: &tensor.data[..tensor.data.len() / rows * EXPLAINED_ROWS],
            ..tensor
        },
        _ => tensor,
    }
}

fn cause(
    drafter: &dyn Weights,
    source: &dyn Weights,
    comparisons: &[Comparison],
    comparison: &Comparison,
    error: &TensorError,
) -> Result<Cause, ModelError> {
    let name = comparison.name.as_str();
    let other = |message: String| Ok(Cause::Other(message));
    let (Some(ours), Some(theirs)) = (drafter.tensor(name)?, source.tensor(name)?) else {
        return other(format!("{name} is missing"));
    };
    let count = ours.shape[..ours.shape.len() - 1].iter().product::<usize>();
    let Some(case) = Case::new(ours, theirs) else {
        return other(format!("{name} does not hold the source's integers"));
    };
    if !error.zero_rows.is_empty() && error.zero_rows == error.bad_rows {
        return other(all_zeros(name, &error.zero_rows, count));
    }
    if error.bad_rows.len() < count / 2 {
        return other(format!(
            "{} of {name} differ from the source",
            rows(&error.bad_rows)
        ));
    }
    if let ([one], [expected]) = (case.numbers.as_slice(), case.expected.as_slice()) {
        return other(format!("{name} is {one}, the source has {expected}"));
    }
    if let Some(other) = held_instead(&case.ours, source, comparisons, name)? {
        return Ok(Cause::Is(other));
    }
    if case.fits_nibbles_swapped() {
        return Ok(Cause::Nibbles);
    }
    if name == PRE_PROJECTION
        && let Some(fault) = case.projection_fault()
    {
        return other(fault.to_string());
    }
    if case.fits(&case.changed(|v| v - 1.0)) {
        return other(format!("1 was added to {name}; Gemma 4's norms need none"));
    }
    let factor = fitted_factor(&case.numbers, &case.expected);
    if case.fits(&case.changed(|v| v / factor)) {
        return other(format!("{name} is {factor:.4} times the source's"));
    }
    if case.fits_transposed() {
        return other(format!("{name} is transposed"));
    }
    other(format!(
        "{name} differs from the source: relative error {:.3}, cosine {:.3}",
        error.relative, error.cosine
    ))
}

/// A tensor and what it should be, or the first rows of both.
struct Case<'a> {
    ours: Tensor<'a>,
    theirs: Matrix<'a>,
    numbers: Vec<f32>,
    expected: Vec<f32>,
}

impl<'a> Case<'a> {
    /// `None` for tensors of integers.
    fn new(ours: Tensor<'a>, theirs: Tensor<'a>) -> Option<Case<'a>> {
        let ours = first_rows(ours);
        let theirs = Matrix::new(first_rows(theirs))?;
        Some(Case {
            numbers: Matrix::new(ours.clone())?.decode(),
            expected: theirs.decode(),
            ours,
            theirs,
        })
    }

    /// Whether this tensor would be the source's.
    fn is_right(&self, tensor: Tensor) -> bool {
        let ty = self.ours.ty;
        Matrix::new(tensor).is_some_and(|matrix| {
            let error = compare(ty, &matrix, &self.theirs);
            error.is_good(ty) || (!ty.is_quantized() && error.relative <= FLOAT_CEILING)
        })
    }

    /// Whether these numbers would be right.
    fn fits(&self, numbers: &[f32]) -> bool {
        let data: Vec<u8> = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.is_right(Tensor {
            ty: GgmlType::F32,
            shape: self.ours.shape.clone(),
            data: &data,
        })
    }

    fn changed(&self, change: impl Fn(f32) -> f32) -> Vec<f32> {
        self.numbers.iter().map(|v| change(*v)).collect()
    }

    fn fits_nibbles_swapped(&self) -> bool {
        has_nibbles(self.ours.ty)
            && self.is_right(Tensor {
                data: &swap_nibbles(self.ours.ty, self.ours.data),
                ..self.ours.clone()
            })
    }

    /// What may have happened to the first projection only.
    fn projection_fault(&self) -> Option<Fault> {
        let cols = self.theirs.cols();
        if self.fits(&exchange_halves(&self.numbers, cols)) {
            return Some(Fault::HalvesExchanged);
        }
        let half = |numbers: &[f32]| -> Vec<f32> {
            let rows = numbers.chunks_exact(cols);
            rows.flat_map(|row| &row[..cols / 2]).copied().collect()
        };
        let factor = fitted_factor(&half(&self.numbers), &half(&self.expected));
        let width = cols / 2;
        self.fits(&divide_first_half(&self.numbers, cols, factor))
            .then_some(Fault::EmbeddingScaled { width, factor })
    }

    fn fits_transposed(&self) -> bool {
        let (rows, cols) = (self.theirs.rows(), self.theirs.cols());
        let transposed = (0..rows * cols).map(|i| self.numbers[i % rows * cols + i / rows]);
        rows == cols && self.fits(&transposed.collect::<Vec<_>>())
    }
}

/// The factor by which `theirs` comes nearest to `ours`.
fn fitted_factor(ours: &[f32], theirs: &[f32]) -> f32 {
    let sum = |a: &[f32]| -> f64 {
        let products = a.iter().zip(theirs).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum()
    };
    (sum(ours) / sum(theirs)) as f32
}
