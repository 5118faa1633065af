//! A model's numbers, from the metadata of a GGUF file.

use super::arithmetic::Compute;
use super::error::ModelError;
use crate::arch::LayerKind;
use crate::gguf::{Array, Gguf, Value};
use std::path::{Path, PathBuf};

/// Everything about a model that is not a weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file or folder, for messages.
    pub path: PathBuf,
    /// Width of the residual stream.
    pub width: usize,
    /// One entry a layer.
    pub layers: Vec<LayerConfig>,
    /// How many layers at the end use the keys and values of earlier ones. In a drafter, all.
    pub shared_kv_layers: usize,
    /// Largest number of tokens.
    pub context: usize,
    /// Positions that a sliding layer sees, its own among them.
    pub window: usize,
    /// Added to mean squares.
    pub eps: f32,
    /// Rotary embedding of full layers.
    pub rope_full: RopeConfig,
    /// Rotary embedding of sliding layers.
    pub rope_sliding: RopeConfig,
    /// Width of the per-layer embeddings, 0 for none.
    pub per_layer_width: usize,
    /// The bound of the logits, if there is one.
    pub soft_cap: Option<f32>,
    /// The experts, if there are any.
    pub experts: Option<ExpertConfig>,
    /// Width of the target that a drafter reads.
    pub backbone: Option<usize>,
    /// How many centroids a drafter's centroid head follows.
    pub centroid_top_k: Option<usize>,
    /// How it is computed.
    pub compute: Compute,
}

/// One layer's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerConfig {
    /// Sliding or full.
    pub kind: LayerKind,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements a head.
    pub head_dim: usize,
    /// Width of the feed-forward.
    pub ffn: usize,
}

/// A rotary embedding's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RopeConfig {
    /// Base of the frequencies.
    pub base: f64,
    /// Elements of a head over which the frequencies spread.
    pub dims: usize,
    /// How many pairs turn, where the checkpoint says so; a GGUF has `rope_freqs.weight` for it.
    pub rotated_pairs: Option<usize>,
}

/// The experts' numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpertConfig {
    /// How many there are.
    pub count: usize,
    /// How many a token uses.
    pub used: usize,
    /// Width of the feed-forward of one.
    pub ffn: usize,
}

/// Most layers that are believed: an array by layer is made before any tensor is looked for.
pub(super) const MAX_LAYERS: usize = 4096;

impl Config {
    /// The numbers of a GGUF file of architecture `architecture`, an error for any other.
    pub fn from_gguf(gguf: &Gguf, architecture: &str) -> Result<Config, ModelError> {
        let keys = Keys { gguf, architecture };
        let found = gguf.key(gguf.metadata().string("general.architecture"))?;
        if found != architecture {
            let message = format!("architecture is {found:?}, {architecture:?} is needed here");
            return Err(keys.error(message));
        }
        let layers = keys.uint("block_count")?;
        if !(1..=MAX_LAYERS).contains(&layers) {
            return Err(keys.error(format!(
                "{layers} layers, at least 1 and at most {MAX_LAYERS} make sense"
            )));
        }
        let kinds = keys.layer_kinds(layers)?;
        let heads = keys.by_layer("attention.head_count", layers)?;
        let kv_heads = keys.by_layer("attention.head_count_kv", layers)?;
        let ffn = keys.by_layer("feed_forward_length", layers)?;
        let dim_full = keys.uint("attention.key_length")?;
        let dim_sliding = keys.uint("attention.key_length_swa")?;
        let rope = |key: &str, dims_key: &str, head_dim: usize| -> Result<RopeConfig, ModelError> {
            Ok(RopeConfig {
                base: keys.float(key)?,
                dims: keys.optional_uint(dims_key)?.unwrap_or(head_dim),
                rotated_pairs: None,
            })
        };
        let experts = match keys.optional_uint("expert_count")? {
            None | Some(0) => None,
            Some(count) => Some(ExpertConfig {
                count,
                used: keys.uint("expert_used_count")?,
                ffn: keys.uint("expert_feed_forward_length")?,
            }),
        };
        let config = Config {
            path: gguf.path().to_owned(),
            width: keys.uint("embedding_length")?,
            layers: (0..layers)
                .map(|l| LayerConfig {
                    kind: kinds[l],
                    heads: heads[l],
                    kv_heads: kv_heads[l],
                    head_dim: match kinds[l] {
                        LayerKind::Full => dim_full,
                        LayerKind::Sliding => dim_sliding,
                    },
                    ffn: ffn[l],
                })
                .collect(),
            shared_kv_layers: keys.optional_uint("attention.shared_kv_layers")?.unwrap_or(0),
            context: keys.uint("context_length")?,
            window: keys.uint("attention.sliding_window")?,
            eps: keys.float("attention.layer_norm_rms_epsilon")? as f32,
            rope_full: rope("rope.freq_base", "rope.dimension_count", dim_full)?,
            rope_sliding: rope("rope.freq_base_swa", "rope.dimension_count_swa", dim_sliding)?,
            per_layer_width: keys
                .optional_uint("embedding_length_per_layer_input")?
                .unwrap_or(0),
            soft_cap: match gguf.metadata().contains(&keys.key("final_logit_softcapping")) {
                true => Some(keys.float("final_logit_softcapping")? as f32),
                false => None,
            },
            experts,
            backbone: keys.optional_uint("embedding_length_out")?,
            centroid_top_k: keys.optional_uint("centroid_top_k")?,
            compute: Compute::default(),
        };
        config.check()?;
        Ok(config)
    }

    /// The last layer of this kind that has keys and values of its own.
    pub fn shared_layer(&self, kind: LayerKind) -> Option<usize> {
        let own = self.layers.len().saturating_sub(self.shared_kv_layers);
        self.layers[..own].iter().rposition(|layer| layer.kind == kind)
    }

