//! Patterns for names: `*` stands for any run of characters, `?` for one.

use bstr::BStr;
use std::convert::Infallible;
use std::str::FromStr;

/// A pattern for names.
#[derive(Debug, Clone)]
pub struct Glob(String);

impl Glob {
    /// The pattern in this text; every text is one.
    pub fn new(text: impl Into<String>) -> Glob {
        Glob(text.into())
    }

    /// The pattern as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole name fits the pattern.
    pub fn matches(&self, name: &BStr) -> bool {
        let (pattern, name): (&[u8], &[u8]) = (self.0.as_bytes(), name);
        let (mut p, mut n) = (0, 0);
        // Where to go on from if what follows the last star does not fit: behind the star, with one more byte in it.
        let mut retry = None;
        while n < name.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    p += 1;
                    retry = Some((p, n));
                }
                Some(b'?') => {
                    p += 1;
                    n += char_len(&name[n..]);
                }
                Some(byte) if *byte == name[n] => {
                    p += 1;
                    n += 1;
                }
                _ => match retry {
                    Some((behind_star, start)) => {
                        p = behind_star;
                        n = start + 1;
                        retry = Some((p, n));
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|byte| *byte == b'*')
    }
}

/// Bytes of the first character; one where it is no UTF-8.
fn char_len(bytes: &[u8]) -> usize {
    let is_continuation = |byte: &&u8| **byte & 0xc0 == 0x80;
    1 + bytes.iter().skip(1).take(3).take_while(is_continuation).count()
}

impl FromStr for Glob {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Glob, Infallible> {
        Ok(Glob::new(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_as_in_a_shell() {
        let matches = |pattern: &str, name: &str| Glob::new(pattern).matches(BStr::new(name));
        assert!(matches("blk.*.attn_q.weight", "blk.12.attn_q.weight"));
        assert!(!matches("blk.*.attn_q.weight", "blk.12.attn_q_norm.weight"));
        assert!(matches("blk.?.ffn_*", "blk.3.ffn_gate.weight"));
        assert!(!matches("blk.?.ffn_*", "blk.13.ffn_gate.weight"));
        assert!(matches("*", ""));
        assert!(matches("*aab*", "aaaaab"));
        assert!(matches("▁?", "▁é"));
        assert!(!matches("", "a"));
        assert!(!matches("a", ""));
        assert!(matches("a**", "a"));
    }

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("blk.*.ffn_down.weight", "blk.12.ffn_down.weight", true),
            ("blk.?.ffn_down.weight", "blk.12.ffn_down.weight", false),
            ("*ffn*", "blk.0.ffn_up.weight", true),
            ("ffn", "blk.0.ffn_up.weight", false),
            ("*.a*b", "x.aab.ab", true),
            ("", "", true),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(
                Glob::new(pattern).matches(BStr::new(name)),
                expected,
                "{pattern} {name}"
            );
        }
    }
}
