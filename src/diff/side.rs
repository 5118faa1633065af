//! One of two models as it is compared: keys and tensors under the names by which they are matched.

use super::Options;
use crate::arch::{Arch, Match};
use crate::checkpoint::{CheckpointHead, plain_name};
use crate::convert::{self, Conversion};
use crate::gguf::{Gguf, Metadata};
use crate::plan::PlannedTensor;
use crate::quant::recipe::FileType;
use crate::storage::{ModelFile, ModelTensor, Numbers};
use crate::text::Glob;
use bstr::{BStr, BString};
use std::borrow::Cow;
use std::collections::HashMap;

/// A model as it is compared.
pub(super) struct Side<'a> {
    /// `None` where they are not compared.
    pub keys: Option<Cow<'a, Metadata>>,
    pub tensors: Vec<Entry<'a>>,
}

/// A tensor as it is compared.
pub(super) struct Entry<'a> {
    pub name: BString,
    pub type_name: String,
    /// Innermost first.
    pub dims: Vec<u64>,
    /// The file that holds it, and where in it the data starts.
    pub place: (usize, u64),
    pub content: Content<'a>,
}

/// What of a tensor can be compared.
pub(super) enum Content<'a> {
    Numbers(Numbers<'a>),
    /// Nothing but bytes, and why.
    Bytes(&'a [u8], String),
    /// Nothing, and why.
    None(String),
    /// Nothing here: it counts as the same.
    Elsewhere,
}

impl<'a> Side<'a> {
    /// A model by its own names.
    pub(super) fn of(model: &'a ModelFile) -> Side<'a> {
        let mut keys = model.metadata();
        // How a model is cut is no part of what it says.
        let is_split = |key: &BStr| key.starts_with(b"split.");
        if keys.iter().any(|(key, _)| is_split(key)) {
            keys = Cow::Owned(filtered(&keys, |key| !is_split(key)));
        }
        Side {
            keys: Some(keys),
            tensors: model.tensors().into_iter().map(Entry::of).collect(),
        }
    }

    /// The side without the keys and tensors that fit one of these patterns.
    pub(super) fn without(mut self, ignore: &[Glob]) -> Side<'a> {
        if !ignore.is_empty() {
            let is_kept = |name: &BStr| !ignore.iter().any(|glob| glob.matches(name));
            self.keys = self.keys.map(|keys| Cow::Owned(filtered(&keys, is_kept)));
            self.tensors.retain(|entry| is_kept(BStr::new(&entry.name)));
        }
        self
    }
}

fn filtered(keys: &Metadata, is_kept: impl Fn(&BStr) -> bool) -> Metadata {
    let mut kept = Metadata::default();
    for (key, value) in keys.iter().filter(|(key, _)| is_kept(key)) {
        kept.set(key, value.clone());
    }
    kept
}

impl<'a> Entry<'a> {
    fn of(tensor: ModelTensor<'a>) -> Entry<'a> {
        let read = || match tensor.numbers() {
            Ok(numbers) => Content::Numbers(numbers),
            Err(error) => match tensor.bytes() {
                Ok(bytes) => Content::Bytes(bytes, error.to_string()),
                Err(error) => Content::None(error.to_string()),
            },
        };
        let content = match tensor.is_distant() {
            true => Content::Elsewhere,
            false => read(),
        };
        Entry {
            name: tensor.name.into(),
            type_name: tensor.type_name,
            dims: tensor.dims,
            place: (tensor.file, tensor.file_offset),
            content,
        }
    }

    /// `ordered` are the source's numbers in the order of the output, where it is another.
    fn of_planned(tensor: &'a PlannedTensor, ordered: Option<&'a Vec<u8>>) -> Entry<'a> {
        let source = &tensor.source;
        let data = ordered.map(Vec::as_slice).or_else(|| source.data.here());
        let content = match data.map(|data| Numbers::new(source.ty, tensor.elements(), data)) {
            None => Content::Elsewhere,
            Some(Some(numbers)) => Content::Numbers(numbers),
            Some(None) => Content::None(format!("{} does not have the bytes of its shape", source.origin)),
        };
        Entry {
            name: tensor.name.as_str().into(),
            type_name: source.ty.to_string(),
            dims: tensor.dims.clone(),
            place: (0, 0),
            content,
        }
    }
}

/// A checkpoint beside a GGUF, as what a conversion would make of it.
pub(super) struct Converted<'a> {
    arch: &'a Arch,
    checkpoint: &'a CheckpointHead,
    /// `None` where a conversion is not possible; then names are all that is known.
    plan: Option<Conversion<'a>>,
    /// Of tensors whose rows a conversion puts in another order: the data in that order, by name.
    ordered: HashMap<String, Vec<u8>>,
}

