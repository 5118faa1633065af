//! The one table of file types: what a user may ask for.

use crate::quant::GgmlType;

macro_rules! table {
    ($($variant:ident = $name:literal, $id:literal, $ty:ident;)*) => {
        /// A kind of GGUF file: one tensor type, or a mixture named after the one that most of its weights have.
        #[allow(non_camel_case_types, missing_docs)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum FileType { $($variant),* }

        impl FileType {
            /// Every file type that can be written, in order of quality within a family.
            pub const ALL: &[FileType] = &[$(FileType::$variant),*];

            /// The name on the command line: `q4_k_m`.
            pub fn name(self) -> &'static str {
                match self { $(FileType::$variant => $name),* }
            }

            /// The number in `general.file_type` (`enum llama_ftype` of `llama.h`).
            pub fn id(self) -> u32 {
                match self { $(FileType::$variant => $id),* }
            }

            /// The type of the weights that the mixture has no special rule for.
            pub fn tensor_type(self) -> GgmlType {
                match self { $(FileType::$variant => GgmlType::$ty),* }
            }
        }
    };
}

table! {
    // file type = name, id, tensor type
    F32       = "f32",        0, F32;
    F16       = "f16",        1, F16;
    BF16      = "bf16",      32, BF16;
    Q8_0      = "q8_0",       7, Q8_0;
    Q6_K      = "q6_k",      18, Q6_K;
    Q5_K_M    = "q5_k_m",    17, Q5_K;
    Q5_K_S    = "q5_k_s",    16, Q5_K;
    Q5_1      = "q5_1",       9, Q5_1;
    Q5_0      = "q5_0",       8, Q5_0;
    Q4_K_M    = "q4_k_m",    15, Q4_K;
    Q4_K_S    = "q4_k_s",    14, Q4_K;
    Q4_1      = "q4_1",       3, Q4_1;
    Q4_0      = "q4_0",       2, Q4_0;
    IQ4_NL    = "iq4_nl",    25, IQ4_NL;
    IQ4_XS    = "iq4_xs",    30, IQ4_XS;
    MXFP4_MOE = "mxfp4_moe", 38, MXFP4;
    Q3_K_L    = "q3_k_l",    13, Q3_K;
    Q3_K_M    = "q3_k_m",    12, Q3_K;
    Q3_K_S    = "q3_k_s",    11, Q3_K;
    IQ3_M     = "iq3_m",     27, IQ3_S;
    IQ3_S     = "iq3_s",     26, IQ3_S;
    IQ3_XS    = "iq3_xs",    22, IQ3_S;
    IQ3_XXS   = "iq3_xxs",   23, IQ3_XXS;
    Q2_K      = "q2_k",      10, Q2_K;
    Q2_K_S    = "q2_k_s",    21, Q2_K;
    IQ2_M     = "iq2_m",     29, IQ2_S;
    IQ2_S     = "iq2_s",     28, IQ2_XS;
    IQ2_XS    = "iq2_xs",    20, IQ2_XS;
    IQ2_XXS   = "iq2_xxs",   19, IQ2_XXS;
    Q2_0      = "q2_0",      41, Q2_0;
    TQ2_0     = "tq2_0",     37, TQ2_0;
    TQ1_0     = "tq1_0",     36, TQ1_0;
    IQ1_M     = "iq1_m",     31, IQ1_M;
    IQ1_S     = "iq1_s",     24, IQ1_S;
    Q1_0      = "q1_0",      40, Q1_0;
}

impl FileType {
    /// The file type with this name or other name, in any case.
    pub fn from_name(name: &str) -> Option<FileType> {
        let mut all = FileType::ALL.iter().copied();
        all.find(|file_type| {
            let mut names = [file_type.name()].into_iter().chain(file_type.other_name());
            names.any(|known| known.eq_ignore_ascii_case(name))
        })
    }

    /// What `llama-quantize` calls it too: `q4_k`.
    pub fn other_name(self) -> Option<&'static str> {
        match self {
            FileType::Q3_K_M => Some("q3_k"),
            FileType::Q4_K_M => Some("q4_k"),
            FileType::Q5_K_M => Some("q5_k"),
            _ => None,
        }
    }

    /// The file type with this id.
    pub fn from_id(id: u32) -> Option<FileType> {
        FileType::ALL
            .iter()
            .copied()
            .find(|file_type| file_type.id() == id)
    }
}

impl std::fmt::Display for FileType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_are_unique_and_every_type_can_be_written() {
        for file_type in FileType::ALL {
            assert_eq!(
                FileType::from_name(&file_type.name().to_uppercase()),
                Some(*file_type)
            );
            assert_eq!(FileType::from_id(file_type.id()), Some(*file_type));
            assert!(file_type.tensor_type().can_encode(), "{file_type}");
        }
        assert_eq!(FileType::from_name("Q4_K"), Some(FileType::Q4_K_M));
        assert_eq!(FileType::from_name("q4_k_x"), None);
    }
}
