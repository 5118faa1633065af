//! What the user asks of a conversion.

use crate::quant::recipe::FileType;

/// Which tokenizer goes into the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenizerSource {
    /// The drafter's where its folder has one, else the target's.
    #[default]
    Auto,
    /// The drafter's.
    Drafter,
    /// The target's.
    Target,
}

/// What the user asks for.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Options {
    /// Type of the output; `None` keeps BF16 and F16 as the checkpoint has them and makes F16 of the rest.
    pub outtype: Option<FileType>,
    /// Every weight in the file's own type, the tied embedding too.
    pub pure: bool,
    /// Fit Q4_0 such that weights on the grid of a quantization-aware training keep their values.
    pub qat: bool,
    /// Write the centroid head.
    pub keep_centroids: bool,
    /// Which tokenizer to write.
    pub tokenizer: TokenizerSource,
}
