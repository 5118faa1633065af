//! What to expect of a pair before it is run: memory, time, and how to start it.
//!
//! [`advise`] puts [`memory`], [`time`] and [`recipe`] together for two files. Predictions rest on measured speeds where a
//! benchmark is given, and else on the bandwidth of the memory.

pub mod memory;
pub mod recipe;
pub mod time;

use crate::arch::{Arch, ArchError};
use crate::bench::analysis::{Analysis, ConditionResult};
use crate::gguf::{Gguf, GgufError, GgufErrorKind};
use crate::io::kind::Wanted;
use crate::io::{Inputs, ReadError};
use crate::model::ModelError;
use memory::{Load, Memory, Model};
use recipe::{Pair, Recipe};
use serde::Serialize;
use std::path::Path;
use time::{Acceptance, Costs, Experts, Point, Prediction};

/// Numbers of tokens a draft that are predicted where no benchmark names others.
const N_MAX: [u32; 7] = [0, 1, 2, 3, 4, 6, 8];

/// Why there is no advice.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum AdviseError {
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error(transparent)]
    Arch(#[from] ArchError),
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl AdviseError {
    /// The file that it is about, where it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            AdviseError::Gguf(error) => Some(&error.path),
            AdviseError::Model(ModelError::Config { path, .. }) => Some(path),
            AdviseError::Arch(_) | AdviseError::Model(_) => None,
        }
    }

    /// Why a file cannot be read, where that is the cause.
    pub fn read(&self) -> Option<&ReadError> {
        match self {
            AdviseError::Gguf(GgufError {
                kind: GgufErrorKind::Read(error),
                ..
            }) => Some(error),
            _ => None,
        }
    }
}

/// What advice is wanted for.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Question<'a> {
    /// How the pair is loaded.
    pub load: Load,
    /// Bytes that it may take.
    pub available: Option<u64>,
    /// Bytes that the machine reads from memory a second.
    pub bandwidth: Option<f64>,
    /// What a benchmark said.
    pub measured: Option<&'a Analysis>,
    /// Shares of drafts accepted up to each place, of a verification.
    pub acceptance: Option<Vec<f64>>,
}

/// What is expected of a pair.
#[derive(Debug, Serialize)]
pub struct Advice {
    /// Bytes by what they are for.
    pub memory: Memory,
    /// All of it.
    pub memory_total: u64,
    /// What is left of the memory that there is.
    pub memory_left: Option<i64>,
    /// The largest context with which the pair fits.
    pub largest_context: Option<u64>,
    /// What other programs take where that differs: name, bytes, why.
    pub elsewhere: Vec<Elsewhere>,
    /// What the predictions rest on, in words; absent where there are none.
    pub basis: Option<String>,
    /// By number of tokens a draft.
    pub predictions: Vec<Prediction>,
    /// The number of tokens a draft that is expected to be fastest.
    pub best_n_max: Option<u32>,
    /// Predicted beside measured speeds, where a benchmark is given.
    pub forecast: Option<Forecast>,
    /// The same pair in other circumstances.
    pub variants: Vec<Variant>,
    /// How programs are told to draft with it.
    pub recipes: Vec<Recipe>,
}

/// A program that loads the pair otherwise than llama.cpp.
#[derive(Debug, Serialize)]
pub struct Elsewhere {
    /// The program.
    pub program: &'static str,
    /// Bytes of all weights, keys and values.
    pub bytes: u64,
    /// What differs.
    pub why: &'static str,
}

/// Predicted beside measured speeds.
#[derive(Debug, Clone, Serialize)]
pub struct Forecast {
    /// Numbers of tokens a draft that the prediction rests on.
    pub fitted: [u32; 2],
    /// The others.
    pub checked: Vec<Checked>,
    /// Median of the errors' sizes.
    pub median_error: Option<f64>,
}

/// A prediction beside a measurement.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// Most tokens a draft.
    pub n_max: u32,
    /// Predicted tokens a second.
    pub predicted: f64,
    /// Measured tokens a second.
    pub measured: f64,
    /// `predicted / measured - 1`.
    pub error: f64,
}

