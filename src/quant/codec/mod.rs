//! One file a family of block formats.

pub(super) mod float;
