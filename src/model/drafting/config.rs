//! The numbers of drafters that keep keys and values of their own, from the metadata of a GGUF file. What the keys mean
//! is told by llama.cpp's `src/models/eagle3.cpp` and `src/models/dflash.cpp` (October 2026).

use crate::gguf::{Gguf, Value};
use crate::model::arithmetic::{Activation, Compute};
use crate::model::config::{Config, Keys, MAX_LAYERS, config_error};
use crate::model::error::ModelError;
use crate::model::weights::Weights;
use std::path::PathBuf;

/// What EAGLE-3 and DFlash have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    /// The file or folder, for messages.
    pub path: PathBuf,
    /// Width of the residual stream.
    pub width: usize,
    /// Number of layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements a head.
    pub head_dim: usize,
    /// Width of the feed-forward.
    pub ffn: usize,
    /// Added to mean squares.
    pub eps: f32,
    /// The rotary embedding.
    pub rope: RopeNumbers,
    /// The layers of the target whose inputs are read; the number of layers stands for what follows the last.
    pub target_layers: Vec<usize>,
    /// How it is computed.
    pub compute: Compute,
}

/// The numbers of a rotary embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeNumbers {
    /// Base of the frequencies.
    pub base: f64,
    /// Elements of a head that turn.
    pub dims: usize,
    /// By which all frequencies are divided.
    pub stretch: f32,
    /// By which each frequency is divided, where the checkpoint says so or `rope_freqs.weight` of a GGUF.
    pub factors: Option<Vec<f32>>,
}

/// An EAGLE-3 drafter's numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Eagle3Config {
    /// What all have.
    pub numbers: Numbers,
    /// Width of the target.
    pub target_width: usize,
    /// Whether the residual stream starts from the normed state.
    pub norm_before_residual: bool,
    /// Whether the target's states are normed before they are projected.
    pub norm_before_fc: bool,
}

/// A DFlash or DSpark drafter's numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct DFlashConfig {
    /// What all have.
    pub numbers: Numbers,
    /// Tokens that it was trained to denoise at once, the anchor among them.
    pub block_size: usize,
    /// Stands for a token that is to be guessed.
    pub mask_token: u32,
    /// By which embeddings are multiplied.
    pub embedding_scale: f32,
    /// By which the products of queries and keys are multiplied.
    pub attention_scale: f32,
    /// By which what the attention found is multiplied.
    pub value_scale: f32,
    /// By which DFlash2's logits are multiplied.
    pub logit_scale: f32,
    /// The bound of DFlash2's logits.
    pub soft_cap: Option<f32>,
    /// Of the feed-forward.
    pub activation: Activation,
    /// Positions that a sliding layer sees, its own among them, and which layers slide.
    pub sliding: Option<(usize, Vec<bool>)>,
    /// Whether a token of the block sees only those before it.
    pub causal: bool,
    /// Whether the anchor's place guesses the first token (DSpark), so that a block yields one more.
    pub sample_from_anchor: bool,
    /// DFlash2's.
    pub selector: Option<SelectorConfig>,
    /// Whether elements of a head that turn together lie side by side in a checkpoint; in a GGUF they never do.
    pub neighbours: bool,
    /// Whether a checkpoint's embeddings are used, not the target's.
    pub has_table: bool,
}

/// The numbers of DFlash2's convolutions and of its selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelectorConfig {
    /// Positions that a convolution sees.
    pub kernel: usize,
    /// Elements that share a dynamic coefficient.
    pub group: usize,
    /// Width of the codebooks.
    pub rank: usize,
    /// Candidates a position.
    pub top_k: usize,
}

/// Most layers of the target that are read.
const MAX_TAPS: usize = 64;
/// Longest block that is believed.
const MAX_BLOCK: usize = 1024;

