//! A drafter's GGUF in whatever dialect, seen in upstream's words: its keys and tensors by upstream's names, and its
//! numbers.

use super::resolve::Derivation;
use super::{Facts, Fault, Resolution, Target, resolve};
use crate::arch::{Arch, Dialect, Number, Numbers, Pattern};
use crate::gguf::{Array, Gguf, KeyError, Part, TensorInfo, Value};
use crate::io::kind::FileKind;
use crate::text::escape;
use bstr::{BStr, BString, ByteSlice};
use std::collections::{HashMap, HashSet};

/// A GGUF that is a drafter, by its architecture.
#[derive(Debug)]
pub(crate) struct DrafterGguf<'a> {
    pub gguf: &'a Gguf,
    pub arch: &'a Arch,
    /// `None` for upstream's own spelling.
    pub dialect: Option<&'a Dialect>,
    /// In the order of the file.
    pub keys: Vec<Key<'a>>,
    /// In the order of the file.
    pub tensors: Vec<TensorEntry<'a>>,
    /// What is known of the drafter from its keys, the shapes of its tensors, and the target.
    pub numbers: Numbers,
    /// The numbers that no key states.
    pub derived: Vec<Derivation>,
    /// What is stated wrongly, and what is not known.
    pub faults: Vec<Fault>,
    target: Option<Target<'a>>,
    key_index: HashMap<BString, usize>,
    tensor_index: HashMap<BString, usize>,
}

/// A metadata key.
#[derive(Debug, Clone)]
pub(crate) struct Key<'a> {
    /// As the file spells it.
    pub found: &'a BStr,
    /// As upstream spells it.
    pub upstream: BString,
    pub value: &'a Value,
}

/// A tensor.
#[derive(Debug, Clone)]
pub(crate) struct TensorEntry<'a> {
    /// As upstream names it.
    pub upstream: BString,
    pub info: &'a TensorInfo,
    /// The file that holds it.
    pub part: &'a Part,
}

/// Whose architecture a file has.
#[derive(Debug)]
pub(crate) enum Kind<'a> {
    /// A drafter's, in upstream's spelling or in a dialect.
    Drafter(Option<&'a Dialect>),
    /// A target's.
    Target,
    /// None of the two.
    Other(FileKind),
}

/// What a file is to drafters of this architecture.
pub(crate) fn kind_of<'a>(gguf: &Gguf, arch: &'a Arch) -> Result<Kind<'a>, KeyError> {
    let kind = gguf.kind();
    let stated = gguf.metadata().string("general.architecture");
    let found = match &kind {
        FileKind::Model(_) | FileKind::OllamaModel(_) | FileKind::OtherDrafter(_) => stated?,
        // No kind at all: the architecture is missing or no text.
        FileKind::Gguf => return stated.map(|_| Kind::Other(kind)),
        _ => return Ok(Kind::Other(kind)),
    };
    if found == arch.target.as_str() {
        return Ok(Kind::Target);
    }
    if found == arch.architecture.as_str() {
        return Ok(Kind::Drafter(None));
    }
    let dialect = arch
        .dialects
        .iter()
        .find(|dialect| found == dialect.architecture.as_str());
    Ok(dialect.map_or(Kind::Other(kind), |dialect| Kind::Drafter(Some(dialect))))
}

