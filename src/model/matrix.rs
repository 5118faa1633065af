//! Matrices in their stored form, whose rows are decoded in pieces.

use super::lines::Strip;
use super::prefetch::prefetch;
use super::tensor::Tensor;
use crate::quant::levels::{Levels, SPAN};
use crate::quant::{Decoder, GgmlType, Isa};
use std::ops::Range;
use std::slice::ChunksExact;

/// Rows of weights, all but the innermost dimension taken as one.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    rows: usize,
    cols: usize,
    row_bytes: usize,
    /// The rows, and behind them what follows in the tensor: where it goes on next is asked for ahead.
    data: &'a [u8],
    ty: GgmlType,
    decoder: Decoder,
}

impl<'a> Matrix<'a> {
    /// The tensor's rows; `None` where its type holds no weights or a row is no whole number of its blocks.
    pub fn new(tensor: Tensor<'a>) -> Option<Matrix<'a>> {
        let ty = tensor.ty;
        if ty.is_integer() {
            return None;
        }
        let cols = tensor.shape.last().copied().unwrap_or(1);
        Some(Matrix {
            rows: tensor.shape.iter().rev().skip(1).product(),
            cols,
            row_bytes: ty.bytes(cols as u64)? as usize,
            data: tensor.data,
            ty,
            decoder: ty.decoder(),
        })
    }

    /// The same with the instructions of `isa`.
    #[cfg(test)]
    pub(super) fn on(self, isa: Isa) -> Matrix<'a> {
        Matrix {
            decoder: self.ty.decoder_on(isa),
            ..self
        }
    }

    /// Number of rows, the length of a product.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements a row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes a row.
    pub(super) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// `count` rows from row `first`: an expert's matrix out of all.
    pub fn slice(&self, first: usize, count: usize) -> Matrix<'a> {
        Matrix {
            rows: count,
            data: &self.data[first * self.row_bytes..],
            ..*self
        }
    }

    /// Decodes one row.
    pub fn row(&self, row: usize) -> Vec<f32> {
        self.slice(row, 1).decode()
    }

    /// Decodes all rows.
    pub fn decode(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.rows * self.cols];
        let bytes = self.rows * self.row_bytes;
        self.decoder.decode(&self.data[..bytes], &mut out);
        out
    }

    /// The sum of the products of a row of this matrix, in its stored form, and `x`.
    pub(super) fn dot(&self, row: &[u8], x: &[f32]) -> f32 {
        self.decoder.dot(row, x)
    }

    /// Asks for the same bytes of some rows, which will be needed next, as far as there are any.
    pub(super) fn foresee(&self, count: usize, bytes: &Range<usize>) {
        for row in self.rows_from(0).take(count) {
            prefetch(&row[bytes.clone()]);
        }
    }

    /// The type of the elements.
    pub(super) fn ty(&self) -> GgmlType {
        self.ty
    }

    /// The instructions that products are taken with.
    pub(super) fn isa(&self) -> Isa {
        self.decoder.isa()
    }

    /// Takes apart some columns of the rows, as many rows as there are.
    pub(super) fn levels(&self, span: usize, out: &mut [Levels]) {
        let first = span * SPAN;
        let count = SPAN.min(self.cols - first);
        let blocks = self.blocks(first, SPAN);
        for (row, out) in self.each_row().zip(out) {
            self.decoder.levels(&row[blocks.clone()], count == SPAN, out);
        }
    }

    /// The rows from `first` on, and behind them those that follow in the tensor.
    #[inline(always)]
    pub(super) fn rows_from(&self, first: usize) -> ChunksExact<'a, u8> {
        let rows = self.data.get(first * self.row_bytes..).unwrap_or_default();
        rows.chunks_exact(self.row_bytes)
    }

    pub(super) fn each_row(&self) -> impl Iterator<Item = &'a [u8]> {
        self.rows_from(0).take(self.rows)
    }

    /// The bytes of a row's columns from `first` on, whole blocks, `count` columns or as many as are left.
    pub(super) fn blocks(&self, first: usize, count: usize) -> Range<usize> {
        let bytes = |columns: usize| columns.min(self.cols) * self.row_bytes / self.cols;
        bytes(first)..bytes(first + count)
    }

    /// Decodes the columns from `first` on, a multiple of every block's length, `depth` of them or as many as are left.
    /// `next` is the row and the column where it goes on after that: each row asks for its like there, for of too many
    /// requests at once the last ones would wait.
    pub(super) fn decode_columns<const N: usize>(
        &self,
        first: usize,
        depth: usize,
        next: (usize, usize),
        tile: &mut [Strip<N>],
    ) {
        let count = depth.min(self.cols - first);
        let blocks = self.blocks(first, depth);
        let ahead = self.blocks(next.1, depth);
        let mut next = self.rows_from(next.0);
        for (row, strip) in self.each_row().zip(tile) {
            if let Some(next) = next.next() {
                prefetch(&next[ahead.clone()]);
            }
            self.decoder.decode(&row[blocks.clone()], &mut strip[..count]);
            // What an earlier tile had there could be infinite, and is multiplied with zero.
            strip[count..depth].fill(0.0);
        }
    }
}
