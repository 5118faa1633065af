//! The tensors of a migrated drafter.

use super::{Change, Job, MigrateError, Subject};
use crate::arch::TensorSpec;
use crate::facts::drafter::TensorEntry;
use crate::gguf::can_swap;
use crate::plan::{Data, PlannedTensor, Source};
use crate::quant::GgmlType;
use crate::text::escape;
use bstr::ByteSlice;

impl<'a> Job<'_, 'a> {
    /// The tensors in the order of the input, those that are computed in front.
    pub(super) fn tensors(&self, changes: &mut Vec<Change>) -> Result<Vec<PlannedTensor<'a>>, MigrateError> {
        let mut tensors = self.missing(changes)?;
        let mut extra = Vec::new();
        for entry in &self.drafter.tensors {
            let shown = || escape(&entry.info.name);
            let Some(upstream) = entry
                .upstream
                .to_str()
                .ok()
                .filter(|name| self.spec_of(name).is_some())
            else {
                extra.push(shown());
                continue;
            };
            self.refuse_clash(entry, upstream)?;
            if let Some(why) = self.reason_to_drop(upstream) {
                changes.push(Change::dropped(Subject::Tensor, shown(), why));
                continue;
            }
            let name = self.drafter.arch.spell_tensor(upstream, self.to);
            if entry.info.name != name.as_str() {
                changes.push(Change::renamed(Subject::Tensor, shown(), name.clone()));
            }
            tensors.push(self.copied(entry, name)?);
        }
        self.handle_extra(extra, changes)?;
        Ok(tensors)
    }

    fn spec_of(&self, upstream: &str) -> Option<&'a TensorSpec> {
        self.drafter.arch.tensor_spec(upstream)
    }

    fn refuse_clash(&self, entry: &TensorEntry, upstream: &str) -> Result<(), MigrateError> {
        match self.drafter.tensor(upstream) {
            Some(first) if first.info.name != entry.info.name => Err(MigrateError::Clash {
                path: entry.part.path.clone(),
                first: escape(&first.info.name),
                second: escape(&entry.info.name),
            }),
            _ => Ok(()),
        }
    }

    /// Why a tensor of the input has no place in the output, if it has none.
    fn reason_to_drop(&self, upstream: &str) -> Option<String> {
        let group = self.spec_of(upstream)?.group.as_ref();
        if let Some(group) = group.filter(|group| !self.keeps(group)) {
            return Some(self.group_in_words(group));
        }
        self.lacks(upstream)
            .then(|| "files of this dialect do not hold it".to_owned())
    }

    fn lacks(&self, upstream: &str) -> bool {
        let mut lacked = self.to.iter().flat_map(|dialect| &dialect.lacks_tensors);
        lacked.any(|name| name == upstream)
    }

    fn copied(&self, entry: &TensorEntry<'a>, name: String) -> Result<PlannedTensor<'a>, MigrateError> {
        let raw = entry.part.raw_tensor(entry.info)?;
        let swap = raw.endian != self.options.endian;
        if swap && !can_swap(raw.ty) {
            return Err(MigrateError::Endian {
                path: entry.part.path.clone(),
                name,
                ty: raw.ty,
            });
        }
        Ok(PlannedTensor::new(
            name,
            entry.info.dims.clone(),
            raw.ty,
            Source {
                origin: escape(&entry.info.name),
                path: &entry.part.path,
                ty: raw.ty,
                data: Data::Mapped {
                    file: raw.file,
                    bytes: raw.data,
                },
                swap,
                rows: None,
            },
        ))
    }

    /// The tensors that the input lacks, computed; an error where one cannot be.
    fn missing(&self, changes: &mut Vec<Change>) -> Result<Vec<PlannedTensor<'a>>, MigrateError> {
        let (arch, numbers) = (self.drafter.arch, &self.drafter.numbers);
        let mut computed = Vec::new();
        let groups = self.drafter.groups();
        let is_required = |spec: &&TensorSpec| arch.is_required(spec, numbers, &groups);
        for spec in arch.tensors.iter().filter(is_required) {
            let is_by_layer = spec.gguf.is_by_layer();
            let layers = if is_by_layer { numbers.layers.len() } else { 1 };
            for layer in 0..layers {
                let name = spec.gguf.name(layer);
                if self.drafter.tensor(&name).is_some() || self.lacks(&name) {
                    continue;
                }
                if spec.generate.is_none() {
                    let path = self.drafter.gguf.path().to_owned();
                    return Err(MigrateError::MissingTensor { path, name });
                }
                let tensor = self.generated(spec, is_by_layer.then_some(layer), &name)?;
                let why = self.drafter.origin_of(&["rotated_pairs"]);
                let why = why.map_or_else(|| "computed".to_owned(), |why| format!("computed; {why}"));
                changes.push(Change::added(Subject::Tensor, tensor.name.clone(), why));
                computed.push(tensor);
            }
        }
        Ok(computed)
    }

    fn generated(
        &self,
        spec: &TensorSpec,
        layer: Option<usize>,
        name: &str,
    ) -> Result<PlannedTensor<'a>, MigrateError> {
        let gguf = self.drafter.gguf;
        let numbers = &self.drafter.numbers;
        let made = numbers.shape(spec, layer).and_then(|shape| {
            let values = numbers.generate(spec, layer)?;
            Ok((shape, values))
        });
        let (shape, values) = made.map_err(|unknown| MigrateError::Generate {
            path: gguf.path().to_owned(),
            name: name.to_owned(),
            why: unknown.why,
        })?;
        Ok(PlannedTensor::new(
            self.drafter.arch.spell_tensor(name, self.to),
            shape.into_iter().rev().collect(),
            GgmlType::F32,
            Source {
                swap: self.options.endian != crate::gguf::Endian::Little,
                ..Source::computed(gguf.path(), &values)
            },
        ))
    }

    /// Tensors that are no part of a drafter are left out if the user said so, else an error.
    fn handle_extra(&self, names: Vec<String>, changes: &mut Vec<Change>) -> Result<(), MigrateError> {
        const SHOWN: usize = 5;
        if names.is_empty() {
            return Ok(());
        }
        if !self.options.drop_extra {
            let mut shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
            if names.len() > SHOWN {
                shown.push_str(", …");
            }
            return Err(MigrateError::ExtraTensors {
                path: self.drafter.gguf.path().to_owned(),
                architecture: self.drafter.arch.architecture.clone(),
                count: names.len(),
                names: shown,
            });
        }
        let dropped = |name| Change::dropped(Subject::Tensor, name, "no part of a drafter, as asked");
        changes.extend(names.into_iter().map(dropped));
        Ok(())
    }
}