/// The same pair in other circumstances.
#[derive(Debug, Serialize)]
pub struct Variant {
    /// What is other.
    pub name: String,
    /// The best number of tokens a draft then.
    pub best_n_max: u32,
    /// Its speed against none.
    pub ratio: f64,
}

/// The speeds of a benchmark, with a call at a time, over all kinds of prompts.
pub fn points(analysis: &Analysis) -> Vec<Point> {
    let point = |condition: &ConditionResult| {
        let off = analysis
            .conditions
            .iter()
            .find(|c| c.n_max == Some(0) && c.parallel == 1)?;
        let base = off.overall.tokens_per_second?;
        let acceptance = condition.overall.acceptance.as_ref();
        let n_max = condition.n_max?;
        let ratio = match n_max {
            0 => 1.0,
            _ => condition.overall.against_baseline?.ratio,
        };
        Some(Point {
            n_max,
            speed: base * ratio,
            length: match n_max {
                0 => 1.0,
                _ => acceptance?.mean_length?,
            },
        })
    };
    analysis
        .conditions
        .iter()
        .filter(|c| c.parallel == 1)
        .filter_map(point)
        .collect()
}

/// Shares of drafts accepted up to each place, of the longest drafts of a benchmark.
pub fn measured_acceptance(analysis: &Analysis) -> Option<Vec<f64>> {
    let drafting = analysis.conditions.iter().filter(|c| c.parallel == 1);
    let known = drafting.filter_map(|c| Some((c.n_max?, c.overall.acceptance.as_ref()?)));
    let (_, acceptance) = known.max_by_key(|(n_max, _)| *n_max)?;
    match acceptance.by_position.is_empty() {
        true => Some(vec![acceptance.rate]),
        false => Some(acceptance.by_position.iter().map(|place| place.rate).collect()),
    }
}

/// Costs that rest on two conditions of a benchmark, off and the longest drafts, and how well they predict the others.
pub fn forecast(
    points: &[Point],
    acceptance: &Acceptance,
    experts: Option<Experts>,
) -> Option<(Costs, Forecast)> {
    let off = points.iter().find(|point| point.n_max == 0)?;
    let longest = points
        .iter()
        .filter(|point| point.n_max > 0)
        .max_by_key(|point| point.n_max)?;
    let costs = Costs::fit(&[*off, *longest], experts)?;
    let fitted = [0, longest.n_max];
    let check = |point: &Point| {
        let predicted = costs.predict(point.n_max, acceptance).tokens_per_second;
        Checked {
            n_max: point.n_max,
            predicted,
            measured: point.speed,
            error: predicted / point.speed - 1.0,
        }
    };
    let others = points.iter().filter(|point| !fitted.contains(&point.n_max));
    let checked: Vec<Checked> = others.map(check).collect();
    let errors: Vec<f64> = checked.iter().map(|checked| checked.error.abs()).collect();
    let median_error = (!errors.is_empty()).then(|| crate::bench::stats::median(&errors));
    Some((
        costs,
        Forecast {
            fitted,
            checked,
            median_error,
        },
    ))
}

/// The fastest of some predictions.
pub fn fastest(predictions: &[Prediction]) -> Option<&Prediction> {
    predictions
        .iter()
        .max_by(|a, b| a.tokens_per_second.total_cmp(&b.tokens_per_second))
}

