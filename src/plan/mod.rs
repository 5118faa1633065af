//! What is about to be written, as data, and the one executor that writes it: whatever makes a GGUF file makes a
//! [`Plan`].

mod error;
mod execute;
mod order;
mod outline;
mod tensor;

pub use error::WriteError;
pub use execute::Q4Grid;
pub use order::{Order, Rows};
pub(crate) use tensor::kept;
pub use tensor::{Data, Fit, PlannedTensor, Source, told_of_fallbacks};

use crate::gguf::{Endian, Layout, LayoutError, Metadata, TensorSpec};

/// Everything about an output file before a byte of it is written: keys and values, tensors with their sources, and
/// where all of it goes.
///
/// It is made by [`convert::plan`](crate::convert::plan), [`quantize::plan`](crate::quantize::plan) and
/// [`migrate::plan`](crate::migrate::plan), shown by `--dry-run`, and written by [`Plan::write`].
#[derive(Debug)]
pub struct Plan<'a> {
    metadata: Metadata,
    tensors: Vec<PlannedTensor<'a>>,
    layout: Layout,
    warnings: Vec<String>,
}

impl<'a> Plan<'a> {
    /// Lays out a file of version 3 with these keys and tensors, in this order. `warnings` are what the user should
    /// know of it.
    pub fn new(
        metadata: Metadata,
        tensors: Vec<PlannedTensor<'a>>,
        endian: Endian,
        warnings: Vec<String>,
    ) -> Result<Plan<'a>, LayoutError> {
        let specs: Vec<TensorSpec> = tensors.iter().map(PlannedTensor::spec).collect();
        let layout = Layout::with_endian(&metadata, &specs, endian)?;
        Ok(Plan {
            metadata,
            tensors,
            layout,
            warnings,
        })
    }

    /// Keys and values in order.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Tensors in order.
    pub fn tensors(&self) -> &[PlannedTensor<'a>] {
        &self.tensors
    }

    /// Tensors in order, each with where its data starts, in bytes from the start of the file.
    pub fn placed(&self) -> impl Iterator<Item = (&PlannedTensor<'a>, u64)> {
        self.tensors.iter().zip(self.layout.offsets.iter().copied())
    }

    /// Length of the file in bytes.
    pub fn file_len(&self) -> u64 {
        self.layout.file_len
    }

    /// What the user should know.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Number of elements in all tensors.
    pub fn parameters(&self) -> u64 {
        let elements = self.tensors.iter().map(PlannedTensor::elements);
        elements.fold(0, u64::saturating_add)
    }

    /// Bits that a parameter takes on average.
    pub fn bits_per_weight(&self) -> f64 {
        let bytes = self.tensors.iter().filter_map(PlannedTensor::size);
        bytes.fold(0, u64::saturating_add) as f64 * 8.0 / self.parameters().max(1) as f64
    }
}
