//! Gemma 4 itself as a source: its checkpoints become what upstream's converter writes.

use crate::common::*;
use gguf_conv::checkpoint::Checkpoint;
use gguf_conv::gguf::Gguf;
use gguf_conv::io::Inputs;
use gguf_conv::model::Config;
use gguf_conv::quant::GgmlType;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

/// What a tensor's name in GGUF is in a checkpoint, without what stands around it.
const NAMES: [(&str, &str); 22] = [
    ("token_embd.weight", "embed_tokens.weight"),
    ("output_norm.weight", "norm.weight"),
    ("per_layer_token_embd.weight", "embed_tokens_per_layer.weight"),
    ("per_layer_model_proj.weight", "per_layer_model_projection.weight"),
    ("per_layer_proj_norm.weight", "per_layer_projection_norm.weight"),
    ("attn_norm.weight", "input_layernorm.weight"),
    ("attn_q.weight", "self_attn.q_proj.weight"),
    ("attn_k.weight", "self_attn.k_proj.weight"),
    ("attn_v.weight", "self_attn.v_proj.weight"),
    ("attn_output.weight", "self_attn.o_proj.weight"),
    ("attn_q_norm.weight", "self_attn.q_norm.weight"),
    ("attn_k_norm.weight", "self_attn.k_norm.weight"),
    ("post_attention_norm.weight", "post_attention_layernorm.weight"),
    ("ffn_norm.weight", "pre_feedforward_layernorm.weight"),
    ("ffn_gate.weight", "mlp.gate_proj.weight"),
    ("ffn_up.weight", "mlp.up_proj.weight"),
    ("ffn_down.weight", "mlp.down_proj.weight"),
    ("post_ffw_norm.weight", "post_feedforward_layernorm.weight"),
    ("layer_output_scale.weight", "layer_scalar"),
    ("inp_gate.weight", "per_layer_input_gate.weight"),
    ("proj.weight", "per_layer_projection.weight"),
    ("post_norm.weight", "post_per_layer_input_norm.weight"),
];

fn checkpoint_name(prefix: &str, gguf: &str) -> String {
    let (layer, name) = match gguf.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
        Some((layer, name)) => (format!("layers.{layer}."), name),
        None => (String::new(), gguf),
    };
    let (_, of_checkpoint) = NAMES.iter().find(|(known, _)| *known == name).expect(gguf);
    format!("{prefix}{layer}{of_checkpoint}")
}

/// The checkpoint that a pair's target was converted from: its tensors were all in BF16. It lies in a folder called
/// `target`, as that did, after which the model is named.
fn target_checkpoint(pair: &str, prefix: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("target");
    copy_folder(&fixture(pair).join("drafter"), &path);
    let config = fixture(pair).join("target-config.json");
    std::fs::copy(config, path.join("config.json")).unwrap();
    let gguf = Gguf::open(&Inputs::new(), &fixture(pair).join("target-bf16.gguf")).unwrap();
    let mut tensors = Tensors::new();
    for info in gguf.tensors() {
        let name = info.name.to_string();
        if name == "rope_freqs.weight" {
            continue;
        }
        let tensor = gguf.tensor(&name).unwrap().unwrap();
        let shape: Vec<usize> = info.dims.iter().rev().map(|&n| n as usize).collect();
        let mut numbers = vec![0.0; shape.iter().product()];
        assert!(matches!(tensor.ty, GgmlType::F32 | GgmlType::BF16));
        tensor.ty.decode(tensor.data, &mut numbers).unwrap();
        let raw = Raw::bf16(&shape, numbers.into_iter());
        tensors.insert(checkpoint_name(prefix, &name), raw);
    }
    write_tensors(&path.join("model.safetensors"), &tensors);
    (folder, path)
}

fn converted(checkpoint: &Path, outtype: &str) -> String {
    let out = checkpoint.with_file_name(format!("{outtype}.gguf"));
    succeed(&[path_str(checkpoint), "--outtype", outtype, "-o", path_str(&out)]);
    sha256(&out)
}

/// The sums are of `convert_hf_to_gguf.py`'s files.
#[test]
fn every_output_is_upstreams_to_the_byte() {
    for pair in PAIRS {
        let (_folder, checkpoint) = target_checkpoint(pair, "model.");
        let mut sums = checksums(pair);
        let bf16 = sha256(&fixture(pair).join("target-bf16.gguf"));
        sums.insert("target-bf16.gguf".to_owned(), bf16);
        for outtype in ["f32", "f16", "bf16", "q8_0"] {
            let sum = &sums[&format!("target-{outtype}.gguf")];
            assert_eq!(&converted(&checkpoint, outtype), sum, "{pair} {outtype}");
        }
    }
}

