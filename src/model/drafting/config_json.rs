//! The numbers of drafters that keep keys and values of their own, from the `config.json` of a checkpoint: read as
//! llama.cpp's converter reads it (`conversion/llama.py`, `qwen.py` and `gemma.py`, October 2026), without sharing code
//! with `convert`.

use super::config::{DEFAULT_BLOCK, DFlashConfig, Eagle3Config, Numbers, RopeNumbers, SelectorConfig};
use super::kind::DrafterConfig;
use crate::checkpoint::Checkpoint;
use crate::model::arithmetic::{Activation, Compute};
use crate::model::config::{Config, config_error};
use crate::model::config_json::Keys;
use crate::model::error::ModelError;
use serde_json::{Map, Value};
use std::path::Path;

impl DrafterConfig {
    /// The numbers of the checkpoint that a drafter was converted from, for a target with these numbers; `like` tells of
    /// which kind it is.
    pub fn from_checkpoint(
        checkpoint: &Checkpoint,
        like: &DrafterConfig,
        target: &Config,
    ) -> Result<DrafterConfig, ModelError> {
        let path = checkpoint.folder().join("config.json");
        let missing = || {
            config_error(
                checkpoint.path(),
                "config.json is missing beside the drafter's weights",
            )
        };
        let json = merged(checkpoint.config()?.ok_or_else(missing)?);
        let keys = Keys {
            path: &path,
            json: &json,
        };
        match like {
            DrafterConfig::Assistant(_) => Config::from_checkpoint(checkpoint)?
                .map(DrafterConfig::Assistant)
                .ok_or_else(missing),
            DrafterConfig::Eagle3(_) => {
                let config = eagle3(checkpoint.path(), &keys, target)?;
                config.check()?;
                Ok(DrafterConfig::Eagle3(config))
            }
            DrafterConfig::DFlash(_) => {
                let config = dflash(checkpoint.path(), &keys, target)?;
                config.check()?;
                Ok(DrafterConfig::DFlash(config))
            }
        }
    }
}

/// The settings with those of the layers, which the speculators format keeps apart, in front.
fn merged(json: &Value) -> Value {
    let object = |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_default();
    let mut all: Map<String, Value> = object(Some(json));
    all.extend(object(json.get("transformer_layer_config")));
    Value::Object(all)
}

fn numbers(
    path: &Path,
    keys: &Keys,
    target_layers: Vec<usize>,
    rope: RopeNumbers,
) -> Result<Numbers, ModelError> {
    let heads = keys.uint("num_attention_heads")?;
    Ok(Numbers {
        path: path.to_owned(),
        width: keys.uint("hidden_size")?,
        layers: keys.uint("num_hidden_layers")?,
        heads,
        kv_heads: keys.uint_or("num_key_value_heads", heads)?,
        head_dim: head_dim(keys)?,
        ffn: keys.uint("intermediate_size")?,
        eps: keys.float_or("rms_norm_eps", 1e-6)? as f32,
        rope,
        target_layers,
        compute: Compute::default(),
    })
}

fn head_dim(keys: &Keys) -> Result<usize, ModelError> {
    let (width, heads) = (keys.uint("hidden_size")?, keys.uint("num_attention_heads")?);
    keys.uint_or("head_dim", width / heads.max(1))
}

