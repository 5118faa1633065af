//! The metadata of a migrated drafter.

use super::{Change, Job, MigrateError, Subject, architecture};
use crate::arch::{MetadataSpec, Number, ScalarType, ValueError};
use crate::facts::drafter::{Key, in_words};
use crate::gguf::{Metadata, Value};
use crate::text::escape;
use bstr::BStr;

/// Where a key of the input goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In front of the architecture's keys: what the model is called and where it is from.
    Front,
    /// Among them, in the order of the architecture file.
    Middle,
    /// Behind them: the tokenizer, and what other tools appended.
    Behind,
    /// Nowhere.
    Dropped,
}

impl Job<'_, '_> {
    /// The keys in the order in which a conversion writes them, so that the result is the same file. Keys of
    /// `general.*` that `llama-quantize` moved behind the tokenizer stay there.
    pub(super) fn metadata(&self, changes: &mut Vec<Change>) -> Result<Metadata, MigrateError> {
        let arch = self.drafter.arch;
        self.refuse_clashes()?;
        let mut metadata = Metadata::default();
        metadata.set("general.architecture", architecture(arch, self.to));
        let places = self.places();
        let of = |place: Place| {
            let keys = self.drafter.keys.iter().zip(&places);
            keys.filter(move |(_, at)| **at == place).map(|(key, _)| key)
        };
        // Keys that stand in front of what the model is called, then those, then the rest.
        let (first, rest): (Vec<_>, Vec<_>) = arch.metadata.iter().partition(|spec| spec.first);
        let first = first.into_iter().map(Some).chain([None]);
        for spec in first.chain(rest.into_iter().map(Some)) {
            let Some(spec) = spec else {
                for key in of(Place::Front) {
                    self.copy(&mut metadata, key, changes);
                }
                continue;
            };
            let key = self.drafter.key(&spec.key);
            let is_behind = || of(Place::Behind).any(|key| key.upstream == spec.key.as_str());
            match key {
                Some(_) if is_behind() => {}
                Some(key) if self.wants(spec) => self.write(&mut metadata, key, spec, changes),
                None if self.wants(spec) && spec.group.is_none() => {
                    self.derive(&mut metadata, spec, changes)?;
                }
                _ => {}
            }
        }
        for extra in self.to.iter().flat_map(|dialect| &dialect.extra) {
            let key = format!("{}.{}", architecture(arch, self.to), extra.key);
            // One that the input states stands behind.
            let is_stated = of(Place::Behind).any(|key| {
                self.drafter
                    .arch
                    .extra_key(BStr::new(&key.upstream))
                    .is_some_and(|(_, stated)| stated.key == extra.key)
            });
            if let (Some(value), false) = (&extra.value, is_stated) {
                let why = "this dialect states it".to_owned();
                changes.push(Change::added(Subject::Key, format!("{key} = {value:?}"), why));
                metadata.set(key, value.as_str());
            }
        }
        for key in of(Place::Behind) {
            self.copy(&mut metadata, key, changes);
        }
        self.tell_dropped(of(Place::Dropped), changes);
        Ok(metadata)
    }

    fn refuse_clashes(&self) -> Result<(), MigrateError> {
        for key in &self.drafter.keys {
            let first = self.drafter.key(&key.upstream);
            if let Some(first) = first.filter(|first| first.found != key.found) {
                return Err(MigrateError::Clash {
                    path: self.drafter.gguf.path().to_owned(),
                    first: escape(first.found),
                    second: escape(key.found),
                });
            }
        }
        Ok(())
    }

    fn places(&self) -> Vec<Place> {
        let keys = &self.drafter.keys;
        let first = |is: &dyn Fn(&Key) -> bool| keys.iter().position(is).unwrap_or(keys.len());
        let first_own = first(&|key| self.key_spec(key).is_some_and(|spec| !spec.first));
        let first_tokenizer = first(&|key| key.upstream.starts_with(b"tokenizer."));
        let place = |(at, key): (usize, &Key)| {
            if key.upstream == "general.architecture" || key.upstream.starts_with(b"split.") {
                return Place::Dropped;
            }
            if let Some(spec) = self.key_spec(key) {
                let is_moved = at > first_tokenizer && spec.key.starts_with("general.");
                let is_late = is_moved || spec.key.starts_with("tokenizer.");
                return match self.wants(spec) {
                    false => Place::Dropped,
                    true if is_late => Place::Behind,
                    true => Place::Middle,
                };
            }
            if let Some((dialect, _)) = self.drafter.arch.extra_key(BStr::new(&key.upstream)) {
                let stays = self.to.is_some_and(|to| to.name == dialect.name);
                return if stays { Place::Behind } else { Place::Dropped };
            }
            if at < first_own {
                Place::Front
            } else {
                Place::Behind
            }
        };
        keys.iter().enumerate().map(place).collect()
    }

    fn key_spec(&self, key: &Key) -> Option<&MetadataSpec> {
        let specs = &self.drafter.arch.metadata;
        specs.iter().find(|spec| key.upstream == spec.key.as_str())
    }

