//! Files that grow while the program runs: records that must be there after a kill, logs of other programs. They cannot
//! appear as a whole, so they are no `output`, but lose nothing either.
#![allow(clippy::disallowed_methods)] // the one place for files of this kind

use super::Inputs;
use super::output::{self, OutputError};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file to which lines are added.
#[derive(Debug)]
pub struct GrowingFile {
    path: PathBuf,
    file: File,
}

impl GrowingFile {
    /// Begins a file. See [`output::check`] for when `path` is refused.
    pub fn create(path: &Path, inputs: &Inputs, force: bool) -> Result<GrowingFile, OutputError> {
        output::check(path, inputs, force)?;
        let file = File::create(path).map_err(|source| failed(path, source))?;
        Ok(GrowingFile {
            path: path.to_owned(),
            file,
        })
    }

    /// Goes on with a file of which the last line may have been cut off: what is no line is removed.
    pub fn resume(path: &Path) -> Result<GrowingFile, OutputError> {
        let open = || {
            let mut file = File::options().read(true).write(true).open(path)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let whole = bytes
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1) as u64;
            file.set_len(whole)?;
            file.seek(SeekFrom::Start(whole))?;
            Ok(file)
        };
        Ok(GrowingFile {
            file: open().map_err(|source| failed(path, source))?,
            path: path.to_owned(),
        })
    }

    /// Adds a line, which ends in a newline.
    pub fn add(&mut self, line: &str) -> Result<(), OutputError> {
        let written = self.file.write_all(line.as_bytes());
        written.map_err(|source| failed(&self.path, source))
    }
}

fn failed(path: &Path, source: io::Error) -> OutputError {
    OutputError::Io {
        path: path.to_owned(),
        source,
    }
}

/// A log for a program to write to, twice: for its output and its errors. An earlier log of the name is replaced.
pub fn log(path: &Path) -> io::Result<(File, File)> {
    let file = File::create(path)?;
    Ok((file.try_clone()?, file))
}

/// The last bytes of a log that may still grow, at most as many as given.
pub fn tail(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(most)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What the system tells of itself in a file that has no length, such as those of `/proc`; empty where there is none.
pub fn system_text(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