impl<'a> Converted<'a> {
    /// Plans a conversion to the type of the GGUF. Where there can be none, a note tells why.
    pub(super) fn new(
        checkpoint: &'a CheckpointHead,
        gguf: &Gguf,
        options: Options<'a>,
        notes: &mut Vec<String>,
    ) -> Converted<'a> {
        let config = checkpoint.config().ok().flatten();
        let arch = options.registry.of_checkpoint(checkpoint, config);
        let file_type = gguf.metadata().uint("general.file_type").ok();
        let is_grouped = |name: &BStr| {
            let upstream = arch.upstream_tensor(name);
            str::from_utf8(&upstream).is_ok_and(|name| arch.is_on_demand(name))
        };
        let planned = convert::plan(
            arch,
            checkpoint,
            options.target,
            convert::Options {
                outtype: file_type
                    .and_then(|id| u32::try_from(id).ok())
                    .and_then(FileType::from_id),
                keep_centroids: gguf.tensors().any(|info| is_grouped(BStr::new(&info.name))),
                ..convert::Options::default()
            },
        );
        let path = checkpoint.path().display();
        let plan = match planned {
            Ok(plan) => {
                notes.push(format!(
                    "{path} is compared as what a conversion would make of it, by its numbers"
                ));
                notes.extend(plan.plan.warnings().iter().cloned());
                let left_out =
                    |ignored: &convert::Ignored| format!("{} is left out: {}", ignored.name, ignored.reason);
                notes.extend(plan.ignored.iter().map(left_out));
                Some(plan)
            }
            Err(error) => {
                notes.push(format!(
                    "{path} is compared by its tensors alone, for it cannot be converted: {error}"
                ));
                None
            }
        };
        let planned = plan.iter().flat_map(|plan| plan.plan.tensors());
        let ordered = planned
            .filter(|tensor| tensor.source.rows.is_some())
            .filter_map(|tensor| {
                let data = tensor.source.in_order()?;
                Some((tensor.name.clone(), data.into_owned()))
            });
        Converted {
            arch,
            checkpoint,
            ordered: ordered.collect(),
            plan,
        }
    }

    /// One of both models, under upstream's names.
    pub(super) fn side(&'a self, model: &'a ModelFile) -> Side<'a> {
        match model {
            ModelFile::Gguf(_) => self.gguf(model),
            ModelFile::Safetensors(_) => match &self.plan {
                Some(plan) => Side {
                    keys: Some(Cow::Borrowed(plan.plan.metadata())),
                    tensors: {
                        let tensors = plan.plan.tensors().iter();
                        let entry = |tensor| Entry::of_planned(tensor, self.ordered.get(&tensor.name));
                        tensors.map(entry).collect()
                    },
                },
                None => self.renamed(model),
            },
        }
    }

    fn gguf(&self, model: &'a ModelFile) -> Side<'a> {
        let side = Side::of(model);
        let mut keys = Metadata::default();
        for (key, value) in side.keys.iter().flat_map(|keys| keys.iter()) {
            keys.set(self.arch.upstream_key(key), value.clone());
        }
        let mut tensors = side.tensors;
        for entry in &mut tensors {
            entry.name = self.arch.upstream_tensor(BStr::new(&entry.name));
        }
        Side {
            keys: self.plan.as_ref().map(|_| Cow::Owned(keys)),
            tensors,
        }
    }

    /// The checkpoint's tensors, those that the architecture file knows by their names in a GGUF.
    fn renamed(&self, model: &'a ModelFile) -> Side<'a> {
        let mut side = Side::of(model);
        for entry in &mut side.tensors {
            if let Some(name) = self.gguf_name(BStr::new(&entry.name)) {
                entry.name = name.into();
            }
            // A number by itself is a list of one in a GGUF.
            if entry.dims.is_empty() {
                entry.dims = vec![1];
            }
        }
        Side { keys: None, ..side }
    }

    /// What a GGUF calls a tensor of the checkpoint.
    fn gguf_name(&self, hf_name: &BStr) -> Option<String> {
        let hf_name = plain_name(str::from_utf8(hf_name).ok()?);
        self.arch.tensors.iter().find_map(|spec| {
            let found = spec.matches_source(&hf_name)?;
            let layer = match found {
                Match::Whole => 0,
                Match::Layer(layer) => layer,
            };
            // Of several that could serve the first does.
            let mut names = spec.source_names(layer);
            let used = names.find(|name| self.checkpoint.tensor(name).is_some())?;
            (used == *hf_name).then(|| spec.gguf_name(found))
        })
    }
}
