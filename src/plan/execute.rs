//! Writes planned tensors: reads each from its map, encodes it in chunks on all cores and writes each chunk at its
//! known place. Memory is a few chunks a core, whatever the model's size; the bytes do not depend on the cores.

use super::tensor::{Data, Fit, PlannedTensor};
use super::{Plan, WriteError};
use crate::gguf::swap_blocks;
use crate::io::Inputs;
use crate::io::mapped::MappedFile;
use crate::io::output::OutputFile;
use crate::quant::{CHUNK, GgmlType, QuantError, grid};
use rayon::prelude::*;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A run of a tensor's elements.
struct Chunk {
    tensor: usize,
    start: usize,
    len: usize,
}

/// Cuts a tensor into chunks. Blocks do not depend on each other, so a chunk may end anywhere between two, unless they
/// are fitted by importance: then it is whole rows of one matrix.
fn chunks(index: usize, tensor: &PlannedTensor) -> Vec<Chunk> {
    let elements = tensor.elements() as usize;
    let (run, step) = match tensor.fit {
        Fit::Plain | Fit::Grid => (elements, CHUNK),
        Fit::Importance(_) => {
            let row = tensor.row_len().max(1) as usize;
            (tensor.matrix_len(), (CHUNK / row).max(1) * row)
        }
    };
    let runs = (0..elements).step_by(run.max(1));
    let chunk = |start: usize, end: usize| Chunk {
        tensor: index,
        start,
        len: step.min(end - start),
    };
    runs.flat_map(|start| {
        (start..start + run)
            .step_by(step)
            .map(move |at| chunk(at, start + run))
    })
    .collect()
}

/// Buffers of a worker.
#[derive(Default)]
struct Buffers {
    values: Vec<f32>,
    bytes: Vec<u8>,
    /// The source's bytes in the order of the output.
    gathered: Vec<u8>,
    /// What the encoded bytes stand for.
    decoded: Vec<f32>,
    /// The same in the source's type.
    rounded: Vec<u8>,
}

/// How many of the Q4_0 blocks written hold the source's numbers without loss, to the precision of the source's type.
///
/// A checkpoint from quantization-aware training for Q4_0 has its numbers on that grid already; for it Q4_0 is free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Q4Grid {
    /// Blocks encoded as Q4_0.
    pub blocks: u64,
    /// Blocks without loss among them.
    pub exact: u64,
    /// Blocks of those not fitted by [`Fit::Grid`] that were looked at for whether they could be.
    pub looked_at: u64,
    /// Blocks among these that would then be without loss.
    pub on_grid: u64,
}

/// Of so many blocks one is looked at for whether it is on the grid: enough to tell what a checkpoint was trained for.
const LOOKED_AT: usize = 16;

impl AddAssign for Q4Grid {
    fn add_assign(&mut self, other: Q4Grid) {
        self.blocks += other.blocks;
        self.exact += other.exact;
        self.looked_at += other.looked_at;
        self.on_grid += other.on_grid;
    }
}

