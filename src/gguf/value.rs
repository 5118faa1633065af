//! Metadata values: scalars, strings, and arrays of one element type.

use bstr::{BStr, BString};
use std::ops::Range;

/// Several byte strings in one allocation, as a vocabulary of a quarter of a million tokens wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strings {
    bytes: Vec<u8>,
    /// Where each string ends in `bytes`.
    ends: Vec<usize>,
}

impl Strings {
    /// Room for `count` strings.
    pub fn with_capacity(count: usize) -> Strings {
        Strings {
            bytes: Vec::new(),
            ends: Vec::with_capacity(count),
        }
    }

    /// Appends a string.
    pub fn push(&mut self, string: &[u8]) {
        self.push_parts(&[string]);
    }

    /// Appends a string given in parts.
    pub fn push_parts(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.ends.push(self.bytes.len());
    }

    /// Number of strings.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The string at `index`.
    pub fn get(&self, index: usize) -> Option<&BStr> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Some(BStr::new(&self.bytes[start..end]))
    }

    /// The strings in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &BStr> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let string = BStr::new(&self.bytes[start..end]);
            start = end;
            string
        })
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for Strings {
    fn from_iter<I: IntoIterator<Item = T>>(iter: I) -> Strings {
        let mut strings = Strings::default();
        for string in iter {
            strings.push(string.as_ref());
        }
        strings
    }
}

macro_rules! values {
    ($($ty:ident = $id:literal $name:literal $rust:ty, $size:literal;)*) => {
        /// The type of a metadata value, with its number in the file.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u32)]
        #[allow(missing_docs)]
        pub enum ValueType { $($ty = $id,)* String = 8, Array = 9 }

        impl ValueType {
            /// The type with this number in a file.
            pub fn from_id(id: u32) -> Option<ValueType> {
                match id {
                    $($id => Some(ValueType::$ty),)*
                    8 => Some(ValueType::String),
                    9 => Some(ValueType::Array),
                    _ => None,
                }
            }

            /// The name used in messages and JSON: `u32`, `string`, `array`.
            pub fn name(self) -> &'static str {
                match self {
                    $(ValueType::$ty => $name,)*
                    ValueType::String => "string",
                    ValueType::Array => "array",
                }
            }

            /// The fewest bytes that a value of this type takes in a file.
            pub fn min_bytes(self) -> usize {
                match self {
                    $(ValueType::$ty => $size,)*
                    ValueType::String => 8,
                    ValueType::Array => 12,
                }
            }
        }

        /// A metadata value.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)]
        pub enum Value { $($ty($rust),)* String(BString), Array(Array) }

        impl Value {
            /// The value's type.
            pub fn value_type(&self) -> ValueType {
                match self {
                    $(Value::$ty(_) => ValueType::$ty,)*
                    Value::String(_) => ValueType::String,
                    Value::Array(_) => ValueType::Array,
                }
            }
        }

        $(impl From<$rust> for Value {
            fn from(value: $rust) -> Value {
                Value::$ty(value)
            }
        })*

        /// A metadata array. The element type is known even when it is empty.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)]
        pub enum Array {
            $($ty(Vec<$rust>),)*
            String(Strings),
            /// Arrays within an array; llama.cpp reads none, other writers have made them.
            Array(Vec<Array>),
        }

        impl Array {
            /// Type of the elements.
            pub fn element_type(&self) -> ValueType {
                match self {
                    $(Array::$ty(_) => ValueType::$ty,)*
                    Array::String(_) => ValueType::String,
                    Array::Array(_) => ValueType::Array,
                }
            }

            /// Number of elements.
            pub fn len(&self) -> usize {
                match self {
                    $(Array::$ty(v) => v.len(),)*
                    Array::String(v) => v.len(),
                    Array::Array(v) => v.len(),
                }
            }

            /// The elements at these places as an array of their own.
            pub fn slice(&self, range: Range<usize>) -> Option<Array> {
                Some(match self {
                    $(Array::$ty(v) => Array::$ty(v.get(range)?.to_vec()),)*
                    Array::String(v) => Array::String(range.map(|at| v.get(at)).collect::<Option<_>>()?),
                    Array::Array(v) => Array::Array(v.get(range)?.to_vec()),
                })
            }

            /// The element at `index` as a value of its own.
            pub fn get(&self, index: usize) -> Option<Value> {
                match self {
                    $(Array::$ty(v) => v.get(index).map(|x| Value::$ty(*x)),)*
                    Array::String(v) => v.get(index).map(|s| Value::String(s.to_owned())),
                    Array::Array(v) => v.get(index).map(|a| Value::Array(a.clone())),
                }
            }
        }
    };
}

values! {
    // type = number in the file, name, Rust type, bytes in the file
    U8   =  0 "u8"   u8,   1;
    I8   =  1 "i8"   i8,   1;
    U16  =  2 "u16"  u16,  2;
    I16  =  3 "i16"  i16,  2;
    U32  =  4 "u32"  u32,  4;
    I32  =  5 "i32"  i32,  4;
    F32  =  6 "f32"  f32,  4;
    Bool =  7 "bool" bool, 1;
    U64  = 10 "u64"  u64,  8;
    I64  = 11 "i64"  i64,  8;
    F64  = 12 "f64"  f64,  8;
}

impl Array {
    /// Whether the array has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::String(value.into())
    }
}

impl From<Array> for Value {
    fn from(value: Array) -> Value {
        Value::Array(value)
    }
}

impl Value {
    /// The value as an integer, whatever integer type holds it; `None` for other types and for values out of range.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Value::U8(v) => Some(v.into()),
            Value::U16(v) => Some(v.into()),
            Value::U32(v) => Some(v.into()),
            Value::U64(v) => Some(v),
            Value::I8(v) => v.try_into().ok(),
            Value::I16(v) => v.try_into().ok(),
            Value::I32(v) => v.try_into().ok(),
            Value::I64(v) => v.try_into().ok(),
            _ => None,
        }
    }

    /// The value as a floating-point number, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Value::F32(v) => Some(v.into()),
            Value::F64(v) => Some(v),
            _ => None,
        }
    }

    /// The value as a truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Value::Bool(v) => Some(v),
            _ => None,
        }
    }

    /// The string, if it is one, bytes as they stand in the file.
    pub fn as_bytes(&self) -> Option<&BStr> {
        match self {
            Value::String(v) => Some(BStr::new(v)),
            _ => None,
        }
    }

    /// The array, if it is one.
    pub fn as_array(&self) -> Option<&Array> {
        match self {
            Value::Array(v) => Some(v),
            _ => None,
        }
    }

    /// The type in words: `u32`, `string`, `i32[]`.
    pub fn type_name(&self) -> String {
        match self {
            Value::Array(array) => format!("{}[]", array.element_type().name()),
            _ => self.value_type().name().to_owned(),
        }
    }
}
