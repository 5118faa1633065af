//! A model's numbers from the `config.json` of a Hugging Face checkpoint.

use super::arithmetic::Compute;
use super::config::{Config, ExpertConfig, LayerConfig, MAX_LAYERS, RopeConfig, config_error};
use super::error::ModelError;
use crate::arch::LayerKind;
use crate::checkpoint::Checkpoint;
use serde_json::Value;
use std::path::Path;

impl Config {
    /// The numbers of a target or a drafter, `None` where the checkpoint has no `config.json`.
    pub fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Option<Config>, ModelError> {
        let Some(json) = checkpoint.config()? else {
            return Ok(None);
        };
        let path = checkpoint.folder().join("config.json");
        let top = Keys { path: &path, json };
        // Drafters and multimodal targets put the language model's numbers one level down.
        let text = Keys {
            path: &path,
            json: json.get("text_config").unwrap_or(json),
        };
        let kinds = text.layer_kinds()?;
        let shared_kv_layers = text.uint_or("num_kv_shared_layers", 0)?;
        let first_shared = kinds.len().saturating_sub(shared_kv_layers);
        let is_double_wide = text.is_set("use_double_wide_mlp");
        let heads = text.uint("num_attention_heads")?;
        let ffn = text.uint("intermediate_size")?;
        let sliding = (text.uint("num_key_value_heads")?, text.uint("head_dim")?);
        // Values that are the raw keys go with key and value heads of their own.
        let kv_heads_full = match text.is_set("attention_k_eq_v") {
            true => text.uint_or("num_global_key_value_heads", sliding.0)?,
            false => sliding.0,
        };
        let head_dim_full = text.uint_or("global_head_dim", sliding.1)?;
        let mut layers = Vec::with_capacity(kinds.len());
        for (l, kind) in kinds.into_iter().enumerate() {
            let (kv_heads, head_dim) = match kind {
                LayerKind::Sliding => sliding,
                LayerKind::Full => (kv_heads_full, head_dim_full),
            };
            let own = text.inner(&format!("/per_layer_config/{l}"));
            layers.push(LayerConfig {
                kind,
                heads,
                kv_heads: own.uint_or("num_key_value_heads", kv_heads)?,
                head_dim: own.uint_or("head_dim", head_dim)?,
                ffn: match is_double_wide && l >= first_shared {
                    true => 2 * ffn,
                    false => ffn,
                },
            });
        }
        let head_dim_of = |kind, default| {
            let layer = layers.iter().find(|layer: &&LayerConfig| layer.kind == kind);
            layer.map_or(default, |layer| layer.head_dim)
        };
        let rope_full = text.inner("/rope_parameters/full_attention");
        let full_dims = head_dim_of(LayerKind::Full, head_dim_full);
        let rotated = rope_full.float_or("partial_rotary_factor", 1.0)? * full_dims as f64 / 2.0;
        let config = Config {
            path: checkpoint.path().to_owned(),
            width: text.uint("hidden_size")?,
            shared_kv_layers,
            context: text.uint("max_position_embeddings")?,
            window: text.uint("sliding_window")?,
            eps: text.float("rms_norm_eps")? as f32,
            rope_full: RopeConfig {
                base: rope_full.float("rope_theta")?,
                dims: full_dims,
                rotated_pairs: Some(rotated as usize),
            },
            rope_sliding: RopeConfig {
                base: text
                    .inner("/rope_parameters/sliding_attention")
                    .float("rope_theta")?,
                dims: head_dim_of(LayerKind::Sliding, sliding.1),
                rotated_pairs: None,
            },
            per_layer_width: text
                .uint_or("hidden_size_per_layer_input", silent_per_layer_width(checkpoint))?,
            soft_cap: text
                .optional_float("final_logit_softcapping")?
                .map(|cap| cap as f32),
            experts: match text.is_set("enable_moe_block") {
                false => None,
                true => Some(ExpertConfig {
                    count: text.uint("num_experts")?,
                    used: text.uint("top_k_experts")?,
                    ffn: text.uint("moe_intermediate_size")?,
                }),
            },
            backbone: top.optional_uint("backbone_hidden_size")?,
            centroid_top_k: top.optional_uint("centroid_intermediate_top_k")?,
            compute: Compute::default(),
            layers,
        };
        config.check()?;
        Ok(Some(config))
    }
}

