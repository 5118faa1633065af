//! What a file is, whatever command meets it: one word for each kind, and a hint where another kind is needed.
//!
//! First bytes tell the container ([`FileKind::of_bytes`]); what a GGUF or a checkpoint holds, its own reader tells.

use std::borrow::Cow;
use std::fmt;

/// What a file or folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// A GGUF of any kind.
    Gguf,
    /// A GGUF with the weights of a model, by its architecture.
    Model(String),
    /// A GGUF that Ollama's own converter made: the text model under the tokenizer `llama`, vision and audio beside it.
    OllamaModel(String),
    /// A GGUF with a LoRA adapter.
    Adapter,
    /// An importance matrix, in GGUF or the older format.
    Imatrix,
    /// A GGUF with the vision or audio part of a model, as `--mmproj` takes it.
    Projector,
    /// A GGUF with a vocabulary and no tensors.
    Vocabulary,
    /// A GGUF or checkpoint of another kind of drafter.
    OtherDrafter(DrafterKind),
    /// A checkpoint of the model that drafters are for.
    TargetCheckpoint,
    /// A checkpoint of another model, by `model_type` or class.
    OtherCheckpoint(String),
    /// A safetensors file.
    Safetensors,
    /// A folder.
    Folder,
    /// A `config.json`.
    Config,
    /// Other JSON.
    Json,
    /// A PyTorch checkpoint: a zip archive with a pickle inside.
    Zip,
    /// An older PyTorch checkpoint, or another pickle.
    Pickle,
    /// A pointer of Git LFS.
    LfsPointer,
    /// HTML.
    WebPage,
    /// A model file of llama.cpp of before August 2023.
    BeforeGguf,
    /// An archive or compressed file.
    Archive,
    /// Nothing.
    Empty,
}

/// Drafters of other kinds than the assistant of Gemma 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrafterKind {
    /// One layer over hidden states of three of the target's layers.
    Eagle3,
    /// A block of tokens in one pass.
    DFlash,
    /// DFlash with a Markov head.
    DSpark,
}

/// What a command needs where it was given a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The checkpoint of a drafter.
    Checkpoint,
    /// The GGUF of a drafter.
    Drafter,
    /// The GGUF of a target.
    Target,
    /// The GGUF of any model.
    Gguf,
    /// The weights of a model in any container.
    Weights,
}

impl DrafterKind {
    /// What follows `--spec-type` for it.
    pub fn spec_type(self) -> &'static str {
        match self {
            DrafterKind::Eagle3 => "draft-eagle3",
            DrafterKind::DFlash => "draft-dflash",
            DrafterKind::DSpark => "draft-dspark",
        }
    }
}

impl fmt::Display for DrafterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DrafterKind::Eagle3 => "EAGLE-3",
            DrafterKind::DFlash => "DFlash",
            DrafterKind::DSpark => "DSpark",
        })
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wanted::Checkpoint => "the checkpoint of a Gemma 4 drafter",
            Wanted::Drafter => "the GGUF of a Gemma 4 drafter",
            Wanted::Target => "the GGUF of a target",
            Wanted::Gguf => "the GGUF of a model",
            Wanted::Weights => "the weights of a model",
        })
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileKind::Gguf => f.write_str("a GGUF file"),
            FileKind::Model(architecture) => write!(f, "a model of architecture {architecture}"),
            FileKind::OllamaModel(architecture) => write!(
                f,
                "a {architecture} model from Ollama's own converter, with vision or audio tensors inside"
            ),
            FileKind::Adapter => f.write_str("a LoRA adapter"),
            FileKind::Imatrix => f.write_str("an importance matrix"),
            FileKind::Projector => f.write_str("a multimodal projector (mmproj)"),
            FileKind::Vocabulary => f.write_str("a vocabulary without weights"),
            FileKind::OtherDrafter(kind) => write!(f, "a drafter of the kind {kind}"),
            FileKind::TargetCheckpoint => f.write_str("the checkpoint of a target"),
            FileKind::OtherCheckpoint(name) => write!(f, "the checkpoint of a {name} model"),
            FileKind::Safetensors => f.write_str("a safetensors file"),
            FileKind::Folder => f.write_str("a folder"),
            FileKind::Config => f.write_str("the settings (config.json) of a checkpoint"),
            FileKind::Json => f.write_str("a JSON file"),
            FileKind::Zip => f.write_str("a zip archive or a PyTorch checkpoint"),
            FileKind::Pickle => f.write_str("a PyTorch checkpoint (a pickle)"),
            FileKind::LfsPointer => f.write_str("a pointer of Git LFS"),
            FileKind::WebPage => f.write_str("a web page"),
            FileKind::BeforeGguf => f.write_str("a model of before GGUF"),
            FileKind::Archive => f.write_str("an archive"),
            FileKind::Empty => f.write_str("an empty file"),
        }
    }
}

