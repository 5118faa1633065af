//! The GGUF container: values, reader, writer, split files. Knows no model.

mod error;
mod file;
mod header;
mod kind;
pub mod limits;
mod metadata;
mod part;
mod reader;
mod split;
mod swap;
mod value;
mod writer;

pub use error::{FormatError, GgufError, GgufErrorKind};
pub use file::{Gguf, Tensor};
pub use header::{Endian, Header, TensorInfo, TypeId};
pub use metadata::{KeyError, Metadata};
pub use part::{Part, RawTensor};
pub use swap::{can_swap, swap_blocks};
pub use value::{Array, Strings, Value, ValueType};
pub use writer::{Layout, LayoutError, TensorSpec, canonical_metadata};
