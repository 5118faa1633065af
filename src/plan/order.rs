//! The order of a tensor's rows where it is another in the output than in its source.

use serde::Deserialize;

/// What becomes of the rows of each attention head. Rotary embedding turns pairs of rows; programs differ in where the
/// two of a pair lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The two of a pair lie half a head apart, and come to lie side by side.
    Interleave,
    /// The two of a pair lie side by side, and come to lie half a head apart.
    Split,
}

/// An order of rows, one head at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    order: Order,
    count: usize,
    per_head: usize,
}

impl Rows {
    /// The order of `count` rows, the length of the outermost axis, of so many heads; `None` where heads do not divide
    /// them into an even number each.
    pub fn new(order: Order, count: usize, heads: usize) -> Option<Rows> {
        let per_head = count.checked_div(heads)?;
        let is_whole = per_head > 0 && per_head.is_multiple_of(2) && count.is_multiple_of(heads);
        is_whole.then_some(Rows {
            order,
            count,
            per_head,
        })
    }

    /// Which row of the source becomes this row of the output.
    fn source(&self, row: usize) -> usize {
        let (head, at, half) = (row / self.per_head, row % self.per_head, self.per_head / 2);
        let at = match self.order {
            Order::Interleave => at % 2 * half + at / 2,
            Order::Split => at % half * 2 + at / half,
        };
        head * self.per_head + at
    }

    /// Appends a run of the output's bytes, of which `data` holds all in the order of the source; `None` where the run is
    /// not within them.
    pub(super) fn gather(&self, data: &[u8], from: usize, len: usize, bytes: &mut Vec<u8>) -> Option<()> {
        let row_bytes = data.len() / self.count;
        let (mut at, end) = (from, from.checked_add(len)?);
        while at < end {
            let (row, within) = (at.checked_div(row_bytes)?, at % row_bytes);
            let run = (row_bytes - within).min(end - at);
            let start = self.source(row) * row_bytes + within;
            bytes.extend_from_slice(data.get(start..start + run)?);
            at += run;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(rows: Rows, data: &[u8], from: usize, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        rows.gather(data, from, len, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn each_order_undoes_the_other() {
        let data: Vec<u8> = (0..36).collect();
        // Two heads of six rows of three bytes.
        let interleave = Rows::new(Order::Interleave, 12, 2).unwrap();
        let there = gathered(interleave, &data, 0, 36);
        assert_eq!(there[..9], [0, 1, 2, 9, 10, 11, 3, 4, 5]);
        assert_eq!(there[18..21], [18, 19, 20], "the second head starts where it did");
        let split = Rows::new(Order::Split, 12, 2).unwrap();
        assert_eq!(gathered(split, &there, 0, 36), data);
        // Runs need not begin or end with a row.
        assert_eq!(gathered(interleave, &data, 2, 5), there[2..7]);
        assert!(interleave.gather(&data, 34, 5, &mut Vec::new()).is_none());
    }

    #[test]
    fn rows_that_do_not_divide_have_no_order() {
        for (count, heads) in [(12, 0), (12, 5), (9, 3), (0, 1)] {
            assert_eq!(Rows::new(Order::Split, count, heads), None, "{count} by {heads}");
        }
    }
}
