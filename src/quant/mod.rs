//! Tensor types and their codecs: what a block is, and how blocks become numbers and numbers blocks.
//!
//! A type is one row of the table in [`types`] and one codec under `codec/`. Every encoder writes, bit for bit, what
//! ggml's quantizer writes for the same numbers. The codecs are written once, as portable code, and compiled for every
//! instruction set that a processor may have; [`Isa`] tells which one is used.
//!
//! "Bit for bit" means ggml as built for x86-64. There its quantizers are compiled for the baseline, whatever processor
//! the rest is built for, so that no multiplication is fused with an addition, and each float operation rounds by itself.
//! So it is here, on every processor. Where a compiler fuses, as GCC does by default for arm64, most types come out with
//! another scale or level in some blocks: one in 500 for Q6_K, one in 300 for Q4_0, one in four for Q2_K and Q5_K.

mod codec;
pub(crate) mod fused;
pub mod grid;
pub(crate) mod levels;
pub(crate) mod product;
pub mod recipe;
pub(crate) mod simd;
pub mod types;

pub use simd::Isa;
pub use types::GgmlType;

use std::ops::Range;

/// Elements that a thread takes at once where it reads or writes a tensor: a multiple of every block length, 1 MiB as
/// f32.
pub const CHUNK: usize = 256 * 1024;

/// Reads whole blocks. The lengths match: the other slice is as long as the blocks have elements.
#[derive(Debug, Clone, Copy)]
struct Decode {
    /// To numbers.
    numbers: fn(isa: Isa, blocks: &[u8], out: &mut [f32]),
    /// To the sum of the products of their numbers with others, in the order of [`product::dot`].
    dot: fn(isa: Isa, blocks: &[u8], x: &[f32]) -> f32,
    /// To integers, for the types that are multiplied so.
    levels: Option<levels::Unpack>,
}

/// Writes whole blocks of numbers, which are finite where the type is quantized.
#[derive(Debug, Clone, Copy)]
enum Encode {
    Any(EncodeAny),
    /// The type has too few bits to be of use without weights.
    Weighted(EncodeWeighted),
}

/// Without `importance` any number of rows in one go, since no block then depends on another; with it one row, and a weight
/// for each of its columns.
type EncodeAny = fn(isa: Isa, row: &[f32], importance: Option<&[f32]>, blocks: &mut [u8]);

/// One row, and a weight for each of its columns.
type EncodeWeighted = fn(isa: Isa, row: &[f32], importance: &[f32], blocks: &mut [u8]);

/// The two directions of one tensor type.
#[derive(Debug)]
struct Codec {
    decode: Decode,
    /// `None`: the type can be read but not written.
    encode: Option<Encode>,
}

/// The decoder of one type on this processor.
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    decode: Decode,
    isa: Isa,
}

impl Decoder {
    /// Whole blocks to numbers; `out` is as long as the blocks have elements, which is not checked again.
    pub fn decode(self, blocks: &[u8], out: &mut [f32]) {
        (self.decode.numbers)(self.isa, blocks, out);
    }

    /// The sum of the products of the blocks' numbers with `x`, as long as the blocks have elements: a row of a matrix
    /// times a vector, without the row in memory.
    pub fn dot(self, blocks: &[u8], x: &[f32]) -> f32 {
        (self.decode.dot)(self.isa, blocks, x)
    }

    /// Takes apart blocks of up to [`levels::SPAN`] columns; the others are zero.
    pub(crate) fn levels(self, blocks: &[u8], is_whole: bool, out: &mut levels::Levels) {
        if !is_whole {
            *out = levels::Levels::ZERO;
        }
        if let Some(levels::Unpack { unpack, .. }) = self.decode.levels {
            unpack(self.isa, blocks, out);
        }
    }

    /// The instructions that it uses, for loops that go along with it.
    pub fn isa(self) -> Isa {
        self.isa
    }
}