    /// An error in these numbers.
    pub fn error(&self, message: impl Into<String>) -> ModelError {
        config_error(&self.path, message)
    }

    /// What no model can do without, whatever its weights are.
    pub(super) fn check(&self) -> Result<(), ModelError> {
        if self.layers.is_empty() {
            return Err(self.error("there are no layers"));
        }
        let positive = [
            ("embedding length", self.width),
            ("context length", self.context),
            ("sliding window", self.window),
        ];
        if let Some((what, _)) = positive.iter().find(|(_, n)| *n == 0) {
            return Err(self.error(format!("the {what} is 0")));
        }
        if !(self.eps.is_finite() && self.eps >= 0.0) {
            return Err(self.error(format!("the norms' epsilon is {}", self.eps)));
        }
        let bases = [("full", self.rope_full.base), ("sliding", self.rope_sliding.base)];
        if let Some((kind, base)) = bases.iter().find(|(_, base)| !(base.is_finite() && *base > 0.0)) {
            return Err(self.error(format!(
                "the base of the {kind} layers' rotary frequencies is {base}"
            )));
        }
        if self.soft_cap.is_some_and(|cap| !(cap.is_finite() && cap > 0.0)) {
            return Err(self.error("the logits' soft cap is not a positive number"));
        }
        for (l, layer) in self.layers.iter().enumerate() {
            if layer.heads == 0 || layer.kv_heads == 0 || !layer.heads.is_multiple_of(layer.kv_heads) {
                return Err(self.error(format!(
                    "layer {l} has {} heads over {} key and value heads, which do not share them evenly",
                    layer.heads, layer.kv_heads
                )));
            }
            if layer.head_dim == 0 || layer.ffn == 0 {
                return Err(self.error(format!(
                    "layer {l} has head dim {} and feed-forward width {}",
                    layer.head_dim, layer.ffn
                )));
            }
            let rope = match layer.kind {
                LayerKind::Full => self.rope_full,
                LayerKind::Sliding => self.rope_sliding,
            };
            if rope.dims == 0 || !rope.dims.is_multiple_of(2) || rope.dims > layer.head_dim {
                return Err(self.error(format!(
                    "layer {l} turns {} elements of heads of {}",
                    rope.dims, layer.head_dim
                )));
            }
        }
        if let Some(experts) = self.experts
            && (experts.used == 0 || experts.used > experts.count || experts.ffn == 0)
        {
            return Err(self.error(format!(
                "a token uses {} of {} experts of feed-forward width {}",
                experts.used, experts.count, experts.ffn
            )));
        }
        Ok(())
    }
}

/// An error in a model's numbers.
pub(super) fn config_error(path: &Path, message: impl Into<String>) -> ModelError {
    ModelError::Config {
        path: path.to_owned(),
        message: message.into(),
    }
}

/// The keys of one architecture in a file.
pub(super) struct Keys<'a> {
    pub gguf: &'a Gguf,
    pub architecture: &'a str,
}

impl Keys<'_> {
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    pub(super) fn path(&self) -> &Path {
        self.gguf.path()
    }

    pub(super) fn error(&self, message: String) -> ModelError {
        config_error(self.gguf.path(), message)
    }

    pub(super) fn uint(&self, name: &str) -> Result<usize, ModelError> {
        let value = self.gguf.key(self.gguf.metadata().uint(&self.key(name)))?;
        u32::try_from(value)
            .map(|n| n as usize)
            .map_err(|_| self.error(format!("{} = {value} is too large", self.key(name))))
    }

    pub(super) fn optional_uint(&self, name: &str) -> Result<Option<usize>, ModelError> {
        match self.gguf.metadata().contains(&self.key(name)) {
            true => self.uint(name).map(Some),
            false => Ok(None),
        }
    }

    pub(super) fn float(&self, name: &str) -> Result<f64, ModelError> {
        Ok(self.gguf.key(self.gguf.metadata().float(&self.key(name)))?)
    }

    /// A number for all layers, or an array with one for each.
    fn by_layer(&self, name: &str, layers: usize) -> Result<Vec<usize>, ModelError> {
        match self.gguf.metadata().get(&self.key(name)) {
            Some(Value::Array(array)) => self.elements(name, array, layers, |v| {
                v.as_u64().and_then(|n| u32::try_from(n).ok()).map(|n| n as usize)
            }),
            _ => Ok(vec![self.uint(name)?; layers]),
        }
    }

    fn layer_kinds(&self, layers: usize) -> Result<Vec<LayerKind>, ModelError> {
        let name = "attention.sliding_window_pattern";
        self.by_layer_with(name, layers, |v| {
            v.as_bool().map(|sliding| match sliding {
                true => LayerKind::Sliding,
                false => LayerKind::Full,
            })
        })
    }

    /// An array with one entry for each layer.
    pub(super) fn by_layer_with<T>(
        &self,
        name: &str,
        layers: usize,
        read: impl Fn(Value) -> Option<T>,
    ) -> Result<Vec<T>, ModelError> {
        let array = self.gguf.key(self.gguf.metadata().array(&self.key(name)))?;
        self.elements(name, array, layers, read)
    }

    fn elements<T>(
        &self,
        name: &str,
        array: &Array,
        layers: usize,
        read: impl Fn(Value) -> Option<T>,
    ) -> Result<Vec<T>, ModelError> {
        (0..layers)
            .map(|l| array.get(l).and_then(&read))
            .collect::<Option<_>>()
            .ok_or_else(|| {
                self.error(format!(
                    "{} does not give each of {layers} layers its value",
                    self.key(name)
                ))
            })
    }
}
