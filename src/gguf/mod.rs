//! The GGUF container: values, reader, writer, split files. Knows no model.

mod error;
mod file;
mod limits;
mod metadata;
mod reader;
mod value;
mod writer;

pub use error::{FormatError, GgufError, GgufErrorKind};
pub use file::{Gguf, Part, Tensor};
pub use metadata::{KeyError, Metadata};
pub use reader::{Endian, Header, TensorInfo, TypeId, escape};
pub use value::{Array, Strings, Value, ValueType};
pub use writer::{Layout, LayoutError, TensorSpec};
