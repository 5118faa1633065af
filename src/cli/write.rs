//! What the commands that write a GGUF share: the writing itself, and the planned tensors in JSON.

use super::print;
use crate::io::Inputs;
use crate::plan::{Plan, PlannedTensor, Q4Grid, WriteError};
use serde::Serialize;
use std::path::Path;

/// Writes a planned file with a bar of progress. See [`Plan::write`].
pub(super) fn write(plan: &Plan, path: &Path, inputs: &Inputs, force: bool) -> Result<Q4Grid, WriteError> {
    let bar = print::progress_bar(plan.file_len(), print::BYTES_BAR);
    let grid = plan.write(path, inputs, force, &|bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    Ok(grid)
}

/// A planned tensor in JSON.
#[derive(Serialize)]
pub(super) struct TensorReport<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    ty: &'static str,
    /// Innermost first.
    dims: &'a [u64],
    /// From the start of the file.
    file_offset: u64,
    size_bytes: Option<u64>,
    /// Where its numbers come from, in words.
    source: &'a str,
    source_type: &'static str,
    /// Whether an importance matrix weighted it.
    importance: bool,
}

/// The tensors of a plan for JSON.
pub(super) fn tensors<'a>(plan: &'a Plan) -> Vec<TensorReport<'a>> {
    let report = |(tensor, file_offset): (&'a PlannedTensor, u64)| TensorReport {
        name: &tensor.name,
        ty: tensor.ty.name(),
        dims: &tensor.dims,
        file_offset,
        size_bytes: tensor.size(),
        source: &tensor.source.origin,
        source_type: tensor.source.ty.name(),
        importance: tensor.importance.is_some(),
    };
    plan.placed().map(report).collect()
}