impl Numbers {
    fn from_gguf(keys: &Keys) -> Result<Numbers, ModelError> {
        let heads = keys.uint("attention.head_count")?;
        let width = keys.uint("embedding_length")?;
        let head_dim = match keys.optional_uint("attention.key_length")? {
            Some(head_dim) => head_dim,
            None => width / heads.max(1),
        };
        let kind = keys.optional_string("rope.scaling.type")?;
        let stretch = match kind.as_deref() {
            Some("none") => 1.0,
            // As llama.cpp takes it where nothing is said; 0 stands for a number that is not there.
            None | Some("linear") => match keys.optional_float("rope.scaling.factor")? {
                None | Some(0.0) => keys.optional_float("rope.scale_linear")?.unwrap_or(1.0),
                Some(factor) => factor,
            },
            Some(kind) => {
                return Err(keys.error(format!(
                    "rotary scaling of type {kind} is not computed here: none and linear are"
                )));
            }
        };
        let turning = keys.optional_uint("rope.dimension_count")?.unwrap_or(head_dim);
        let factors = keys.gguf.shaped_if_present("rope_freqs.weight", &[turning / 2])?;
        let numbers = Numbers {
            path: keys.path().to_owned(),
            width,
            layers: keys.uint("block_count")?,
            heads,
            kv_heads: keys.optional_uint("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            ffn: keys.uint("feed_forward_length")?,
            eps: keys.float("attention.layer_norm_rms_epsilon")? as f32,
            rope: RopeNumbers {
                base: keys.optional_float("rope.freq_base")?.unwrap_or(10_000.0),
                dims: turning,
                stretch: stretch as f32,
                factors: factors.map(|factors| factors.decode()),
            },
            target_layers: keys.uints("target_layers")?,
            compute: Compute::default(),
        };
        numbers.check()?;
        Ok(numbers)
    }

    /// An error in these numbers.
    pub fn error(&self, message: impl Into<String>) -> ModelError {
        config_error(&self.path, message)
    }

    /// What no drafter can do without, whatever its weights are.
    pub(super) fn check(&self) -> Result<(), ModelError> {
        let rope = &self.rope;
        let is_even = self.kv_heads > 0 && self.heads.is_multiple_of(self.kv_heads);
        if !(1..=MAX_LAYERS).contains(&self.layers) {
            return Err(self.error(format!(
                "{} layers, at least 1 and at most {MAX_LAYERS} make sense",
                self.layers
            )));
        }
        if self.heads == 0 || !is_even {
            return Err(self.error(format!(
                "{} heads over {} key and value heads, which do not share them evenly",
                self.heads, self.kv_heads
            )));
        }
        let positive = [
            ("embedding length", self.width),
            ("head dim", self.head_dim),
            ("feed-forward width", self.ffn),
        ];
        if let Some((what, _)) = positive.iter().find(|(_, n)| *n == 0) {
            return Err(self.error(format!("the {what} is 0")));
        }
        if !(self.eps.is_finite() && self.eps >= 0.0) {
            return Err(self.error(format!("the norms' epsilon is {}", self.eps)));
        }
        if rope.dims == 0 || !rope.dims.is_multiple_of(2) || rope.dims > self.head_dim {
            return Err(self.error(format!(
                "{} elements of heads of {} turn",
                rope.dims, self.head_dim
            )));
        }
        if !(rope.base.is_finite() && rope.base > 0.0) {
            return Err(self.error(format!("the base of the rotary frequencies is {}", rope.base)));
        }
        if !(rope.stretch.is_finite() && rope.stretch > 0.0) {
            return Err(self.error(format!("the rotary frequencies are divided by {}", rope.stretch)));
        }
        if !(1..=MAX_TAPS).contains(&self.target_layers.len()) {
            return Err(self.error(format!(
                "{} of the target's layers are read, at least 1 and at most {MAX_TAPS} make sense",
                self.target_layers.len()
            )));
        }
        Ok(())
    }

    /// The layers that the target has not, in words.
    fn unread(&self, is_beyond: impl Fn(usize) -> bool, target: &Config) -> Option<String> {
        let layer = self.target_layers.iter().find(|layer| is_beyond(**layer))?;
        let count = target.layers.len();
        Some(format!(
            "it reads the input of layer {layer} of the target, which has {count} layers"
        ))
    }

    /// Width of what is read of the target, in units of its width.
    pub fn taps(&self) -> usize {
        self.target_layers.len()
    }
}

impl Eagle3Config {
    /// In what it disagrees with a target, in words.
    pub fn mismatches(&self, target: &Config) -> Vec<String> {
        let (ours, theirs) = (self.target_width, target.width);
        let width = format!("it reads a target of width {ours}, the target's is {theirs}");
        let layers = self.numbers.unread(|layer| layer > target.layers.len(), target);
        let width = (ours != theirs).then_some(width);
        width.into_iter().chain(layers).collect()
    }

