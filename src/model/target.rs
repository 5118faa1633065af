//! The target: Gemma 4's text model, dense, with per-layer embeddings, or with experts.

use super::arithmetic::{Activation, Mode, Pass};
use super::attention::{KvCache, attend};
use super::block::Block;
use super::config::{Config, LayerConfig};
use super::error::ModelError;
use super::experts::Experts;
use super::finite::{Place, Watch};
use super::matrix::Matrix;
use super::ops::{add, rms_norm, soft_cap, weighted_rms_norm};
use super::pool::in_pool;
use super::rope::{Angles, Rope};
use super::taps::Taps;
use super::weights::{Weights, ropes};
use crate::arch::LayerKind;

/// Tokens of a prompt that is taken at once: longer ones have keys and values that need the memory, too.
const SHORT_PROMPT: usize = 512;
/// Tokens of a longer prompt that are taken at once: bounds the memory that activations need.
const PROMPT_BATCH: usize = 256;

/// A target.
#[derive(Debug)]
pub struct Target<'a> {
    config: Config,
    vocab: usize,
    token_embd: Matrix<'a>,
    output: Matrix<'a>,
    output_norm: Vec<f32>,
    layers: Vec<Layer<'a>>,
    per_layer: Option<PerLayerEmbedding<'a>>,
    rope_full: Rope,
    rope_sliding: Rope,
    shared_full: usize,
    shared_sliding: usize,
    watch: Watch,
}

#[derive(Debug)]
struct Layer<'a> {
    block: Block<'a>,
    /// The layer whose keys and values it reads: itself, or the last of its kind that has some.
    kv_layer: usize,
    own: Option<OwnKv<'a>>,
    experts: Option<Experts<'a>>,
    per_layer: Option<PerLayerInput<'a>>,
}

/// Projections of a layer that has keys and values of its own.
#[derive(Debug)]
struct OwnKv<'a> {
    attn_k: Matrix<'a>,
    /// Absent where values are the raw keys.
    attn_v: Option<Matrix<'a>>,
    attn_k_norm: Vec<f32>,
}

/// The second embedding, which feeds every layer: `P` is its width.
#[derive(Debug)]
struct PerLayerEmbedding<'a> {
    width: usize,
    /// `[vocab, layers * P]`.
    token_embd: Matrix<'a>,
    /// `[layers * P, width]`.
    model_proj: Matrix<'a>,
    proj_norm: Vec<f32>,
}

/// A layer's use of the second embedding.
#[derive(Debug)]
struct PerLayerInput<'a> {
    /// `[P, width]`.
    inp_gate: Matrix<'a>,
    /// `[width, P]`.
    proj: Matrix<'a>,
    post_norm: Vec<f32>,
}

/// The target's keys and values that a drafter reads.
#[derive(Debug, Clone, Copy)]
pub struct SharedKv<'a> {
    /// Of the last full layer that has its own.
    pub full: &'a KvCache,
    /// Of the last sliding layer that has its own.
    pub sliding: &'a KvCache,
}

impl<'a> SharedKv<'a> {
    /// Those for a layer of this kind.
    pub fn of(self, kind: LayerKind) -> &'a KvCache {
        match kind {
            LayerKind::Full => self.full,
            LayerKind::Sliding => self.sliding,
        }
    }
}

/// What a target remembers of the tokens so far.
#[derive(Debug)]
pub struct State {
    /// By layer; layers without keys and values have empty ones.
    caches: Vec<KvCache>,
    len: usize,
    /// Positions that each layer's cache keeps at least.
    keep: Vec<usize>,
    taps: Taps,
}

impl State {
    /// Number of tokens so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Inputs of the layers that it was made to keep.
    pub fn taps(&self) -> &Taps {
        &self.taps
    }

    /// Forgets the tokens from position `len` on, no further back than the state was made for.
    pub fn truncate(&mut self, len: usize) {
        self.caches.iter_mut().for_each(|cache| cache.truncate(len));
        self.taps.truncate(len);
        self.len = self.len.min(len);
    }
}

