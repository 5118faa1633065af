//! Output files that appear whole or not at all.
//!
//! Data goes to a file without a name (Linux) or a temporary sibling (elsewhere, and on file systems that know no
//! unnamed files), is synced, and only then gets the final name. A program that is killed, or a disk that fills up,
//! leaves the final name as it was.

use super::inputs::{ChangedInput, Inputs};
use super::mapped::MappedFile;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use tempfile::NamedTempFile;

/// Bytes between two flushes while a file is being written.
const FLUSHED_AT_ONCE: u64 = 64 << 20;

/// Why an output file could not be made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum OutputError {
    #[error("{} exists already; pass --force to replace it", .0.display())]
    Exists(PathBuf),
    #[error("{} is one of the inputs; name another output", .0.display())]
    IsInput(PathBuf),
    #[error("{} is no regular file, so it is not replaced; name another output", .0.display())]
    NotAFile(PathBuf),
    #[error("the folder {} of the output does not exist; create it first", .0.display())]
    NoFolder(PathBuf),
    #[error(transparent)]
    Changed(#[from] ChangedInput),
    #[error("{}: cannot be written: {}", path.display(), super::told(source))]
    Io { path: PathBuf, source: io::Error },
}

impl OutputError {
    /// The file that it is about.
    pub fn path(&self) -> Option<&Path> {
        match self {
            OutputError::Exists(path)
            | OutputError::IsInput(path)
            | OutputError::NotAFile(path)
            | OutputError::NoFolder(path)
            | OutputError::Changed(ChangedInput { path })
            | OutputError::Io { path, .. } => Some(path),
        }
    }
}

/// A file that is being written and does not have its name yet.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    inputs: Inputs,
    force: bool,
    pending: Pending,
}

#[derive(Debug)]
enum Pending {
    /// A file without a name, which the system drops if it never gets one.
    #[cfg(target_os = "linux")]
    Unnamed(File),
    /// A temporary file beside the final name, deleted when dropped.
    Named(NamedTempFile),
}

/// Refuses an output path that is one of the inputs, or exists where `force` is not set, or is no regular file.
pub fn check(path: &Path, inputs: &Inputs, force: bool) -> Result<(), OutputError> {
    let parent = parent(path);
    if !parent.is_dir() {
        return Err(OutputError::NoFolder(parent.to_owned()));
    }
    let Ok(meta) = path.symlink_metadata() else {
        return Ok(());
    };
    if inputs.contains(path) {
        return Err(OutputError::IsInput(path.to_owned()));
    }
    // A link is replaced, not what it leads to.
    if !meta.is_file() && !meta.is_symlink() {
        return Err(OutputError::NotAFile(path.to_owned()));
    }
    if !force {
        return Err(OutputError::Exists(path.to_owned()));
    }
    Ok(())
}

impl OutputFile {
    /// Begins a file of `len` bytes, all zero. See [`check`] for when `path` is refused.
    pub fn create(path: &Path, len: u64, inputs: &Inputs, force: bool) -> Result<OutputFile, OutputError> {
        check(path, inputs, force)?;
        let fail = |source| OutputError::Io {
            path: path.to_owned(),
            source,
        };
        let pending = Pending::create(path).map_err(fail)?;
        let output = OutputFile {
            path: path.to_owned(),
            inputs: inputs.clone(),
            force,
            pending,
        };
        output.file().set_len(len).map_err(fail)?;
        Ok(output)
    }

    fn file(&self) -> &File {
        match &self.pending {
            #[cfg(target_os = "linux")]
            Pending::Unnamed(file) => file,
            Pending::Named(file) => file.as_file(),
        }
    }

