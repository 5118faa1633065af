//! The file that is written before an output has its name.

use crate::io::folder_of;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::path::Path;
use tempfile::NamedTempFile;

const SUFFIX: &str = ".part";

/// Data of an output to be.
#[derive(Debug)]
pub(super) enum Pending {
    /// A file without a name, which the system drops if it never gets one.
    #[cfg(target_os = "linux")]
    Unnamed(File),
    /// A temporary file beside the final name, deleted when dropped.
    Named(NamedTempFile),
}

impl Pending {
    /// Begins the file that will be called `path`, and clears away what a killed run left of it.
    pub(super) fn create(path: &Path) -> io::Result<Pending> {
        remove_stale(path);
        #[cfg(target_os = "linux")]
        if let Some(file) = unnamed_file(folder_of(path)) {
            // It gets a temporary name for a moment, if it replaces another.
            let _ = file.try_lock();
            return Ok(Pending::Unnamed(file));
        }
        let prefix = prefix(path);
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(SUFFIX);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        loop {
            let file = builder.tempfile_in(folder_of(path))?;
            // The lock tells others that this run is alive. One that came before it may have removed the file.
            let _ = file.as_file().try_lock();
            if file.path().exists() {
                return Ok(Pending::Named(file));
            }
        }
    }

    pub(super) fn file(&self) -> &File {
        match self {
            #[cfg(target_os = "linux")]
            Pending::Unnamed(file) => file,
            Pending::Named(file) => file.as_file(),
        }
    }

    /// Gives the file its name; replaces one that has it if `replace` says so, and keeps that one's permissions.
    pub(super) fn name(self, path: &Path, replace: bool, permissions: Option<Permissions>) -> io::Result<()> {
        if let Some(permissions) = permissions {
            self.file().set_permissions(permissions)?;
        }
        match self {
            #[cfg(target_os = "linux")]
            Pending::Unnamed(file) => link(&file, path, replace),
            Pending::Named(file) if replace => file.persist(path).map(drop).map_err(|e| e.error),
            Pending::Named(file) => file.persist_noclobber(path).map(drop).map_err(|e| e.error),
        }
    }
}

/// How temporary files for this output begin. Its name may be as long as names may be, so it is not in there itself.
fn prefix(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let digest = Sha256::digest(name);
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!(".gguf-conv-{hex}-")
}

/// Removes the temporary files for this output that no living run holds. What cannot be removed does no harm.
fn remove_stale(path: &Path) {
    let prefix = prefix(path);
    let Ok(folder) = folder_of(path).read_dir() else {
        return;
    };
    for entry in folder.flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        let is_ours = name.starts_with(prefix.as_bytes()) && name.ends_with(SUFFIX.as_bytes());
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let path = entry.path();
        if let Ok(file) = OpenOptions::new().write(true).open(&path)
            && file.try_lock().is_ok()
        {
            let _ = std::fs::remove_file(&path);
        }
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

/// Gives an unnamed file its name. Links never replace, so then the file gets a temporary name first.
#[cfg(target_os = "linux")]
fn link(file: &File, path: &Path, replace: bool) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, linkat};
    use std::os::fd::AsRawFd;
    let source = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link_as = |name: &Path| linkat(CWD, source.as_str(), CWD, name, AtFlags::SYMLINK_FOLLOW);
    if replace && path.symlink_metadata().is_ok() {
        let temporary = tempfile::Builder::new()
            .prefix(&prefix(path))
            .suffix(SUFFIX)
            .make_in(folder_of(path), |name| link_as(name).map_err(io::Error::from))?;
        return temporary.persist(path).map(drop).map_err(|e| e.error);
    }
    link_as(path).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_goes_and_what_a_living_one_holds_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.gguf");
        let part =
            |path: &Path, random: &str| folder.path().join(format!("{}{random}{SUFFIX}", prefix(path)));
        let stale = part(&path, "stale1");
        let living = part(&path, "alive1");
        let other = part(Path::new("other.gguf"), "other1");
        for part in [&stale, &living, &other] {
            std::fs::write(part, "x").unwrap();
        }
        let held = File::open(&living).unwrap();
        held.lock().unwrap();
        drop(Pending::create(&path).unwrap());
        assert!(!stale.exists());
        assert!(living.exists() && other.exists());
    }
}
