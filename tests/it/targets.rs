//! Gemma 4 itself as a source: its checkpoints become what upstream's converter writes.

use crate::common::*;
use gguf_conv::gguf::Gguf;
use gguf_conv::io::Inputs;
use gguf_conv::quant::GgmlType;
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
