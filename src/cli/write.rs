//! What the commands that write a GGUF share: the writing itself, and the planned tensors in JSON.

use super::print;
use crate::io::output::{OutputError, OutputFile};
use crate::io::{Inputs, output};
use crate::plan::{Fit, Plan, PlannedTensor, Q4Grid, WriteError};
use indicatif::HumanBytes;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Refuses a wrong output path before the work of planning. What is written into a folder has its name later.
pub(super) fn check(path: &Path, inputs: &Inputs, force: bool) -> Result<(), WriteError> {
    match path.is_dir() {
        true => Ok(()),
        false => Ok(output::check(path, inputs, force)?),
    }
}

/// The output that was asked for; in a folder, the one of this name.
pub(super) fn place(asked: &Path, name: impl FnOnce() -> PathBuf) -> PathBuf {
    match asked.is_dir() {
        true => asked.join(name()),
        false => asked.to_owned(),
    }
}

/// Writes a planned file with a bar of progress. See [`Plan::write`].
pub(super) fn write(plan: &Plan, path: &Path, inputs: &Inputs, force: bool) -> Result<Q4Grid, WriteError> {
    with_bar(plan.file_len(), |progress| {
        plan.write(path, inputs, force, progress)
    })
}

/// Writes several with one bar. See [`Plan::write_all`].
pub(super) fn write_all(plans: &[(Plan, PathBuf)], inputs: &Inputs, force: bool) -> Result<(), WriteError> {
    let bytes = plans.iter().map(|(plan, _)| plan.file_len()).sum();
    with_bar(bytes, |progress| Plan::write_all(plans, inputs, force, progress))
}

fn with_bar<T>(
    bytes: u64,
    write: impl FnOnce(&(dyn Fn(u64) + Sync)) -> Result<T, WriteError>,
) -> Result<T, WriteError> {
    let bar = print::progress_bar(bytes, print::BYTES_BAR);
    let begun = Instant::now();
    let result = write(&|bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    let seconds = begun.elapsed().as_secs_f64();
    let rate = HumanBytes((bytes as f64 / seconds.max(1e-6)) as u64);
    print::detail(&format!("written in {seconds:.2} s, {rate}/s"));
    Ok(result)
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
        importance: matches!(tensor.fit, Fit::Importance(_)),
    };
    plan.placed().map(report).collect()
}

/// Share of Q4_0 blocks without loss from which on a checkpoint counts as trained for Q4_0. Ordinary weights are near 0.
const TRAINED_FOR_Q4_0: f64 = 0.9;

/// How well Q4_0 fits the numbers, where there is any of it.
pub(super) fn grid_line(grid: Q4Grid) -> Option<String> {
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    let (exact, on_grid) = (
        share(grid.exact, grid.blocks),
        share(grid.on_grid, grid.looked_at),
    );
    let verdict = if grid.blocks == 0 {
        return None;
    } else if exact >= TRAINED_FOR_Q4_0 {
        ": they were trained for Q4_0, which costs them nothing".to_owned()
    } else if on_grid > exact + 0.1 {
        format!(
            "; with --qat about {:.1}% would: the numbers are on a Q4_0 grid that llama-quantize's rule misses",
            on_grid * 100.0
        )
    } else {
        String::new()
    };
    Some(format!(
        "{:.1}% of the Q4_0 blocks hold the source's numbers without loss{verdict}",
        exact * 100.0
    ))
}

/// The command line that was given, as a shell takes it.
pub(super) fn command_line() -> String {
    let words = std::env::args_os()
        .skip(1)
        .map(|word| print::word(Path::new(&word), "…"));
    std::iter::once("gguf-conv".to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Writes a text that appears whole or not at all.
pub(super) fn text(path: &Path, text: &str, inputs: &Inputs, force: bool) -> Result<(), OutputError> {
    let file = OutputFile::create(path, text.len() as u64, inputs, force)?;
    file.write_at(text.as_bytes(), 0)?;
    file.commit()
}