    /// Writes `bytes` at `offset`. Threads may write at different places at the same time.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), OutputError> {
        write_all_at(self.file(), bytes, offset).map_err(|source| OutputError::Io {
            path: self.path.clone(),
            source,
        })
    }

    /// Writes `bytes`, which stand in `source` at `from`, at `offset`; on Linux the kernel copies them from file to
    /// file, without a page fault for each page of the map.
    pub fn copy_at(
        &self,
        source: &MappedFile,
        from: u64,
        bytes: &[u8],
        offset: u64,
    ) -> Result<(), OutputError> {
        let done = copy_range(source.file(), from, self.file(), offset, bytes.len());
        // Where the kernel cannot copy, or stopped early, writing does the rest or finds the reason.
        match bytes.get(done..) {
            None | Some([]) => Ok(()),
            Some(rest) => self.write_at(rest, offset + done as u64),
        }
    }

    /// Does `work`, which writes to this file and tells its argument how many bytes it wrote, while a thread puts on
    /// the disk what is there already, so that [`commit`](OutputFile::commit) has little left to wait for.
    pub fn flush_meanwhile<T>(
        &self,
        work: impl FnOnce(&(dyn Fn(u64) + Sync)) -> T,
    ) -> Result<T, OutputError> {
        let written = AtomicU64::new(0);
        let (wake, woken) = mpsc::channel();
        let flushed = |()| self.file().sync_data();
        let (result, flushes) = std::thread::scope(|scope| {
            let flusher = scope.spawn(|| woken.into_iter().try_for_each(flushed));
            let result = work(&|bytes| {
                let before = written.fetch_add(bytes, Relaxed);
                if before / FLUSHED_AT_ONCE != (before + bytes) / FLUSHED_AT_ONCE {
                    // A flusher that failed has gone; its error is waiting below.
                    let _ = wake.send(());
                }
            });
            drop(wake);
            let panicked = |_| Err(io::Error::other("the thread that flushes the output panicked"));
            (result, flusher.join().unwrap_or_else(panicked))
        });
        // The system reports a failed flush once, so it counts though `commit` flushes again.
        flushes.map_err(|source| OutputError::Io {
            path: self.path.clone(),
            source,
        })?;
        Ok(result)
    }

    /// Makes sure that no input changed meanwhile and that the data is on the disk, then gives the file its name.
    pub fn commit(self) -> Result<(), OutputError> {
        self.inputs.check_unchanged()?;
        // What was opened since the beginning is not replaced either.
        check(&self.path, &self.inputs, self.force)?;
        let path = self.path.clone();
        let result = self.file().sync_all().and_then(|()| match self.pending {
            #[cfg(target_os = "linux")]
            Pending::Unnamed(file) => link(&file, &self.path, self.force),
            Pending::Named(file) if self.force => file.persist(&self.path).map(drop).map_err(|e| e.error),
            Pending::Named(file) => file.persist_noclobber(&self.path).map(drop).map_err(|e| e.error),
        });
        result.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => OutputError::Exists(path.clone()),
            _ => OutputError::Io {
                path: path.clone(),
                source,
            },
        })?;
        // The name itself is on the disk once the folder is; not every system can sync a folder.
        let _ = File::open(parent(&path)).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

impl Pending {
    fn create(path: &Path) -> io::Result<Pending> {
        #[cfg(target_os = "linux")]
        if let Some(file) = unnamed_file(parent(path)) {
            return Ok(Pending::Unnamed(file));
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".gguf-conv-").suffix(".part");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        builder.tempfile_in(parent(path)).map(Pending::Named)
    }
}

/// A file without a name in this folder, where the file system has such files.
#[cfg(target_os = "linux")]
fn unnamed_file(folder: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(folder, flags, Mode::from_raw_mode(0o666)).ok()?;
    // Naming it later goes through /proc.
    Path::new("/proc/self/fd").is_dir().then(|| file.into())
}

/// Gives an unnamed file its name. Links never replace, so with `force` the file gets a temporary name first.
#[cfg(target_os = "linux")]
fn link(file: &File, path: &Path, force: bool) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, linkat};
    use std::os::fd::AsRawFd;
    let source = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link_as = |name: &Path| linkat(CWD, source.as_str(), CWD, name, AtFlags::SYMLINK_FOLLOW);
    if force && path.symlink_metadata().is_ok() {
        let temporary = tempfile::Builder::new()
            .prefix(".gguf-conv-")
            .suffix(".part")
            .make_in(parent(path), |name| link_as(name).map_err(io::Error::from))?;
        return temporary.persist(path).map(drop).map_err(|e| e.error);
    }
    link_as(path).map_err(io::Error::from)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Copies as much as the kernel can between two files; how many bytes that were.
