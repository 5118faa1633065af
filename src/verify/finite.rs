//! Models that compute no numbers: which one, from where on, and what in its file is to blame.

use super::words::code;
use crate::finding::Finding;
use crate::gguf::{Array, Gguf, Value};
use crate::model::{Drafter, Place, Target};
use crate::storage::gguf_tensors;
use crate::storage::stats::Stats;
use crate::text::escape;

/// What is wrong where a model computed a NaN or an infinity; nothing that was computed is then a result. The target is
/// told first, for its numbers go into the drafter; of the drafter's source only the place is known.
pub fn fault(
    target: (&Target, &Gguf),
    drafter: (&dyn Drafter, &Gguf),
    source: Option<Place>,
) -> Option<Finding> {
    let told = |who: &str, place: Option<Place>, gguf: &Gguf| {
        let place = place?;
        let cause = Cause::find(gguf, place);
        let message = format!(
            "the {who} computes NaN or infinity from {place} on: {}",
            cause.message
        );
        let finding = Finding::error(code::NON_FINITE, message).hint(cause.hint);
        Some(finding.about(cause.subject))
    };
    let of_source = || {
        let message = format!("the source computes NaN or infinity from {} on", source?);
        Some(Finding::error(code::NON_FINITE, message).hint(DAMAGED))
    };
    told("target", target.0.non_finite(), target.1)
        .or_else(|| told("drafter", drafter.0.non_finite(), drafter.1))
        .or_else(of_source)
}

const DAMAGED: &str = "the file is damaged, or its source was: download or convert it again";

/// What in a file is to blame.
struct Cause {
    message: String,
    hint: &'static str,
    subject: Option<String>,
}

impl Cause {
    /// The first tensor or key that holds such a number, those of the place first.
    fn find(gguf: &Gguf, place: Place) -> Cause {
        let mut tensors = gguf_tensors(gguf);
        if let Place::Layer(layer) = place {
            let prefix = format!("blk.{layer}.");
            tensors.sort_by_key(|tensor| !tensor.name.starts_with(prefix.as_bytes()));
        }
        for tensor in tensors {
            let Ok(numbers) = tensor.numbers() else { continue };
            let stats = Stats::of(&numbers, &|_| ());
            if stats.nan + stats.infinite > 0 {
                let name = escape(tensor.name);
                return Cause {
                    message: format!(
                        "tensor {name} holds {} NaN and {} infinities",
                        stats.nan, stats.infinite
                    ),
                    hint: DAMAGED,
                    subject: Some(name),
                };
            }
        }
        let mut keys = gguf.metadata().iter();
        match keys.find(|(_, value)| holds_non_finite(value)) {
            Some((key, _)) => Cause {
                message: format!("key {} is no finite number", escape(key)),
                hint: "convert the model again, with what its config states",
                subject: Some(escape(key)),
            },
            None => Cause {
                message: "no tensor or key holds such a number".to_owned(),
                hint: "its weights are too large for 32-bit numbers: the file is damaged, or its source was",
                subject: None,
            },
        }
    }
}

fn holds_non_finite(value: &Value) -> bool {
    let float = |value: &Value| value.as_f64().is_some_and(|number| !number.is_finite());
    match value {
        Value::Array(Array::F32(list)) => list.iter().any(|v| !v.is_finite()),
        Value::Array(Array::F64(list)) => list.iter().any(|v| !v.is_finite()),
        Value::Array(_) => false,
        value => float(value),
    }
}
