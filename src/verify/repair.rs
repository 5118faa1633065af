//! Faults found without a source: each is undone by way of trial, and what the target wrote tells whether the drafter
//! then guesses better. A drafter was trained to guess, so no wrong repair makes it better at that.

use super::overlay::Overlay;
use super::probe::{Probes, mean};
use super::watch::{Phase, Watcher};
use super::words::{code, list};
use crate::finding::Finding;
use crate::model::{Config, DrafterConfig, ModelError, Settings, Weights};
use crate::quant::GgmlType;

/// The projection of embedding and hidden state.
pub(super) const PRE_PROJECTION: &str = "nextn.pre_projection.weight";

/// Whether a type packs elements `i` and `i + 16` of a block into one byte.
pub(super) fn has_nibbles(ty: GgmlType) -> bool {
    matches!(ty, GgmlType::Q4_0 | GgmlType::Q4_1 | GgmlType::IQ4_NL)
}

/// Blocks with the low and high half of each byte of levels exchanged.
pub(super) fn swap_nibbles(ty: GgmlType, blocks: &[u8]) -> Vec<u8> {
    let mut out = blocks.to_vec();
    for block in out.chunks_exact_mut(ty.block_bytes()) {
        // The levels end the block, two a byte; scales stand before them.
        let levels = ty.block_bytes() - ty.block_len() / 2;
        block[levels..]
            .iter_mut()
            .for_each(|byte| *byte = byte.rotate_left(4));
    }
    out
}

/// Rows with their two halves exchanged.
pub(super) fn exchange_halves(numbers: &[f32], cols: usize) -> Vec<f32> {
    let mut out = numbers.to_vec();
    out.chunks_exact_mut(cols)
        .for_each(|row| row.rotate_left(cols / 2));
    out
}

/// The first half of each row divided by `factor`.
pub(super) fn divide_first_half(numbers: &[f32], cols: usize, factor: f32) -> Vec<f32> {
    let mut out = numbers.to_vec();
    for row in out.chunks_exact_mut(cols) {
        row[..cols / 2].iter_mut().for_each(|v| *v /= factor);
    }
    out
}

/// A fault that a converter can make. Doing it again undoes it, or nearly so.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fault {
    /// These parts of two blocks are exchanged.
    Exchanged {
        parts: Vec<String>,
        blocks: (String, String),
    },
    /// `ffn_gate` and `ffn_up` of a block are exchanged.
    GateIsUp(String),
    /// The halves of the first projection are exchanged.
    HalvesExchanged,
    /// The embedding's half of the first projection, of this width, is larger by a factor than it should be.
    EmbeddingScaled { width: usize, factor: f32 },
    /// The nibbles of these tensors are swapped.
    Nibbles(Vec<String>),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Exchanged {
                parts,
                blocks: (a, b),
            } => {
                let verb = if parts.len() == 1 { "is" } else { "are" };
                write!(f, "{} of {a} and {b} {verb} exchanged", list(parts))
            }
            Fault::GateIsUp(block) => write!(f, "ffn_gate and ffn_up of {block} are exchanged"),
            Fault::HalvesExchanged => write!(
                f,
                "the two halves of {PRE_PROJECTION} are exchanged; the embedding's comes first, then the hidden state's"
            ),
            Fault::EmbeddingScaled { width, factor } => {
                let root = (*width as f32).sqrt();
                let near = |expected: f32| (factor / expected - 1.0).abs() < 0.02;
                match (near(1.0 / root), near(root)) {
                    (true, _) => write!(
                        f,
                        "the embeddings are not scaled: by a factor of √{width} too small"
                    )?,
                    (_, true) => write!(
                        f,
                        "the embeddings are scaled twice: by a factor of √{width} too large"
                    )?,
                    _ => write!(f, "the embeddings are scaled by a factor of {factor:.4}")?,
                }
                write!(f, " in their half of {PRE_PROJECTION}")
            }
            Fault::Nibbles(names) => {
                write!(
                    f,
                    "the nibbles (halves of each byte) are swapped in {}",
                    list(names)
                )
            }
        }
    }
}

impl Fault {
    /// Weights without the fault.
    fn undone<'a>(&self, weights: &'a dyn Weights) -> Result<Overlay<'a>, ModelError> {
        let mut overlay = Overlay::new(weights);
        match self {
            Fault::Exchanged {
                parts,
                blocks: (a, b),
            } => {
                for part in parts {
                    overlay.exchange(&format!("{a}.{part}.weight"), &format!("{b}.{part}.weight"));
                }
            }
            Fault::GateIsUp(block) => {
                overlay.exchange(
                    &format!("{block}.ffn_gate.weight"),
                    &format!("{block}.ffn_up.weight"),
                );
            }
            Fault::HalvesExchanged => replace_projection(weights, &mut overlay, exchange_halves)?,
            Fault::EmbeddingScaled { factor, .. } => {
                replace_projection(weights, &mut overlay, |numbers, cols| {
                    divide_first_half(numbers, cols, *factor)
                })?;
            }
            Fault::Nibbles(names) => {
                for name in names {
                    if let Some(tensor) = weights.tensor(name)? {
                        let swapped = swap_nibbles(tensor.ty, tensor.data);
                        overlay.replace_bytes(name, tensor.ty, tensor.shape, swapped);
                    }
                }
            }
        }
        Ok(overlay)
    }
}

