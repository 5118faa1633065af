//! Text made to fit: measured in the cells of a terminal, cut where it is too long.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Most cells of a name from a file, or of a path, in a line for people.
const NAME: usize = 240;

/// Most cells of a line that quotes what may be of any length.
const LINE: usize = 2000;

/// Most lengths shown of a shape. GGUF allows 4; a checkpoint may claim any number.
const DIMS: usize = 8;

/// Cells that the text takes on a terminal.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text in at most `cells`, cut at its end, `…` in the place of what is left out.
pub fn cut(text: &str, cells: usize) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    format!("{}…", head(text, cells.saturating_sub(1)))
}

/// The text in at most `cells`, cut in its middle: what stands at the end of a path or message counts too.
pub fn cut_middle(text: &str, cells: usize) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    let kept = cells.saturating_sub(1);
    let end = tail(text, kept / 3);
    format!("{}…{end}", head(text, kept - kept / 3))
}

/// A name from outside, escaped and of a sensible length.
pub fn name(bytes: &[u8]) -> String {
    cut_middle(&super::escape(bytes), NAME)
}

/// A message as one line, escaped and of a sensible length whatever it quotes.
pub fn line(message: &str) -> String {
    cut_middle(&super::escape(message.as_bytes()), LINE)
}

/// Lengths as `64 × 1024`, innermost first as everywhere.
pub fn dims(dims: &[u64]) -> String {
    let shown: Vec<String> = dims.iter().take(DIMS).map(u64::to_string).collect();
    let shown = shown.join(" × ");
    match dims.len() {
        0..=DIMS => shown,
        all => format!("{shown} × … ({all} in all)"),
    }
}

/// What of the beginning fits into `cells`.
fn head(text: &str, cells: usize) -> &str {
    text.get(..fitting(text.char_indices().map(|(at, c)| (at + c.len_utf8(), c)), cells).unwrap_or(0))
        .unwrap_or_default()
}

/// What of the end fits into `cells`.
fn tail(text: &str, cells: usize) -> &str {
    text.get(fitting(text.char_indices().rev(), cells).unwrap_or(text.len())..)
        .unwrap_or_default()
}

/// The place that belongs to the last character within `cells`.
fn fitting(chars: impl Iterator<Item = (usize, char)>, cells: usize) -> Option<usize> {
    let mut used = 0;
    let fits = |&(_, c): &(usize, char)| {
        used += c.width().unwrap_or(0);
        used <= cells
    };
    chars.take_while(fits).last().map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_by_cells_not_by_bytes() {
        assert_eq!(cut("日本語", 6), "日本語");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("é", 0), "…");
        assert_eq!(cut_middle("abcdefghij", 10), "abcdefghij");
        assert_eq!(cut_middle("abcdefghij", 7), "abcd…ij");
        assert_eq!(cut_middle("日本語日本語", 7), "日本…語");
    }

    #[test]
    fn names_are_escaped_and_bounded() {
        assert_eq!(name(b"a\nb"), "a\\nb");
        assert!(width(&name(&[7; 20_000])) <= NAME);
    }

    #[test]
    fn shapes_are_bounded() {
        assert_eq!(dims(&[64, 1024]), "64 × 1024");
        assert_eq!(dims(&[]), "");
        assert_eq!(
            dims(&[1; 100_000]),
            "1 × 1 × 1 × 1 × 1 × 1 × 1 × 1 × … (100000 in all)"
        );
    }
}