impl Plan<'_> {
    /// Writes the file to `path`, whole or not at all. `inputs` are the files that it may not replace. `progress` is
    /// told the number of output bytes as they are written. Tells how well Q4_0 fits the numbers.
    pub fn write(
        &self,
        path: &Path,
        inputs: &Inputs,
        force: bool,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Q4Grid, WriteError> {
        let (output, grid) = self.fill(path, inputs, force, progress)?;
        output.commit()?;
        Ok(grid)
    }

    /// Writes several files, none of which has its name before all are whole. As [`Plan::write`].
    pub fn write_all(
        plans: &[(Plan, PathBuf)],
        inputs: &Inputs,
        force: bool,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), WriteError> {
        let fill = |(plan, path): &(Plan, PathBuf)| plan.fill(path, inputs, force, progress);
        let outputs = plans.iter().map(|plan| Ok(fill(plan)?.0));
        Ok(OutputFile::commit_all(
            outputs.collect::<Result<_, WriteError>>()?,
        )?)
    }

    /// Writes the file, which does not have its name yet.
    fn fill(
        &self,
        path: &Path,
        inputs: &Inputs,
        force: bool,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(OutputFile, Q4Grid), WriteError> {
        let output = OutputFile::create(path, self.layout.file_len, inputs, force)?;
        output.write_at(&self.layout.header, 0)?;
        let chunks: Vec<Chunk> = self
            .tensors
            .iter()
            .enumerate()
            .flat_map(|(index, tensor)| chunks(index, tensor))
            .collect();
        let grid = Mutex::new(Q4Grid::default());
        // Nothing that holds the lock can panic.
        let count = |of_chunk| *grid.lock().unwrap_or_else(PoisonError::into_inner) += of_chunk;
        let place = |chunk: &Chunk| {
            let ty = self.tensors[chunk.tensor].ty;
            let before = chunk.start / ty.block_len() * ty.block_bytes();
            self.layout.offsets[chunk.tensor] + before as u64
        };
        if output.is_stream() {
            // A few chunks a core are encoded at a time and then written in order.
            for several in chunks.chunks(8 * rayon::current_num_threads()) {
                let encoded: Vec<_> = several
                    .par_iter()
                    .map_init(Buffers::default, |buffers, chunk| {
                        let (piece, of_chunk) = encode_chunk(&self.tensors[chunk.tensor], chunk, buffers)?;
                        count(of_chunk);
                        Ok(piece.bytes().to_vec())
                    })
                    .collect::<Result<_, WriteError>>()?;
                for (chunk, bytes) in several.iter().zip(&encoded) {
                    output.write_at(bytes, place(chunk))?;
                    progress(bytes.len() as u64);
                }
            }
        } else {
            let write = |buffers: &mut Buffers, chunk: &Chunk| -> Result<u64, WriteError> {
                let (piece, of_chunk) = encode_chunk(&self.tensors[chunk.tensor], chunk, buffers)?;
                match piece {
                    Piece::InFile { file, from, bytes } => output.copy_at(file, from, bytes, place(chunk))?,
                    Piece::Made(bytes) => output.write_at(bytes, place(chunk))?,
                }
                count(of_chunk);
                let written = piece.bytes().len() as u64;
                progress(written);
                Ok(written)
            };
            // Of several failures the first in the file's order is reported, so that a run can be repeated.
            let failure = output.flush_meanwhile(|wrote| {
                chunks
                    .par_iter()
                    .map_init(Buffers::default, |buffers, chunk| {
                        write(buffers, chunk).map(wrote).err()
                    })
                    .find_map_first(|error| error)
            })?;
            failure.map_or(Ok(()), Err)?;
        }
        Ok((output, grid.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// The bytes of a chunk as they are written.
#[derive(Clone, Copy)]
enum Piece<'a> {
    /// As they stand in a file.
    InFile {
        file: &'a MappedFile,
        from: u64,
        bytes: &'a [u8],
    },
    /// Made for this output.
    Made(&'a [u8]),
}

impl<'a> Piece<'a> {
    fn bytes(self) -> &'a [u8] {
        match self {
            Piece::InFile { bytes, .. } | Piece::Made(bytes) => bytes,
        }
    }
}

/// Encodes one chunk; how well Q4_0 fits it too.
fn encode_chunk<'a>(
    tensor: &'a PlannedTensor,
    chunk: &Chunk,
    buffers: &'a mut Buffers,
) -> Result<(Piece<'a>, Q4Grid), WriteError> {
    let ty = tensor.source.ty;
    let bytes = |elements: usize| elements / ty.block_len() * ty.block_bytes();
    let (from, len) = (bytes(chunk.start), bytes(chunk.len));
    let too_short = || {
        encode_error(
            tensor,
            QuantError::Size {
                ty: tensor.source.ty,
                elements: chunk.len,
                bytes: len,
            },
        )
    };
    let data = tensor.source.data.here().ok_or_else(|| WriteError::Elsewhere {
        path: tensor.source.path.to_owned(),
    })?;
    if let Some(rows) = tensor.source.rows {
        let mut gathered = std::mem::take(&mut buffers.gathered);
        gathered.clear();
        let found = rows.gather(data, from, len, &mut gathered);
        let made = found.ok_or_else(too_short).and_then(|()| {
            if tensor.source.ty == tensor.ty {
                buffers.bytes.clone_from(&gathered);
                return Ok(Q4Grid::default());
            }
            encode(tensor, chunk, &gathered, buffers)?;
            grid_of(tensor, buffers)
        });
        buffers.gathered = gathered;
        return Ok((Piece::Made(&buffers.bytes), made?));
    }
    let source = data.get(from..from + len).ok_or_else(too_short)?;
    if let Some((file, from)) = verbatim(tensor, source) {
        let bytes = source;
        return Ok((Piece::InFile { file, from, bytes }, Q4Grid::default()));
    }
    if tensor.source.swap {
        buffers.bytes.clear();
        buffers.bytes.extend(source);
        swap_blocks(tensor.ty, &mut buffers.bytes);
    } else if tensor.source.ty == tensor.ty {
        return Ok((Piece::Made(source), Q4Grid::default()));
    } else if tensor.ty == GgmlType::I32 {
        narrow_integers(tensor, chunk, source, &mut buffers.bytes)?;
    } else {
        encode(tensor, chunk, source, buffers)?;
    }
    let grid = grid_of(tensor, buffers)?;
    Ok((Piece::Made(&buffers.bytes), grid))
}

/// How well Q4_0 fits the chunk that was encoded last, where it is encoded in Q4_0.
fn grid_of(tensor: &PlannedTensor, buffers: &mut Buffers) -> Result<Q4Grid, WriteError> {
    let is_q4_0 = tensor.ty == GgmlType::Q4_0 && tensor.source.ty != GgmlType::Q4_0;
    match is_q4_0 {
        true => exact_blocks(tensor, buffers),
        false => Ok(Q4Grid::default()),
    }
}

/// Where in which file these bytes of the tensor stand, if they go into the output as they are.
fn verbatim<'a>(tensor: &PlannedTensor<'a>, bytes: &[u8]) -> Option<(&'a MappedFile, u64)> {
    let Data::Mapped { file, .. } = tensor.source.data else {
        return None;
    };
    let is_same = !tensor.source.swap && tensor.source.ty == tensor.ty;
    is_same
        .then(|| file.position(bytes))
        .flatten()
        .map(|from| (file, from))
}

/// Counts the encoded blocks that stand for the source's numbers, once rounded to the source's type.
fn exact_blocks(tensor: &PlannedTensor, buffers: &mut Buffers) -> Result<Q4Grid, WriteError> {
    let Buffers {
        values,
        bytes,
        decoded,
        rounded,
        ..
    } = buffers;
    let (source, len) = (tensor.source.ty, values.len());
    if source.is_quantized() {
        return Ok(Q4Grid::default());
    }
    decoded.resize(len, 0.0);
    rounded.resize(len * source.block_bytes(), 0);
    let result = tensor
        .ty
        .decode(bytes, decoded)
        .and_then(|()| source.encode(decoded, len, None, rounded))
        .and_then(|()| source.decode(rounded, decoded));
    result.map_err(|e| encode_error(tensor, e))?;
    let block = tensor.ty.block_len();
    let pairs = values.chunks_exact(block).zip(decoded.chunks_exact(block));
    let exact = pairs.filter(|(source, decoded)| source == decoded).count();
    let (on_grid, looked_at) = match tensor.fit {
        Fit::Grid => (0, 0),
        _ => grid::count_kept(source, values, LOOKED_AT),
    };
    Ok(Q4Grid {
        blocks: (len / block) as u64,
        exact: exact as u64,
        looked_at,
        on_grid,
    })
}

fn encode(
    tensor: &PlannedTensor,
    chunk: &Chunk,
    source: &[u8],
    buffers: &mut Buffers,
) -> Result<(), WriteError> {
    let (ty, blocks) = (tensor.ty, chunk.len / tensor.ty.block_len());
    buffers.values.resize(chunk.len, 0.0);
    buffers.bytes.resize(blocks * ty.block_bytes(), 0);
    tensor
        .source
        .ty
        .decode(source, &mut buffers.values)
        .map_err(|e| encode_error(tensor, e))?;
    let importance = tensor.importance_at(chunk.start);
    let row_len = if importance.is_some() {
        tensor.row_len() as usize
    } else {
        chunk.len
    };
    let encoded = match tensor.fit {
        Fit::Grid if ty == GgmlType::Q4_0 => {
            grid::encode(tensor.source.ty, &buffers.values, &mut buffers.bytes)
        }
        _ => ty.encode(&buffers.values, row_len, importance, &mut buffers.bytes),
    };
    let at = |index: usize| position(tensor, chunk.start + index);
    let path = || tensor.source.path.to_owned();
    encoded.map_err(|error| match error {
        QuantError::NonFinite { index, value } => WriteError::NonFinite {
            path: path(),
            name: tensor.source.origin.clone(),
            value,
            position: at(index),
        },
        QuantError::Overflow { ty, index, value } => WriteError::Overflow {
            path: path(),
            name: tensor.source.origin.clone(),
            value,
            position: at(index),
            ty,
        },
        other => encode_error(tensor, other),
    })
}

fn encode_error(tensor: &PlannedTensor, source: QuantError) -> WriteError {
    WriteError::Encode {
        path: tensor.source.path.to_owned(),
        name: tensor.name.clone(),
        source,
    }
}

/// An element's place in words: row and column for a matrix.
fn position(tensor: &PlannedTensor, index: usize) -> String {
    let row_len = tensor.row_len() as usize;
    if tensor.dims.len() < 2 || row_len == 0 {
        return format!("element {index}");
    }
    format!("row {}, column {}", index / row_len, index % row_len)
}

/// i64 to i32, as the token ordering is stored.
fn narrow_integers(
    tensor: &PlannedTensor,
    chunk: &Chunk,
    source: &[u8],
    bytes: &mut Vec<u8>,
) -> Result<(), WriteError> {
    bytes.clear();
    for (i, value) in source.as_chunks().0.iter().enumerate() {
        let value = i64::from_le_bytes(*value);
        let narrow = i32::try_from(value).map_err(|_| WriteError::Integer {
            path: tensor.source.path.to_owned(),
            name: tensor.source.origin.clone(),
            value,
            index: chunk.start + i,
        })?;
        bytes.extend(narrow.to_le_bytes());
    }
    Ok(())
}
