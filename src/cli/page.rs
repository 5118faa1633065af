//! Text for standard output.

use super::style;
use crate::text::{self, cut, cut_middle, escape, width};
use std::fmt::Display;
use std::io::{self, IsTerminal, Write, stdout};

/// Widest column that the ones behind it are moved right for; a longer cell moves only its own line.
const WIDEST: usize = 80;

/// What is left of a column where rows are cut to a terminal, if need be: in front of the last cell, and of that.
const NARROWEST: usize = 12;
const LAST: usize = 24;

/// In front of what continues a line.
const INDENT: &str = "  ";

/// Lines for standard output. Whatever they quote, nothing ends a line early or drives the terminal: every line is
/// escaped and cut as it is added, and there is no other way to print.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    /// Cells of the terminal, where rows are cut to it.
    cells: Option<usize>,
}

impl Page {
    /// An empty page whose rows are cut to the width of the terminal, if it is shown on one.
    pub(super) fn new() -> Page {
        let size = || terminal_size::terminal_size_of(stdout());
        let cells = stdout().is_terminal().then(size).flatten();
        Page {
            text: String::new(),
            cells: cells.map(|(terminal_size::Width(cells), _)| cells.into()),
        }
    }

    /// An empty page whose rows are shown whole.
    pub(super) fn whole() -> Page {
        Page::default()
    }

    /// A line alone.
    pub(super) fn of_line(line: impl Display) -> Page {
        let mut page = Page::new();
        page.line(line);
        page
    }

    /// Adds a line, between words broken where a terminal ends.
    pub(super) fn line(&mut self, line: impl Display) {
        let line = text::line(&line.to_string());
        let Some(cells) = self.cells else {
            return self.push(&style::line(&line));
        };
        // A path stays whole, to be copied.
        let options = textwrap::Options::new(cells)
            .subsequent_indent(INDENT)
            .break_words(false)
            .word_splitter(textwrap::WordSplitter::NoHyphenation);
        for (i, line) in textwrap::wrap(&line, options).iter().enumerate() {
            match i {
                0 => self.push(&style::line(line)),
                _ => self.push(line),
            }
        }
    }

    /// Adds what stands above rows, or above lines of the same kind.
    pub(super) fn heading(&mut self, title: impl Display) {
        self.push(&style::heading(&text::line(&title.to_string())));
    }

    fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Adds rows in columns, each as wide as its widest cell; the last cell of a row is not padded.
    pub(super) fn rows(&mut self, rows: &[Vec<String>]) {
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(|cell| escape(cell.as_bytes())).collect())
            .collect();
        let padded = |row: &Vec<String>| row.len().saturating_sub(1);
        let column = |column: usize| {
            let cells = rows
                .iter()
                .filter(|row| column < padded(row))
                .map(|row| width(&row[column]));
            cells.filter(|&cells| cells <= WIDEST).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..rows.iter().map(padded).max().unwrap_or(0))
            .map(column)
            .collect();
        if let Some(cells) = self.cells {
            let last = rows
                .iter()
                .filter_map(|row| row.last())
                .map(|cell| width(cell))
                .max();
            narrow(&mut widths, cells.saturating_sub(last.unwrap_or(0).min(LAST)));
        }
        for row in &rows {
            let mut line = String::from(" ");
            for (at, cell) in row.iter().enumerate() {
                let room = (at < padded(row)).then(|| widths[at]);
                line.push(' ');
                match room.filter(|_| self.cells.is_some()) {
                    Some(room) => line.push_str(&cut_middle(cell, room)),
                    None => line.push_str(cell),
                }
                let padding = room.map_or(0, |room| room.saturating_sub(width(cell)));
                line.extend(std::iter::repeat_n(' ', padding + 1));
            }
            let line = line.trim_end();
            self.push(&match self.cells {
                Some(cells) => style::line(&cut(line, cells)),
                None => style::line(line),
            });
        }
    }

    /// Adds rows under a title, or nothing where there are none.
    pub(super) fn section(&mut self, title: impl Display, rows: &[Vec<String>]) {
        if !rows.is_empty() {
            self.heading(title);
            self.rows(rows);
        }
    }

    /// Writes the whole text, colours and all.
    pub(super) fn write(&self, mut out: impl Write) -> io::Result<()> {
        out.write_all(self.text.as_bytes())?;
        out.flush()
    }

    #[cfg(test)]
    fn text(&self) -> String {
        anstream::adapter::strip_str(&self.text).to_string()
    }
}

/// Makes the widest columns narrower until they fit into `cells` with the spaces between them, or are as narrow as they may
/// be.
fn narrow(widths: &mut [usize], cells: usize) {
    const BETWEEN: usize = 2;
    let mut over =
        (widths.iter().map(|width| width + BETWEEN).sum::<usize>() + BETWEEN).saturating_sub(cells);
    while over > 0
        && let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > NARROWEST)
    {
        *widest -= 1;
        over -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells<const N: usize>(cells: [&str; N]) -> Vec<String> {
        cells.map(str::to_owned).to_vec()
    }

    #[test]
    fn columns_are_measured_in_cells() {
        let mut page = Page::whole();
        page.rows(&[cells(["日本", "a"]), cells(["x", "b", "c"])]);
        assert_eq!(page.text(), "  日本  a\n  x     b  c\n");
    }

    #[test]
    fn a_cell_of_any_length_moves_only_its_own_line() {
        let mut page = Page::whole();
        page.rows(&[cells([&"k".repeat(70_000), "a"]), cells(["key", "b"])]);
        assert!(page.text().ends_with("\n  key  b\n"));
    }

    #[test]
    fn rows_are_cut_to_the_terminal() {
        let mut page = Page::whole();
        page.cells = Some(10);
        page.rows(&[cells(["key", "a long value"])]);
        assert_eq!(page.text(), "  key  a …\n");
    }

    #[test]
    fn sentences_are_broken_between_words_and_lose_nothing() {
        let mut page = Page::whole();
        page.cells = Some(20);
        page.line("error: a sentence about a/path/that/is/longer.gguf, and more");
        assert_eq!(
            page.text(),
            "error: a sentence\n  about\n  a/path/that/is/longer.gguf,\n  and more\n"
        );
        assert!(page.text.starts_with("\u{1b}[1m\u{1b}[31merror"));
    }

    #[test]
    fn columns_are_narrowed_to_the_terminal_the_widest_first() {
        let mut page = Page::whole();
        page.cells = Some(40);
        let name = "blk.0.a_tensor_with_a_long_name.weight";
        page.rows(&[cells([name, "Q8_0", "日本"]), cells(["x", "BF16", "a"])]);
        let text = page.text();
        assert_eq!(text.lines().map(width).collect::<Vec<_>>(), [40, 37]);
        assert!(
            text.starts_with("  blk.0.a_tensor_wi…e.weight  Q8_0  日本\n"),
            "{text}"
        );
    }

    #[test]
    fn headings_and_severities_are_painted() {
        let mut page = Page::whole();
        page.section("findings", &[cells(["error", "a"])]);
        assert_eq!(
            page.text,
            "\u{1b}[1mfindings\u{1b}[0m\n  \u{1b}[1m\u{1b}[31merror\u{1b}[0m  a\n"
        );
    }

    #[test]
    fn no_line_holds_what_a_terminal_obeys() {
        let mut page = Page::whole();
        page.line("wrote a\nb\u{1b}[2J.gguf");
        page.rows(&[cells(["a\nb", "\u{202e}x"])]);
        assert_eq!(page.text(), "wrote a\\nb\\u{1b}[2J.gguf\n  a\\nb  \\u{202e}x\n");
    }
}
