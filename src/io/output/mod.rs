//! Output files that appear whole or not at all.
//!
//! Data goes to a file without a name (Linux) or a temporary sibling (elsewhere, and on file systems that know no
//! unnamed files), is synced, and only then gets the final name. A program that is killed, or a disk that fills up,
//! leaves the final name as it was. Links are followed first, so that a link stays one. To standard output the same bytes
//! go in order.

mod pending;
mod place;

use super::changed::ChangedInput;
use super::inputs::Inputs;
use super::mapped::MappedFile;
use super::{folder_of, write_all_at};
use pending::Pending;
use place::Place;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};

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
    #[error("{} is {what}, where no file can appear; write to standard output with `-o -` and lead that there", path.display())]
    NotAFile { path: PathBuf, what: &'static str },
    #[error("{} is a folder; name a file in it", .0.display())]
    Folder(PathBuf),
    #[error(
        "standard output is a terminal, which cannot show a file; lead it to a file or a pipe, or name an output"
    )]
    Terminal,
    #[error("standard output cannot be written: {}", super::told(.0))]
    Stdout(#[source] io::Error),
    #[error("the folder {} of the output does not exist; create it first", .0.display())]
    NoFolder(PathBuf),
    #[error(transparent)]
    Changed(#[from] ChangedInput),
    #[error("{}: cannot be written: {}", path.display(), super::told(source))]
    Io { path: PathBuf, source: io::Error },
}

impl OutputError {
    /// Whether the system is at fault, and not the path that was given.
    pub fn is_system(&self) -> bool {
        matches!(
            self,
            OutputError::Changed(_) | OutputError::Io { .. } | OutputError::Stdout(_)
        )
    }

    /// The file that it is about.
    pub fn path(&self) -> Option<&Path> {
        match self {
            OutputError::Exists(path)
            | OutputError::IsInput(path)
            | OutputError::NotAFile { path, .. }
            | OutputError::Folder(path)
            | OutputError::NoFolder(path)
            | OutputError::Changed(ChangedInput { path })
            | OutputError::Io { path, .. } => Some(path),
            OutputError::Terminal | OutputError::Stdout(_) => None,
        }
    }
}

/// An output that is being written: a file that does not have its name yet, or standard output.
#[derive(Debug)]
pub struct OutputFile {
    /// As it was given, for messages.
    path: PathBuf,
    len: u64,
    inputs: Inputs,
    force: bool,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    File {
        pending: Pending,
        /// The final name, behind all links.
        real: PathBuf,
        /// Those of the file that is replaced.
        permissions: Option<Permissions>,
    },
    Stdout(Mutex<Stream>),
}

/// Standard output and how many bytes went there.
#[derive(Debug)]
struct Stream {
    out: File,
    written: u64,
}

/// Refuses an output path that leads to one of the inputs, to an existing file where `force` is not set, to a folder, or
/// to what is no regular file. `-` is standard output, unless that is a terminal.
pub fn check(path: &Path, inputs: &Inputs, force: bool) -> Result<(), OutputError> {
    place::find(path, inputs, force).map(drop)
}

/// Writes `bytes` over the beginning of the file at `path`, which keeps the rest. This alone is not undone where it is cut
/// off: the caller keeps what was there.
pub fn overwrite(path: &Path, bytes: &[u8], inputs: &Inputs) -> Result<(), OutputError> {
    inputs.check_unchanged()?;
    let written = File::options().write(true).open(path).and_then(|file| {
        write_all_at(&file, bytes, 0)?;
        file.sync_all()
    });
    written.map_err(|source| OutputError::Io {
        path: path.to_owned(),
        source,
    })
}

impl OutputFile {
    /// Begins a file of `len` bytes, all zero. See [`check`] for when `path` is refused.
    pub fn create(path: &Path, len: u64, inputs: &Inputs, force: bool) -> Result<OutputFile, OutputError> {
        let fail = |source| OutputError::Io {
            path: path.to_owned(),
            source,
        };
        let sink = match place::find(path, inputs, force)? {
            Place::Stdout => Sink::Stdout(Mutex::new(Stream {
                out: stdout_file().map_err(OutputError::Stdout)?,
                written: 0,
            })),
            Place::File(real, permissions) => {
                let pending = Pending::create(&real).map_err(fail)?;
                pending.file().set_len(len).map_err(fail)?;
                Sink::File {
                    pending,
                    real,
                    permissions,
                }
            }
        };
        Ok(OutputFile {
            path: path.to_owned(),
            len,
            inputs: inputs.clone(),
            force,
            sink,
        })
    }

    /// Whether the bytes must come in order, one after another.
    pub fn is_stream(&self) -> bool {
        matches!(self.sink, Sink::Stdout(_))
    }

    /// Writes `bytes` at `offset`. To a file threads may write at different places at the same time; in a stream each
    /// place lies behind the one before, and zeros fill what is between.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), OutputError> {
        let result = match &self.sink {
            Sink::File { pending, .. } => write_all_at(pending.file(), bytes, offset),
            Sink::Stdout(stream) => lock(stream).write_at(bytes, offset),
        };
        result.map_err(|source| self.error(source))
    }

    /// Why writing failed. What was to be written may be mapped, and an input that shrank cannot be read for it.
    fn error(&self, source: io::Error) -> OutputError {
        match (self.inputs.check_unchanged(), &self.sink) {
            (Err(changed), _) => changed.into(),
            (Ok(()), Sink::Stdout(_)) => OutputError::Stdout(source),
            (Ok(()), Sink::File { .. }) => OutputError::Io {
                path: self.path.clone(),
                source,
            },
        }
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
        let done = match &self.sink {
            Sink::File { pending, .. } => {
                copy_range(source.file(), from, pending.file(), offset, bytes.len())
            }
            Sink::Stdout(_) => 0,
        };
        // Where the kernel cannot copy, or stopped early, writing does the rest or finds the reason.
        match bytes.get(done..) {
            None | Some([]) => Ok(()),
            Some(rest) => {
                // It stops early too where the source has become shorter.
                self.inputs.check_unchanged()?;
                self.write_at(rest, offset + done as u64)
            }
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
        let flushed = |()| match &self.sink {
            Sink::File { pending, .. } => pending.file().sync_data(),
            Sink::Stdout(_) => Ok(()),
        };
        let (result, flushes) = std::thread::scope(|scope| {
            let flusher = std::thread::Builder::new()
                .spawn_scoped(scope, move || woken.into_iter().try_for_each(flushed));
            let result = work(&|bytes| {
                let before = written.fetch_add(bytes, Relaxed);
                if before / FLUSHED_AT_ONCE != (before + bytes) / FLUSHED_AT_ONCE {
                    // A flusher that failed has gone; its error is waiting below.
                    let _ = wake.send(());
                }
            });
            drop(wake);
            let panicked = |_| Err(io::Error::other("the thread that flushes the output panicked"));
            // Without a thread to spare, `commit` does all of it.
            let flushes = flusher.map_or(Ok(()), |flusher| flusher.join().unwrap_or_else(panicked));
            (result, flushes)
        });
        // The system reports a failed flush once, so it counts though `commit` flushes again.
        flushes.map_err(|source| self.error(source))?;
        Ok(result)
    }

    /// Makes sure that no input changed meanwhile and that the data is on the disk, then gives the file its name.
    pub fn commit(self) -> Result<(), OutputError> {
        OutputFile::commit_all(vec![self])
    }

    /// [`commit`](OutputFile::commit) of several: none gets its name before all are on the disk, and where one cannot have
    /// its name the others lose theirs, but for those that replaced a file.
    pub fn commit_all(outputs: Vec<OutputFile>) -> Result<(), OutputError> {
        outputs.iter().try_for_each(OutputFile::settle)?;
        let mut new = Vec::new();
        for output in outputs {
            match output.name() {
                Ok(Some(path)) => new.push(path),
                Ok(None) => {}
                Err(error) => {
                    for path in new {
                        let _ = std::fs::remove_file(path);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Puts all of it on the disk and sees that nothing keeps it from having its name.
    fn settle(&self) -> Result<(), OutputError> {
        match &self.sink {
            Sink::Stdout(stream) => {
                let result = lock(stream).write_at(&[], self.len);
                result.map_err(|source| self.error(source))?;
                Ok(self.inputs.check_unchanged()?)
            }
            Sink::File { pending, .. } => {
                let synced = pending.file().sync_all();
                synced.map_err(|source| self.error(source))?;
                self.inputs.check_unchanged()?;
                // What was opened since the beginning is not replaced either.
                check(&self.path, &self.inputs, self.force)
            }
        }
    }

    /// Gives the file its name, which is told if there was no file of it.
    fn name(self) -> Result<Option<PathBuf>, OutputError> {
        let OutputFile {
            path, force, sink, ..
        } = self;
        let Sink::File {
            pending,
            real,
            permissions,
        } = sink
        else {
            return Ok(None);
        };
        let is_new = permissions.is_none();
        let named = pending.name(&real, force, permissions);
        named.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => OutputError::Exists(path.clone()),
            _ => OutputError::Io { path, source },
        })?;
        // The name itself is on the disk once the folder is; not every system can sync a folder.
        let _ = File::open(folder_of(&real)).and_then(|folder| folder.sync_all());
        Ok(is_new.then_some(real))
    }
}

impl Stream {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let gap = offset
            .checked_sub(self.written)
            .ok_or_else(|| io::Error::other("a stream cannot go back"))?;
        io::copy(&mut io::Read::take(io::repeat(0), gap), &mut self.out)?;
        self.out.write_all(bytes)?;
        self.written = offset + bytes.len() as u64;
        Ok(())
    }
}

fn lock(stream: &Mutex<Stream>) -> MutexGuard<'_, Stream> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Standard output as a file, without the buffer by lines.
fn stdout_file() -> io::Result<File> {
    #[cfg(unix)]
    let handle = std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned()?;
    #[cfg(windows)]
    let handle = std::os::windows::io::AsHandle::as_handle(&io::stdout()).try_clone_to_owned()?;
    Ok(handle.into())
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
            Err(OutputError::Folder(_))
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
        let part = map.bytes(1234..60_000).unwrap().unwrap();
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

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one_and_a_replaced_file_keeps_its_mode() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        symlink("real", &link).unwrap();
        let write = || {
            let output = OutputFile::create(&link, 3, &Inputs::new(), true).unwrap();
            output.write_at(b"new", 0).unwrap();
            output.commit().unwrap();
        };
        // At first it leads to nothing.
        write();
        std::fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
        std::fs::write(&real, "old!").unwrap();
        write();
        assert!(link.is_symlink() && !real.is_symlink());
        assert_eq!(std::fs::read(&real).unwrap(), b"new");
        assert_eq!(real.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        std::fs::remove_file(&real).unwrap();
        symlink("/dev/null", &real).unwrap();
        let device = check(&link, &Inputs::new(), true);
        assert!(matches!(
            device,
            Err(OutputError::NotAFile { what: "a device", .. })
        ));
        std::fs::remove_file(&real).unwrap();
        symlink("link", &real).unwrap();
        assert!(matches!(
            check(&link, &Inputs::new(), true),
            Err(OutputError::Io { .. })
        ));
    }
}
