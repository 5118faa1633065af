//! One run from start to end with every intermediate, under the names that the reference runs of transformers have.

use super::VerifyError;
use super::report::CheckpointReport;
use super::speculate::tokens;
use crate::io::Inputs;
use crate::io::output::OutputFile;
use crate::model::ops::argmax;
use crate::model::{Drafter, Moment, Pass, Target};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError};
use std::path::Path;

/// Steps that are run, as the references have them.
pub const STEPS: usize = 4;

/// A named array of numbers.
struct Array {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Array {
    fn new(name: impl Into<String>, shape: &[usize], numbers: &[f32]) -> Array {
        Array {
            name: name.into(),
            dtype: Dtype::F32,
            shape: shape.to_owned(),
            bytes: numbers.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }
}

/// A run and its intermediates.
pub struct Dump {
    arrays: Vec<Array>,
    /// The tokens of it.
    pub report: CheckpointReport,
}

/// Runs target and drafter on a prompt, then the target alone for `generate` tokens. The intermediates are `prompt`;
/// `target.hidden` and `target.logits` by position; the keys and values that the drafter reads,
/// `{full,sliding}_attention.{k,v}` of shape `[kv_heads, positions, head_dim]`; and of each draft step
/// `stepN.inputs_embeds`, `.logits`, and `.state` and `.confidence` where it has them.
pub fn run(target: &Target, drafter: &dyn Drafter, prompt: &[u32], steps: usize, generate: usize) -> Dump {
    let (width, vocab) = (target.config().width, target.vocab());
    let mut state = target.tapped_state(usize::MAX, drafter.taps());
    let mut hidden = Vec::new();
    target.read_prompt(&mut state, prompt, |rows| hidden.extend_from_slice(rows));
    let logits = target.logits(&hidden, Pass::Prompt);
    let newest = (prompt.len() - 1) * width;
    let kv = target.shared_kv(&state);
    let moment = Moment {
        target,
        text: prompt,
        last: argmax(&logits[(prompt.len() - 1) * vocab..]) as u32,
        hidden: &hidden[newest..],
        kv,
        taps: state.taps(),
    };
    let next = moment.last;
    let draft = drafter.draft(&mut drafter.memory(), &moment, steps);
    let ids = prompt
        .iter()
        .flat_map(|&token| (token as i32).to_le_bytes())
        .collect();
    let mut arrays = vec![
        Array {
            name: "prompt".to_owned(),
            dtype: Dtype::I32,
            shape: vec![prompt.len()],
            bytes: ids,
        },
        Array::new("target.hidden", &[prompt.len(), width], &hidden),
        Array::new("target.logits", &[prompt.len(), vocab], &logits),
    ];
    for (name, cache) in [("full_attention", kv.full), ("sliding_attention", kv.sliding)] {
        let shape = [cache.kv_heads(), cache.positions().len(), cache.head_dim()];
        arrays.push(Array::new(format!("{name}.k"), &shape, &cache.keys()));
        arrays.push(Array::new(format!("{name}.v"), &shape, &cache.values()));
    }
    for (i, step) in draft.iter().enumerate() {
        let parts = [
            ("inputs_embeds", &step.input),
            ("logits", &step.logits),
            ("state", &step.state),
        ];
        for (part, numbers) in parts.into_iter().filter(|(_, numbers)| !numbers.is_empty()) {
            arrays.push(Array::new(format!("step{i}.{part}"), &[numbers.len()], numbers));
        }
        if let Some(confidence) = step.confidence {
            arrays.push(Array::new(format!("step{i}.confidence"), &[1], &[confidence]));
        }
    }
    let mut greedy = Vec::with_capacity(generate);
    let mut last = next;
    for _ in 0..generate {
        greedy.push(last);
        let row = target.forward(&mut state, &[last], Pass::Step);
        last = argmax(&target.logits(&row, Pass::Step)) as u32;
    }
    Dump {
        arrays,
        report: CheckpointReport {
            next,
            drafted: tokens(&draft),
            greedy,
        },
    }
}

impl Dump {
    /// Writes the intermediates as a safetensors file.
    pub fn write(&self, path: &Path, inputs: &Inputs, force: bool) -> Result<(), VerifyError> {
        let views = self
            .arrays
            .iter()
            .map(|a| Ok((&a.name, TensorView::new(a.dtype, a.shape.clone(), &a.bytes)?)))
            .collect::<Result<Vec<_>, _>>();
        let bytes = views
            .and_then(|views| safetensors::serialize(views, None))
            .map_err(|e: SafeTensorError| VerifyError::Dump {
                path: path.to_owned(),
                message: e.to_string(),
            })?;
        let output = OutputFile::create(path, bytes.len() as u64, inputs, force)?;
        output.write_at(&bytes, 0)?;
        Ok(output.commit()?)
    }
}
