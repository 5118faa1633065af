//! Finds a source for every tensor of the architecture, and a reason for every source tensor that is left out.

use super::error::ConvertError;
use super::hparams::Hparams;
use super::make;
use super::options::Options;
use crate::arch::{Arch, Pattern, TensorSpec};
use crate::checkpoint::{CheckpointHead, TensorHead};
use crate::gguf::Gguf;
use crate::plan::PlannedTensor;
use crate::text::escape;
use std::collections::{HashMap, HashSet};

/// A source tensor that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// Its name in the checkpoint.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// A tensor with the line of the architecture file that asks for it. Its type is still the source's.
pub(super) type Sourced<'s, 'a> = (&'s TensorSpec, PlannedTensor<'a>);

/// Finds a source for every tensor of the architecture and a reason for every source tensor that is left over.
pub(super) fn source_tensors<'s, 'a>(
    arch: &'s Arch,
    checkpoint: &'a CheckpointHead,
    target: Option<&'a Gguf>,
    hparams: &Hparams,
    options: Options,
    warnings: &mut Vec<String>,
) -> Result<(Vec<Sourced<'s, 'a>>, Vec<Ignored>), ConvertError> {
    let wanted = Wanted::find(arch, checkpoint, hparams, options);
    let mut front = Vec::new();
    let mut by_source: HashMap<&str, (&TensorSpec, Option<usize>)> = HashMap::new();
    for Want { spec, layer, found } in wanted.tensors {
        let Some(hf) = &spec.hf else {
            front.push((spec, make::generated(spec, layer, checkpoint, hparams)?));
            continue;
        };
        if let Some(found) = found {
            by_source.insert(found.name, (spec, layer));
            continue;
        }
        let name = hf.name(layer.unwrap_or(0));
        if let Some(tensor) = make::from_target(spec, layer, target, hparams, &name)? {
            warnings.push(format!(
                "the drafter has no {name}; its rows are taken from the target"
            ));
            front.push((spec, tensor));
        } else if arch.is_required(spec, &hparams.numbers, &wanted.groups) {
            let hint = match (prefix_hint(checkpoint, &name), &spec.from_target, target) {
                (Some(hint), ..) => hint,
                (None, Some(_), None) => "; pass --target to take the target's".to_owned(),
                _ => format!("; download the checkpoint again: {} needs it", arch.name),
            };
            return Err(ConvertError::MissingTensor {
                path: checkpoint.path().to_owned(),
                name,
                hint,
            });
        }
    }

    let mut last = Vec::new();
    let mut ignored = Vec::new();
    let mut unexpected = Vec::new();
    for tensor in checkpoint.tensors() {
        if let Some(&(spec, layer)) = by_source.get(tensor.name) {
            let sourced = (spec, make::from_checkpoint(spec, layer, tensor, hparams)?);
            if spec.last { &mut last } else { &mut front }.push(sourced);
            continue;
        }
        let reason = match wanted.left_out.get(tensor.name) {
            Some(reason) => Some((*reason).to_owned()),
            None => reason_to_ignore(arch, checkpoint, &tensor)?,
        };
        match reason {
            Some(reason) => ignored.push(Ignored {
                name: tensor.name.to_owned(),
                reason,
            }),
            None => unexpected.push(tensor.name),
        }
    }
    front.extend(last);
    if !unexpected.is_empty() {
        const SHOWN: usize = 5;
        let mut names = unexpected
            .iter()
            .take(SHOWN)
            .copied()
            .collect::<Vec<_>>()
            .join(", ");
        if unexpected.len() > SHOWN {
            names.push_str(", …");
        }
        return Err(ConvertError::UnexpectedTensors {
            path: checkpoint.path().to_owned(),
            architecture: arch.architecture.clone(),
            count: unexpected.len(),
            names,
        });
    }
    Ok((front, ignored))
}