fn replace_projection(
    weights: &dyn Weights,
    overlay: &mut Overlay,
    change: impl Fn(&[f32], usize) -> Vec<f32>,
) -> Result<(), ModelError> {
    if let Some(tensor) = weights.tensor(PRE_PROJECTION)? {
        let matrix = weights.shaped(PRE_PROJECTION, &tensor.shape)?;
        overlay.replace(
            PRE_PROJECTION,
            tensor.shape,
            &change(&matrix.decode(), matrix.cols()),
        );
    }
    Ok(())
}

/// Least improvement of the mean surprise that counts, in nats and in standard errors of the paired differences.
const LEAST_GAIN: f64 = 0.1;
const LEAST_ERRORS: f64 = 4.0;
/// Part of the surprise that undoing a fault must take away: a fault is the whole cause, so undone it brings the drafter
/// back (planted faults give back 0.43 and more), while a chance repair of another model's drafter gives a little (0.12).
const LEAST_SHARE: f64 = 0.25;
/// A drafter whose surprise is more than this part of a blind guesser's was not repaired.
const REPAIRED: f64 = 0.35;

/// Probes of a first trial: where undoing a fault takes less than half of [`LEAST_SHARE`] away there, no more are tried.
const SAMPLE: usize = 16;

/// Undoes each fault by way of trial and reports the one whose undoing helps most, if one does. `before` is the surprise
/// with none undone.
pub(super) fn find_fault(
    weights: &dyn Weights,
    config: &DrafterConfig,
    settings: Settings,
    probes: &Probes,
    before: &[f64],
    watcher: &Watcher,
) -> Result<Option<Finding>, ModelError> {
    let Some(numbers) = config.assistant() else {
        return Ok(None);
    };
    let surprise = |weights: &dyn Weights, probes: &Probes| -> Result<Vec<f64>, ModelError> {
        let drafter = config.load(weights, probes.target(), settings)?;
        Ok(probes.surprise(drafter.as_ref()))
    };
    if before.len() < 2 {
        return Ok(None);
    }
    let sample = probes.sample(SAMPLE);
    let sample_before = mean(&surprise(weights, &sample)?);
    let mut best: Option<(f64, Fault)> = None;
    let faults = candidates(weights, numbers)?;
    watcher.begin(Phase::Trials, faults.len());
    for fault in faults {
        if watcher.wants_end() {
            break;
        }
        watcher.advance(1);
        let undone = fault.undone(weights)?;
        if sample_before - mean(&surprise(&undone, &sample)?) < LEAST_SHARE / 2.0 * sample_before {
            continue;
        }
        let after = surprise(&undone, probes)?;
        let gains: Vec<f64> = before
            .iter()
            .zip(&after)
            .map(|(before, after)| before - after)
            .collect();
        let gain = mean(&gains);
        let spread: f64 = gains.iter().map(|g| (g - gain).powi(2)).sum();
        let error = (spread / (gains.len() * (gains.len() - 1)) as f64).sqrt();
        let helps = gain > LEAST_GAIN.max(LEAST_SHARE * mean(before))
            && gain > LEAST_ERRORS * error
            && mean(&after) < REPAIRED * (probes.target().vocab() as f64).ln();
        if helps && best.as_ref().is_none_or(|(most, _)| gain > *most) {
            best = Some((gain, fault));
        }
    }
    Ok(best.map(|(gain, fault)| {
        let message = format!("{fault} (undone, the drafter guesses {gain:.2} nats a token better)");
        Finding::error(code::DRAFTS, message)
    }))
}

/// The faults that are tried.
fn candidates(weights: &dyn Weights, config: &Config) -> Result<Vec<Fault>, ModelError> {
    const GROUPS: [&[&str]; 6] = [
        &["attn_q", "attn_output"],
        &["attn_q"],
        &["attn_output"],
        &["ffn_gate"],
        &["ffn_up"],
        &["ffn_down"],
    ];
    let block = |l: usize| format!("blk.{l}");
    let mut faults = vec![Fault::HalvesExchanged];
    let width = config.backbone.unwrap_or(0);
    let root = (width as f32).sqrt();
    faults.extend([1.0 / root, root].map(|factor| Fault::EmbeddingScaled { width, factor }));
    let layers = &config.layers;
    for b in 0..layers.len() {
        for a in (0..b).filter(|&a| layers[a] == layers[b]) {
            faults.extend(GROUPS.map(|parts| Fault::Exchanged {
                parts: parts.iter().map(ToString::to_string).collect(),
                blocks: (block(a), block(b)),
            }));
        }
        faults.push(Fault::GateIsUp(block(b)));
    }
    let names = nibble_tensors(weights, config)?;
    faults.extend(names.iter().map(|name| Fault::Nibbles(vec![name.clone()])));
    faults.push(Fault::Nibbles(names));
    Ok(faults)
}

/// The matrices of a type whose nibbles can be swapped.
fn nibble_tensors(weights: &dyn Weights, config: &Config) -> Result<Vec<String>, ModelError> {
    const PARTS: [&str; 5] = ["attn_q", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
    let of_layers = (0..config.layers.len()).flat_map(|l| PARTS.map(|part| format!("blk.{l}.{part}.weight")));
    let others = [
        "token_embd.weight",
        PRE_PROJECTION,
        "nextn.post_projection.weight",
    ];
    let mut names = Vec::new();
    for name in of_layers.chain(others.map(str::to_owned)) {
        if weights
            .tensor(&name)?
            .is_some_and(|tensor| has_nibbles(tensor.ty))
        {
            names.push(name);
        }
    }
    Ok(names)
}
