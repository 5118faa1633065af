//! Files that come in pieces over several runs, and get their name once they are whole and right; and what belongs to a
//! folder of such files: locks, links, short texts.
#![allow(clippy::disallowed_methods)] // the one place for files of this kind

use super::output::OutputFile;
use super::{Inputs, write_all_at};
use sha2::digest::Digest;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What is added to the final name while a file is not whole.
const PART: &str = ".gguf-conv";
/// What is added to the name of the list of pieces that are whole.
const DONE: &str = ".gguf-conv-done";

/// A file that is not whole.
#[derive(Debug)]
pub struct Partial {
    path: PathBuf,
    len: u64,
    file: File,
    done: Mutex<Done>,
}

#[derive(Debug)]
struct Done {
    list: File,
    /// In order of their start.
    pieces: Vec<Range<u64>>,
}

impl Partial {
    /// Begins a file of `len` bytes that will be called `path`, or goes on with it.
    pub fn open(path: &Path, len: u64) -> io::Result<Partial> {
        let file = open(&beside(path, PART))?;
        let mut list = open(&beside(path, DONE))?;
        let mut text = Vec::new();
        list.read_to_end(&mut text)?;
        let mut pieces = pieces(&text, len);
        if file.metadata()?.len() != len {
            // Nothing of it is known.
            pieces.clear();
            list.set_len(0)?;
            file.set_len(len)?;
        } else if let Some(end) = text.iter().rposition(|byte| *byte == b'\n') {
            // A line that was cut is none.
            list.set_len(end as u64 + 1)?;
        } else {
            list.set_len(0)?;
        }
        list.seek(SeekFrom::End(0))?;
        Ok(Partial {
            path: path.to_owned(),
            len,
            file,
            done: Mutex::new(Done { list, pieces }),
        })
    }

    /// Bytes that an earlier run left of the file that will be called `path`.
    pub fn bytes_of(path: &Path, len: u64) -> u64 {
        let text = std::fs::read(beside(path, DONE)).unwrap_or_default();
        pieces(&text, len)
            .iter()
            .map(|piece| piece.end - piece.start)
            .sum()
    }

    /// Its final name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is not whole, in pieces of at most this length.
    pub fn missing(&self, most: u64) -> Vec<Range<u64>> {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let mut missing = Vec::new();
        let mut at = 0;
        for piece in done.pieces.iter().chain([&(self.len..self.len)]) {
            while at < piece.start {
                let end = piece.start.min(at.saturating_add(most));
                missing.push(at..end);
                at = end;
            }
            at = at.max(piece.end);
        }
        missing
    }

    /// Writes bytes at their place.
    pub fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        write_all_at(&self.file, bytes, at)
    }

    /// Remembers that a piece is whole.
    pub fn done(&self, piece: Range<u64>) -> io::Result<()> {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!("{} {}\n", piece.start, piece.end);
        done.list.write_all(line.as_bytes())
    }

    /// Feeds the whole file to a hasher.
    pub fn digest(&self, mut hasher: impl Digest) -> io::Result<Vec<u8>> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hasher.finalize().to_vec()),
                read => hasher.update(&buffer[..read]),
            }
        }
    }

    /// Puts it on the disk and gives it its name. One that has the name already is the same file.
    pub fn name(self) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(beside(&self.path, PART), &self.path)?;
        let _ = std::fs::remove_file(beside(&self.path, DONE));
        Ok(())
    }

    /// Removes it.
    pub fn discard(self) {
        // What stays is found wrong again by its checksum.
        let _ = std::fs::remove_file(beside(&self.path, DONE));
        let _ = std::fs::remove_file(beside(&self.path, PART));
    }
}

/// The pieces in a list, of a file of this length.
fn pieces(text: &[u8], len: u64) -> Vec<Range<u64>> {
    let text = String::from_utf8_lossy(text);
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let piece = |line: &str| {
        let (start, end) = line.split_once(' ')?;
        let piece = start.parse().ok()?..end.parse().ok()?;
        (piece.start < piece.end && piece.end <= len).then_some(piece)
    };
    let mut pieces: Vec<Range<u64>> = whole.lines().filter_map(piece).collect();
    pieces.sort_by_key(|piece| piece.start);
    pieces
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Opens a file to read and write, or makes it. A link is not followed: it would lead who knows where.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW);
    options.open(path)
}