#[cfg(target_os = "linux")]
fn copy_range(source: &File, mut from: u64, to: &File, mut offset: u64, len: usize) -> usize {
    let mut done = 0;
    while done < len {
        match rustix::fs::copy_file_range(source, Some(&mut from), to, Some(&mut offset), len - done) {
            Ok(0) => break,
            Ok(copied) => done += copied,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => break,
        }
    }
    done
}

#[cfg(not(target_os = "linux"))]
fn copy_range(_: &File, _: u64, _: &File, _: u64, _: usize) -> usize {
    0
}

#[cfg(unix)]
fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_its_name_only_when_committed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let output = OutputFile::create(&path, 4, &Inputs::new(), false).unwrap();
        output.write_at(b"ab", 1).unwrap();
        assert!(!path.exists());
        output.commit().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"\0ab\0");
        let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(names.len(), 1);
    }

    #[test]
    fn an_existing_file_stays_unless_forced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        std::fs::write(&path, "old").unwrap();
        assert!(matches!(
            OutputFile::create(&path, 3, &Inputs::new(), false),
            Err(OutputError::Exists(_))
        ));
        drop(OutputFile::create(&path, 3, &Inputs::new(), true).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        let output = OutputFile::create(&path, 3, &Inputs::new(), true).unwrap();
        output.write_at(b"new", 0).unwrap();
        output.commit().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_file_that_appears_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let output = OutputFile::create(&path, 3, &Inputs::new(), false).unwrap();
        std::fs::write(&path, "mine").unwrap();
        assert!(matches!(output.commit(), Err(OutputError::Exists(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }

    #[test]
    fn inputs_folders_and_missing_folders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("in");
        std::fs::write(&input, "x").unwrap();
        let link = folder.path().join("link");
        std::fs::hard_link(&input, &link).unwrap();
        let inputs = Inputs::new();
        inputs.map(&input).unwrap();
        for same in [&input, &link] {
            assert!(matches!(check(same, &inputs, true), Err(OutputError::IsInput(_))));
        }
        assert!(matches!(
            check(folder.path(), &Inputs::new(), true),
            Err(OutputError::NotAFile(_))
        ));
        assert!(matches!(
            check(&folder.path().join("no/out"), &Inputs::new(), false),
            Err(OutputError::NoFolder(_))
        ));
    }

    #[test]
    fn parts_of_a_file_are_copied_by_the_kernel_or_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        let (source, out) = (folder.path().join("source"), folder.path().join("out"));
        let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&source, &bytes).unwrap();
        let map = Inputs::new().map(&source).unwrap();
        let part = &map[1234..60_000];
        let from = map.position(part).unwrap();
        assert_eq!(from, 1234);
        assert_eq!(map.position(&bytes[1234..60_000]), None);

        let output = OutputFile::create(&out, 120_000, &Inputs::new(), false).unwrap();
        output.copy_at(&map, from, part, 7).unwrap();
        // Behind the end of the source the kernel finds nothing to copy.
        output.copy_at(&map, 100_000, part, 60_007).unwrap();
        output.commit().unwrap();
        let written = std::fs::read(&out).unwrap();
        assert_eq!(written.len(), 120_000);
        assert!(written[..7].iter().all(|byte| *byte == 0));
        assert!(written[7..7 + part.len()] == *part);
        assert!(written[60_007..60_007 + part.len()] == *part);
    }

    #[test]
    fn a_flush_does_not_lose_what_is_written_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let len = 3 * FLUSHED_AT_ONCE;
        let output = OutputFile::create(&out, len, &Inputs::new(), false).unwrap();
        let piece = vec![7; 1 << 20];
        let written = output.flush_meanwhile(|wrote| {
            (0..len).step_by(piece.len()).try_for_each(|offset| {
                output.write_at(&piece, offset)?;
                wrote(piece.len() as u64);
                Ok::<_, OutputError>(())
            })
        });
        written.unwrap().unwrap();
        output.commit().unwrap();
        assert!(std::fs::read(&out).unwrap().iter().all(|byte| *byte == 7));
    }
}
