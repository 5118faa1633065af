//! Types that a user gives tensors by name.
//!
//! A pattern is a glob, or a regular expression as `llama-quantize --tensor-type` takes: in lower case, found anywhere in
//! a name (`tools/quantize/quantize.cpp` and `src/llama-quant.cpp` of llama.cpp b11434). `attn_q` is a sensible
//! expression and a glob that fits no tensor, `blk.1.*` a sensible glob and an expression that finds layer 10 too. So a
//! pattern that fits some name as a whole is a glob, and an expression otherwise.

use crate::quant::GgmlType;
use crate::text::Glob;
use bstr::BStr;
use fancy_regex::Regex;

/// A type for the tensors whose name fits a pattern.
#[derive(Debug, Clone)]
pub struct Override {
    /// The pattern.
    pub pattern: NamePattern,
    /// The type.
    pub ty: GgmlType,
}

/// A glob, or a regular expression.
#[derive(Debug, Clone)]
pub struct NamePattern {
    glob: Glob,
    /// `None` where the text is no expression.
    regex: Option<Regex>,
}

impl NamePattern {
    /// The pattern in this text; every text is one.
    pub fn new(text: &str) -> NamePattern {
        NamePattern {
            glob: Glob::new(text),
            regex: Regex::new(&text.to_ascii_lowercase()).ok(),
        }
    }

    /// The pattern as it was given.
    pub fn as_str(&self) -> &str {
        self.glob.as_str()
    }

    /// How the pattern is meant in a file with tensors of these names.
    pub fn among<'a>(&'a self, names: impl IntoIterator<Item = &'a str>) -> Reading<'a> {
        let is_glob = names.into_iter().any(|name| self.glob.matches(BStr::new(name)));
        match &self.regex {
            Some(regex) if !is_glob => Reading::Regex(regex),
            _ => Reading::Glob(&self.glob),
        }
    }

    /// Whether `llama-quantize` finds the pattern in this name.
    pub fn is_found_in(&self, name: &str) -> bool {
        self.regex.as_ref().is_some_and(|regex| finds(regex, name))
    }
}

/// What a pattern means.
#[derive(Debug, Clone, Copy)]
pub enum Reading<'a> {
    /// It must fit a name as a whole.
    Glob(&'a Glob),
    /// It may stand anywhere in a name.
    Regex(&'a Regex),
}

impl Reading<'_> {
    /// Whether it fits this name.
    pub fn matches(self, name: &str) -> bool {
        match self {
            Reading::Glob(glob) => glob.matches(BStr::new(name)),
            Reading::Regex(regex) => finds(regex, name),
        }
    }
}

/// An expression that takes too many steps for a name does not fit it.
fn finds(regex: &Regex, name: &str) -> bool {
    regex.is_match(name).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_fits_no_name_as_a_glob_is_an_expression() {
        let names = [
            "token_embd.weight",
            "blk.1.attn_q.weight",
            "blk.10.attn_q.weight",
            "blk.10.attn_k.weight",
        ];
        let fitting = |text: &str| {
            let pattern = NamePattern::new(text);
            let reading = pattern.among(names);
            let fits = names.iter().map(|name| u8::from(reading.matches(name)));
            fits.collect::<Vec<_>>()
        };
        assert_eq!(fitting("blk.1.*"), [0, 1, 0, 0]);
        assert_eq!(fitting(r"blk\.1\."), [0, 1, 0, 0]);
        assert_eq!(fitting("attn_q"), [0, 1, 1, 0]);
        assert_eq!(fitting("ATTN_(k|v)"), [0, 0, 0, 1]);
        assert_eq!(fitting(r"blk\.(?!1\.)[0-9]+\.attn_q"), [0, 0, 1, 0]);
        assert_eq!(fitting("*embd*"), [1, 0, 0, 0]);
        assert_eq!(fitting("*nothing*"), [0, 0, 0, 0]);
        assert_eq!(fitting("nothing"), [0, 0, 0, 0]);
        assert!(NamePattern::new("blk.1.*").is_found_in("blk.10.attn_q.weight"));
    }
}