impl<'a> DrafterGguf<'a> {
    /// Reads a file of which [`kind_of`] said that it is a drafter of this dialect.
    pub(crate) fn read(
        gguf: &'a Gguf,
        arch: &'a Arch,
        dialect: Option<&'a Dialect>,
        target: Option<Target<'a>>,
    ) -> DrafterGguf<'a> {
        let key = |(found, value)| Key {
            found,
            upstream: arch.upstream_key(found),
            value,
        };
        let of_part = |part: &'a Part| {
            part.header.tensors.iter().map(move |info| TensorEntry {
                upstream: arch.upstream_tensor(BStr::new(&info.name)),
                info,
                part,
            })
        };
        let keys: Vec<Key> = gguf.metadata().iter().map(key).collect();
        let tensors: Vec<TensorEntry> = gguf.parts().iter().flat_map(of_part).collect();
        let drafter = DrafterGguf {
            gguf,
            arch,
            dialect,
            key_index: first_of_each(keys.iter().map(|key| &key.upstream)),
            tensor_index: first_of_each(tensors.iter().map(|tensor| &tensor.upstream)),
            keys,
            tensors,
            numbers: Numbers::default(),
            derived: Vec::new(),
            faults: Vec::new(),
            target,
        };
        let Resolution {
            numbers,
            derived,
            faults,
        } = resolve(&drafter);
        DrafterGguf {
            numbers,
            derived,
            faults,
            ..drafter
        }
    }

    /// A key by upstream's name.
    pub(crate) fn key(&self, upstream: impl AsRef<[u8]>) -> Option<&Key<'a>> {
        let at = self.key_index.get(BStr::new(upstream.as_ref()))?;
        self.keys.get(*at)
    }

    /// A tensor by upstream's name.
    pub(crate) fn tensor(&self, upstream: &str) -> Option<&TensorEntry<'a>> {
        let at = self.tensor_index.get(BStr::new(upstream))?;
        self.tensors.get(*at)
    }

    /// Names of the groups of tensors of which it holds something.
    pub(crate) fn groups(&self) -> HashSet<&'a str> {
        let group = |entry: &TensorEntry| {
            let spec = self.arch.tensor_spec(entry.upstream.to_str().ok()?)?;
            spec.group.as_deref()
        };
        self.tensors.iter().filter_map(group).collect()
    }

    /// What a formula's numbers were derived from, in words: the formula itself where keys state them.
    pub(crate) fn origin_of(&self, names: &[&str]) -> Option<String> {
        let derived = |name: &&str| {
            let is_it = |d: &&Derivation| d.name == *name || d.name.split('.').next() == Some(name);
            self.derived.iter().find(is_it).map(|d| d.from.to_string())
        };
        names.iter().find_map(derived)
    }
}

impl<'a> Facts<'a> for DrafterGguf<'a> {
    fn arch(&self) -> &'a Arch {
        self.arch
    }

    fn key(&self, upstream: &str) -> Option<(String, &Value)> {
        let key = DrafterGguf::key(self, upstream)?;
        Some((escape(key.found), key.value))
    }

    fn shape(&self, hf_name: &str) -> Option<Vec<u64>> {
        let mut specs = self.arch.tensors.iter();
        let name = specs.find_map(|spec| Some(spec.gguf_name(spec.matches_source(hf_name)?)))?;
        Some(self.tensor(&name)?.info.dims.iter().rev().copied().collect())
    }

    fn count(&self, hf_name: &Pattern) -> usize {
        let spec = self.arch.source_spec(hf_name);
        let is_one = |entry: &&TensorEntry| {
            let name = entry.upstream.to_str().ok();
            name.zip(spec)
                .is_some_and(|(name, spec)| spec.gguf.matches(name).is_some())
        };
        self.tensors.iter().filter(is_one).count()
    }

    fn target(&self) -> Option<Target<'a>> {
        self.target
    }

    fn may_assume(&self) -> bool {
        true
    }
}

/// Where each name stands first.
fn first_of_each<'n>(names: impl Iterator<Item = &'n BString>) -> HashMap<BString, usize> {
    let mut index = HashMap::new();
    for (at, name) in names.enumerate() {
        index.entry(name.clone()).or_insert(at);
    }
    index
}

/// Most elements of a list that [`in_words`] shows.
const SHOWN: usize = 8;

/// A number or a list of them in a line; a long list is cut.
pub(crate) fn in_words(value: &Value) -> String {
    match value {
        Value::Array(Array::Array(_)) => value.type_name(),
        Value::Array(array) => {
            let items = (0..array.len().min(SHOWN)).filter_map(|i| array.get(i));
            let mut items: Vec<String> = items.map(|item| in_words(&item)).collect();
            if array.len() > SHOWN {
                items.push("…".to_owned());
            }
            format!("[{}]", items.join(", "))
        }
        Value::String(_) => value.type_name(),
        value => Number::from_value(value).map_or_else(|| value.type_name(), |number| number.to_string()),
    }
}
