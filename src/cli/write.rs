//! What the commands that write a GGUF share: the writing itself, and figures of what is written.

use super::print;
use crate::gguf::Gguf;
use crate::plan::{Plan, Q4Grid, WriteError};
use std::path::{Path, PathBuf};

/// Writes a planned file with a bar of progress. See [`Plan::write`].
pub(super) fn write(plan: &Plan, path: &Path, inputs: &[PathBuf], force: bool) -> Result<Q4Grid, WriteError> {
    let bar = print::progress_bar(plan.file_len(), print::BYTES_BAR);
    let grid = plan.write(path, inputs, force, &|bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    Ok(grid)
}

/// The files of a model.
pub(super) fn parts(gguf: &Gguf) -> impl Iterator<Item = PathBuf> {
    gguf.parts().iter().map(|part| part.path.clone())
}