    /// Whether the output has a place for a key.
    fn wants(&self, spec: &MetadataSpec) -> bool {
        let bare = spec.key.strip_prefix(&self.drafter.arch.architecture);
        let bare = bare.and_then(|rest| rest.strip_prefix('.'));
        let is_lacked = match (self.to, bare) {
            (Some(dialect), Some(bare)) => dialect.lacks_key(bare),
            _ => false,
        };
        !is_lacked && spec.group.as_ref().is_none_or(|group| self.keeps(group))
    }

    /// Copies a value under the key that the output's dialect has for it.
    fn copy(&self, metadata: &mut Metadata, key: &Key, changes: &mut Vec<Change>) {
        let spelled = self.drafter.arch.spell_key(BStr::new(&key.upstream), self.to);
        self.tell_renamed(key, BStr::new(&spelled), changes);
        metadata.set(spelled, key.value.clone());
    }

    /// Copies a value of the architecture's, in the type that it should have.
    fn write(&self, metadata: &mut Metadata, key: &Key, spec: &MetadataSpec, changes: &mut Vec<Change>) {
        let spelled = self.drafter.arch.spell_key(BStr::new(&spec.key), self.to);
        self.tell_renamed(key, BStr::new(&spelled), changes);
        let value = match retyped(key.value, spec) {
            Some(value) => {
                changes.push(Change {
                    subject: Subject::Key,
                    from: Some(format!("{} of type {}", escape(key.found), key.value.type_name())),
                    to: Some(format!("{} of type {}", escape(&spelled), value.type_name())),
                    why: "llama.cpp takes no other".to_owned(),
                });
                value
            }
            None => key.value.clone(),
        };
        metadata.set(spelled, value);
    }

    /// Works out a key that the input lacks.
    fn derive(
        &self,
        metadata: &mut Metadata,
        spec: &MetadataSpec,
        changes: &mut Vec<Change>,
    ) -> Result<(), MigrateError> {
        let value = match self.drafter.numbers.key(spec) {
            Ok(Some(value)) => value,
            Ok(None) => return Ok(()),
            Err(_) if spec.may_lack => return Ok(()),
            Err(ValueError::Misfit(misfit)) => {
                return Err(MigrateError::KeyValue {
                    path: self.drafter.gguf.path().to_owned(),
                    key: spec.key.clone(),
                    found: misfit.found,
                    expected: misfit.allowed,
                });
            }
            Err(ValueError::Unknown(unknown)) => {
                return Err(MigrateError::MissingKey {
                    path: self.drafter.gguf.path().to_owned(),
                    key: spec.key.clone(),
                    why: unknown.why,
                    has_target: self.has_target,
                });
            }
        };
        let spelled = self.drafter.arch.spell_key(BStr::new(&spec.key), self.to);
        let by_layer = spec.by_layer.as_ref().map(|by_layer| &by_layer.value);
        let names: Vec<&str> = by_layer
            .into_iter()
            .chain(&spec.value)
            .flat_map(|formula| formula.names())
            .collect();
        let why = self.drafter.origin_of(&names).unwrap_or_else(|| names.join(", "));
        let text = format!("{} = {}", escape(&spelled), in_words(&value));
        changes.push(Change::added(Subject::Key, text, format!("from {why}")));
        metadata.set(spelled, value);
        Ok(())
    }

    /// Tells of a key whose own name changes, not merely the architecture in front of it.
    fn tell_renamed(&self, key: &Key, spelled: &BStr, changes: &mut Vec<Change>) {
        let bare = |name: &BStr, architecture: &str| {
            let rest = name.strip_prefix(architecture.as_bytes());
            rest.map_or_else(|| name.to_vec(), <[u8]>::to_vec)
        };
        let arch = self.drafter.arch;
        let (from, to) = (
            architecture(arch, self.drafter.dialect),
            architecture(arch, self.to),
        );
        if bare(key.found, from) != bare(spelled, to) {
            let (from, to) = (escape(key.found), escape(spelled));
            changes.push(Change::renamed(Subject::Key, from, to));
        }
    }

    fn tell_dropped<'k>(&self, keys: impl Iterator<Item = &'k Key<'k>>, changes: &mut Vec<Change>) {
        for key in keys.filter(|key| key.upstream != "general.architecture") {
            let group = self.key_spec(key).and_then(|spec| spec.group.as_ref());
            let why = match group {
                Some(group) => self.group_in_words(group),
                None if key.upstream.starts_with(b"split.") => "the output is one file".to_owned(),
                None => "no key of this dialect".to_owned(),
            };
            changes.push(Change::dropped(Subject::Key, escape(key.found), why));
        }
    }

    /// What a group is, in words.
    pub(super) fn group_in_words(&self, group: &str) -> String {
        let found = self.drafter.arch.group(group);
        format!("part of {}", found.map_or(group, |group| &group.what))
    }
}

/// The value in the type that the architecture asks for, where it has another and loses nothing.
fn retyped(value: &Value, spec: &MetadataSpec) -> Option<Value> {
    let ty = spec.ty?;
    let found = match (ty, Number::from_value(value)?) {
        (ScalarType::Bool, Number::Integer(n @ (0 | 1))) => Number::Bool(n == 1),
        (_, found) => found,
    };
    // Of a wider float the nearest narrower one is what the runtime would read.
    let retyped = ty.value(&found).ok()?;
    (ty.value_type() != value.value_type()).then_some(retyped)
}
