//! The parts of a `tokenizer.json` that are used, read without a tree in between: the file has half a million merges.

use crate::gguf::Strings;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

#[derive(Deserialize)]
pub(super) struct File<'a> {
    #[serde(borrow)]
    pub model: Model<'a>,
    #[serde(borrow, default)]
    pub added_tokens: Vec<AddedToken<'a>>,
    #[serde(default)]
    pub post_processor: Option<Value>,
}

#[derive(Deserialize)]
pub(super) struct Model<'a> {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    #[serde(borrow)]
    pub vocab: Vocab<'a>,
    #[serde(default)]
    pub merges: Merges,
    #[serde(default)]
    pub byte_fallback: bool,
}

#[derive(Deserialize)]
pub(super) struct AddedToken<'a> {
    pub id: u32,
    #[serde(borrow)]
    pub content: Cow<'a, str>,
}

/// Text that borrows from the file where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Token text and id, in file order.
pub(super) struct Vocab<'a>(pub Vec<(Cow<'a, str>, u32)>);

impl<'de: 'a, 'a> Deserialize<'de> for Vocab<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Entries<'a> {
            type Value = Vocab<'a>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of token text to id")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocab<'a>, A::Error> {
                let mut entries = Vec::new();
                while let Some((Text(text), id)) = map.next_entry::<Text, u32>()? {
                    entries.push((text, id));
                }
                Ok(Vocab(entries))
            }
        }
        deserializer.deserialize_map(Entries(std::marker::PhantomData))
    }
}

/// Merges as `left right`. The file has them so, or as pairs; a space within a part is then written as U+0120, as
/// llama.cpp's converter does.
#[derive(Default)]
pub(super) struct Merges(pub Strings);

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Merges, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Merges;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of merges")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Merges, A::Error> {
                let mut merges = Strings::default();
                while seq.next_element_seed(AppendMerge(&mut merges))?.is_some() {}
                Ok(Merges(merges))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// Reads one merge onto the end of a list.
struct AppendMerge<'s>(&'s mut Strings);

impl<'de> DeserializeSeed<'de> for AppendMerge<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AppendMerge<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a merge: \"left right\" or [\"left\", \"right\"]")
    }

    fn visit_str<E: Error>(self, merge: &str) -> Result<(), E> {
        // llama.cpp parts it at the first blank behind its first byte.
        match merge.bytes().skip(1).any(|byte| byte == b' ') {
            true => self.0.push(merge.as_bytes()),
            false => return Err(E::invalid_value(serde::de::Unexpected::Str(merge), &self)),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut part = || seq.next_element::<Text>();
        let (Some(Text(left)), Some(Text(right)), None) = (part()?, part()?, part()?) else {
            return Err(A::Error::custom("a merge has two parts"));
        };
        let encode = |part: Cow<'de, str>| match part.contains(' ') {
            true => Cow::Owned(part.replace(' ', "\u{120}")),
            false => part,
        };
        self.0
            .push_parts(&[encode(left).as_bytes(), b" ", encode(right).as_bytes()]);
        Ok(())
    }
}
