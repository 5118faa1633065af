#!/usr/bin/env python3
"""Makes a target of 213 M random parameters in the shape of Gemma 4, for timing the prompt pass.
usage: make_target.py OUT_DIR

Needs torch and transformers 5.14. The folder is a checkpoint with the tokenizer of the small fixtures; make the GGUF with
convert_hf_to_gguf.py OUT_DIR --outtype q8_0."""
import pathlib
import shutil
import sys

import torch
from transformers import Gemma4ForCausalLM, Gemma4TextConfig

out = pathlib.Path(sys.argv[1])
SLIDING, FULL = "sliding_attention", "full_attention"
config = Gemma4TextConfig(
    vocab_size=1024, hidden_size=1536, intermediate_size=6144, num_hidden_layers=6, layer_types=[SLIDING] * 5 + [FULL],
    num_attention_heads=12, num_key_value_heads=4, head_dim=128, num_global_key_value_heads=1, global_head_dim=256,
    attention_k_eq_v=True, sliding_window=512, max_position_embeddings=8192, rms_norm_eps=1e-6,
    rope_parameters={FULL: {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6},
                     SLIDING: {"rope_type": "default", "rope_theta": 1e4}},
    hidden_size_per_layer_input=0, vocab_size_per_layer_input=0, num_kv_shared_layers=0, final_logit_softcapping=30.0,
    tie_word_embeddings=True, pad_token_id=0, bos_token_id=2, eos_token_id=1)
torch.manual_seed(3)
Gemma4ForCausalLM(config).to(torch.bfloat16).save_pretrained(out)
fixture = pathlib.Path(__file__).parent.parent / "fixtures/mini-dense/drafter"
for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]:
    if (fixture / name).exists():
        shutil.copy(fixture / name, out)
