//! Which layers have a sliding window.

use super::Facts;
use super::resolve::{Derivation, Fault, Provenance, Resolver};
use crate::arch::{IS_SLIDING, LayerKind, LayerTypes, Number};
use serde_json::Value as Json;

impl<'a, F: Facts<'a>> Resolver<'_, 'a, F> {
    /// The kind of each layer, where a key lists it.
    pub(super) fn read_kinds(&mut self) {
        let arch = self.arch;
        for spec in &arch.metadata {
            let by_layer = spec.by_layer.as_ref();
            if by_layer.and_then(|by_layer| by_layer.value.as_name()) != Some(IS_SLIDING) {
                continue;
            }
            let value = self
                .facts
                .key(&spec.key)
                .and_then(|(_, value)| Number::from_value(value));
            let Some(Number::List(items)) = value else {
                continue;
            };
            let kind = |item: &Number| match item {
                Number::Bool(true) => Some(LayerKind::Sliding),
                Number::Bool(false) => Some(LayerKind::Full),
                _ => None,
            };
            let kinds = items.iter().map(kind).collect::<Option<Vec<_>>>();
            self.found.numbers.layers = kinds.unwrap_or_default();
        }
    }

    /// The kind of each layer: as the config lists them, else by the length of the heads, which the drafter's numbers
    /// tell for each kind, or the target's.
    pub(super) fn find_kinds(&mut self) {
        let Some(count) = self.found.numbers.count("layers") else {
            return;
        };
        let all = |kind| vec![kind; count];
        let Some(types) = &self.arch.layer_types else {
            self.found.numbers.set_layers(all(LayerKind::Full));
            return;
        };
        let sliding_when = types.sliding_when.as_ref();
        if sliding_when.is_some_and(|name| self.found.numbers.is_set(name)) {
            self.found.numbers.set_layers(all(LayerKind::Sliding));
            return;
        }
        if self.is_stated_wrong {
            return;
        }
        let stated = self.facts.config().and_then(|json| json.pointer(&types.config));
        if let Some(list) = stated.filter(|list| !list.is_null()) {
            let kind = |word: &Json| match word.as_str() {
                Some(word) if word == types.sliding => Some(LayerKind::Sliding),
                Some(word) if word == types.full => Some(LayerKind::Full),
                _ => None,
            };
            let kinds: Option<Vec<_>> = list.as_array().and_then(|list| list.iter().map(kind).collect());
            match kinds {
                Some(mut kinds) if kinds.len() == count => match kinds.last_mut() {
                    Some(last) if types.full_last && *last != LayerKind::Full => {
                        *last = LayerKind::Full;
                        let from = "transformers, which makes the last layer full whatever is listed";
                        self.set_kinds(kinds, Provenance::Library(from.to_owned()));
                    }
                    _ => self.found.numbers.set_layers(kinds),
                },
                _ => {
                    self.is_stated_wrong = true;
                    self.found.faults.push(Fault::Value {
                        from: Provenance::Config(types.config.clone()),
                        found: list.to_string(),
                        allowed: format!("a list of {count} of {:?} and {:?}", types.sliding, types.full),
                    });
                }
            }
            return;
        }
        if let Some(kind) = types.otherwise {
            self.found.numbers.set_layers(all(kind));
            return;
        }
        let every = types.full_every.filter(|_| self.facts.config().is_some());
        match (self.kinds_by_length(types, count), every) {
            (Ok((kinds, from)), _) => self.set_kinds(kinds, from),
            (Err(_), Some(every)) => {
                let kind = |layer: usize| match layer.is_multiple_of(every.get())
                    || (types.full_last && layer == count)
                {
                    true => LayerKind::Full,
                    false => LayerKind::Sliding,
                };
                let also = if types.full_last { ", and the last" } else { "" };
                let from = format!("transformers, as config.json lists none: each {every}th is full{also}");
                self.set_kinds((1..=count).map(kind).collect(), Provenance::Library(from));
            }
            (Err(why), None) => self.undecided = Some(why),
        }
    }

    fn set_kinds(&mut self, kinds: Vec<LayerKind>, from: Provenance) {
        let words: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        self.found.derived.push(Derivation {
            name: IS_SLIDING.to_owned(),
            value: words.join(", "),
            from,
        });
        self.found.numbers.set_layers(kinds);
    }

    fn kinds_by_length(
        &self,
        types: &LayerTypes,
        count: usize,
    ) -> Result<(Vec<LayerKind>, Provenance), String> {
        let Some(heads) = &types.by_heads else {
            return Err(format!("{} does not tell", types.config));
        };
        let own = |kind: LayerKind| self.found.numbers.get(&format!("head_dim.{}", kind.name()), None);
        let target = |key: &str| self.facts.target()?.number(key, None).ok()?;
        let sliding = own(LayerKind::Sliding).or_else(|| target(&heads.target_sliding));
        let full = own(LayerKind::Full).or_else(|| target(&heads.target_full));
        let (Some(sliding), Some(full)) = (sliding, full) else {
            return Err(match self.facts.target() {
                None => format!("{} does not tell, and there is no --target", types.config),
                Some(_) => "the target does not give the lengths of their heads".to_owned(),
            });
        };
        if sliding == full {
            return Err("sliding and full layers have heads of the same length".to_owned());
        }
        let kind = |layer| {
            let name = heads.head_dim_of.name(layer);
            let length = self.facts.shape(&name).and_then(|shape| shape.first().copied());
            match length.map(Number::from) {
                None => Err(format!("tensor {name} is missing")),
                Some(length) if length == sliding => Ok(LayerKind::Sliding),
                Some(length) if length == full => Ok(LayerKind::Full),
                Some(length) => Err(format!(
                    "{name} is {length} long; heads of sliding layers are {sliding} long, of full ones {full}"
                )),
            }
        };
        let kinds = (0..count).map(kind).collect::<Result<_, _>>()?;
        Ok((kinds, Provenance::Shape(heads.head_dim_of.to_string())))
    }
}
