//! What the commands that write a GGUF share: the writing itself, and figures of what is written.

use super::print;
use crate::convert::ConvertError;
use crate::gguf::{Gguf, Layout};
use crate::plan::{self, PlannedTensor, Q4Grid};
use std::path::{Path, PathBuf};

/// Writes a planned file with a bar of progress. See [`plan::execute`].
pub(super) fn write(
    layout: &Layout,
    tensors: &[PlannedTensor],
    path: &Path,
    inputs: &[PathBuf],
    force: bool,
) -> Result<Q4Grid, ConvertError> {
    let bar = print::progress_bar(layout.file_len, print::BYTES_BAR);
    let grid = plan::execute(layout, tensors, path, inputs, force, &|bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    Ok(grid)
}

/// The files of a model.
pub(super) fn parts(gguf: &Gguf) -> impl Iterator<Item = PathBuf> {
    gguf.parts().iter().map(|part| part.path.clone())
}

/// Number of elements in all tensors.
pub(super) fn parameters(tensors: &[PlannedTensor]) -> u64 {
    tensors.iter().map(PlannedTensor::elements).sum()
}

/// Bits that an element takes, on average.
pub(super) fn bits_per_weight(tensors: &[PlannedTensor]) -> f64 {
    let bytes: u64 = tensors
        .iter()
        .filter_map(|tensor| tensor.ty.bytes(tensor.elements()))
        .sum();
    bytes as f64 * 8.0 / parameters(tensors).max(1) as f64
}