impl<'a> Target<'a> {
    /// Loads a target. All shapes are checked here; nothing is copied but vectors.
    pub fn load(weights: &'a dyn Weights, config: Config) -> Result<Target<'a>, ModelError> {
        let width = config.width;
        let embedding = weights.tensor("token_embd.weight")?;
        let vocab = embedding.map_or(0, |tensor| tensor.shape.first().copied().unwrap_or(0));
        if vocab == 0 {
            return Err(config.error("there is no token_embd.weight with a row for each token"));
        }
        let token_embd = weights.shaped("token_embd.weight", &[vocab, width])?;
        let output = weights.shaped_if_present("output.weight", &[vocab, width])?;
        let shared = |kind: LayerKind| {
            config.shared_layer(kind).ok_or_else(|| {
                config.error(format!(
                    "no {} layer has keys and values that a drafter could read",
                    kind.name()
                ))
            })
        };
        let layers = (0..config.layers.len())
            .map(|l| Layer::load(weights, &config, l))
            .collect::<Result<_, _>>()?;
        let (rope_full, rope_sliding) = ropes(weights, &config)?;
        Ok(Target {
            vocab,
            token_embd,
            output: output.unwrap_or(token_embd),
            output_norm: weights.vector("output_norm.weight", width)?,
            layers,
            per_layer: match config.per_layer_width {
                0 => None,
                per_layer => Some(PerLayerEmbedding::load(weights, &config, vocab, per_layer)?),
            },
            rope_full,
            rope_sliding,
            shared_full: shared(LayerKind::Full)?,
            shared_sliding: shared(LayerKind::Sliding)?,
            watch: Watch::default(),
            config,
        })
    }

    /// Its numbers.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Size of the vocabulary.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// Where a pass first gave a NaN or an infinity, if any did; then nothing computed since means anything.
    pub fn non_finite(&self) -> Option<Place> {
        self.watch.first()
    }

    /// Refuses a prompt that is empty, names unknown tokens, or is longer than the context.
    pub fn check_prompt(&self, prompt: &[u32]) -> Result<(), ModelError> {
        if prompt.is_empty() {
            return Err(ModelError::EmptyPrompt);
        }
        if let Some(&token) = prompt.iter().find(|&&token| token as usize >= self.vocab) {
            return Err(ModelError::Token {
                path: self.config.path.clone(),
                token,
                vocab: self.vocab,
            });
        }
        if prompt.len() > self.config.context {
            return Err(ModelError::ContextLength {
                path: self.config.path.clone(),
                tokens: prompt.len(),
                context: self.config.context,
            });
        }
        Ok(())
    }

    /// A state without tokens that can be taken back by `back` tokens. Its sliding layers keep so many positions more
    /// than they see.
    pub fn state(&self, back: usize) -> State {
        self.tapped_state(back, &[])
    }

    /// As [`Target::state`], with the inputs of some layers kept for all positions; the number of layers stands for the
    /// state after the final norm.
    pub fn tapped_state(&self, back: usize, layers: &[usize]) -> State {
        // A drafter by transformers' reading sees one more.
        let seen = back.saturating_add(self.config.window + 1);
        let keep = |(l, layer): (usize, &LayerConfig)| match layer.kind {
            LayerKind::Full => usize::MAX,
            // A drafter reads a prompt's newest positions when all of it has been appended.
            LayerKind::Sliding if l == self.shared_sliding => seen.saturating_add(SHORT_PROMPT),
            LayerKind::Sliding => seen,
        };
        let (all, cache_type) = (&self.config.layers, self.config.compute.cache_type);
        State {
            caches: all
                .iter()
                .map(|layer| KvCache::new(layer.kv_heads, layer.head_dim, cache_type))
                .collect(),
            keep: all.iter().enumerate().map(keep).collect(),
            len: 0,
            taps: Taps::new(self.config.width, layers),
        }
    }

    /// The keys and values that a drafter reads.
    pub fn shared_kv<'s>(&self, state: &'s State) -> SharedKv<'s> {
        SharedKv {
            full: &state.caches[self.shared_full],
            sliding: &state.caches[self.shared_sliding],
        }
    }

    /// The embedding of a token times the root of the width, `[width]`.
    pub fn embed(&self, token: u32) -> Vec<f32> {
        let mut row = self.token_embd.row(token as usize);
        let scale = (self.config.width as f64).sqrt() as f32;
        row.iter_mut().for_each(|v| *v *= scale);
        row
    }

    /// Embeddings as they are stored, `[vocab, width]`.
    pub(super) fn embedding(&self) -> Matrix<'a> {
        self.token_embd
    }

    /// The output head, `[vocab, width]`; its scores have no soft cap yet.
    pub(super) fn output(&self) -> Matrix<'a> {
        self.output
    }

    /// Takes in a prompt batch by batch and hands each batch's hidden states (`[tokens, width]`) to `each`.
    pub fn read_prompt(&self, state: &mut State, prompt: &[u32], mut each: impl FnMut(&[f32])) {
        self.read_prompt_while(state, prompt, prompt.len(), |hidden, _| {
            each(hidden);
            true
        });
    }

    /// [`Target::read_prompt`] for the hidden states of the `newest` positions, until `each` says that it goes on no more.
    /// It is given those of a batch, maybe none, and the number of tokens that were taken in.
    pub fn read_prompt_while(
        &self,
        state: &mut State,
        prompt: &[u32],
        newest: usize,
        mut each: impl FnMut(&[f32], usize) -> bool,
    ) {
        let mut left = prompt.len();
        let batch = match prompt.len() {
            ..=SHORT_PROMPT => SHORT_PROMPT,
            _ => PROMPT_BATCH,
        };
        let caches = state.caches.iter_mut().zip(&state.keep).zip(&self.layers);
        for ((cache, keep), _) in caches.filter(|(_, layer)| layer.own.is_some()) {
            cache.reserve(prompt.len() + SHORT_PROMPT, batch, *keep);
        }
        for batch in prompt.chunks(batch) {
            left -= batch.len();
            let wanted = newest.saturating_sub(left).min(batch.len());
            let hidden = in_pool(|| self.forward_newest(state, batch, wanted, Pass::Prompt));
            if !each(&hidden, batch.len()) {
                return;
            }
        }
    }

    /// Takes in tokens and gives their hidden states after the final norm, `[tokens, width]`.
    pub fn forward(&self, state: &mut State, tokens: &[u32], pass: Pass) -> Vec<f32> {
        in_pool(|| self.forward_newest(state, tokens, tokens.len(), pass))
    }

    /// [`Target::forward`], with the hidden states of the `newest` tokens only. Once no layer is left that has keys and
    /// values of its own or whose input is kept, the others are not computed any further: in an E4B that is 18 layers of 42.
    fn forward_newest(&self, state: &mut State, tokens: &[u32], newest: usize, pass: Pass) -> Vec<f32> {
        let mode = self.config.compute.mode(pass);
        let width = self.config.width;
        let positions = state.len..state.len + tokens.len();
        let wanted = positions.end - newest..positions.end;
        let mut y: Vec<f32> = tokens.iter().flat_map(|&token| self.embed(token)).collect();
        let mut per_layer = self
            .per_layer
            .as_ref()
            .map(|p| p.forward(tokens, &y, &self.config, mode));
        self.watch.look(&y, Place::Input);
        let mut full = self.rope_full.angles(positions.clone());
        let mut sliding = self.rope_sliding.angles(positions.clone());
        let last_kept = self.layers.iter().rposition(|layer| layer.own.is_some());
        let enough = last_kept.map_or(0, |l| l + 1).max(state.taps.deepest());
        for (l, layer) in self.layers.iter().enumerate() {
            state.taps.take(l, &y);
            if l == enough && newest < tokens.len() {
                y.drain(..y.len() - newest * width);
                if let Some(rows) = &mut per_layer {
                    rows.drain(..rows.len() / tokens.len() * (tokens.len() - newest));
                }
                full = self.rope_full.angles(wanted.clone());
                sliding = self.rope_sliding.angles(wanted.clone());
            }
            if y.is_empty() {
                break;
            }
            let angles = match layer.block.config.kind {
                LayerKind::Full => &full,
                LayerKind::Sliding => &sliding,
            };
            let first = positions.end - y.len() / width;
            layer.attention(l, &mut y, state, first, &self.config, angles, mode);
            layer.feed_forward(&mut y, mode);
            if let (Some(input), Some(embedding), Some(rows)) =
                (&layer.per_layer, &self.per_layer, &per_layer)
            {
                let rows = embedding.of_layer(rows, l, self.layers.len());
                input.add(&mut y, rows, self.config.eps, mode);
            }
            layer.block.scale_output(&mut y);
            self.watch.look(&y, Place::Layer(l));
        }
        state.len = positions.end;
        weighted_rms_norm(&mut y, &self.output_norm, self.config.eps);
        self.watch.look(&y, Place::Hidden);
        state.taps.take(self.layers.len(), &y);
        y.drain(..y.len() - newest * width);
        y
    }

    /// Scores of the next token for each hidden state, `[tokens, vocab]`.
    pub fn logits(&self, hidden: &[f32], pass: Pass) -> Vec<f32> {
        let mut logits = self.output.mul(hidden, self.config.compute.mode(pass));
        if let Some(cap) = self.config.soft_cap {
            soft_cap(&mut logits, cap);
        }
        self.watch.look(&logits, Place::Logits);
        logits
    }
}

