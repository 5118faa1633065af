//! What a pair takes of memory in llama.cpp (b11434 and b11549): the rules of its loader and caches, held to the sizes that
//! its log prints.
//!
//! - Weights are mapped from the first tensor's byte to the last's. On a CPU, matrices in types that have a form of
//!   interleaved rows are kept in that form besides (`CPU_REPACK`).
//! - A full layer with keys and values of its own keeps every position of a sequence, in steps of 256; a sliding one its
//!   window and a batch (`n_ubatch`), in steps of 256 and never more than a full one. Each of `parallel` sequences has a
//!   cache of its own. A Gemma 4 drafter has none: it reads the target's.
//! - Compute buffers hold both attention masks (f16, cache × batch), and the activations that live at once. The latter
//!   are the allocator's doing; the rule for them was fitted to printed sizes.

use crate::arch::LayerKind;
use crate::gguf::Gguf;
use crate::model::{Config, ModelError};
use crate::quant::GgmlType;
use serde::Serialize;

/// Cache sizes are multiples of it.
const CACHE_STEP: u64 = 256;
/// Rows that interleaved forms take at once.
const REPACKED_ROWS: u64 = 8;

/// How a pair is loaded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Tokens of all sequences together (`--ctx-size`).
    pub context: u64,
    /// Sequences at the same time (`--parallel`).
    pub parallel: u64,
    /// Type of keys and values.
    pub cache: GgmlType,
    /// Tokens of a batch (`--ubatch-size`).
    pub batch: u64,
    /// Whether matrices are computed on the CPU, which keeps some of them in another form besides.
    pub cpu: bool,
    /// Most tokens a draft.
    pub n_max: u64,
}

/// One conversation of 8192 tokens in `f16`, the rest as llama-server has it by default.
impl Default for Load {
    fn default() -> Load {
        Load {
            context: 8192,
            parallel: 1,
            cache: GgmlType::F16,
            batch: 512,
            cpu: false,
            n_max: 3,
        }
    }
}

/// Bytes, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Memory {
    /// Weights of the target.
    pub target_weights: u64,
    /// Weights of the drafter. What it takes from the target is not in its file, and so counted once.
    pub drafter_weights: u64,
    /// Weights kept in interleaved form besides.
    pub repacked_weights: u64,
    /// Keys and values of full layers.
    pub full_cache: u64,
    /// Keys and values of sliding layers.
    pub sliding_cache: u64,
    /// Buffers of the target's computation.
    pub target_compute: u64,
    /// Buffers of the drafter's computation.
    pub drafter_compute: u64,
    /// Logits.
    pub output: u64,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.parts().iter().map(|(_, bytes)| bytes).sum()
    }

    /// Its parts in words.
    pub fn parts(&self) -> [(&'static str, u64); 8] {
        [
            ("target's weights", self.target_weights),
            ("drafter's weights", self.drafter_weights),
            ("weights interleaved for the CPU", self.repacked_weights),
            ("keys and values, full layers", self.full_cache),
            ("keys and values, sliding layers", self.sliding_cache),
            ("target's compute buffer", self.target_compute),
            ("drafter's compute buffer", self.drafter_compute),
            ("logits", self.output),
        ]
    }
}

/// A model as far as memory goes.
#[derive(Debug)]
pub struct Model {
    /// Its numbers.
    pub config: Config,
    /// Bytes of its weights, from the first mapped to the last, where nothing is interleaved.
    pub weights: u64,
    /// The same without those that are interleaved on a CPU.
    mapped_on_cpu: u64,
    /// Bytes that are interleaved on a CPU.
    repacked: u64,
    /// Size of the vocabulary.
    vocab: u64,
}

impl Model {
    /// Reads a file's header.
    pub fn read(gguf: &Gguf, architecture: &str) -> Result<Model, ModelError> {
        let config = Config::from_gguf(gguf, architecture)?;
        let vocab = gguf.info("token_embd.weight").and_then(|info| info.dims.get(1));
        let (mut weights, mut mapped_on_cpu, mut repacked) = (0, 0, 0);
        for part in gguf.parts() {
            let span = |keep: &dyn Fn(&crate::gguf::TensorInfo) -> bool| {
                let ranges = part
                    .header
                    .tensors
                    .iter()
                    .filter(|info| keep(info))
                    .map(|info| part.header.range(info));
                let ends = ranges.fold(None, |ends: Option<(u64, u64)>, (start, end)| match ends {
                    Some((first, last)) => Some((first.min(start), last.max(end))),
                    None => Some((start, end)),
                });
                ends.map_or(0, |(first, last)| last.saturating_sub(first))
            };
            weights += span(&|_| true);
            mapped_on_cpu += span(&|info| !is_repacked(info));
            let tensors = part.header.tensors.iter();
            repacked += tensors
                .filter(|info| is_repacked(info))
                .filter_map(|info| info.size())
                .sum::<u64>();
        }
        Ok(Model {
            config,
            weights,
            mapped_on_cpu,
            repacked,
            vocab: vocab.copied().unwrap_or(0),
        })
    }