/// Advice for two files.
pub fn advise(
    inputs: &Inputs,
    target: &Path,
    drafter: &Path,
    question: &Question,
) -> Result<Advice, AdviseError> {
    let (target_file, drafter_file) = (Gguf::open(inputs, target)?, Gguf::open(inputs, drafter)?);
    target_file.expect_model(Wanted::Target)?;
    drafter_file.expect_model(Wanted::Drafter)?;
    let target_model = Model::read(&target_file, &Arch::gemma4_assistant()?.target)?;
    let architecture = drafter_file
        .key(drafter_file.metadata().string("general.architecture"))?
        .to_string();
    // Of other drafters than assistants the numbers are not known here; their weights are.
    let drafter_model = Model::read(&drafter_file, &Arch::gemma4_assistant()?.architecture);
    let drafter_model = match architecture == Arch::gemma4_assistant()?.architecture {
        true => Some(drafter_model?),
        false => None,
    };
    let drafter_bytes: u64 = drafter_file.tensors().filter_map(|info| info.size()).sum();
    let mut memory = memory::memory(&target_model, drafter_model.as_ref(), &question.load);
    if drafter_model.is_none() {
        memory.drafter_weights = drafter_bytes;
    }
    let experts = experts(&target_file, &target_model);
    let acceptance = question
        .acceptance
        .clone()
        .or_else(|| question.measured.and_then(measured_acceptance));
    let points = question.measured.map(points).unwrap_or_default();
    let read = |cache: u64| (target_read(&target_file, &target_model, experts) + cache) as f64;
    let cache = target_model.position_bytes(crate::arch::LayerKind::Full, question.load.cache)
        * (question.load.context / question.load.parallel.max(1));
    let acceptance = acceptance.map(|shares| Acceptance::new(&shares));
    let (mut basis, mut costs, mut forecast) = (None, None, None);
    if let Some((fit, checked)) = acceptance
        .as_ref()
        .and_then(|shares| self::forecast(&points, shares, experts))
    {
        let longest = checked.fitted[1];
        basis = Some(format!(
            "From speeds measured without drafting and with drafts of {longest}."
        ));
        (costs, forecast) = (Some(fit), Some(checked));
    } else if let Some(bandwidth) = question.bandwidth {
        basis = Some(
            "From the memory's bandwidth alone, as if the machine computed at once; measure two conditions for more."
                .to_owned(),
        );
        costs = Some(Costs::of_bandwidth(
            read(cache),
            drafter_bytes as f64,
            bandwidth,
            experts,
        ));
    }
    let (mut predictions, mut variants) = (Vec::new(), Vec::new());
    if let (Some(costs), Some(acceptance)) = (&costs, &acceptance) {
        let mut lengths: Vec<u32> = N_MAX
            .into_iter()
            .chain(points.iter().map(|point| point.n_max))
            .collect();
        lengths.sort_unstable();
        lengths.dedup();
        predictions = lengths.iter().map(|n| costs.predict(*n, acceptance)).collect();
        let weights: u64 = target_file.tensors().filter_map(|info| info.size()).sum();
        let elements: u64 = target_file.tensors().map(|info| info.elements()).sum();
        let bits = weights as f64 * 8.0 / elements.max(1) as f64;
        let base = read(0);
        let mut add = |name: String, factor: f64| {
            let other = Costs {
                pass: costs.pass * factor,
                ..*costs
            };
            let predictions: Vec<Prediction> =
                lengths.iter().map(|n| other.predict(*n, acceptance)).collect();
            if let Some(best) = fastest(&predictions) {
                variants.push(Variant {
                    name,
                    best_n_max: best.n_max,
                    ratio: best.ratio,
                });
            }
        };
        // A pass takes as long as what it reads: in other types, and with a longer context, that is more or less.
        add(
            format!("target of 4.5 bits a weight instead of {bits:.1}"),
            4.5 / bits,
        );
        add(
            format!("target of 8.5 bits a weight instead of {bits:.1}"),
            8.5 / bits,
        );
        let long = target_model.position_bytes(crate::arch::LayerKind::Full, question.load.cache) * 65536;
        add(
            "a context of 65536 tokens in use".to_owned(),
            (base + long as f64) / base.max(1.0),
        );
    }
    let total = memory.total();
    let best = fastest(&predictions).map(|best| best.n_max);
    let (target_name, drafter_name) = (target.display().to_string(), drafter.display().to_string());
    Ok(Advice {
        memory_total: total,
        memory_left: question.available.map(|available| {
            i64::try_from(available).unwrap_or(i64::MAX) - i64::try_from(total).unwrap_or(i64::MAX)
        }),
        largest_context: question.available.and_then(|available| {
            memory::largest_context(&target_model, drafter_model.as_ref(), &question.load, available)
        }),
        elsewhere: elsewhere(&target_model, &memory, &drafter_file, &question.load),
        memory,
        basis,
        best_n_max: best,
        predictions,
        forecast,
        variants,
        recipes: recipe::recipes(&Pair {
            target: &target_name,
            drafter: &drafter_name,
            architecture: &architecture,
            spec_type: recipe::spec_type(&architecture, drafter_file.info("markov_w1.weight").is_some()),
            n_max: best.filter(|n| *n > 0).unwrap_or(question.load.n_max as u32),
            context: question.load.context,
            parallel: question.load.parallel,
            cache: &question.load.cache.name().to_lowercase(),
        }),
    })
}

