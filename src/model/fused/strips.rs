//! The pieces of rows that are multiplied one behind the other, and what is asked for ahead of them.

use crate::model::matrix::Matrix;
use crate::model::prefetch::{Cache, LINE, prefetch_at};
use std::ops::Range;
use std::slice::ChunksExact;

/// Some blocks of a row.
#[derive(Clone, Copy)]
pub struct Strip<'a, const BYTES: usize> {
    pub blocks: &'a [[u8; BYTES]],
    /// Where as many bytes lie that will be needed later, or nothing.
    later: *const u8,
    cache: Cache,
}

impl<const BYTES: usize> Strip<'_, BYTES> {
    /// Asks for what will be needed later in place of `count` blocks from `first` on.
    #[inline(always)]
    pub fn foresee(&self, first: usize, count: usize) {
        self.foresee_bytes(first * BYTES, count * BYTES);
    }

    /// The same of bytes.
    #[inline(always)]
    pub fn foresee_bytes(&self, first: usize, count: usize) {
        for line in (0..count).step_by(LINE) {
            prefetch_at(self.later.wrapping_add(first + line), self.cache);
        }
    }

    /// What is left behind `count` blocks.
    #[inline(always)]
    pub fn after(self, count: usize) -> Self {
        Strip {
            blocks: &self.blocks[count..],
            later: self.later.wrapping_add(count * BYTES),
            ..self
        }
    }
}

/// What is asked for ahead.
#[derive(Clone, Copy)]
pub struct Ahead {
    /// At least as many bytes further on, in whole strips.
    pub bytes: usize,
    pub cache: Cache,
}

/// The same blocks of each row of a group, one row behind the other.
pub struct Strips<'a, const BYTES: usize> {
    rows: ChunksExact<'a, u8>,
    blocks: Range<usize>,
    /// Rows that are left of those that ask for the same blocks of a row of their group.
    within: usize,
    /// How far behind lies what these ask for, and what the others do.
    near: isize,
    far: isize,
    /// Blocks by which what is asked for is longer than a strip.
    more: usize,
    cache: Cache,
}

impl<'a, const BYTES: usize> Strips<'a, BYTES> {
    /// `blocks` of each row; `whole` are those of the longest strip.
    #[inline(always)]
    pub fn new(group: &Matrix<'a>, blocks: Range<usize>, whole: usize, ahead: Ahead) -> Strips<'a, BYTES> {
        let (row, strip) = (group.row_bytes(), blocks.len() * BYTES);
        let whole = whole.min(row / BYTES);
        // The same for all strips of a group, or some would be asked for twice and some never.
        let rows_ahead = ahead.bytes.div_ceil(whole * BYTES).min(group.rows());
        let near = (rows_ahead * row) as isize;
        // Behind the last row of a strip comes the first of the next, or of the next group.
        let far = match blocks.end * BYTES < row {
            true => near + strip as isize - (group.rows() * row) as isize,
            false => near - (blocks.start * BYTES) as isize,
        };
        Strips {
            rows: group.rows_from(0),
            within: group.rows() - rows_ahead,
            near,
            far,
            more: whole - blocks.len(),
            cache: ahead.cache,
            blocks,
        }
    }

    /// The strip of the next row.
    #[inline(always)]
    pub fn next(&mut self) -> Option<Strip<'a, BYTES>> {
        let blocks = self.rows.next()?.as_chunks().0.get(self.blocks.clone())?;
        let distance = match self.within.checked_sub(1) {
            Some(within) => {
                self.within = within;
                self.near
            }
            None => self.far,
        };
        let strip = Strip {
            blocks,
            later: blocks.as_ptr().cast::<u8>().wrapping_offset(distance),
            cache: self.cache,
        };
        strip.foresee(blocks.len(), self.more);
        Some(strip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tensor::Tensor;
    use crate::quant::GgmlType;

    #[test]
    fn all_strips_but_the_first_are_asked_for_once_and_before_they_are_read() {
        const BYTES: usize = 34;
        let (rows, blocks, whole, group_rows) = (14, 10, 4, 5);
        let data = vec![0; rows * blocks * BYTES];
        let shape = vec![rows, 32 * blocks];
        let ty = GgmlType::Q8_0;
        let matrix = Matrix::new(Tensor {
            ty,
            shape,
            data: &data,
        })
        .unwrap();
        for rows_ahead in 1..=group_rows {
            let ahead = Ahead {
                bytes: rows_ahead * whole * BYTES,
                cache: Cache::First,
            };
            let (mut read, mut asked) = (Vec::new(), Vec::new());
            for first in (0..rows).step_by(group_rows) {
                let group = matrix.slice(first, group_rows.min(rows - first));
                for start in (0..blocks).step_by(whole) {
                    let end = blocks.min(start + whole);
                    let mut strips = Strips::<BYTES>::new(&group, start..end, whole, ahead);
                    for _ in 0..group.rows() {
                        let strip = strips.next().unwrap();
                        read.push(strip.blocks.as_ptr().cast::<u8>());
                        asked.push(strip.later);
                    }
                }
            }
            for (i, strip) in read.iter().enumerate().skip(rows_ahead) {
                let times = asked[..i].iter().filter(|asked| *asked == strip).count();
                assert_eq!(times, 1, "strip {i}, {rows_ahead} rows ahead");
            }
        }
    }
}
