//! Every file that is read is opened here, so that it is known: no output replaces one, and none that changes while it
//! is read goes unnoticed.
//!
//! Only regular files are read. Models are mapped and read at any place, more than once, which a pipe or a device does
//! not allow; texts are held to the same rule, so that no path makes the program wait for a writer.

use super::changed::ChangedInput;
use super::distant::{Distant, FetchError, Fetched};
use super::kind::FileKind;
use super::mapped::{MappedFile, MappedText};
use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most bytes that are read of a text, by what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextLimit(u64);

impl TextLimit {
    /// Settings, templates, model cards, architecture files, prompts.
    pub const SETTINGS: TextLimit = TextLimit(16 << 20);
    /// Vocabularies, indexes of shards, lists of checksums.
    pub const LIST: TextLimit = TextLimit(256 << 20);

    fn check(self, len: u64) -> Result<(), ReadError> {
        match len > self.0 {
            true => Err(ReadError::TooLong { len, limit: self.0 }),
            false => Ok(()),
        }
    }
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Nothing is at the path.
    #[error("no such file or folder; check the path")]
    NotFound,
    /// A symlink that leads to nothing.
    #[error("this is a link to {}, which is not there; download the file again", .0.display())]
    Dangling(PathBuf),
    /// A folder where a file is needed.
    #[error("this is a folder, not a file; name the file in it")]
    Folder,
    /// Something without a length that is read at most once, in words.
    #[error("this is {0}, and only regular files can be read; save it to a file first")]
    Special(&'static str),
    /// A text that is longer than any of its kind.
    #[error("{len} bytes are more than the {limit} that are read of a text of this kind; it is another file")]
    TooLong {
        /// Its length.
        len: u64,
        /// The most that is read.
        limit: u64,
    },
    /// A text that is none.
    #[error("not valid UTF-8 at offset {offset}; save it as UTF-8")]
    NotUtf8 {
        /// Where the first wrong byte stands.
        offset: usize,
    },
    /// Length, time of change or identity are not what they were when it was opened.
    #[error("changed while it was read; run it again when nothing writes to it")]
    Changed,
    /// It lies elsewhere and did not come.
    #[error("cannot be fetched: {0}")]
    Fetch(#[from] FetchError),
    /// It lies elsewhere, and all of it is needed.
    #[error("only parts of it are here, and all of it is needed; get it with --download")]
    Distant,
    /// The operating system refused.
    #[error("cannot be read: {}", super::told(.0))]
    System(#[from] io::Error),
}

impl ReadError {
    /// Whether the system is at fault, and not the path that was given or what is there.
    pub fn is_system(&self) -> bool {
        match self {
            ReadError::Changed | ReadError::System(_) => true,
            ReadError::Fetch(error) => error.is_system(),
            _ => false,
        }
    }
}

/// The files that were opened. Clones share what they know.
#[derive(Debug, Clone, Default)]
pub struct Inputs(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    read: Vec<Input>,
    /// Files that belong to an input, read or not.
    kept: Vec<Identity>,
    /// Files elsewhere, by the names that stand for paths.
    distant: BTreeMap<PathBuf, Attached>,
}

/// A file elsewhere.
#[derive(Debug)]
struct Attached {
    source: Arc<dyn Distant>,
    /// What is here of it, once it was read.
    fetched: Option<Arc<Fetched>>,
}

#[derive(Debug)]
struct Input {
    path: PathBuf,
    state: State,
}

/// What tells whether a file is the one that it was.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    identity: Identity,
    len: u64,
    modified: Option<std::time::SystemTime>,
}

/// A file, whatever it is called: device and inode.
#[cfg(unix)]
type Identity = (u64, u64);

/// A file, by its path without links.
#[cfg(not(unix))]
type Identity = PathBuf;

impl Inputs {
    /// No file is open yet.
    pub fn new() -> Inputs {
        Inputs::default()
    }

    /// Has `name` stand for a file elsewhere, wherever a path is read; names within another stand for files in a folder.
    /// Nothing travels yet.
    pub fn attach(&self, name: &Path, source: Arc<dyn Distant>) {
        let fetched = None;
        let attached = Attached { source, fetched };
        self.known().distant.insert(name.to_owned(), attached);
    }

    /// The files elsewhere of which something was read: the bytes that travelled, and the length.
    pub fn travelled(&self) -> Vec<(PathBuf, u64, u64)> {
        let known = self.known();
        let read = known.distant.iter().filter_map(|(name, attached)| {
            let fetched = attached.fetched.as_ref()?;
            Some((name.clone(), fetched.travelled(), fetched.file_len()))
        });
        read.collect()
    }

    /// The files on this machine that were opened, each with its length.
    pub fn opened(&self) -> Vec<(PathBuf, u64)> {
        let known = self.known();
        let file = |input: &Input| (input.path.clone(), input.state.len);
        known.read.iter().map(file).collect()
    }

    fn distant(&self, path: &Path) -> Result<Option<Arc<Fetched>>, ReadError> {
        let mut known = self.known();
        let Some(attached) = known.distant.get_mut(path) else {
            return Ok(None);
        };
        let fetched = match &attached.fetched {
            Some(fetched) => fetched.clone(),
            None => Arc::new(Fetched::new(attached.source.clone())?),
        };
        attached.fetched = Some(fetched.clone());
        Ok(Some(fetched))
    }

    /// Maps the file at `path`, following symlinks. Of a file elsewhere nothing travels yet.
    pub fn map(&self, path: &Path) -> Result<MappedFile, ReadError> {
        if let Some(fetched) = self.distant(path)? {
            return Ok(MappedFile::distant(fetched)?);
        }
        let (file, len) = self.open(path)?;
        Ok(MappedFile::map(file, len, path)?)
    }

    /// Maps a text of at most this length, all of which travels where it lies elsewhere.
    pub fn map_text(&self, path: &Path, limit: TextLimit) -> Result<MappedText, ReadError> {
        let map = self.map(path)?;
        limit.check(map.len() as u64)?;
        Ok(MappedText::of(map)?)
    }

    /// A whole file of at most this length, wherever it lies.
    pub fn read(&self, path: &Path, limit: TextLimit) -> Result<Vec<u8>, ReadError> {
        if let Some(fetched) = self.distant(path)? {
            limit.check(fetched.file_len())?;
            let map = MappedFile::distant(fetched)?;
            return Ok(map.front(map.len())?.to_owned());
        }
        let (file, len) = self.open(path)?;
        limit.check(len)?;
        // One byte more than there was shows a file that grows.
        let mut bytes = Vec::new();
        file.take(len + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 == len {
            true => Ok(bytes),
            false => Err(ReadError::Changed),
        }
    }

    /// A whole text of at most this length, without a byte order mark.
    pub fn text(&self, path: &Path, limit: TextLimit) -> Result<String, ReadError> {
        text(self.read(path, limit)?)
    }

    /// All of standard input, up to this length.
    pub fn stdin(&self, limit: TextLimit) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        io::stdin().lock().take(limit.0 + 1).read_to_end(&mut bytes)?;
        limit.check(bytes.len() as u64)?;
        Ok(bytes)
    }

    /// Whether a folder is at `path`, or else a file that can be opened.
    pub fn is_folder(&self, path: &Path) -> Result<bool, ReadError> {
        if let Some(is_folder) = self.is_distant_folder(path) {
            return Ok(is_folder);
        }
        match metadata(path) {
            Ok(_) => Ok(false),
            Err(ReadError::Folder) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Of a name that stands for what lies elsewhere: whether that is a folder.
    fn is_distant_folder(&self, path: &Path) -> Option<bool> {
        let known = self.known();
        let mut from_here = known.distant.range(path.to_owned()..).map(|(name, _)| name);
        let first = from_here.find(|name| name.starts_with(path))?;
        Some(first != path)
    }

    /// Whether anything is at the path, a link that leads nowhere too: whoever opens it tells why it cannot be read.
    pub fn is_there(&self, path: &Path) -> bool {
        let gone = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
        let is_here = || {
            path.symlink_metadata()
                .map_or_else(|error| !gone.contains(&error.kind()), |_| true)
        };
        self.is_distant_folder(path).is_some() || is_here()
    }

    /// The paths of what is in a folder, in order.
    pub fn in_folder(&self, folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
        let mut paths = Vec::new();
        if self.is_distant_folder(folder) == Some(true) {
            let known = self.known();
            let within = known.distant.keys().filter(|name| name.parent() == Some(folder));
            paths.extend(within.cloned());
        } else {
            for entry in std::fs::read_dir(folder)? {
                paths.push(entry?.path());
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// Keeps outputs from replacing the file at `path`, if there is one, though it is not read.
    pub fn keep(&self, path: &Path) {
        if let Ok(meta) = path.metadata()
            && let Ok(identity) = identity(path, &meta)
        {
            self.known().kept.push(identity);
        }
    }

    /// Holds every file against what it was when it was opened.
    pub fn check_unchanged(&self) -> Result<(), ChangedInput> {
        let known = self.known();
        let is_changed = |input: &&Input| {
            let now = input.path.metadata();
            let now = now.ok().and_then(|meta| State::of(&input.path, &meta).ok());
            now.as_ref() != Some(&input.state)
        };
        match known.read.iter().find(is_changed) {
            Some(input) => Err(ChangedInput {
                path: input.path.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Whether `path` leads to one of the files.
    pub(super) fn contains(&self, path: &Path) -> bool {
        let Ok(identity) = path.metadata().and_then(|meta| identity(path, &meta)) else {
            return false;
        };
        let known = self.known();
        known.kept.contains(&identity) || known.read.iter().any(|input| input.state.identity == identity)
    }

    /// Opens a file and remembers it; its length too.
    fn open(&self, path: &Path) -> Result<(File, u64), ReadError> {
        // Looked at before it is opened: opening a pipe waits for a writer, and opening a device may set it going.
        metadata(path)?;
        let mut options = OpenOptions::new();
        options.read(true);
        // What is there may have become a pipe meanwhile; a regular file does not mind.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
        let file = options.open(path)?;
        let meta = file.metadata()?;
        refuse_special(&meta)?;
        if meta.len() == 0 && (&file).read(&mut [0]).is_ok_and(|read| read > 0) {
            return Err(ReadError::Special("made by the system as it is read"));
        }
        let state = State::of(path, &meta)?;
        let len = state.len;
        let mut known = self.known();
        if !known
            .read
            .iter()
            .any(|input| input.path == path && input.state == state)
        {
            known.read.push(Input {
                path: path.to_owned(),
                state,
            });
        }
        Ok((file, len))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Entries are only added, whole, so that a thread that panicked leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MappedFile {
    /// All of it. Refused where the file lies elsewhere.
    pub fn whole(&self) -> Result<&[u8], ReadError> {
        self.local().ok_or(ReadError::Distant)
    }

    /// The first bytes, by which the kind of the file is told.
    pub fn start(&self) -> Result<&[u8], FetchError> {
        let len = self.len().min(FileKind::LOOKED_AT);
        Ok(self.bytes(0..len as u64)?.unwrap_or_default())
    }
}

impl State {
    fn of(path: &Path, meta: &Metadata) -> io::Result<State> {
        Ok(State {
            identity: identity(path, meta)?,
            len: meta.len(),
            modified: meta.modified().ok(),
        })
    }
}

/// A file's bytes as text, without a byte order mark.
fn text(bytes: Vec<u8>) -> Result<String, ReadError> {
    let text = String::from_utf8(bytes).map_err(|error| ReadError::NotUtf8 {
        offset: error.utf8_error().valid_up_to(),
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(text) => text.to_owned(),
        None => text,
    })
}

/// What can be known of a regular file without opening it.
fn metadata(path: &Path) -> Result<Metadata, ReadError> {
    if path.as_os_str() == "-" {
        return Err(ReadError::Special("standard input (a file of this name is ./-)"));
    }
    let meta = path.metadata().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => match path.read_link() {
            Ok(to) => ReadError::Dangling(to),
            Err(_) => ReadError::NotFound,
        },
        io::ErrorKind::NotADirectory => ReadError::NotFound,
        _ => ReadError::System(error),
    })?;
    refuse_special(&meta)?;
    Ok(meta)
}

fn refuse_special(meta: &Metadata) -> Result<(), ReadError> {
    if meta.is_file() {
        Ok(())
    } else if meta.is_dir() {
        Err(ReadError::Folder)
    } else {
        Err(ReadError::Special(kind_in_words(meta)))
    }
}

/// What is neither file nor folder, in words.
pub(super) fn kind_in_words(meta: &Metadata) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = meta.file_type();
        if kind.is_fifo() {
            return "a pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    let _ = meta;
    "no regular file"
}

#[cfg(unix)]
fn identity(_: &Path, meta: &Metadata) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    Ok((meta.dev(), meta.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path, _: &Metadata) -> io::Result<Identity> {
    path.canonicalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in");
        std::fs::write(&path, content).unwrap();
        (folder, path)
    }

    #[test]
    fn a_file_is_known_by_any_name_once_it_is_opened() {
        let (folder, path) = file(b"x");
        let inputs = Inputs::new();
        assert!(!inputs.contains(&path));
        assert_eq!(inputs.read(&path, TextLimit::SETTINGS).unwrap(), b"x");
        let link = folder.path().join("link");
        std::fs::hard_link(&path, &link).unwrap();
        assert!(inputs.contains(&path) && inputs.contains(&link));
        assert!(!inputs.contains(&folder.path().join("other")));
    }

    #[test]
    fn a_change_is_seen_whether_in_length_time_or_file() {
        let changes: [fn(&Path); 4] = [
            |path| std::fs::write(path, "xy").unwrap(),
            |path| {
                let file = OpenOptions::new().write(true).open(path).unwrap();
                file.set_modified(std::time::UNIX_EPOCH).unwrap();
            },
            |path| {
                let state = path.metadata().unwrap().modified().unwrap();
                let other = path.with_extension("other");
                std::fs::write(&other, "x").unwrap();
                File::open(&other).unwrap().set_modified(state).unwrap();
                std::fs::rename(&other, path).unwrap();
            },
            |path| std::fs::remove_file(path).unwrap(),
        ];
        for change in changes {
            let (_folder, path) = file(b"x");
            let inputs = Inputs::new();
            inputs.map(&path).unwrap();
            inputs.check_unchanged().unwrap();
            change(&path);
            assert_eq!(inputs.check_unchanged(), Err(ChangedInput { path }));
        }
    }

    #[test]
    fn a_text_is_bounded_and_loses_its_mark() {
        let (_folder, path) = file(b"\xef\xbb\xbf{}");
        let inputs = Inputs::new();
        assert_eq!(inputs.text(&path, TextLimit::SETTINGS).unwrap(), "{}");
        let limit = TextLimit(4);
        assert!(matches!(
            inputs.text(&path, limit),
            Err(ReadError::TooLong { len: 5, limit: 4 })
        ));
        let (_folder, path) = file(b"ab\xff");
        assert!(matches!(
            inputs.text(&path, limit),
            Err(ReadError::NotUtf8 { offset: 2 })
        ));
    }

    #[test]
    fn what_is_no_file_is_named() {
        let (folder, path) = file(b"");
        let inputs = Inputs::new();
        let error = |path: &Path| inputs.map(path).unwrap_err();
        assert!(inputs.map(&path).unwrap().is_empty());
        assert!(matches!(error(folder.path()), ReadError::Folder));
        assert!(matches!(error(&folder.path().join("no")), ReadError::NotFound));
        assert!(matches!(error(&path.join("no")), ReadError::NotFound));
        assert!(matches!(error(Path::new("-")), ReadError::Special(_)));
        #[cfg(unix)]
        {
            let link = folder.path().join("link");
            std::os::unix::fs::symlink("nowhere", &link).unwrap();
            assert!(matches!(error(&link), ReadError::Dangling(_)));
            assert!(matches!(
                error(Path::new("/dev/zero")),
                ReadError::Special("a device")
            ));
        }
        #[cfg(target_os = "linux")]
        assert!(matches!(
            error(Path::new("/proc/self/status")),
            ReadError::Special(_)
        ));
    }
}