/// How the heads of drafters on a backbone other than Gemma's are turned.
fn rope(path: &Path, keys: &Keys) -> Result<RopeNumbers, ModelError> {
    let head_dim = head_dim(keys)?;
    // Some list the settings of full and of sliding layers; llama.cpp turns all by those of the full ones.
    let rope = match keys.inner("/rope_parameters/full_attention") {
        full if full.json.is_object() => full,
        _ => keys.inner("/rope_parameters"),
    };
    let scaling = keys.inner("/rope_scaling");
    let kind = |keys: &Keys| {
        let kind = keys.get("rope_type").or_else(|| keys.get("type"));
        kind.and_then(Value::as_str).map(str::to_owned)
    };
    let (kind, scaling) = match kind(&rope) {
        Some(kind) => (Some(kind), rope.inner("")),
        None => (kind(&scaling), scaling),
    };
    let base = match rope.optional_float("rope_theta")? {
        Some(base) => base,
        None => keys.float_or("rope_theta", 10_000.0)?,
    };
    let (mut stretch, mut factors) = (1.0, None);
    match kind.as_deref() {
        None | Some("default") => {}
        Some("linear") => stretch = scaling.float_or("factor", 1.0)? as f32,
        Some("llama3") => factors = Some(llama3_factors(&scaling, base, head_dim)?),
        Some(kind) => {
            let message = format!("rotary scaling of type {kind} is not computed here");
            return Err(config_error(path, message));
        }
    }
    Ok(RopeNumbers {
        base,
        dims: (rope.float_or("partial_rotary_factor", 1.0)? * head_dim as f64) as usize,
        stretch,
        factors,
    })
}

/// How heads of Gemma's full layers are turned: the first pairs, and the others stand still.
fn gemma_rope(keys: &Keys, head_dim: usize) -> Result<RopeNumbers, ModelError> {
    let full = keys.inner("/rope_parameters/full_attention");
    let pairs = head_dim / 2;
    let turning = full.float_or("partial_rotary_factor", 1.0)? * pairs as f64;
    let is_proportional = full.get("rope_type").and_then(Value::as_str) == Some("proportional");
    Ok(RopeNumbers {
        base: full.float_or("rope_theta", 1e6)?,
        dims: head_dim,
        stretch: 1.0,
        factors: is_proportional.then(|| {
            let factor = |i: usize| if i < turning as usize { 1.0 } else { f32::INFINITY };
            (0..pairs).map(factor).collect()
        }),
    })
}

/// By which frequencies are divided for Llama 3's long contexts: long waves by `factor`, short ones not, and smoothly
/// between.
fn llama3_factors(keys: &Keys, base: f64, dims: usize) -> Result<Vec<f32>, ModelError> {
    let factor = keys.float_or("factor", 8.0)?;
    let (low, high) = (
        keys.float_or("low_freq_factor", 1.0)?,
        keys.float_or("high_freq_factor", 4.0)?,
    );
    let context = keys.float_or("original_max_position_embeddings", 8192.0)?;
    let of_pair = |i: usize| {
        let wave = std::f64::consts::TAU * base.powf(2.0 * i as f64 / dims as f64);
        if wave < context / high {
            1.0
        } else if wave > context / low {
            factor
        } else {
            let smooth = (context / wave - low) / (high - low);
            1.0 / ((1.0 - smooth) / factor + smooth)
        }
    };
    Ok((0..dims / 2).map(|i| of_pair(i) as f32).collect())
}

fn layer_list(keys: &Keys, key: &str) -> Result<Option<Vec<usize>>, ModelError> {
    keys.typed(key, "a list of layers", |value| {
        let layer = |value: &Value| usize::try_from(value.as_u64()?).ok();
        value.as_array()?.iter().map(layer).collect()
    })
}

fn eagle3(path: &Path, keys: &Keys, target: &Config) -> Result<Eagle3Config, ModelError> {
    let depth = target.layers.len();
    let layers = layer_list(keys, "eagle_aux_hidden_state_layer_ids")?;
    let layers = layers.unwrap_or_else(|| vec![2, depth / 2, depth.saturating_sub(3)]);
    Ok(Eagle3Config {
        numbers: numbers(path, keys, layers, rope(path, keys)?)?,
        target_width: keys.uint_or("target_hidden_size", target.width)?,
        norm_before_residual: keys.is_set("norm_before_residual"),
        norm_before_fc: keys.is_set("norm_before_fc"),
    })
}

