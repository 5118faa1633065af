//! Files: how inputs are opened and read, and how outputs appear. Nothing else opens a file, so that every input is
//! known; `clippy.toml` holds the rest of the crate to that.
#![allow(clippy::disallowed_methods)]

mod changed;
pub mod distant;
pub mod growing;
pub mod guard;
mod inputs;
pub mod kind;
pub mod mapped;
pub mod output;
pub mod partial;

pub use changed::ChangedInput;
pub use inputs::{Inputs, ReadError, TextLimit};
pub(crate) use kind::without_mark;

use std::fs::File;
use std::io;
use std::path::Path;

/// The folder of a file, `.` where the path has none.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// What the operating system said, in words and with a hint where there is one to name.
pub(crate) fn told(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EMFILE) {
        return "too many files are open; raise `ulimit -n`, or have fewer parts".to_owned();
    }
    match error.kind() {
        ErrorKind::PermissionDenied => "permission denied; check who owns it, and its mode".to_owned(),
        ErrorKind::StorageFull => "the disk is full; make room or name a place elsewhere".to_owned(),
        ErrorKind::QuotaExceeded => "the quota is used up; make room or name a place elsewhere".to_owned(),
        ErrorKind::FileTooLarge => {
            "it would be longer than the file system or `ulimit -f` allows; raise the limit or name a place elsewhere"
                .to_owned()
        }
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only; name a place elsewhere".to_owned(),
        ErrorKind::OutOfMemory => "memory is short; close other programs".to_owned(),
        _ => {
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            format!("{text}; look at the disk and the file system")
        }
    }
}

/// Writes at a place of a file; threads may do so at different places at the same time.
#[cfg(unix)]
fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

/// As above.
#[cfg(windows)]
fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}