    /// Bytes of a position's keys and values in the layers of a kind that have some of their own.
    pub fn position_bytes(&self, kind: LayerKind, cache: GgmlType) -> u64 {
        let own = self
            .config
            .layers
            .len()
            .saturating_sub(self.config.shared_kv_layers);
        let layers = self
            .config
            .layers
            .iter()
            .take(own)
            .filter(|layer| layer.kind == kind);
        layers
            .map(|layer| {
                let row = (layer.kv_heads * layer.head_dim) as u64;
                2 * cache.bytes(row).unwrap_or(row * 2)
            })
            .sum()
    }

    /// Activations of a token that live at once, in numbers of four bytes: in the feed-forward, gate, up and their product,
    /// beside the residual stream and what feeds the layers.
    fn activations(&self) -> u64 {
        let config = &self.config;
        let width = config.width as u64;
        let widest = config.layers.iter().map(|layer| layer.ffn).max().unwrap_or(0) as u64;
        let experts = config.experts.map_or(0, |experts| {
            let (used, ffn) = (experts.used as u64, experts.ffn as u64);
            used * (2 * ffn + ffn).max(ffn + width)
        });
        let streams = match (config.backbone, config.per_layer_width) {
            (Some(_), _) => width * 5 / 2,
            (None, 0) => width * 5,
            (None, per_layer) => width * 4 + (per_layer * (config.layers.len() + 1)) as u64,
        };
        (3 * widest).max(experts) + streams + 14
    }

    /// Bytes of the buffers of its computation; `outputs` is the number of positions whose logits are kept.
    fn compute(&self, load: &Load, caches: (u64, u64), outputs: u64) -> u64 {
        let masks = 2 * load.batch * (caches.0 + caches.1);
        masks + 4 * load.batch * self.activations() + 4 * outputs * self.vocab
    }

    /// Positions that a sequence keeps in full and in sliding layers.
    fn cells(&self, load: &Load) -> (u64, u64) {
        let full = (load.context / load.parallel.max(1))
            .max(1)
            .next_multiple_of(CACHE_STEP);
        let sliding = (self.config.window as u64 + load.batch).next_multiple_of(CACHE_STEP);
        (full, sliding.min(full))
    }
}

/// Whether a CPU with AVX2 keeps a tensor in a form of interleaved rows besides (`ggml-cpu/repack.cpp`): not where its rows
/// are looked up.
fn is_repacked(info: &crate::gguf::TensorInfo) -> bool {
    let has_form = matches!(
        info.ty.known(),
        Some(GgmlType::Q4_0 | GgmlType::Q4_K | GgmlType::IQ4_NL)
    );
    let rows = info.dims.get(1).copied().unwrap_or(0);
    has_form
        && rows > 0
        && rows.is_multiple_of(REPACKED_ROWS)
        && !bstr::ByteSlice::contains_str(info.name.as_slice(), "token_embd")
}

/// What a pair takes.
pub fn memory(target: &Model, drafter: Option<&Model>, load: &Load) -> Memory {
    let cells = target.cells(load);
    let positions = |kind, cells: u64| target.position_bytes(kind, load.cache) * cells * load.parallel;
    let weights = |model: &Model| {
        if load.cpu {
            model.mapped_on_cpu
        } else {
            model.weights
        }
    };
    let models = || std::iter::once(target).chain(drafter);
    // The target's logits of a draft and the token before it, one sequence after the other.
    let verified = match drafter {
        Some(_) => load.parallel * (load.n_max + 1),
        None => load.parallel,
    };
    Memory {
        target_weights: weights(target),
        drafter_weights: drafter.map_or(0, weights),
        repacked_weights: match load.cpu {
            true => models().map(|model| model.repacked).sum(),
            false => 0,
        },
        full_cache: positions(LayerKind::Full, cells.0),
        sliding_cache: positions(LayerKind::Sliding, cells.1),
        target_compute: target.compute(load, cells, verified),
        drafter_compute: drafter.map_or(0, |drafter| drafter.compute(load, cells, load.parallel)),
        output: models().map(|model| 4 * load.parallel * model.vocab).sum(),
    }
}

/// The largest context, in steps of 256 a sequence, with which a pair fits; `None` where none does.
pub fn largest_context(target: &Model, drafter: Option<&Model>, load: &Load, available: u64) -> Option<u64> {
    let step = CACHE_STEP * load.parallel.max(1);
    let most = (target.config.context as u64 * load.parallel.max(1)) / step;
    let fits = |steps: u64| {
        let load = Load {
            context: steps * step,
            ..*load
        };
        memory(target, drafter, &load).total() <= available
    };
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = (low + high).div_ceil(2);
        match fits(middle) {
            true => low = middle,
            false => high = middle - 1,
        }
    }
    (low > 0).then_some(low * step)
}
