//! Where an output goes: a file that may be there, or standard output.

use super::OutputError;
use crate::io::folder_of;
use crate::io::inputs::{Inputs, kind_in_words};
use std::fs::Permissions;
use std::io::{self, ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};

/// Links that are followed before they count as a circle, as Linux has it.
const MAX_LINKS: usize = 40;

/// Where an output goes.
#[derive(Debug)]
pub(super) enum Place {
    /// Standard output.
    Stdout,
    /// A file, behind all links; its permissions, if one is there.
    File(PathBuf, Option<Permissions>),
}

/// Follows `path` to the end and refuses what an output may not be or replace.
pub(super) fn find(path: &Path, inputs: &Inputs, force: bool) -> Result<Place, OutputError> {
    let given = || path.to_owned();
    if path.as_os_str() == "-" {
        return match io::stdout().is_terminal() {
            true => Err(OutputError::Terminal),
            false => Ok(Place::Stdout),
        };
    }
    let fail = |source| OutputError::Io {
        path: given(),
        source,
    };
    match path.metadata() {
        Ok(meta) => {
            if inputs.contains(path) {
                return Err(OutputError::IsInput(given()));
            }
            if meta.is_dir() {
                return Err(OutputError::Folder(given()));
            }
            if !meta.is_file() {
                return Err(OutputError::NotAFile {
                    path: given(),
                    what: kind_in_words(&meta),
                });
            }
            if path.is_symlink() && is_stdout(&meta) {
                return Err(OutputError::NotAFile {
                    path: given(),
                    what: "a link to standard output",
                });
            }
            if !force {
                return Err(OutputError::Exists(given()));
            }
            // A link of the system may lead to a file without a name.
            let real = match path.is_symlink() {
                true => path.canonicalize().map_err(fail)?,
                false => given(),
            };
            Ok(Place::File(real, Some(meta.permissions())))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let end = end_of_links(path).map_err(fail)?;
            let folder = folder_of(&end);
            // What ends in a separator is meant to be a folder.
            let is_folder = path.as_os_str().as_encoded_bytes().ends_with(b"/");
            match folder.is_dir() && !is_folder {
                true => Ok(Place::File(end, None)),
                false if is_folder => Err(OutputError::NoFolder(given())),
                false => Err(OutputError::NoFolder(folder.to_owned())),
            }
        }
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            Err(OutputError::NoFolder(folder_of(path).to_owned()))
        }
        Err(error) => Err(fail(error)),
    }
}

/// The path that a link without an end leads to; a path that is no link as it is.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    let mut end = path.to_owned();
    for _ in 0..MAX_LINKS {
        match end.read_link() {
            Ok(next) => end = folder_of(&end).join(next),
            Err(_) => return Ok(end),
        }
    }
    Err(io::Error::other("too many links"))
}

/// Whether this is the file that standard output goes to.
#[cfg(unix)]
fn is_stdout(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    let out = super::stdout_file().and_then(|file| file.metadata());
    out.is_ok_and(|out| (out.dev(), out.ino()) == (meta.dev(), meta.ino()))
}

#[cfg(not(unix))]
fn is_stdout(_: &std::fs::Metadata) -> bool {
    false
}
