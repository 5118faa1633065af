//! What the integration tests share: fixtures, the program, small checkpoints and targets made on the spot.
#![allow(dead_code, missing_docs, clippy::expect_used, clippy::unwrap_used)] // each test file uses its own part

pub mod diffs;
pub mod home;
pub mod hub;
pub mod parts;
pub mod server;

use assert_cmd::Command;
use gguf_conv::gguf::{Array, Layout, Metadata, Strings, TensorSpec, Value};
use gguf_conv::quant::GgmlType;
use gguf_conv::verify::Options;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize_to_file};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub const PAIRS: [&str; 2] = ["mini-dense", "mini-edge"];

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

pub fn program() -> Command {
    let mut command = Command::cargo_bin("gguf-conv").expect("the program is built with its tests");
    command.env_remove("RAYON_NUM_THREADS");
    // No test looks into the models of whoever runs it, or opens a connection to elsewhere.
    for name in [
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
        "HF_HOME",
        "HF_TOKEN",
        "HF_ENDPOINT",
        "OLLAMA_MODELS",
        "LLAMA_CACHE",
        "XDG_CACHE_HOME",
    ] {
        command.env_remove(name);
    }
    command.env("HF_HUB_OFFLINE", "1");
    command
}

/// Options of a verification with something changed.
pub fn with(mut options: Options, change: impl FnOnce(&mut Options)) -> Options {
    change(&mut options);
    options
}

/// Runs the program, expects success, and returns standard output and standard error.
#[track_caller]
pub fn succeed(args: &[&str]) -> (String, String) {
    let output = program().args(args).output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{args:?}: {err}");
    (out, err)
}

/// Runs the program and expects it to stop with this code, one line of error, and these words in it.
#[track_caller]
pub fn refuse(code: i32, words: &[&str], args: &[&str]) {
    let output = program().args(args).output().expect("the program starts");
    let err = String::from_utf8(output.stderr).expect("errors are UTF-8");
    assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
    let errors: Vec<&str> = err.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "one line of error, not: {err}");
    assert_eq!(
        err.lines().last(),
        errors.first().copied(),
        "the error comes last: {err}"
    );
    for word in words {
        assert!(errors[0].contains(word), "{word:?} is not in: {err}");
    }
    assert!(output.stdout.is_empty(), "nothing on standard output");
}

/// Runs the program and expects that its command line is refused, in a sentence with these words.
#[track_caller]
pub fn misuse(words: &[&str], args: &[&str]) {
    let output = program().args(args).output().expect("the program starts");
    let err = String::from_utf8(output.stderr).expect("errors are UTF-8");
    assert_eq!(output.status.code(), Some(2), "{args:?}: {err}");
    let sentence = err.lines().next().unwrap_or_default();
    assert!(sentence.starts_with("error: "), "{err}");
    for word in words {
        assert!(sentence.contains(word), "{word:?} is not in: {err}");
    }
    assert!(output.stdout.is_empty(), "nothing on standard output");
}

/// The results of a JSON document that tells no error.
#[track_caller]
pub fn results(document: &str) -> Vec<serde_json::Value> {
    let mut document: serde_json::Value = serde_json::from_str(document).expect("it is JSON");
    assert_eq!(document["errors"], serde_json::json!([]));
    let results = document["results"].take();
    results.as_array().expect("results are a list").clone()
}

/// The one result of a JSON document that tells no error.
#[track_caller]
pub fn result(document: &str) -> serde_json::Value {
    let results = results(document);
    assert_eq!(results.len(), 1);
    results[0].clone()
}

pub fn path_str(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}

/// The checksums that lie beside a pair.
pub fn checksums(pair: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(fixture(pair).join("SHA256SUMS")).expect("checksums are there");
    let split = |line: &str| {
        line.split_once("  ")
            .map(|(sum, name)| (name.to_owned(), sum.to_owned()))
    };
    text.lines().filter_map(split).collect()
}

pub fn sha256(path: &Path) -> String {
    let bytes = std::fs::read(path).expect("the file is there");
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Copies the files of a folder, following links.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("folder is made");
    for entry in std::fs::read_dir(from).expect("folder is there") {
        let entry = entry.expect("entry is read");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("file is copied");
    }
}

/// A tensor of a safetensors file.
#[derive(Clone, Debug)]
pub struct Raw {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

impl Raw {
    pub fn bf16(shape: &[usize], values: impl Iterator<Item = f32>) -> Raw {
        let len = shape.iter().product();
        let data = values
            .take(len)
            .flat_map(|v| half::bf16::from_f32(v).to_le_bytes())
            .collect();
        Raw {
            dtype: Dtype::BF16,
            shape: shape.to_vec(),
            data,
        }
    }
}

pub type Tensors = BTreeMap<String, Raw>;

pub fn read_tensors(path: &Path) -> Tensors {
    let bytes = std::fs::read(path).expect("the checkpoint is there");
    let tensors = SafeTensors::deserialize(&bytes).expect("the checkpoint is whole");
    let raw = |(name, view): (String, TensorView)| {
        (
            name,
            Raw {
                dtype: view.dtype(),
                shape: view.shape().to_vec(),
                data: view.data().to_vec(),
            },
        )
    };
    tensors.tensors().into_iter().map(raw).collect()
}

pub fn write_tensors(path: &Path, tensors: &Tensors) {
    let views = tensors.iter().map(|(name, raw)| {
        let view = TensorView::new(raw.dtype, raw.shape.clone(), &raw.data).expect("data fits the shape");
        (name.clone(), view)
    });
    serialize_to_file(views, None, path).expect("the checkpoint is written");
}

/// A copy of a pair's drafter, in a folder called `drafter`, that a test may spoil.
pub struct Drafter {
    folder: tempfile::TempDir,
    pub path: PathBuf,
}

impl Drafter {
    pub fn copy_of(pair: &str) -> Drafter {
        Drafter::named(pair, "drafter")
    }