fn dflash(path: &Path, keys: &Keys, target: &Config) -> Result<DFlashConfig, ModelError> {
    let own = keys.inner("/dflash_config");
    let uint = |key: &str| -> Result<Option<usize>, ModelError> {
        Ok(own.optional_uint(key)?.or(keys.optional_uint(key)?))
    };
    let float = |key: &str| -> Result<Option<f64>, ModelError> {
        Ok(own.optional_float(key)?.or(keys.optional_float(key)?))
    };
    let stated = match layer_list(&own, "target_layer_ids")? {
        Some(layers) => Some(layers),
        None => layer_list(keys, "target_layer_ids")?,
    };
    // A checkpoint names the layers whose outputs it reads; the speculators format those whose inputs it reads.
    let layers = match stated {
        Some(layers) => layers.iter().map(|layer| layer + 1).collect(),
        None => layer_list(keys, "aux_hidden_state_layer_ids")?.unwrap_or_default(),
    };
    let is_gemma = is_named(keys, "Gemma4DSparkModel");
    let numbers = match is_gemma {
        true => {
            let head_dim = keys.uint_or("global_head_dim", head_dim(keys)?)?;
            let numbers = numbers(path, keys, layers, gemma_rope(keys, head_dim)?)?;
            Numbers {
                head_dim,
                kv_heads: keys.uint_or("num_global_key_value_heads", numbers.kv_heads)?,
                ..numbers
            }
        }
        false => numbers(path, keys, layers, rope(path, keys)?)?,
    };
    numbers.check()?;
    let is_sliding = keys.is_set("use_sliding_window") || own.is_set("use_swa");
    let window = uint("swa_window_size")?.or(keys.optional_uint("sliding_window")?);
    let kinds = keys.get("layer_types").and_then(Value::as_array);
    let slides = |l: usize| {
        let kind = kinds.and_then(|kinds| kinds.get(l));
        own.is_set("use_swa") || kind.is_some_and(|kind| kind == "sliding_attention")
    };
    let layers = numbers.layers;
    Ok(DFlashConfig {
        block_size: uint("block_size")?.unwrap_or(DEFAULT_BLOCK),
        mask_token: uint("mask_token_id")?.map_or(u32::MAX, |token| token as u32),
        embedding_scale: match float("input_embedding_scale")? {
            Some(scale) => scale as f32,
            None => (target.width as f64).sqrt() as f32,
        },
        attention_scale: match is_gemma {
            true => 1.0,
            false => 1.0 / (numbers.head_dim as f32).sqrt(),
        },
        value_scale: own.float_or("attention_value_scale", 1.0)? as f32,
        logit_scale: float("output_multiplier")?.unwrap_or(1.0) as f32,
        soft_cap: float("final_logit_softcapping")?
            .map(|cap| cap as f32)
            .filter(|cap| *cap > 0.0),
        activation: if is_gemma {
            Activation::Gelu
        } else {
            Activation::Silu
        },
        sliding: window
            .filter(|_| is_sliding)
            .map(|window| (window, (0..layers).map(slides).collect())),
        causal: match keys.get("is_causal") {
            Some(causal) => causal == true,
            None => own.is_set("causal"),
        },
        sample_from_anchor: match keys.get("sample_from_anchor") {
            Some(from_anchor) => from_anchor == true,
            // The other formats have one token more in front.
            None => ["transformer_layer_config", "aux_hidden_state_layer_ids"]
                .iter()
                .all(|key| is_gemma || keys.get(key).is_none()),
        },
        selector: match own.optional_uint("selector_top_k")? {
            None => None,
            Some(top_k) => Some(SelectorConfig {
                kernel: own.uint("conv_kernel_size")?,
                group: own.uint("conv_group_size")?,
                rank: own.uint("selector_rank")?,
                top_k,
            }),
        },
        neighbours: !is_gemma && keys.get("rope_is_neox_style").is_some_and(|style| style == false),
        has_table: keys.get("has_embed_tokens").is_none_or(|has| has == true),
        numbers,
    })
}

/// Whether the checkpoint is of this class.
fn is_named(keys: &Keys, class: &str) -> bool {
    let classes = keys.get("architectures").and_then(Value::as_array);
    classes.is_some_and(|classes| classes.iter().any(|name| name == class))
}