/// The width of per-layer embeddings where the config is silent: transformers' for a checkpoint that has any.
fn silent_per_layer_width(checkpoint: &Checkpoint) -> usize {
    let has_any = checkpoint
        .tensors()
        .any(|tensor| tensor.name.ends_with("embed_tokens_per_layer.weight"));
    if has_any { 256 } else { 0 }
}

/// The keys of one object. Null counts as absent.
pub(super) struct Keys<'a> {
    pub path: &'a Path,
    pub json: &'a Value,
}

impl<'a> Keys<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.json.get(key).filter(|value| !value.is_null())
    }

    /// An object further in; an empty one where there is none.
    pub(super) fn inner(&self, pointer: &str) -> Keys<'a> {
        Keys {
            path: self.path,
            json: self.json.pointer(pointer).unwrap_or(&Value::Null),
        }
    }

    pub(super) fn typed<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let wrong = || config_error(self.path, format!("{key} is {value}, {expected} is needed"));
        read(value).ok_or_else(wrong).map(Some)
    }

    fn needed<T>(&self, key: &str, value: Option<T>) -> Result<T, ModelError> {
        value.ok_or_else(|| config_error(self.path, format!("{key} is missing")))
    }

    pub(super) fn optional_uint(&self, key: &str) -> Result<Option<usize>, ModelError> {
        self.typed(key, "a number of at most 32 bits", |value| {
            Some(u32::try_from(value.as_u64()?).ok()? as usize)
        })
    }

    pub(super) fn optional_float(&self, key: &str) -> Result<Option<f64>, ModelError> {
        self.typed(key, "a number", Value::as_f64)
    }

    pub(super) fn uint(&self, key: &str) -> Result<usize, ModelError> {
        self.needed(key, self.optional_uint(key)?)
    }

    pub(super) fn uint_or(&self, key: &str, default: usize) -> Result<usize, ModelError> {
        Ok(self.optional_uint(key)?.unwrap_or(default))
    }

    fn float(&self, key: &str) -> Result<f64, ModelError> {
        self.needed(key, self.optional_float(key)?)
    }

    pub(super) fn float_or(&self, key: &str, default: f64) -> Result<f64, ModelError> {
        Ok(self.optional_float(key)?.unwrap_or(default))
    }

    pub(super) fn is_set(&self, key: &str) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    fn layer_kinds(&self) -> Result<Vec<LayerKind>, ModelError> {
        let kinds: Option<Vec<LayerKind>> = self.typed(
            "layer_types",
            "a list of sliding_attention and full_attention",
            |value| {
                let kind = |entry: &Value| match entry.as_str()? {
                    "sliding_attention" => Some(LayerKind::Sliding),
                    "full_attention" => Some(LayerKind::Full),
                    _ => None,
                };
                value.as_array()?.iter().map(kind).collect()
            },
        )?;
        if let Some(mut kinds) = kinds {
            // As transformers has it, whatever is listed.
            if let Some(last) = kinds.last_mut() {
                *last = LayerKind::Full;
            }
            return Ok(kinds);
        }
        // What transformers takes where none are listed: five sliding layers and a full one, and the last is full.
        let count = self.uint("num_hidden_layers")?;
        if count > MAX_LAYERS {
            let message = format!("num_hidden_layers is {count}, at most {MAX_LAYERS} make sense");
            return Err(config_error(self.path, message));
        }
        let kind = |layer: usize| match layer.is_multiple_of(6) || layer == count {
            true => LayerKind::Full,
            false => LayerKind::Sliding,
        };
        Ok((1..=count).map(kind).collect())
    }
}
