//! I8, I16, I32, I64 and F64: types without blocks, little-endian, read only. A number that f32 does not have becomes
//! the nearest one that it has.

use super::decode_elements;
use crate::quant::Codec;

macro_rules! plain {
    ($name:ident, $ty:ty) => {
        pub(in crate::quant) static $name: Codec = Codec {
            decode: decode_elements!(|b| <$ty>::from_le_bytes(b) as f32),
            encode: None,
        };
    };
}

plain!(I8, i8);
plain!(I16, i16);
plain!(I32, i32);
plain!(I64, i64);
plain!(F64, f64);
