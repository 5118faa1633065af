//! What targets that concern drafters need beside the input.
#![allow(dead_code)] // each target uses its own part

use crate::scratch;
use gguf_conv::arch::{Arch, Registry};
use gguf_conv::checkpoint::Checkpoint;
use gguf_conv::convert::{self, Options};
use gguf_conv::gguf::{Gguf, Value};
use gguf_conv::io::Inputs;
use gguf_conv::storage::ModelFile;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fixtures")
        .join(name)
}

/// The drafter's architecture.
pub static ARCH: LazyLock<Arch> = LazyLock::new(|| Arch::gemma4_assistant().unwrap());
/// All architectures.
pub static REGISTRY: LazyLock<Registry> = LazyLock::new(|| Registry::builtin().unwrap());
/// The small trained target.
pub static TARGET: LazyLock<Gguf> =
    LazyLock::new(|| Gguf::open(&Inputs::new(), &fixture("mini-dense/target-bf16.gguf")).unwrap());
/// Its drafter.
pub static DRAFTER: LazyLock<Gguf> =
    LazyLock::new(|| Gguf::open(&Inputs::new(), &fixture("mini-dense/drafter-q8_0.gguf")).unwrap());
/// The same, whatever the container.
pub static MODEL: LazyLock<ModelFile> =
    LazyLock::new(|| ModelFile::open(&Inputs::new(), &fixture("mini-dense/drafter-q8_0.gguf")).unwrap());
/// The drafter's checkpoint.
pub static CHECKPOINT: LazyLock<Checkpoint> =
    LazyLock::new(|| Checkpoint::open(&Inputs::new(), &fixture("mini-dense/drafter")).unwrap());

/// Plans the conversion of the drafter's checkpoint with `bytes` in the place of one of its files, alone and with the
/// target. No number of the plan is NaN or infinite.
pub fn plan_with(name: &str, bytes: &[u8]) {
    let folder = scratch::path("drafter");
    if !folder.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        for file in [
            "model.safetensors",
            "config.json",
            "tokenizer.json",
            "tokenizer_config.json",
        ] {
            std::fs::copy(fixture("mini-dense/drafter").join(file), folder.join(file)).unwrap();
        }
    }
    std::fs::write(folder.join(name), bytes).unwrap();
    let Ok(checkpoint) = Checkpoint::open(&Inputs::new(), &folder) else {
        return;
    };
    for target in [None, Some(&*TARGET)] {
        let Ok(conversion) = convert::plan(&ARCH, &checkpoint, target, Options::default()) else {
            continue;
        };
        for (key, value) in conversion.plan.metadata().iter() {
            if let Value::F32(number) = value {
                assert!(number.is_finite(), "{key}: {number}");
            }
        }
    }
}