/// Why numbers could not be encoded or decoded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantError {
    /// The type can only be read.
    #[error("{0} can be read but not written")]
    Unsupported(GgmlType),
    /// The type has too few bits to be encoded without weights.
    #[error("{0} has too few bits to be encoded without an importance matrix")]
    NoImportance(GgmlType),
    /// The row length is no multiple of the block length.
    #[error("a row of {row_len} elements does not divide into {ty} blocks of {}", ty.block_len())]
    RowLength {
        /// The type asked for.
        ty: GgmlType,
        /// Elements a row.
        row_len: usize,
    },
    /// The byte and element counts do not belong together.
    #[error("{elements} {ty} elements do not take {bytes} bytes")]
    Size {
        /// The type.
        ty: GgmlType,
        /// Elements given.
        elements: usize,
        /// Bytes given.
        bytes: usize,
    },
    /// A NaN or an infinity, which is no weight.
    #[error("{value} at element {index}")]
    NonFinite {
        /// Position among the elements given, counted from 0.
        index: usize,
        /// The value found.
        value: f32,
    },
    /// A number past what the type, or the scale of its blocks, can hold: it would come out as an infinity or NaN.
    #[error("{value} at element {index} is more than {ty} can hold")]
    Overflow {
        /// The type.
        ty: GgmlType,
        /// Position among the elements given, counted from 0.
        index: usize,
        /// The value found: where elements share a scale, the largest of them in magnitude.
        value: f32,
    },
}

impl GgmlType {
    /// What levels rows are taken apart into, where they can be.
    pub(crate) fn level_shape(self) -> Option<levels::Shape> {
        self.codec().decode.levels.map(|unpack| unpack.shape)
    }

    /// Whether [`GgmlType::encode`] can write this type; [`GgmlType::decode`] reads all of them.
    pub fn can_encode(self) -> bool {
        self.codec().encode.is_some()
    }

    /// Whether [`GgmlType::encode`] wants a weight for each column.
    pub fn needs_importance(self) -> bool {
        matches!(self.codec().encode, Some(Encode::Weighted(_)))
    }

    /// The decoder by itself, chosen once for loops over many pieces.
    pub fn decoder(self) -> Decoder {
        self.decoder_on(Isa::best())
    }

    /// [`GgmlType::decoder`] with the instructions of `isa`.
    pub fn decoder_on(self, isa: Isa) -> Decoder {
        Decoder {
            decode: self.codec().decode,
            isa,
        }
    }

    /// Decodes whole blocks into numbers.
    pub fn decode(self, blocks: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
        self.decode_on(Isa::best(), blocks, out)
    }

    /// [`GgmlType::decode`] with the instructions of `isa`; the numbers do not depend on it.
    pub fn decode_on(self, isa: Isa, blocks: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
        self.check_size(out.len(), blocks.len())?;
        (self.codec().decode.numbers)(isa, blocks, out);
        Ok(())
    }

    /// Encodes rows of `row_len` numbers into blocks, each row by itself.
    ///
    /// `importance` holds one weight a column, as an importance matrix does; it changes how scales are chosen, not
    /// the format. A NaN or infinity is an error, and so is a number that would become one: what is written without error
    /// is finite.
    pub fn encode(
        self,
        rows: &[f32],
        row_len: usize,
        importance: Option<&[f32]>,
        blocks: &mut [u8],
    ) -> Result<(), QuantError> {
        self.encode_on(Isa::best(), rows, row_len, importance, blocks)
    }

    /// [`GgmlType::encode`] with the instructions of `isa`; the bytes do not depend on it.
    pub fn encode_on(
        self,
        isa: Isa,
        rows: &[f32],
        row_len: usize,
        importance: Option<&[f32]>,
        blocks: &mut [u8],
    ) -> Result<(), QuantError> {
        let encode = self.codec().encode.ok_or(QuantError::Unsupported(self))?;
        self.check_size(rows.len(), blocks.len())?;
        if rows.is_empty() {
            return Ok(());
        }
        if row_len == 0
            || !self.fits_row(row_len as u64)
            || !rows.len().is_multiple_of(row_len)
            || importance.is_some_and(|weights| weights.len() != row_len)
        {
            return Err(QuantError::RowLength { ty: self, row_len });
        }
        // Small pieces, so that a piece which was looked through is still at hand to be encoded.
        let piece = if importance.is_some() { row_len } else { PIECE };
        match (encode, importance) {
            (Encode::Any(encode), _) => self.encode_pieces(isa, rows, blocks, piece, |numbers, blocks| {
                encode(isa, numbers, importance, blocks);
            }),
            (Encode::Weighted(encode), Some(weights)) => {
                self.encode_pieces(isa, rows, blocks, piece, |numbers, blocks| {
                    encode(isa, numbers, weights, blocks);
                })
            }
            (Encode::Weighted(_), None) => Err(QuantError::NoImportance(self)),
        }
    }

