"""A tiny GGUF file of a Llama, laid out as llama.cpp's converter does."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def write(file: Path, model: Any, tokenizer: Any, *, split: str = "smollm", architecture: str = "llama") -> None:
    """Write a tied LlamaForCausalLM and a byte-level BPE tokenizer, the matrices in Q8_0."""
    import gguf

    cfg, writer = model.config, gguf.GGUFWriter(str(file), architecture)
    writer.add_block_count(cfg.num_hidden_layers)
    writer.add_context_length(cfg.max_position_embeddings)
    writer.add_embedding_length(cfg.hidden_size)
    writer.add_feed_forward_length(cfg.intermediate_size)
    writer.add_head_count(cfg.num_attention_heads)
    writer.add_head_count_kv(cfg.num_key_value_heads)
    writer.add_layer_norm_rms_eps(cfg.rms_norm_eps)
    writer.add_rope_freq_base(cfg.rope_parameters["rope_theta"])
    writer.add_vocab_size(cfg.vocab_size)
    words = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    special = set(tokenizer.all_special_tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list([word for word, _ in words])
    writer.add_token_types([3 if word in special else 1 for word, _ in words])
    writer.add_token_merges([" ".join(pair) for pair in _merges(tokenizer)])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_chat_template("{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}")
    for name, tensor in model.state_dict().items():
        if name != "lm_head.weight":
            _add(writer, name, tensor, cfg)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _merges(tokenizer: Any) -> list[list[str]]:
    import json

    merges: list[list[str]] = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    return merges


def _add(writer: Any, name: str, tensor: torch.Tensor, cfg: Any) -> None:
    import gguf

    values = tensor.numpy().astype(np.float32)
    if "q_proj" in name:
        values = _interleaved(values, cfg.num_attention_heads)
    if "k_proj" in name:
        values = _interleaved(values, cfg.num_key_value_heads)
    if values.ndim == 1:
        writer.add_tensor(_name(name), values)
    else:
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(_name(name), gguf.quantize(values, kind), raw_dtype=kind)


def _interleaved(weights: np.ndarray, heads: int) -> np.ndarray:
    """The rows of a head as llama.cpp's rotary embedding wants them: (0, half, 1, half + 1, …)."""
    rows, columns = weights.shape
    return weights.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _name(name: str) -> str:
    whole = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in whole:
        return whole[name]
    _, _, layer, inner = name.split(".", 3)
    return f"blk.{layer}.{NAMES[inner.removesuffix('.weight')]}.weight"