impl<'a> Layer<'a> {
    fn load(weights: &'a dyn Weights, config: &Config, l: usize) -> Result<Layer<'a>, ModelError> {
        let block = Block::load(weights, config, l)?;
        let layer = block.config;
        let name = |part: &str| format!("blk.{l}.{part}.weight");
        let is_own = l < config.layers.len().saturating_sub(config.shared_kv_layers);
        let kv_layer = match is_own {
            true => l,
            false => config.shared_layer(layer.kind).ok_or_else(|| {
                let kind = layer.kind.name();
                config.error(format!(
                    "layer {l} shares keys and values, and no earlier {kind} layer has any"
                ))
            })?,
        };
        let lent = config.layers[kv_layer];
        if (lent.kv_heads, lent.head_dim) != (layer.kv_heads, layer.head_dim) {
            let message =
                format!("layers {kv_layer} and {l} share keys and values and differ in their heads");
            return Err(config.error(message));
        }
        let kv_width = layer.kv_heads * layer.head_dim;
        Ok(Layer {
            kv_layer,
            own: match is_own {
                true => Some(OwnKv {
                    attn_k: weights.shaped(&name("attn_k"), &[kv_width, config.width])?,
                    attn_v: weights.shaped_if_present(&name("attn_v"), &[kv_width, config.width])?,
                    attn_k_norm: weights.vector(&name("attn_k_norm"), layer.head_dim)?,
                }),
                false => None,
            },
            experts: match config.experts {
                Some(experts) if weights.tensor(&name("ffn_gate_inp"))?.is_some() => {
                    Some(Experts::load(weights, config, experts, l)?)
                }
                _ => None,
            },
            per_layer: match config.per_layer_width {
                0 => None,
                per_layer => Some(PerLayerInput {
                    inp_gate: weights.shaped(&name("inp_gate"), &[per_layer, config.width])?,
                    proj: weights.shaped(&name("proj"), &[config.width, per_layer])?,
                    post_norm: weights.vector(&name("post_norm"), config.width)?,
                }),
            },
            block,
        })
    }

    /// The attention of the tokens at the positions from `first` on.
    #[expect(clippy::too_many_arguments, reason = "what a layer needs of a pass")]
    fn attention(
        &self,
        l: usize,
        y: &mut [f32],
        state: &mut State,
        first: usize,
        config: &Config,
        angles: &Angles,
        mode: Mode,
    ) {
        let layer = self.block.config;
        let input = self.block.attention_input(y);
        let queries = self.block.queries(&input, angles, mode);
        if let Some(own) = &self.own {
            let (keys, values) = own.keys_and_values(&input, layer.kv_heads, config.eps, angles, mode);
            state.caches[l].forget_before_last(state.keep[l]);
            state.caches[l].append(&keys, &values);
        }
        let attended = attend(&queries, layer.heads, &state.caches[self.kv_layer], |i| {
            let end = first + i + 1;
            match layer.kind {
                LayerKind::Full => 0..end,
                LayerKind::Sliding => end.saturating_sub(config.window)..end,
            }
        });
        self.block.add_attention(y, &attended, mode);
    }

    fn feed_forward(&self, y: &mut [f32], mode: Mode) {
        let mut out = self.block.feed_forward(y, mode);
        if let Some(experts) = &self.experts {
            experts.mix_in(&mut out, y, mode);
        }
        self.block.add_feed_forward(y, out);
    }
}

impl OwnKv<'_> {
    /// Keys, normed and turned, and values, normed without weight; both `[tokens, kv_heads, head_dim]`.
    fn keys_and_values(
        &self,
        input: &[f32],
        kv_heads: usize,
        eps: f32,
        angles: &Angles,
        mode: Mode,
    ) -> (Vec<f32>, Vec<f32>) {
        let head_dim = self.attn_k_norm.len();
        let mut keys = self.attn_k.mul(input, mode);
        let mut values = match &self.attn_v {
            Some(attn_v) => attn_v.mul(input, mode),
            None => keys.clone(),
        };
        weighted_rms_norm(&mut keys, &self.attn_k_norm, eps);
        angles.rotate(&mut keys, kv_heads, head_dim);
        rms_norm(&mut values, head_dim, eps);
        (keys, values)
    }
}

