//! What a GGUF holds: by `general.type`, the architecture, and the names of its tensors.

use super::error::GgufError;
use super::file::Gguf;
use crate::io::kind::{DrafterKind, FileKind, Wanted, WrongKind};
use crate::text::escape;
use bstr::ByteSlice;

/// Beginnings of the names that llama.cpp gives the tensors of a projector, which no language model holds.
const PROJECTOR_TENSORS: [&[u8]; 3] = [b"v.", b"a.", b"mm."];

/// A tensor that DSpark has and DFlash, of the same architecture, has not.
const MARKOV_HEAD: &str = "markov_w1.weight";

impl Gguf {
    /// The error for a file that is not what a command needs.
    pub(crate) fn wrong_kind(&self, wanted: Wanted) -> GgufError {
        let found = self.kind();
        self.error(WrongKind { found, wanted })
    }

    /// An error for a file that holds no model, but what goes with one.
    pub(crate) fn expect_model(&self, wanted: Wanted) -> Result<(), GgufError> {
        match self.kind() {
            FileKind::Adapter | FileKind::Imatrix | FileKind::Projector | FileKind::Vocabulary => {
                Err(self.wrong_kind(wanted))
            }
            _ => Ok(()),
        }
    }

    /// What the file holds. Types and architectures: the GGUF specification and llama.cpp of October 2026.
    pub fn kind(&self) -> FileKind {
        let meta = self.metadata();
        let text = |key: &str| meta.string(key).ok().map(|text| text.as_bytes());
        match text("general.type") {
            Some(b"adapter") => return FileKind::Adapter,
            Some(b"imatrix") => return FileKind::Imatrix,
            Some(b"mmproj") => return FileKind::Projector,
            _ => {}
        }
        if meta.contains("adapter.type") {
            return FileKind::Adapter;
        }
        let architecture = match text("general.architecture") {
            Some(b"clip") => return FileKind::Projector,
            Some(b"eagle3") => return FileKind::OtherDrafter(DrafterKind::Eagle3),
            Some(b"dflash") if self.info(MARKOV_HEAD).is_some() => {
                return FileKind::OtherDrafter(DrafterKind::DSpark);
            }
            Some(b"dflash") => return FileKind::OtherDrafter(DrafterKind::DFlash),
            Some(architecture) => escape(architecture),
            None if meta.contains("imatrix.chunk_count") => return FileKind::Imatrix,
            None => return FileKind::Gguf,
        };
        let mut names = self.tensors().map(|info| info.name.as_bytes());
        if self.tensors().next().is_none() && meta.contains("tokenizer.ggml.tokens") {
            FileKind::Vocabulary
        } else if names.any(|name| PROJECTOR_TENSORS.iter().any(|front| name.starts_with(front))) {
            FileKind::OllamaModel(architecture)
        } else {
            FileKind::Model(architecture)
        }
    }
}