impl FileKind {
    /// Bytes that tell the kind of a file, at most.
    pub const LOOKED_AT: usize = 16 << 10;

    /// What the first bytes tell, if they tell anything. A dozen are enough; more tell settings from other JSON. Only so
    /// many are looked at.
    pub fn of_bytes(file: &[u8]) -> Option<FileKind> {
        const MAGIC: &[(&[u8], FileKind)] = &[
            (b"GGUF", FileKind::Gguf),
            (b"version https://git-lfs", FileKind::LfsPointer),
            (b"<!DOCTYPE", FileKind::WebPage),
            (b"<!doctype", FileKind::WebPage),
            (b"<html", FileKind::WebPage),
            (b"PK\x03\x04", FileKind::Zip),
            (b"\x1f\x8b", FileKind::Archive),
            (b"\xfd7zXZ", FileKind::Archive),
            (b"\x28\xb5\x2f\xfd", FileKind::Archive),
            (b"7z\xbc\xaf\x27\x1c", FileKind::Archive),
            (b"lmgg", FileKind::BeforeGguf),
            (b"fmgg", FileKind::BeforeGguf),
            (b"tjgg", FileKind::BeforeGguf),
        ];
        let start = &file[..file.len().min(FileKind::LOOKED_AT)];
        let text = without_mark(start).trim_ascii_start();
        match start {
            [] => return Some(FileKind::Empty),
            // The header's length, of which half the bytes are always zero, and then JSON.
            [_, _, _, _, 0, 0, 0, 0, b'{' | b'[', ..] => return Some(FileKind::Safetensors),
            // The opcode for a protocol, 2 to 5, and what the pickle begins with: a long, a dictionary, a frame, …
            [0x80, 2..=5, b'\x8a' | b'}' | b'c' | b'(' | b']' | b'\x95', ..] => {
                return Some(FileKind::Pickle);
            }
            _ => {}
        }
        let magic = MAGIC.iter().find(|(magic, _)| {
            // A file that is shorter than its magic may still be told by what there is of it.
            start.starts_with(magic) || (magic.len() > 4 && start.len() >= 4 && magic.starts_with(start))
        });
        if let Some((_, kind)) = magic {
            return Some(kind.clone());
        }
        let holds = |word: &[u8]| text.windows(word.len()).any(|window| window == word);
        match text.first() {
            Some(b'{') if holds(b"\"model_type\"") || holds(b"\"architectures\"") => Some(FileKind::Config),
            Some(b'{') => Some(FileKind::Json),
            // A length that no header has: the reader tells what is wrong with it.
            _ if matches!(start, [_, _, _, _, _, _, _, _, b'{' | b'[', ..]) => Some(FileKind::Safetensors),
            _ => None,
        }
    }