    /// Encodes `piece` elements at a time.
    fn encode_pieces(
        self,
        isa: Isa,
        rows: &[f32],
        blocks: &mut [u8],
        piece: usize,
        encode: impl Fn(&[f32], &mut [u8]),
    ) -> Result<(), QuantError> {
        let blocks = blocks.chunks_mut(piece / self.block_len() * self.block_bytes());
        for (i, (numbers, blocks)) in rows.chunks(piece).zip(blocks).enumerate() {
            self.encode_piece(isa, numbers, blocks, &encode)
                .map_err(|error| error.moved_by(i * piece))?;
        }
        Ok(())
    }

    /// Encodes a few blocks, and sees to it that finite numbers go in and come out.
    fn encode_piece(
        self,
        isa: Isa,
        numbers: &[f32],
        blocks: &mut [u8],
        encode: impl Fn(&[f32], &mut [u8]),
    ) -> Result<(), QuantError> {
        let largest = largest_magnitude(isa, numbers);
        if !largest.is_finite() {
            let index = numbers.iter().position(|v| !v.is_finite()).unwrap_or(0);
            let value = numbers[index];
            return Err(QuantError::NonFinite { index, value });
        }
        encode(numbers, blocks);
        // Without blocks nothing but the number itself decides.
        let may_overflow = self.is_quantized() || largest > F16_MAX;
        if may_overflow && !self.is_finite(isa, blocks) {
            return Err(self.overflow(isa, numbers, blocks));
        }
        Ok(())
    }

    /// Whether every number in these blocks is finite.
    fn is_finite(self, isa: Isa, blocks: &[u8]) -> bool {
        // Zero times a finite number is zero, and NaN times anything else.
        static ZEROS: [f32; 2048] = [0.0; 2048];
        let bytes = ZEROS.len() / self.block_len() * self.block_bytes();
        let dot = self.codec().decode.dot;
        blocks.chunks(bytes).all(|blocks| {
            let elements = blocks.len() / self.block_bytes() * self.block_len();
            dot(isa, blocks, &ZEROS[..elements]) == 0.0
        })
    }

    /// The number because of which a block is not finite.
    fn overflow(self, isa: Isa, numbers: &[f32], blocks: &[u8]) -> QuantError {
        let mut at = 0..numbers.len();
        for (i, block) in blocks.chunks(self.block_bytes()).enumerate() {
            if !self.is_finite(isa, block) {
                at = i * self.block_len()..(i + 1) * self.block_len();
                break;
            }
        }
        let largest = |at: Range<usize>| {
            let largest = at.max_by(|a, b| numbers[*a].abs().total_cmp(&numbers[*b].abs()));
            largest.unwrap_or(0)
        };
        // With weights the sum of squares of a whole row counts in each of its blocks.
        let mut index = largest(at);
        if numbers[index].abs() <= F16_MAX {
            index = largest(0..numbers.len());
        }
        QuantError::Overflow {
            ty: self,
            index,
            value: numbers[index],
        }
    }

    fn check_size(self, elements: usize, bytes: usize) -> Result<(), QuantError> {
        if self.bytes(elements as u64) == Some(bytes as u64) {
            Ok(())
        } else {
            Err(QuantError::Size {
                ty: self,
                elements,
                bytes,
            })
        }
    }
}

/// Elements that are encoded in one go: whole blocks of every type, and as many as its encoder takes side by side.
const PIECE: usize = 8192;

/// The largest finite f16.
const F16_MAX: f32 = 65504.0;

/// The largest magnitude; an infinity or NaN where there is one.
fn largest_magnitude(isa: Isa, numbers: &[f32]) -> f32 {
    isa.run(
        #[inline(always)]
        || {
            // In the order of their bits, which is that of their values and has those that are not finite at its end.
            let largest = numbers
                .iter()
                .fold(0, |largest, v| (v.to_bits() & 0x7fff_ffff).max(largest));
            f32::from_bits(largest)
        },
    )
}

impl QuantError {
    /// The same further behind.
    fn moved_by(mut self, elements: usize) -> QuantError {
        if let QuantError::NonFinite { index, .. } | QuantError::Overflow { index, .. } = &mut self {
            *index += elements;
        }
        self
    }
}