    /// The numbers of a GGUF file.
    pub fn from_gguf(gguf: &Gguf) -> Result<Eagle3Config, ModelError> {
        let keys = Keys::of(gguf, "eagle3")?;
        let config = Eagle3Config {
            numbers: Numbers::from_gguf(&keys)?,
            target_width: keys.uint("target_hidden_size")?,
            norm_before_residual: keys.optional_bool("norm_before_residual")?.unwrap_or(false),
            norm_before_fc: keys.optional_bool("norm_before_fc")?.unwrap_or(false),
        };
        config.check()?;
        Ok(config)
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        let numbers = &self.numbers;
        if numbers.layers != 1 {
            return Err(numbers.error(format!(
                "{} layers: llama.cpp runs EAGLE-3 drafters of one layer only",
                numbers.layers
            )));
        }
        if numbers.taps() != 3 {
            return Err(numbers.error(format!(
                "{} of the target's layers are read: llama.cpp runs EAGLE-3 drafters that read three",
                numbers.taps()
            )));
        }
        match self.target_width {
            0 => Err(numbers.error("the width of the target is 0")),
            _ => Ok(()),
        }
    }
}

impl DFlashConfig {
    /// In what it disagrees with a target, in words. llama.cpp keeps no state behind the last layer for it.
    pub fn mismatches(&self, target: &Config) -> Vec<String> {
        let (ours, theirs) = (self.numbers.width, target.width);
        let width = format!("its width is {ours}, the target's {theirs}");
        let layers = self.numbers.unread(|layer| layer >= target.layers.len(), target);
        let width = (ours != theirs).then_some(width);
        width.into_iter().chain(layers).collect()
    }