    pub fn named(pair: &str, name: &str) -> Drafter {
        Drafter::copied(&fixture(pair).join("drafter"), name)
    }

    pub fn copied(from: &Path, name: &str) -> Drafter {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(name);
        copy_folder(from, &path);
        Drafter { folder, path }
    }

    pub fn str(&self) -> &str {
        path_str(&self.path)
    }

    /// A path beside the drafter's folder.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn weights(&self) -> PathBuf {
        self.path.join("model.safetensors")
    }

    pub fn edit_tensors(&self, edit: impl FnOnce(&mut Tensors)) {
        let mut tensors = read_tensors(&self.weights());
        edit(&mut tensors);
        write_tensors(&self.weights(), &tensors);
    }

    pub fn edit_json(&self, file: &str, edit: impl FnOnce(&mut serde_json::Value)) {
        let path = self.path.join(file);
        let text = std::fs::read(&path).expect("the file is there");
        let mut json = serde_json::from_slice(&text).expect("it is JSON");
        edit(&mut json);
        std::fs::write(&path, json.to_string()).expect("the file is written");
    }

    pub fn remove(&self, files: &[&str]) {
        for file in files {
            std::fs::remove_file(self.path.join(file)).expect("the file is removed");
        }
    }

    /// Splits the weights into two shards with an index; `edit` may spoil the index.
    pub fn shard(&self, edit: impl FnOnce(&mut serde_json::Value)) -> [PathBuf; 2] {
        let tensors = read_tensors(&self.weights());
        std::fs::remove_file(self.weights()).expect("the file is removed");
        let names = [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
        ];
        let mut weight_map = serde_json::Map::new();
        for (i, shard) in names.iter().enumerate() {
            let mut part = tensors.clone();
            part.retain(|name, _| (name.as_str() >= "model.layers.2") == (i == 1));
            write_tensors(&self.path.join(shard), &part);
            weight_map.extend(part.keys().map(|name| (name.clone(), (*shard).into())));
        }
        let mut index = serde_json::json!({ "metadata": {}, "weight_map": weight_map });
        edit(&mut index);
        std::fs::write(self.path.join("model.safetensors.index.json"), index.to_string()).expect("written");
        names.map(|name| self.path.join(name))
    }
}

/// Numbers between -1 and 1, the same ones every time.
pub fn random(mut seed: u32) -> impl Iterator<Item = f32> {
    std::iter::repeat_with(move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / (1 << 23) as f32 - 1.0
    })
}

/// Writes a GGUF of the given metadata and tensors (name, lengths innermost first, type, data).
pub fn write_gguf(path: &Path, metadata: &Metadata, tensors: &[(&str, &[u64], GgmlType, Vec<u8>)]) {
    let specs: Vec<TensorSpec> = tensors
        .iter()
        .map(|(name, dims, ty, data)| TensorSpec {
            name: (*name).into(),
            dims: dims.to_vec(),
            ty: (*ty).into(),
            size: data.len() as u64,
        })
        .collect();
    let layout = Layout::new(metadata, &specs).expect("the file can be laid out");
    let mut bytes = layout.header.clone();
    for ((_, _, _, data), offset) in tensors.iter().zip(&layout.offsets) {
        bytes.resize(*offset as usize, 0);
        bytes.extend(data);
    }
    bytes.resize(layout.file_len as usize, 0);
    std::fs::write(path, bytes).expect("the file is written");
}

/// The metadata of a small Gemma 4 target: one sliding and one full layer.
pub fn target_metadata(width: u32, head_dims: [u32; 2], kv_heads: u32, tokens: &[&str]) -> Metadata {
    let mut meta = Metadata::default();
    meta.set("general.architecture", "gemma4");
    let numbers = [
        ("block_count", 2),
        ("context_length", 4096),
        ("embedding_length", width),
        ("attention.head_count_kv", kv_heads),
        ("attention.sliding_window", 32),
        ("attention.shared_kv_layers", 0),
        ("attention.key_length_swa", head_dims[0]),
        ("attention.key_length", head_dims[1]),
    ];
    for (key, value) in numbers {
        meta.set(format!("gemma4.{key}"), value);
    }
    meta.set("gemma4.attention.layer_norm_rms_epsilon", 1e-6_f32);
    meta.set("gemma4.rope.freq_base", 1e6_f32);
    meta.set("gemma4.rope.freq_base_swa", 1e4_f32);
    meta.set(
        "gemma4.attention.sliding_window_pattern",
        Array::Bool(vec![true, false]),
    );
    meta.set("tokenizer.ggml.model", "gemma4");
    meta.set(
        "tokenizer.ggml.tokens",
        Value::Array(Array::String(tokens.iter().collect())),
    );
    meta.set("tokenizer.ggml.merges", Array::String(Strings::default()));
    meta
}
