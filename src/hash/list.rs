//! Lists of checksums, line by line, in the form of `sha256sum`: `HEX  NAME`.
//!
//! A name with a line break or a backslash in it is escaped, and the line begins with a backslash, as coreutils do it;
//! so the lines of files can be checked by `sha256sum -c` too.

use super::{Part, Sum};
use crate::text::escape;
use std::path::Path;

const METADATA: &[u8] = b":metadata";
const TENSOR: &[u8] = b":tensor/";

/// A line of a list, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The checksum.
    pub sum: Sum,
    /// What it is of.
    pub name: Vec<u8>,
}

impl Part<'_> {
    /// The name in a list: `FILE`, `FILE:metadata`, `FILE:tensor/NAME`. In the name of a tensor, what a terminal would
    /// obey is escaped.
    pub fn name(&self) -> Vec<u8> {
        let with =
            |path: &Path, suffix: &[&[u8]]| [path.as_os_str().as_encoded_bytes(), &suffix.concat()].concat();
        match self {
            Part::File(path) => with(path, &[]),
            Part::Metadata(path) => with(path, &[METADATA]),
            Part::Tensor(path, name) => with(path, &[TENSOR, escape(name).as_bytes()]),
        }
    }
}

/// The ways in which a name can mean a part of a model: the path of the file, and whether it is a tensor's (its name
/// escaped) or the metadata. A path may hold the marks too.
pub(crate) fn readings(name: &[u8]) -> Vec<(&[u8], Option<&[u8]>)> {
    let mut found = Vec::new();
    if let Some(path) = name.strip_suffix(METADATA) {
        found.push((path, None));
    }
    for at in 0..name.len() {
        if let Some(tensor) = name[at..].strip_prefix(TENSOR) {
            found.push((&name[..at], Some(tensor)));
        }
    }
    found
}

/// A line of a list, its line break included.
pub fn line(sum: &Sum, name: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(name.len());
    for &byte in name {
        match byte {
            b'\n' => escaped.extend(b"\\n"),
            b'\r' => escaped.extend(b"\\r"),
            b'\\' => escaped.extend(b"\\\\"),
            byte => escaped.push(byte),
        }
    }
    let mark: &[u8] = if escaped.len() > name.len() { b"\\" } else { b"" };
    [mark, sum.to_string().as_bytes(), b"  ", &escaped, b"\n"].concat()
}

/// Takes a line apart, given without its line break; `None` where it is none of a list.
pub fn parse_line(line: &[u8]) -> Option<Line> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (is_escaped, line) = match line.strip_prefix(b"\\") {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (hex, rest) = line.split_at_checked(64)?;
    // A space or, for what sha256sum calls binary mode, a star.
    let name = rest.strip_prefix(b"  ").or_else(|| rest.strip_prefix(b" *"))?;
    let name = if is_escaped {
        unescape(name)?
    } else {
        name.to_vec()
    };
    (!name.is_empty()).then_some(Line {
        sum: Sum(parse_hex(hex)?),
        name,
    })
}

fn parse_hex(hex: &[u8]) -> Option<[u8; 32]> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut sum = [0; 32];
    for (byte, [high, low]) in sum.iter_mut().zip(hex.as_chunks().0) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(sum)
}

fn unescape(name: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(&byte) = bytes.next() {
        out.push(match (byte, byte == b'\\') {
            (byte, false) => byte,
            (_, true) => match bytes.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b'\\' => b'\\',
                _ => return None,
            },
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_as_they_were() {
        let sum = Sum(std::array::from_fn(|i| i as u8 * 7));
        for name in [&b"a.gguf"[..], b"a b\\c\nd\r", b"\\n", b" *x"] {
            let text = line(&sum, name);
            let (body, end) = text.split_at(text.len() - 1);
            assert_eq!(end, b"\n");
            assert!(!body.contains(&b'\n'));
            let name = name.to_vec();
            assert_eq!(parse_line(body), Some(Line { sum, name }));
        }
    }

    #[test]
    fn what_sha256sum_writes_is_read() {
        let hex = "00".repeat(32);
        let name = |text: &str| parse_line(text.as_bytes()).map(|line| String::from_utf8(line.name).unwrap());
        assert_eq!(name(&format!("{hex}  a")).as_deref(), Some("a"));
        assert_eq!(name(&format!("{} *a", hex.to_uppercase())).as_deref(), Some("a"));
        assert_eq!(name(&format!("\\{hex}  a\\\\b\\nc")).as_deref(), Some("a\\b\nc"));
        for bad in [
            String::new(),
            hex.clone(),
            format!("{hex}  "),
            format!("{hex} a"),
            format!("{}  a", &hex[1..]),
            format!("{}g  a", &hex[1..]),
            format!("\\{hex}  a\\x"),
            "# a comment".to_owned(),
        ] {
            assert_eq!(name(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_name_can_mean_several_parts() {
        assert_eq!(readings(b"a.gguf"), []);
        assert_eq!(readings(b"a.gguf:metadata"), [(&b"a.gguf"[..], None)]);
        assert_eq!(
            readings(b"a:tensor/b:tensor/c"),
            [(&b"a"[..], Some(&b"b:tensor/c"[..])), (b"a:tensor/b", Some(b"c")),]
        );
    }
}
