//! Downloads into the cache, in the layout of huggingface_hub, so that other programs find what was fetched.
//!
//! A file comes in pieces, several at a time, into `blobs/CHECKSUM.gguf-conv`, and a list beside it tells which are whole,
//! so that a run that was cut goes on there. Only once its checksum is right does it get its name, and only then is it
//! linked from the snapshot.

use super::Hub;
use super::error::HubError;
use super::repository::{Checksum, RemoteFile, RepoFile, Repository};
use crate::io::partial::{self, Partial};
use crate::source::HubName;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Bytes that are fetched as one.
const PIECE: u64 = 16 << 20;
/// Pieces that are fetched at a time.
const AT_A_TIME: usize = 4;

/// What happens during a download.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// So many bytes are to come, with those that are here already.
    Total(u64),
    /// So many bytes are here.
    Here(u64),
    /// Another program fetches this file; it is waited for.
    Waiting(&'a str),
}

/// Is told what happens, from any thread.
pub type Watcher<'a> = &'a (dyn Fn(Event) + Sync);

impl Hub {
    /// Fetches files of a repository into the cache; the snapshot's folder.
    pub fn download(
        &self,
        name: &HubName,
        repository: &Repository,
        files: &[&RepoFile],
        cache: &Path,
        watcher: Watcher,
    ) -> Result<PathBuf, HubError> {
        let folder = cache.join(name.folder());
        let layout = Layout {
            blobs: folder.join("blobs"),
            snapshot: folder.join("snapshots").join(&repository.commit),
            locks: cache.join(".locks").join(name.folder()),
        };
        for folder in [&layout.blobs, &layout.locks] {
            make(folder)?;
        }
        let needed: u64 = files.iter().map(|file| layout.missing(file)).sum();
        if let Some(free) = partial::free_space(&layout.blobs).filter(|free| *free < needed) {
            let folder = layout.blobs;
            return Err(HubError::NoSpace { folder, free, needed });
        }
        watcher(Event::Total(files.iter().map(|file| file.size).sum()));
        for file in files {
            let blob = layout.blobs.join(file.checksum.digits());
            self.fetch(repository, file, &blob, &layout.locks, watcher)?;
        }
        // A run that is ended before leaves no snapshot that looks whole.
        make(&layout.snapshot)?;
        for file in files {
            let blob = layout.blobs.join(file.checksum.digits());
            link(&layout.snapshot, &file.path, &blob)?;
        }
        if name.revision() != repository.commit {
            let path = folder.join("refs").join(name.revision());
            let lock = layout.locks.join(format!("{}.lock", repository.commit));
            // Another run of the same may have written it just now, and be reading it.
            let written =
                partial::lock(&lock, || ()).and_then(|_lock| partial::write_text(&path, &repository.commit));
            written.map_err(|source| HubError::Io { path, source })?;
        }
        Ok(layout.snapshot)
    }

    fn fetch(
        &self,
        repository: &Repository,
        file: &RepoFile,
        blob: &Path,
        locks: &Path,
        watcher: Watcher,
    ) -> Result<(), HubError> {
        let is_there = || {
            blob.metadata()
                .is_ok_and(|meta| meta.is_file() && meta.len() == file.size)
        };
        let fail = |source| HubError::Io {
            path: blob.to_owned(),
            source,
        };
        if is_there() {
            watcher(Event::Here(file.size));
            return Ok(());
        }
        // The same lock that huggingface_hub takes.
        let lock = locks.join(format!("{}.lock", file.checksum.digits()));
        let waiting = || watcher(Event::Waiting(&file.path));
        let _lock = partial::lock(&lock, waiting).map_err(|source| HubError::Io {
            path: lock.clone(),
            source,
        })?;
        if is_there() {
            watcher(Event::Here(file.size));
            return Ok(());
        }
        let partial = Partial::open(blob, file.size).map_err(fail)?;
        let remote = self.file(repository, file);
        fill(&remote, &partial, watcher)?;
        if !checks(&partial, file).map_err(fail)? {
            partial.discard();
            let file = file.path.clone();
            return Err(HubError::Checksum { file });
        }
        partial.name().map_err(fail)
    }
}

/// Where a repository's files go.
struct Layout {
    blobs: PathBuf,
    snapshot: PathBuf,
    locks: PathBuf,
}

