//! Strings from files, made fit to be shown.

/// Bytes as they can be shown in a message or on a terminal: valid UTF-8 as it is, the rest escaped. Control characters,
/// and those that change how what follows is shown, are escaped too, so that a file cannot drive the terminal.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_hidden(c) {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// Whether a character is one that a terminal does not show but obeys: control characters, direction marks, zero-width
/// characters, line separators, annotations and tags.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_drive_a_terminal_is_escaped() {
        assert_eq!(escape("▁the 日本".as_bytes()), "▁the 日本");
        assert_eq!(escape(b"\x1b[2J\n\x07"), "\\u{1b}[2J\\n\\u{7}");
        assert_eq!(
            escape("\u{202e}gnp.\u{9b}31m".as_bytes()),
            "\\u{202e}gnp.\\u{9b}31m"
        );
        assert_eq!(escape(b"a\xff\xc3"), "a\\xff\\xc3");
    }
}