/// A tensor of the architecture, for a layer where it has one for each.
struct Want<'s, 'a> {
    spec: &'s TensorSpec,
    layer: Option<usize>,
    /// Where the checkpoint has it.
    found: Option<TensorHead<'a>>,
}

/// What of an architecture goes into a file.
struct Wanted<'s, 'a> {
    tensors: Vec<Want<'s, 'a>>,
    /// Groups of which the checkpoint holds something.
    groups: HashSet<&'s str>,
    /// What it holds and the file should not, with the reason.
    left_out: HashMap<&'a str, &'s str>,
}

impl<'s, 'a> Wanted<'s, 'a> {
    fn find(
        arch: &'s Arch,
        checkpoint: &'a CheckpointHead,
        hparams: &Hparams,
        options: Options,
    ) -> Wanted<'s, 'a> {
        let mut wanted = Wanted {
            tensors: Vec::new(),
            groups: HashSet::new(),
            left_out: HashMap::new(),
        };
        for spec in &arch.tensors {
            let group = spec.group.as_ref().and_then(|name| arch.group(name));
            let reason = match group {
                Some(group) if group.on_demand && !options.keep_centroids => {
                    Some(group.left_out.as_deref().unwrap_or_default())
                }
                _ if !hparams.numbers.applies(spec.when.as_deref()) => {
                    Some(spec.left_out.as_deref().unwrap_or_default())
                }
                _ => None,
            };
            for layer in hparams.numbers.layers_of(&spec.gguf) {
                let mut names = spec.source_names(layer.unwrap_or(0));
                let found = names.find_map(|name| checkpoint.tensor(&name));
                match (reason, found) {
                    (Some(reason), Some(tensor)) => {
                        wanted.left_out.insert(tensor.name, reason);
                    }
                    (Some(_), None) => {}
                    (None, found) => {
                        if let (Some(group), Some(_)) = (group, &found) {
                            wanted.groups.insert(&group.name);
                        }
                        wanted.tensors.push(Want { spec, layer, found });
                    }
                }
            }
        }
        wanted
    }
}

/// What to do where a tensor stands under a prefix that is not known.
fn prefix_hint(checkpoint: &CheckpointHead, name: &str) -> Option<String> {
    let prefix = |tensor: &TensorHead| {
        let prefix = tensor.name.strip_suffix(name)?;
        prefix.ends_with('.').then(|| escape(prefix.as_bytes()))
    };
    let prefix = checkpoint.tensors().find_map(|tensor| prefix(&tensor))?;
    Some(format!(
        "; it has {prefix}{name}: save the weights without {prefix} in front"
    ))
}

/// Why a source tensor that no rule wants may be left out.
fn reason_to_ignore(
    arch: &Arch,
    checkpoint: &CheckpointHead,
    tensor: &TensorHead,
) -> Result<Option<String>, ConvertError> {
    for rule in &arch.ignored {
        let is_called = |name: &Pattern| tensor.is_called(|found| name.matches(found).is_some());
        let holds = || rule.holding.iter().any(|word| tensor.name.contains(word));
        if !rule.hf.as_ref().is_some_and(is_called) && !holds() {
            continue;
        }
        if let Some(same_as) = &rule.same_as {
            let twin = checkpoint.tensor(same_as);
            // Where the data of either lies elsewhere, the conversion of what is here will tell.
            let is_other = |twin: TensorHead| match (twin.here(), tensor.here()) {
                (Some((_, theirs)), Some((_, ours))) => theirs != ours,
                _ => false,
            };
            if twin
                .is_none_or(|twin| (twin.dtype, twin.shape) != (tensor.dtype, tensor.shape) || is_other(twin))
            {
                return Err(ConvertError::NotTied {
                    path: tensor.path.to_owned(),
                    name: tensor.name.to_owned(),
                    same_as: same_as.clone(),
                });
            }
        }
        return Ok(Some(rule.reason.clone()));
    }
    Ok(None)
}
