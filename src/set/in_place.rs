//! A header that is written over the old one, where it ends at the same place, with a backup of that.

use super::SetError;
use crate::gguf::{Gguf, Header, Metadata, Part};
use crate::io::Inputs;
use crate::io::output::{self, OutputFile};
use std::path::{Path, PathBuf};

/// A new header for a file that keeps its data.
#[derive(Debug)]
pub struct InPlace<'a> {
    part: &'a Part,
    /// All bytes in front of the data.
    front: Vec<u8>,
}

impl<'a> InPlace<'a> {
    /// Lays the header out; of a split model that of the first part.
    pub fn plan(gguf: &'a Gguf, metadata: &Metadata) -> Result<InPlace<'a>, SetError> {
        let not = |why: &str| SetError::NotInPlace {
            path: gguf.path().to_owned(),
            why: why.to_owned(),
        };
        let part = gguf.parts().first().ok_or_else(|| not("it has no header"))?;
        if part.path.is_symlink() {
            return Err(not(
                "this is a link, and what it leads to may be another program's",
            ));
        }
        if part.is_distant() {
            return Err(not("it lies elsewhere"));
        }
        let header = &part.header;
        if metadata.get("general.alignment") != header.metadata.get("general.alignment") {
            return Err(not("with another general.alignment the data would have to move"));
        }
        let mut front = header.with_metadata(metadata);
        let len = front.len() as u64;
        if len.next_multiple_of(header.alignment) != header.data_offset {
            return Err(SetError::NoRoom {
                path: part.path.clone(),
                header: front.len(),
                least: (header.data_offset + 1).saturating_sub(header.alignment),
                most: header.data_offset,
            });
        }
        front.resize(usize::try_from(header.data_offset).unwrap_or(front.len()), 0);
        Ok(InPlace { part, front })
    }

    /// Writes the old header to `backup`, then the new one over it.
    pub fn write(&self, backup: &Path, inputs: &Inputs) -> Result<(), SetError> {
        let old = self.part.bytes()?.get(..self.front.len()).unwrap_or_default();
        let file = OutputFile::create(backup, old.len() as u64, inputs, false)?;
        file.write_at(old, 0)?;
        file.commit()?;
        Ok(output::overwrite(&self.part.path, &self.front, inputs)?)
    }
}

/// A name for a backup of a file's header that is free.
pub fn backup_path(path: &Path) -> PathBuf {
    let named = |ending: String| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let mut number = 1;
    loop {
        let backup = match number {
            1 => named(".header".to_owned()),
            number => named(format!(".header-{number}")),
        };
        if backup.symlink_metadata().is_err() {
            return backup;
        }
        number += 1;
    }
}

/// Puts the header in `backup` back into the file that it was taken from.
pub fn restore(path: &Path, backup: &Path, inputs: &Inputs) -> Result<(), SetError> {
    let other = |why: String| SetError::OtherBackup {
        path: backup.to_owned(),
        why,
    };
    let fail = |path: &Path, source| SetError::Backup {
        path: path.to_owned(),
        source,
    };
    let map = |path: &Path| inputs.map(path).map_err(|source| fail(path, source));
    let (front, file) = (map(backup)?, map(path)?);
    let front = front.whole().map_err(|source| fail(backup, source))?;
    let file = file.whole().map_err(|source| fail(path, source))?;
    let old = Header::parse(front).map_err(|error| other(error.to_string()))?;
    let is_whole = old.data_offset == front.len() as u64;
    if !is_whole || old.check_ranges(file.len() as u64).is_err() {
        return Err(other(format!("it is no header of {}", path.display())));
    }
    // Of a file whose header is broken nothing more can be told.
    if let Ok(now) = Header::parse(file)
        && (now.tensors != old.tensors || now.data_offset != old.data_offset)
    {
        return Err(other(format!("it names other tensors than {}", path.display())));
    }
    Ok(output::overwrite(path, front, inputs)?)
}