/// Upstream reads the text model alone and leaves the other tensors to `--mmproj`.
#[test]
fn vision_and_audio_are_left_out() {
    let (_folder, checkpoint) = target_checkpoint("mini-edge", "model.language_model.");
    let weights = checkpoint.join("model.safetensors");
    let mut tensors = read_tensors(&weights);
    for name in [
        "model.vision_tower.patch_embedder.input_proj.weight",
        "model.embed_audio.embedding_projection.weight",
    ] {
        tensors.insert(name.to_owned(), Raw::bf16(&[4, 4], random(3)));
    }
    write_tensors(&weights, &tensors);
    let bf16 = sha256(&fixture("mini-edge").join("target-bf16.gguf"));
    assert_eq!(converted(&checkpoint, "bf16"), bf16);
    let (_, told) = succeed(&[path_str(&checkpoint), "--dry-run"]);
    assert!(told.contains("vision and audio"), "{told}");
}

#[test]
fn a_target_is_no_drafter() {
    let (_folder, checkpoint) = target_checkpoint("mini-dense", "model.");
    let target = fixture("mini-dense/target-bf16.gguf");
    refuse(
        3,
        &["checkpoint of a target"],
        &[path_str(&checkpoint), "--target", path_str(&target), "--dry-run"],
    );
    refuse(
        3,
        &["this is a folder, not the GGUF of a model"],
        &["verify", path_str(&checkpoint), "--target", path_str(&target)],
    );
}

/// A checkpoint of random weights in a folder of the name that the sums were made with, with the pair's tokenizer.
fn variant(name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Tiny-Gemma-4");
    copy_folder(&fixture("target-variants").join(name), &path);
    for file in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        std::fs::copy(fixture("mini-dense/drafter").join(file), path.join(file)).unwrap();
    }
    (folder, path)
}

/// Converts it where it lies, so that the file gets the default name: that and its sum.
fn by_default(folder: &Path, outtype: &str) -> (String, String) {
    let mut command = program();
    command
        .current_dir(folder)
        .args(["Tiny-Gemma-4", "--outtype", outtype]);
    let told = command.output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let is_gguf = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "gguf");
    let mut entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let file = entries.find(is_gguf).unwrap();
    let named = (
        file.file_name().unwrap().to_str().unwrap().to_owned(),
        sha256(&file),
    );
    std::fs::remove_file(file).unwrap();
    named
}

/// Experts; a unified model with tensors for images and sound and with tokens to suppress; one whose inner config names
/// another class, which upstream goes by; a list of layers that ends with a sliding one; a silent config of per-layer
/// embeddings. `fixtures/target_variants.py` made them and the sums.
#[test]
fn the_forms_that_people_have_are_upstreams_to_the_byte_and_by_name() {
    let sums = checksums("target-variants");
    assert_eq!(sums.len(), 10);
    for (path, sum) in &sums {
        let (name, file) = path.split_once('/').unwrap();
        let outtype = if file.ends_with("-Q8_0.gguf") {
            "q8_0"
        } else {
            "bf16"
        };
        let (folder, _) = variant(name);
        assert_eq!(
            by_default(folder.path(), outtype),
            (file.to_owned(), sum.clone()),
            "{path}"
        );
    }
}

fn edit_config(checkpoint: &Path, edit: impl FnOnce(&mut serde_json::Map<String, Json>)) {
    let path = checkpoint.join("config.json");
    let mut config: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    edit(config.as_object_mut().unwrap());
    std::fs::write(path, config.to_string()).unwrap();
}

/// Upstream writes a width of 256 all the same, and llama.cpp finds no tensors of it.
#[test]
fn no_width_of_per_layer_embeddings_without_any() {
    let (folder, checkpoint) = variant("experts");
    edit_config(&checkpoint, |config| {
        config.remove("hidden_size_per_layer_input").unwrap();
    });
    let (file, sum) = by_default(folder.path(), "bf16");
    assert_eq!(checksums("target-variants")[&format!("experts/{file}")], sum);
}

/// The forward pass takes the same numbers from a checkpoint as from what became of it.
#[test]
fn numbers_of_a_checkpoint_are_those_of_its_gguf() {
    for name in ["experts", "unified", "sliding-last", "default-per-layer"] {
        let (_folder, path) = variant(name);
        let out = path.with_file_name("out.gguf");
        succeed(&[path_str(&path), "--outtype", "bf16", "-o", path_str(&out)]);
        let inputs = Inputs::new();
        let checkpoint = Checkpoint::open(&inputs, &path).unwrap();
        let of_checkpoint = Config::from_checkpoint(&checkpoint).unwrap().unwrap();
        let of_gguf = Config::from_gguf(&Gguf::open(&inputs, &out).unwrap(), "gemma4").unwrap();
        assert_eq!(of_checkpoint.layers, of_gguf.layers, "{name}");
        assert_eq!(of_checkpoint.per_layer_width, of_gguf.per_layer_width, "{name}");
        assert_eq!(of_checkpoint.experts, of_gguf.experts, "{name}");
    }
}
