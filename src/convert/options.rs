//! What the user asks of a conversion.

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
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Output type.
    pub outtype: OutType,
    /// The output type for the embedding too.
    pub pure: bool,
    /// Write the centroid head.
    pub keep_centroids: bool,
    /// Which tokenizer to write.
    pub tokenizer: TokenizerSource,
}

/// What the user asks of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutType {
    /// As the checkpoint has it: BF16 or F16, else F16.
    Auto,
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 16-bit floats with the exponent of F32.
    BF16,
    /// 8.5 bits a weight.
    Q8_0,
    /// 4.5 bits a weight; the embedding, being the output too, in Q6_K.
    Q4_0,
}
