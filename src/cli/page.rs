//! Text for standard output.

use crate::text::{self, cut, escape, width};
use std::fmt::Display;
use std::io::{IsTerminal, stdout};

/// Widest column that the ones behind it are moved right for; a longer cell moves only its own line.
const WIDEST: usize = 80;

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

    /// Adds a line.
    pub(super) fn line(&mut self, line: impl Display) {
        self.text.push_str(&text::line(&line.to_string()));
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
        let widths: Vec<usize> = (0..rows.iter().map(padded).max().unwrap_or(0))
            .map(column)
            .collect();
        for row in &rows {
            let mut line = String::from(" ");
            for (at, cell) in row.iter().enumerate() {
                let padding = if at < padded(row) {
                    widths[at].saturating_sub(width(cell))
                } else {
                    0
                };
                line.push(' ');
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', padding + 1));
            }
            let line = line.trim_end();
            match self.cells {
                Some(cells) => self.text.push_str(&cut(line, cells)),
                None => self.text.push_str(line),
            }
            self.text.push('\n');
        }
    }

    /// Adds rows under a title, or nothing where there are none.
    pub(super) fn section(&mut self, title: impl Display, rows: &[Vec<String>]) {
        if !rows.is_empty() {
            self.line(title);
            self.rows(rows);
        }
    }

    /// The whole text.
    pub(super) fn text(&self) -> &str {
        &self.text
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
    fn no_line_holds_what_a_terminal_obeys() {
        let mut page = Page::whole();
        page.line("wrote a\nb\u{1b}[2J.gguf");
        page.rows(&[cells(["a\nb", "\u{202e}x"])]);
        assert_eq!(page.text(), "wrote a\\nb\\u{1b}[2J.gguf\n  a\\nb  \\u{202e}x\n");
    }
}
