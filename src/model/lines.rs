//! The numbers that kernels read: columns of a row, and what starts at a line of the cache, so that no vector lies in two.

use rayon::prelude::*;
use std::ops::{Deref, DerefMut};

/// Bytes a line of the cache.
const LINE_BYTES: usize = 64;
/// Numbers a line of the cache.
pub const LINE: usize = LINE_BYTES / size_of::<f32>();

/// Some columns of one row, the unused ones at the end.
pub type Strip<const DEPTH: usize> = [f32; DEPTH];

/// What starts at a line of the cache, so that no vector of it lies in two.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub struct OnLines<T>(pub T);

/// As many numbers as are wanted, from a line of the cache on.
#[derive(Debug)]
pub struct Aligned {
    data: Vec<f32>,
    start: usize,
}

impl Aligned {
    /// As many zeros.
    pub fn zeros(len: usize) -> Aligned {
        let data = zeros(len + LINE);
        let start = data.as_ptr().align_offset(LINE_BYTES).min(LINE);
        Aligned { data, start }
    }
}

/// As many zeros, written by all threads where they are many.
pub fn zeros(len: usize) -> Vec<f32> {
    /// Lines that are worth a task of their own: 256 KiB.
    const PART: usize = 1 << 12;
    let lines = len.div_ceil(LINE);
    if lines < 2 * PART {
        return vec![0.0; len];
    }
    let lines = (0..lines).into_par_iter().with_min_len(PART);
    let mut zeros: Vec<f32> = lines.map(|_| [0.0; LINE]).collect::<Vec<_>>().into_flattened();
    zeros.truncate(len);
    zeros
}

impl Default for Aligned {
    fn default() -> Aligned {
        Aligned::zeros(0)
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.data[self.start..][..self.data.len() - LINE]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        let len = self.data.len() - LINE;
        &mut self.data[self.start..][..len]
    }
}
