//! The GGUF container: values, reader, writer, split files. Knows no model.
//!
//! What a file holds:
//!
//! ```
//! use gguf_conv::gguf::Gguf;
//! use gguf_conv::io::Inputs;
//! use std::path::Path;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let gguf = Gguf::open(&Inputs::new(), Path::new("fixtures/mini-dense/target-bf16.gguf"))?;
//! let metadata = gguf.metadata();
//! assert_eq!(metadata.string("general.architecture")?, "gemma4");
//! for (key, value) in metadata.iter() {
//!     println!("{key}: {}", value.type_name());
//! }
//! for tensor in gguf.tensors() {
//!     println!("{}: {} elements", tensor.name, tensor.elements());
//! }
//! # Ok(())
//! # }
//! ```

mod assemble;
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
pub(crate) use reader::little_endian_scalars;
pub use split::{SPLIT_KEYS, part_path, part_prefix};
pub use swap::{can_swap, swap_blocks};
pub use value::{Array, Strings, Value, ValueType};
pub use writer::{Layout, LayoutError, TensorSpec, canonical_metadata};
