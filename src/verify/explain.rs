//! Why a tensor differs from its source: guesses at what a converter did, each held against the numbers.

use super::compare::{Comparison, Outcome, TensorError, compare};
use super::finding::{Check, Finding, all_zeros, rows};
use super::repair::{Fault, PRE_PROJECTION, divide_first_half, exchange_halves, has_nibbles, swap_nibbles};
use crate::model::{Matrix, ModelError, Tensor, Weights};
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

/// One finding for each way in which tensors differ from the source.
pub fn explain(
    drafter: &dyn Weights,
    source: &dyn Weights,
    comparisons: &[Comparison],
) -> Result<Vec<Finding>, ModelError> {
    let mut causes = Vec::new();
    for comparison in comparisons.iter().filter(|comparison| !comparison.is_good()) {
        let name = comparison.name.as_str();
        let cause = match &comparison.outcome {
            Outcome::Compared(error) => cause(drafter, source, comparisons, comparison, error)?,
            Outcome::Shape(shape) => {
                Cause::Other(format!("{name} has another shape than the source's {shape:?}"))
            }
            Outcome::NotInSource => continue,
        };
        causes.push((name, cause));
    }
    Ok(findings(&causes))
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
    let fault = |message| Finding::fault(Check::Weights, message);
    faults.chain(messages).map(fault).collect()
}

/// Adds an exchanged part to the fault of its two blocks.
fn exchange(faults: &mut Vec<Fault>, part: &str, a: &str, b: &str) {
    let these = (a.to_owned(), b.to_owned());
    let known = faults.iter_mut().find_map(|fault| match fault {
        Fault::Exchanged { parts, blocks } if *blocks == these => Some(parts),
        _ => None,
    });
    match known {
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

fn cause(
    drafter: &dyn Weights,
    source: &dyn Weights,
    comparisons: &[Comparison],
    comparison: &Comparison,
    error: &TensorError,
) -> Result<Cause, ModelError> {
    let (name, ty) = (comparison.name.as_str(), comparison.ty);
    let (Some(ours), Some(theirs)) = (drafter.tensor(name)?, source.tensor(name)?) else {
        return Ok(Cause::Other(format!("{name} is missing")));
    };
    let (Some(our), Some(their)) = (Matrix::new(ours.clone()), Matrix::new(theirs)) else {
        return Ok(Cause::Other(format!(
            "{name} does not hold the source's integers"
        )));
    };
    let fits = |ours: &Matrix, theirs: &Matrix| {
        let error = compare(ty, ours, theirs);
        error.is_good(ty) || (!ty.is_quantized() && error.relative <= FLOAT_CEILING)
    };
    if !error.zero_rows.is_empty() && error.zero_rows == error.bad_rows {
        return Ok(Cause::Other(all_zeros(name, &error.zero_rows)));
    }
    for other in comparisons.iter().filter(|other| other.name != name) {
        let Some(tensor) = source.tensor(&other.name)?.filter(|t| t.shape == ours.shape) else {
            continue;
        };
        // All norms that were never trained are equal to each other; that explains nothing.
        if let Some(theirs) = Matrix::new(tensor)
            && compare(ty, &our, &theirs).is_good(ty)
        {
            return Ok(Cause::Is(other.name.clone()));
        }
    }
    let numbers = our.decode();
    let shape = ours.shape.clone();
    let as_floats = |numbers: &[f32]| -> bool {
        let data: Vec<u8> = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
        let tensor = Tensor {
            ty: GgmlType::F32,
            shape: shape.clone(),
            data: &data,
        };
        Matrix::new(tensor).is_some_and(|ours| fits(&ours, &their))
    };
    if has_nibbles(ty) {
        let data = swap_nibbles(ty, ours.data);
        let swapped = Matrix::new(Tensor {
            data: &data,
            ..ours.clone()
        });
        if swapped.is_some_and(|swapped| fits(&swapped, &their)) {
            return Ok(Cause::Nibbles);
        }
    }
    if name == PRE_PROJECTION {
        if as_floats(&exchange_halves(&numbers, our.cols())) {
            return Ok(Cause::Other(Fault::HalvesExchanged.to_string()));
        }
        let factor = fitted_factor(
            &first_half(&numbers, our.cols()),
            &first_half(&their.decode(), our.cols()),
        );
        if as_floats(&divide_first_half(&numbers, our.cols(), factor)) {
            let width = our.cols() / 2;
            return Ok(Cause::Other(Fault::EmbeddingScaled { width, factor }.to_string()));
        }
    }
    let theirs = their.decode();
    if let ([one], [expected]) = (numbers.as_slice(), theirs.as_slice()) {
        return Ok(Cause::Other(format!(
            "{name} is {one}, the source has {expected}"
        )));
    }
    if as_floats(&numbers.iter().map(|v| v - 1.0).collect::<Vec<_>>()) {
        return Ok(Cause::Other(format!(
            "1 was added to {name}; Gemma 4's norms need none"
        )));
    }
    let factor = fitted_factor(&numbers, &theirs);
    if as_floats(&numbers.iter().map(|v| v / factor).collect::<Vec<_>>()) {
        return Ok(Cause::Other(format!("{name} is {factor:.4} times the source's")));
    }
    let transposed: Vec<f32> = (0..numbers.len())
        .map(|i| numbers[i % our.rows() * our.cols() + i / our.rows()])
        .collect();
    if our.rows() == our.cols() && as_floats(&transposed) {
        return Ok(Cause::Other(format!("{name} is transposed")));
    }
    Ok(Cause::Other(match error.bad_rows.len() {
        bad if bad > 0 && bad < our.rows() => {
            format!("{} of {name} differ from the source", rows(&error.bad_rows))
        }
        _ => format!(
            "{name} differs from the source: relative error {:.3}, cosine {:.3}",
            error.relative, error.cosine
        ),
    }))
}

/// The factor by which `theirs` comes nearest to `ours`.
fn fitted_factor(ours: &[f32], theirs: &[f32]) -> f32 {
    let sum = |a: &[f32]| -> f64 {
        let products = a.iter().zip(theirs).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum()
    };
    (sum(ours) / sum(theirs)) as f32
}

/// The first half of each row.
fn first_half(numbers: &[f32], cols: usize) -> Vec<f32> {
    let rows = numbers.chunks_exact(cols);
    rows.flat_map(|row| &row[..cols / 2]).copied().collect()
}