impl<'a> PerLayerEmbedding<'a> {
    fn load(
        weights: &'a dyn Weights,
        config: &Config,
        vocab: usize,
        width: usize,
    ) -> Result<PerLayerEmbedding<'a>, ModelError> {
        let all = config.layers.len() * width;
        Ok(PerLayerEmbedding {
            width,
            token_embd: weights.shaped("per_layer_token_embd.weight", &[vocab, all])?,
            model_proj: weights.shaped("per_layer_model_proj.weight", &[all, config.width])?,
            proj_norm: weights.vector("per_layer_proj_norm.weight", width)?,
        })
    }

    /// `(rms(model_proj · x / √width) · w + token_embd[t] · √P) / √2` for each token with its scaled embedding `x`:
    /// `[tokens, layers * P]`.
    fn forward(&self, tokens: &[u32], x: &[f32], config: &Config, mode: Mode) -> Vec<f32> {
        let mut out = self.model_proj.mul(x, mode);
        let model_scale = (1.0 / (config.width as f64).sqrt()) as f32;
        out.iter_mut().for_each(|v| *v *= model_scale);
        weighted_rms_norm(&mut out, &self.proj_norm, config.eps);
        let token_scale = (self.width as f64).sqrt() as f32;
        for (out, &token) in out.chunks_exact_mut(self.token_embd.cols()).zip(tokens) {
            for (v, e) in out.iter_mut().zip(self.token_embd.row(token as usize)) {
                *v = (*v + e * token_scale) * std::f32::consts::FRAC_1_SQRT_2;
            }
        }
        out
    }

    /// One layer's part of what [`PerLayerEmbedding::forward`] made, `[tokens, P]`.
    fn of_layer(&self, rows: &[f32], l: usize, layers: usize) -> Vec<f32> {
        rows.chunks_exact(layers * self.width)
            .flat_map(|row| &row[l * self.width..][..self.width])
            .copied()
            .collect()
    }
}

impl PerLayerInput<'_> {
    /// `y += rms(proj · (gelu(inp_gate · y) * rows)) · w`.
    fn add(&self, y: &mut [f32], rows: Vec<f32>, eps: f32, mode: Mode) {
        let mut gated = self.inp_gate.mul(y, mode);
        Activation::Gelu.gate_all(&mut gated, &rows, mode.arithmetic);
        let mut out = self.proj.mul(&gated, mode);
        weighted_rms_norm(&mut out, &self.post_norm, eps);
        add(y, &out);
    }
}