    /// What to do where this is given and `wanted` is needed.
    pub fn way_out(&self, wanted: Wanted) -> Cow<'static, str> {
        let is_checkpoint_wanted = wanted == Wanted::Checkpoint;
        Cow::Borrowed(match self {
            FileKind::Gguf if is_checkpoint_wanted => {
                "`gguf-conv quantize` writes a GGUF in another type, \
                 `gguf-conv migrate` in another dialect"
            }
            FileKind::Gguf => "it states no architecture: convert the model again with a current converter",
            FileKind::Model(_) => match wanted {
                Wanted::Target => "give the GGUF of the model that the drafter was made for",
                _ => "give the GGUF of a Gemma 4 drafter",
            },
            FileKind::OllamaModel(_) => {
                "llama.cpp refuses it (wrong number of tensors): take a GGUF of the same model that llama.cpp's converter \
                 made, or run target and drafter in Ollama"
            }
            FileKind::Adapter => "give the model's own GGUF, and the adapter to llama.cpp with --lora",
            FileKind::Imatrix => {
                "give the model's own GGUF, and the matrix to `gguf-conv quantize` with --imatrix"
            }
            FileKind::Projector => {
                "give the language model's GGUF, and the projector to llama.cpp with --mmproj"
            }
            FileKind::Vocabulary => "give the model's own GGUF",
            FileKind::OtherDrafter(kind) => return Cow::Owned(other_drafter(*kind, wanted)),
            FileKind::TargetCheckpoint if is_checkpoint_wanted => {
                "give the checkpoint of its drafter (its name ends in -assistant), and this model's GGUF with --target"
            }
            FileKind::TargetCheckpoint | FileKind::OtherCheckpoint(_) if !is_checkpoint_wanted => TO_GGUF,
            FileKind::TargetCheckpoint | FileKind::OtherCheckpoint(_) => {
                "give the checkpoint of a Gemma 4 drafter"
            }
            FileKind::Safetensors | FileKind::Folder => match wanted {
                Wanted::Checkpoint | Wanted::Weights => {
                    "give the folder of a drafter's checkpoint or its safetensors file"
                }
                Wanted::Drafter | Wanted::Target | Wanted::Gguf => TO_GGUF,
            },
            FileKind::Config | FileKind::Json if is_checkpoint_wanted => {
                "give the folder that it lies in, or the safetensors file beside it"
            }
            FileKind::Config | FileKind::Json => "give the file with the weights",
            FileKind::Zip | FileKind::Pickle => "get the safetensors version of the model",
            FileKind::LfsPointer => "fetch the file itself with `git lfs pull`",
            FileKind::WebPage => "download the file itself",
            FileKind::BeforeGguf => "convert the original again",
            FileKind::Archive => "unpack it first",
            FileKind::Empty => "download it again",
        })
    }
}

const TO_GGUF: &str = "give a GGUF: of a checkpoint of Gemma 4 or its drafters `gguf-conv` makes one, of another model's \
                       llama.cpp's convert_hf_to_gguf.py";

fn other_drafter(kind: DrafterKind, wanted: Wanted) -> String {
    let spec_type = kind.spec_type();
    match wanted {
        Wanted::Checkpoint => format!(
            "llama.cpp's `convert_hf_to_gguf.py --target-model-dir TARGET` converts it, and llama-server drafts with the \
             result by --spec-type {spec_type}"
        ),
        _ => format!(
            "this command knows the drafters of Gemma 4 only; llama-server takes this one with --spec-type {spec_type}"
        ),
    }
}

/// The bytes of a text without the byte order mark that some editors put in front.
pub(crate) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// A file of one kind where a command needs another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is {found}, not {wanted}; {}", found.way_out(*wanted))]
pub struct WrongKind {
    /// What it is.
    pub found: FileKind,
    /// What is needed.
    pub wanted: Wanted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_the_kind() {
        let cases: [(&[u8], Option<FileKind>); 14] = [
            (b"", Some(FileKind::Empty)),
            (b"GGUF\x03\0\0\0", Some(FileKind::Gguf)),
            (b"\x10\x02\0\0\0\0\0\0{\"a\"", Some(FileKind::Safetensors)),
            (b"\x80\x02}q\0", Some(FileKind::Pickle)),
            (b"\x80\x02\x8a\nl\xfc", Some(FileKind::Pickle)),
            (b"PK\x03\x04\0\0", Some(FileKind::Zip)),
            (
                b"version https://git-lfs.github.com/spec/v1",
                Some(FileKind::LfsPointer),
            ),
            (b"vers", Some(FileKind::LfsPointer)),
            (b"<html>", Some(FileKind::WebPage)),
            (b"tjgg\x01", Some(FileKind::BeforeGguf)),
            (b"\xef\xbb\xbf{\"model_type\": \"x\"}", Some(FileKind::Config)),
            (b"{\n  \"metadata\": {}}", Some(FileKind::Json)),
            (b"versions of it", None),
            (b"GGML", None),
        ];
        for (start, kind) in cases {
            assert_eq!(FileKind::of_bytes(start), kind, "{}", start.escape_ascii());
        }
    }
}