    /// The numbers of a GGUF file.
    pub fn from_gguf(gguf: &Gguf) -> Result<DFlashConfig, ModelError> {
        let keys = Keys::of(gguf, "dflash")?;
        if keys.optional_uint("hyper_connection.count")?.unwrap_or(0) > 0 {
            return Err(keys.error("a DSpark drafter for DeepSeek-V4 is not computed here".to_owned()));
        }
        let numbers = Numbers::from_gguf(&keys)?;
        let float = |name: &str| -> Result<Option<f32>, ModelError> {
            // 0 stands for a number that is not there.
            let number = keys.optional_float(name)?.map(|number| number as f32);
            Ok(number.filter(|number| *number != 0.0))
        };
        let sliding = match keys.optional_uint("attention.sliding_window")? {
            None | Some(0) => None,
            Some(window) => Some((
                window,
                keys.by_layer_with("attention.sliding_window_pattern", numbers.layers, |value| {
                    value.as_bool()
                })?,
            )),
        };
        let activation = match keys.optional_string("hidden_activation")?.as_deref() {
            None | Some("silu") => Activation::Silu,
            Some("gelu" | "gelu_pytorch_tanh") => Activation::Gelu,
            Some(other) => return Err(keys.error(format!("hidden activation {other} is not computed here"))),
        };
        let selector = match keys.optional_uint("selector_top_k")? {
            None | Some(0) => None,
            Some(top_k) => Some(SelectorConfig {
                kernel: keys.uint("conv_kernel_size")?,
                group: keys.uint("conv_group_size")?,
                rank: keys.uint("selector_rank")?,
                top_k,
            }),
        };
        let mask = gguf.key(gguf.metadata().uint("tokenizer.ggml.mask_token_id"))?;
        let config = DFlashConfig {
            block_size: keys.optional_uint("block_size")?.unwrap_or(DEFAULT_BLOCK),
            mask_token: u32::try_from(mask).unwrap_or(u32::MAX),
            embedding_scale: float("embedding_scale")?.unwrap_or(1.0),
            attention_scale: float("attention.scale")?
                .unwrap_or_else(|| 1.0 / (numbers.head_dim as f32).sqrt()),
            value_scale: float("attention.value_scale")?.unwrap_or(1.0),
            logit_scale: float("logit_scale")?.unwrap_or(1.0),
            soft_cap: float("final_logit_softcapping")?.filter(|cap| *cap > 0.0),
            activation,
            sliding,
            causal: keys.optional_bool("attention.causal")?.unwrap_or(false),
            sample_from_anchor: keys.optional_bool("sample_from_anchor")?.unwrap_or(true),
            selector,
            neighbours: false,
            has_table: true,
            numbers,
        };
        config.check()?;
        Ok(config)
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        let numbers = &self.numbers;
        if !(2..=MAX_BLOCK).contains(&self.block_size) {
            return Err(numbers.error(format!(
                "blocks of {} tokens, at least 2 and at most {MAX_BLOCK} make sense",
                self.block_size
            )));
        }
        if let Some((window, layers)) = &self.sliding
            && (*window == 0 || layers.len() != numbers.layers)
        {
            return Err(numbers.error("the sliding window is 0, or not every layer says whether it slides"));
        }
        if let Some(selector) = self.selector {
            let is_whole = selector.group > 0 && numbers.width.is_multiple_of(selector.group);
            if !is_whole || selector.kernel == 0 || selector.rank == 0 {
                return Err(numbers.error(format!(
                    "a convolution of {} positions over groups of {} of {} elements, codebooks of width {}",
                    selector.kernel, selector.group, numbers.width, selector.rank
                )));
            }
        }
        let factors = [
            ("embeddings", self.embedding_scale),
            ("attention", self.attention_scale),
            ("values", self.value_scale),
            ("logits", self.logit_scale),
        ];
        match factors.iter().find(|(_, factor)| !factor.is_finite()) {
            Some((what, factor)) => Err(numbers.error(format!("the {what} are scaled by {factor}"))),
            None => Ok(()),
        }
    }
}

/// The block where nothing states it.
pub(super) const DEFAULT_BLOCK: usize = 16;

impl<'a> Keys<'a> {
    /// The keys of a file of this architecture, an error for any other.
    fn of(gguf: &'a Gguf, architecture: &'a str) -> Result<Keys<'a>, ModelError> {
        let keys = Keys { gguf, architecture };
        let found = gguf.key(gguf.metadata().string("general.architecture"))?;
        match found == architecture {
            true => Ok(keys),
            false => Err(keys.error(format!(
                "architecture is {found:?}, {architecture:?} is needed here"
            ))),
        }
    }

    fn optional_float(&self, name: &str) -> Result<Option<f64>, ModelError> {
        match self.gguf.metadata().contains(&self.key(name)) {
            true => self.float(name).map(Some),
            false => Ok(None),
        }
    }

    fn optional_bool(&self, name: &str) -> Result<Option<bool>, ModelError> {
        let Some(value) = self.gguf.metadata().get(&self.key(name)) else {
            return Ok(None);
        };
        let wrong = || {
            self.error(format!(
                "{} is {}, true or false is needed",
                self.key(name),
                value.type_name()
            ))
        };
        value.as_bool().ok_or_else(wrong).map(Some)
    }

    fn optional_string(&self, name: &str) -> Result<Option<String>, ModelError> {
        match self.gguf.metadata().contains(&self.key(name)) {
            true => {
                let text = self.gguf.key(self.gguf.metadata().string(&self.key(name)))?;
                Ok(Some(text.to_string()))
            }
            false => Ok(None),
        }
    }

    /// A list of numbers.
    fn uints(&self, name: &str) -> Result<Vec<usize>, ModelError> {
        let array = self.gguf.key(self.gguf.metadata().array(&self.key(name)))?;
        let number = |value: Value| {
            let number = value.as_u64().and_then(|n| u32::try_from(n).ok());
            number.map(|n| n as usize)
        };
        let wrong = || self.error(format!("{} holds no layer numbers", self.key(name)));
        match array.len() {
            len if len > MAX_TAPS => Err(wrong()),
            len => (0..len)
                .map(|i| array.get(i).and_then(number).ok_or_else(wrong))
                .collect(),
        }
    }
}
