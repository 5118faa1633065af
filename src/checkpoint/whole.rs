//! A checkpoint that is all here.

use super::{CheckpointError, CheckpointHead, TensorHead};
use crate::io::{Inputs, ReadError};
use std::ops::Deref;
use std::path::Path;

/// A checkpoint whose weights are here.
#[derive(Debug)]
pub struct Checkpoint(CheckpointHead);

/// A tensor of a checkpoint with its bytes.
#[derive(Debug, Clone, Copy)]
pub struct SourceTensor<'a> {
    head: TensorHead<'a>,
    /// Little-endian elements.
    pub data: &'a [u8],
}

impl Checkpoint {
    /// [`CheckpointHead::open`], where nothing of it lies elsewhere.
    pub fn open(inputs: &Inputs, path: &Path) -> Result<Checkpoint, CheckpointError> {
        let head = CheckpointHead::open(inputs, path)?;
        match head.is_distant() {
            true => Err(CheckpointError::new(path, ReadError::Distant)),
            false => Ok(Checkpoint(head)),
        }
    }

    /// The tensor that [`CheckpointHead::tensor`] finds, with its bytes.
    pub fn tensor(&self, name: &str) -> Option<SourceTensor<'_>> {
        let head = self.0.tensor(name)?;
        let (_, data) = head.here()?;
        Some(SourceTensor { head, data })
    }
}

impl Deref for Checkpoint {
    type Target = CheckpointHead;

    fn deref(&self) -> &CheckpointHead {
        &self.0
    }
}

impl<'a> Deref for SourceTensor<'a> {
    type Target = TensorHead<'a>;

    fn deref(&self) -> &TensorHead<'a> {
        &self.head
    }
}