/// Bytes of experts' matrices in a file.
fn expert_bytes(file: &Gguf) -> u64 {
    let is_expert =
        |info: &&crate::gguf::TensorInfo| bstr::ByteSlice::contains_str(info.name.as_slice(), "_exps");
    file.tensors()
        .filter(is_expert)
        .filter_map(|info| info.size())
        .sum()
}

/// Bytes of weights that a pass over one token reads: of embeddings that are looked up a row is read, of experts those used.
fn target_read(file: &Gguf, model: &Model, experts: Option<Experts>) -> u64 {
    let has_output = file.info("output.weight").is_some();
    let is_looked_up = |info: &&crate::gguf::TensorInfo| {
        info.name == "per_layer_token_embd.weight" || info.name == "token_embd.weight" && has_output
    };
    let looked_up: u64 = file
        .tensors()
        .filter(is_looked_up)
        .filter_map(|info| info.size())
        .sum();
    let of_experts = expert_bytes(file);
    let used = match (experts, model.config.experts) {
        (Some(experts), Some(_)) => (of_experts as f64 * experts.used / experts.count) as u64,
        _ => of_experts,
    };
    (model.weights - looked_up.min(model.weights)).saturating_sub(of_experts) + used
}

/// The experts of a target's file.
pub fn experts_of(inputs: &Inputs, target: &Path) -> Result<Option<Experts>, AdviseError> {
    let file = Gguf::open(inputs, target)?;
    let model = Model::read(&file, &Arch::gemma4_assistant()?.target)?;
    Ok(experts(&file, &model))
}

/// The experts of a target, and what a pass reads of them.
pub fn experts(file: &Gguf, model: &Model) -> Option<Experts> {
    let config = model.config.experts?;
    let experts = Experts {
        count: config.count as f64,
        used: config.used as f64,
        share: 0.0,
    };
    let read = target_read(file, model, Some(experts)) as f64;
    let used = expert_bytes(file) as f64 * experts.used / experts.count;
    Some(Experts {
        share: used / read.max(1.0),
        ..experts
    })
}

/// What other programs take.
fn elsewhere(target: &Model, memory: &Memory, drafter: &Gguf, load: &Load) -> Vec<Elsewhere> {
    use crate::arch::LayerKind::{Full, Sliding};
    let elements: u64 = drafter.tensors().map(|info| info.elements()).sum();
    let f16 = crate::quant::GgmlType::F16;
    let window = (target.config.window as u64).min(load.context);
    let mlx_cache =
        target.position_bytes(Full, f16) * load.context + target.position_bytes(Sliding, f16) * window;
    vec![
        Elsewhere {
            program: "mlx-vlm",
            bytes: target.weights + 2 * elements + mlx_cache,
            why: "the drafter in bf16, keys and values in 16 bits, sliding layers keep their window alone",
        },
        Elsewhere {
            program: "Ollama",
            bytes: memory.total(),
            why: "starts llama-server; its context is 4096 unless num_ctx says otherwise",
        },
    ]
}
