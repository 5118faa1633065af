#!/usr/bin/env python3
"""Makes a target's checkpoint of 8 GB in 13 shards and a DSpark drafter of 2.8 GB for it, of random bf16 weights, for peers.py.

usage: make_sharded.py OUT_DIR TOKENIZER_FOLDER

TOKENIZER_FOLDER is one that make_big.py made (`big/12b`). Makes OUT_DIR/target and OUT_DIR/dspark. Needs numpy.
"""
import json
import pathlib
import shutil
import sys

import numpy as np

out, tokenizer = map(pathlib.Path, sys.argv[1:])
VOCAB, WIDTH, LAYERS, HEADS, KV_HEADS, FFN, SHARDS = 262144, 3840, 14, 16, 8, 15360, 13
SLIDING, FULL = "sliding_attention", "full_attention"
# Numbers near 1/60 of either sign, over and over: what a codec does with them is what it does with any.
block = (np.random.default_rng(1).normal(scale=1 / 60, size=1 << 22).astype(np.float32).view(np.uint32) >> 16)
block = block.astype(np.uint16).tobytes()


def write(path, shapes):
    """A safetensors file of such weights."""
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        while at > 0:
            at -= file.write(block[: min(at, len(block))])


def norms(prefix):
    parts = ["input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"]
    return {f"{prefix}.{part}.weight": [WIDTH] for part in parts} | {f"{prefix}.layer_scalar": [1]}


def mlp(prefix, ffn):
    return {f"{prefix}.mlp.gate_proj.weight": [ffn, WIDTH], f"{prefix}.mlp.up_proj.weight": [ffn, WIDTH],
            f"{prefix}.mlp.down_proj.weight": [WIDTH, ffn]}


def attention(prefix, head_dim, kv_heads, has_values):
    kv = kv_heads * head_dim
    shapes = {"q_proj": [HEADS * head_dim, WIDTH], "k_proj": [kv, WIDTH], "o_proj": [WIDTH, HEADS * head_dim],
              "q_norm": [head_dim], "k_norm": [head_dim]} | ({"v_proj": [kv, WIDTH]} if has_values else {})
    return {f"{prefix}.self_attn.{part}.weight": shape for part, shape in shapes.items()}


def folder(name, config):
    path = out / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(config, indent=1))
    for file in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]:
        shutil.copy(tokenizer / file, path)
    return path


kinds = [FULL if (layer + 1) % 6 == 0 or layer == LAYERS - 1 else SLIDING for layer in range(LAYERS)]
proportional = {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0}
common = {"vocab_size": VOCAB, "hidden_size": WIDTH, "num_attention_heads": HEADS, "rms_norm_eps": 1e-6, "dtype": "bfloat16",
          "max_position_embeddings": 131072, "sliding_window": 1024, "attention_k_eq_v": True, "enable_moe_block": False,
          "hidden_activation": "gelu_pytorch_tanh", "num_global_key_value_heads": 1, "global_head_dim": 512,
          "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0, "tie_word_embeddings": True, "model_type": "gemma4_text"}

path = folder("target", common | {
    "architectures": ["Gemma4ForCausalLM"], "num_hidden_layers": LAYERS, "intermediate_size": FFN, "head_dim": 256,
    "num_key_value_heads": KV_HEADS, "layer_types": kinds, "hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0,
    "vocab_size_per_layer_input": 0, "final_logit_softcapping": 30.0, "moe_intermediate_size": None, "num_experts": None,
    "top_k_experts": None, "use_double_wide_mlp": False,
    "rope_parameters": {FULL: proportional, SLIDING: {"rope_type": "default", "rope_theta": 10000.0}}})
shards = [{"model.embed_tokens.weight": [VOCAB, WIDTH], "model.norm.weight": [WIDTH]}] + [{} for _ in range(SHARDS - 1)]
for layer, kind in enumerate(kinds):
    prefix = f"model.layers.{layer}"
    full = attention(prefix, 512, 1, False)
    shards[1 + layer % (SHARDS - 1)] |= norms(prefix) | mlp(prefix, FFN) | (
        full if kind == FULL else attention(prefix, 256, KV_HEADS, True))
places = {}
for number, shapes in enumerate(shards, 1):
    name = f"model-{number:05}-of-{SHARDS:05}.safetensors"
    write(path / name, shapes)
    places |= dict.fromkeys(shapes, name)
(path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))

path = folder("dspark", common | {
    "architectures": ["Gemma4DSparkModel"], "num_hidden_layers": 2, "intermediate_size": 8192, "head_dim": 512,
    "num_key_value_heads": 1, "layer_types": [FULL, FULL], "block_size": 7, "target_layer_ids": [1, 6, 11], "mask_token_id": 4,
    "markov_rank": 256, "markov_head_type": "vanilla", "sample_from_anchor": True, "final_logit_softcapping": None,
    "rope_parameters": {FULL: proportional}})
shapes = {"embed_tokens.weight": [VOCAB, WIDTH], "fc.weight": [WIDTH, 3 * WIDTH], "hidden_norm.weight": [WIDTH],
          "norm.weight": [WIDTH], "markov_head.markov_w1.weight": [VOCAB, 256], "markov_head.markov_w2.weight": [VOCAB, 256],
          "confidence_head.proj.weight": [1, WIDTH + 256], "confidence_head.proj.bias": [1]}
for layer in range(2):
    prefix = f"layers.{layer}"
    shapes |= norms(prefix) | mlp(prefix, 8192) | attention(prefix, 512, 1, False)
write(path / "model.safetensors", shapes)
for folder in ["target", "dspark"]:
    print(folder, sum(file.stat().st_size for file in (out / folder).glob("*.safetensors")) / 1e9, "GB")
