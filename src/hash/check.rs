//! Holds a list of checksums against what is there.

use super::list::{Line, readings};
use super::work::{WINDOW, compute};
use super::{Job, Sum};
use crate::io::mapped::MappedFile;
use crate::io::{Inputs, ReadError};
use crate::storage::{ModelFile, ModelTensor};
use crate::text::escape;
use bstr::ByteSlice;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What a line of a list came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The checksum is the one in the list.
    Ok,
    /// It is another.
    Failed,
    /// There is nothing to compare it with, for this reason.
    Missing(String),
}

/// A list of checksums with the files that it speaks of.
#[derive(Debug)]
pub struct Checklist<'l> {
    lines: &'l [Line],
    subjects: Vec<Result<Subject<'l>, String>>,
    models: HashMap<PathBuf, Result<ModelFile, String>>,
}

/// What a line speaks of.
#[derive(Debug)]
enum Subject<'l> {
    File(PathBuf, MappedFile),
    Metadata(PathBuf),
    /// Of this file the tensor whose name is escaped like this.
    Tensor(PathBuf, &'l [u8]),
}

/// The tensors of a model by the name of their file and their own, escaped.
type Tensors<'a> = HashMap<(Option<OsString>, String), ModelTensor<'a>>;

impl<'l> Checklist<'l> {
    /// Opens every file that the lines name.
    pub fn open(inputs: &Inputs, lines: &'l [Line]) -> Checklist<'l> {
        let subjects: Vec<_> = lines.iter().map(|line| subject(inputs, &line.name)).collect();
        let mut models = HashMap::new();
        for subject in subjects.iter().flatten() {
            if let Subject::Metadata(path) | Subject::Tensor(path, _) = subject
                && !models.contains_key(path)
            {
                let model = ModelFile::open(inputs, path).map_err(|error| error.to_string());
                models.insert(path.clone(), model);
            }
        }
        Checklist {
            lines,
            subjects,
            models,
        }
    }

    /// Hashes what the lines speak of. `progress` is first told 0 and the number of bytes to be hashed, then the number of
    /// bytes as they are.
    pub fn verdicts(&self, progress: &(dyn Fn(u64, u64) + Sync)) -> Vec<Verdict> {
        let tensors: HashMap<&Path, Tensors> = self
            .models
            .iter()
            .filter_map(|(path, model)| Some((path.as_path(), tensors(model.as_ref().ok()?))))
            .collect();
        let jobs: Vec<Result<Job, String>> = self
            .subjects
            .iter()
            .map(|subject| self.job(subject, &tensors))
            .collect();
        let sound: Vec<&Job> = jobs.iter().flatten().collect();
        progress(
            0,
            sound.iter().map(|job| job.bytes()).fold(0, u64::saturating_add),
        );
        let mut sums = compute(&sound, WINDOW, &|bytes| progress(bytes, 0)).into_iter();
        let mut verdict = |(line, job): (&Line, &Result<Job, String>)| match job {
            Err(why) => Verdict::Missing(why.clone()),
            Ok(_) => match sums.next().flatten() {
                Some(sum) if sum == line.sum => Verdict::Ok,
                Some(Sum(_)) => Verdict::Failed,
                None => Verdict::Missing("its length is not known".to_owned()),
            },
        };
        self.lines.iter().zip(&jobs).map(&mut verdict).collect()
    }

    fn job<'a>(
        &'a self,
        subject: &'a Result<Subject, String>,
        tensors: &HashMap<&Path, Tensors<'a>>,
    ) -> Result<Job<'a>, String> {
        let model = |path: &PathBuf| match self.models.get(path) {
            Some(Ok(model)) => Ok(model),
            Some(Err(error)) => Err(error.clone()),
            None => Err("was not opened".to_owned()),
        };
        match subject.as_ref().map_err(String::clone)? {
            Subject::File(path, map) => {
                let bytes = map.whole().map_err(|error| error.to_string())?;
                Ok(Job::File(path, bytes))
            }
            Subject::Metadata(path) => Ok(Job::Metadata(path, model(path)?.metadata())),
            Subject::Tensor(path, name) => {
                model(path)?;
                let name = String::from_utf8_lossy(name).into_owned();
                let place = (path.file_name().map(OsString::from), name);
                let tensor = tensors
                    .get(path.as_path())
                    .and_then(|tensors| tensors.get(&place));
                let tensor = tensor.ok_or("no such tensor")?;
                Ok(Job::Tensor(path, tensor.clone()))
            }
        }
    }
}

/// What a name means: a file, if there is one of that name, else a part of a model whose file is there.
fn subject<'l>(inputs: &Inputs, name: &'l [u8]) -> Result<Subject<'l>, String> {
    let as_path = |bytes: &[u8]| bytes.to_path().ok().map(Path::to_owned);
    let no_file = || "no such file".to_owned();
    let path = as_path(name).ok_or_else(no_file)?;
    let readings = readings(name);
    let is_there = |bytes: &[u8]| as_path(bytes).is_some_and(|path| path.exists());
    if readings.is_empty() || path.exists() {
        let map = inputs.map(&path).map_err(|error| match error {
            ReadError::NotFound => no_file(),
            _ => error.to_string(),
        })?;
        return Ok(Subject::File(path, map));
    }
    let found = readings.into_iter().find(|(path, _)| is_there(path));
    let (path, tensor) = found.ok_or_else(no_file)?;
    let path = as_path(path).ok_or_else(no_file)?;
    Ok(match tensor {
        Some(tensor) => Subject::Tensor(path, tensor),
        None => Subject::Metadata(path),
    })
}

fn tensors(model: &ModelFile) -> Tensors<'_> {
    let files = model.files();
    let file_name = |tensor: &ModelTensor| files.get(tensor.file)?.path.file_name().map(OsString::from);
    let tensors = model.tensors().into_iter();
    tensors
        .map(|tensor| ((file_name(&tensor), escape(tensor.name)), tensor))
        .collect()
}