/// Locks a file, which is made if it is not there, until what is returned is dropped. `waiting` is called once where another
/// program holds the lock.
pub fn lock(path: &Path, waiting: impl FnOnce()) -> io::Result<File> {
    let file = open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            waiting();
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    Ok(file)
}

/// Has `path` be a relative link to `blob`, which lies in `blobs` so many folders up; a copy where there are no links. What
/// has the name and leads there already is left.
pub fn link(blob: &Path, path: &Path, up: usize) -> io::Result<()> {
    if path
        .canonicalize()
        .ok()
        .is_some_and(|real| blob.canonicalize().is_ok_and(|blob| blob == real))
    {
        return Ok(());
    }
    #[cfg(unix)]
    {
        let mut to: PathBuf = std::iter::repeat_n("..", up).collect();
        to.push("blobs");
        to.push(blob.file_name().unwrap_or_default());
        // Under a name of its own first: another run, or another program, may be making the same link.
        let made = beside(path, &format!(".{}", std::process::id()));
        // Left by one that was killed, and had the same number.
        let _ = std::fs::remove_file(&made);
        std::os::unix::fs::symlink(to, &made)?;
        std::fs::rename(&made, path).inspect_err(|_| {
            let _ = std::fs::remove_file(&made);
        })
    }
    #[cfg(not(unix))]
    {
        let _ = up;
        std::fs::copy(blob, path).map(drop)
    }
}

/// Writes a short text that appears whole, whatever was there; its folder is made. A file that holds it already is left as
/// it is.
pub fn write_text(path: &Path, text: &str) -> io::Result<()> {
    let is_as_long = |meta: std::fs::Metadata| meta.is_file() && meta.len() == text.len() as u64;
    if path.metadata().is_ok_and(is_as_long) && std::fs::read(path)? == text.as_bytes() {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let written = OutputFile::create(path, text.len() as u64, &Inputs::new(), true).and_then(|file| {
        file.write_at(text.as_bytes(), 0)?;
        file.commit()
    });
    written.map_err(|error| io::Error::other(error.to_string()))
}

/// Bytes that can be written to the file system of a folder, where the system tells.
pub fn free_space(folder: &Path) -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        let stat = rustix::fs::statvfs(folder).ok()?;
        stat.f_bavail.checked_mul(stat.f_frsize)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = folder;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::Sha256;

    #[test]
    fn what_was_whole_is_not_missing_in_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blob");
        let partial = Partial::open(&path, 10).unwrap();
        assert_eq!(partial.missing(4), [0..4, 4..8, 8..10]);
        partial.write_at(b"efgh", 4).unwrap();
        partial.done(4..8).unwrap();
        drop(partial);
        // A line that was cut, and what is no piece of this file, count as nothing.
        let list = beside(&path, DONE);
        let text = std::fs::read_to_string(&list).unwrap();
        std::fs::write(&list, format!("{text}9 99\n7 3\nx\n0 1")).unwrap();
        assert_eq!(Partial::bytes_of(&path, 10), 4);
        let partial = Partial::open(&path, 10).unwrap();
        assert_eq!(partial.missing(100), [0..4, 8..10]);
        partial.write_at(b"abcd", 0).unwrap();
        partial.write_at(b"ij", 8).unwrap();
        assert_eq!(
            partial.digest(Sha256::new()).unwrap(),
            Sha256::digest(b"abcdefghij").to_vec()
        );
        assert!(!path.exists());
        partial.name().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"abcdefghij");
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
        // Of a file of another length nothing is taken over.
        let partial = Partial::open(&folder.path().join("other"), 3).unwrap();
        partial.done(0..3).unwrap();
        drop(partial);
        let partial = Partial::open(&folder.path().join("other"), 4).unwrap();
        assert_eq!(partial.missing(9), vec![0..4; 1]);
        partial.discard();
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_was_laid_in_the_way_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("blob"), folder.path().join("other"));
        std::fs::write(&other, "mine").unwrap();
        std::os::unix::fs::symlink(&other, beside(&path, PART)).unwrap();
        assert!(Partial::open(&path, 3).is_err());
        assert_eq!(std::fs::read(&other).unwrap(), b"mine");
    }
}