impl Layout {
    /// Bytes that are still to come of a file.
    fn missing(&self, file: &RepoFile) -> u64 {
        let blob = self.blobs.join(file.checksum.digits());
        match blob.metadata() {
            Ok(_) => 0,
            Err(_) => file.size.saturating_sub(Partial::bytes_of(&blob, file.size)),
        }
    }
}

/// Fetches what is missing of a file, several pieces at a time.
fn fill(remote: &RemoteFile, partial: &Partial, watcher: Watcher) -> Result<(), HubError> {
    let missing = partial.missing(PIECE);
    let total: u64 = missing.iter().map(|piece| piece.end - piece.start).sum();
    watcher(Event::Here(remote.file.size - total));
    let threads = AT_A_TIME.min(missing.len());
    let pieces = Mutex::new(missing.into_iter());
    let stop = AtomicBool::new(false);
    let work = || -> Result<(), HubError> {
        loop {
            let piece = pieces.lock().map_or(None, |mut pieces| pieces.next());
            let Some(piece) = piece.filter(|_| !stop.load(Relaxed)) else {
                return Ok(());
            };
            let fetched = fetch_piece(remote, partial, piece, watcher);
            if fetched.is_err() {
                stop.store(true, Relaxed);
            }
            fetched?;
        }
    };
    let results: Vec<Result<(), HubError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..threads)
            .filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect();
        let own = work();
        let others = threads.into_iter().map(|thread| thread.join().unwrap_or(Ok(())));
        std::iter::once(own).chain(others).collect()
    });
    match results.into_iter().collect::<Result<(), HubError>>() {
        Err(HubError::NoRanges { .. }) => fill_whole(remote, partial, watcher),
        result => result,
    }
}

fn fetch_piece(
    remote: &RemoteFile,
    partial: &Partial,
    piece: Range<u64>,
    watcher: Watcher,
) -> Result<(), HubError> {
    let mut at = piece.start;
    remote.read_range(piece.clone(), &mut |bytes| {
        partial.write_at(bytes, at)?;
        at += bytes.len() as u64;
        watcher(Event::Here(bytes.len() as u64));
        Ok(())
    })?;
    partial.done(piece).map_err(|source| HubError::Io {
        path: partial.path().to_owned(),
        source,
    })
}

/// From a server that sends whole files only.
fn fill_whole(remote: &RemoteFile, partial: &Partial, watcher: Watcher) -> Result<(), HubError> {
    let at = std::cell::Cell::new(0);
    let mut start = || {
        at.set(0);
        Ok(())
    };
    remote.read_whole(&mut start, &mut |bytes| {
        partial.write_at(bytes, at.get())?;
        at.set(at.get() + bytes.len() as u64);
        watcher(Event::Here(bytes.len() as u64));
        Ok(())
    })
}

/// Whether what came is what the repository lists.
fn checks(partial: &Partial, file: &RepoFile) -> io::Result<bool> {
    let digits = match &file.checksum {
        Checksum::Sha256(_) => hex(&partial.digest(Sha256::new())?),
        Checksum::GitSha1(_) => {
            let mut hasher = Sha1::new();
            hasher.update(format!("blob {}\0", file.size));
            hex(&partial.digest(hasher)?)
        }
    };
    Ok(digits == file.checksum.digits())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn make(folder: &Path) -> Result<(), HubError> {
    std::fs::create_dir_all(folder).map_err(|source| HubError::Io {
        path: folder.to_owned(),
        source,
    })
}

/// Links a file of the snapshot to its blob, in a folder that is in the snapshot whatever lies in between.
fn link(snapshot: &Path, file: &str, blob: &Path) -> Result<(), HubError> {
    let path = snapshot.join(file);
    let folder = path.parent().unwrap_or(snapshot);
    make(folder)?;
    let real = |path: &Path| path.canonicalize();
    let is_inside = real(snapshot).and_then(|snapshot| Ok(real(folder)?.starts_with(snapshot)));
    let fail = |source| HubError::Io {
        path: path.clone(),
        source,
    };
    if !is_inside.map_err(fail)? {
        return Err(HubError::Outside {
            repository: snapshot.display().to_string(),
            file: file.to_owned(),
        });
    }
    partial::link(blob, &path, 2 + file.matches('/').count()).map_err(fail)
}
