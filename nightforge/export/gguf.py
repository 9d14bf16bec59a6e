"""One GGUF file, which llama.cpp runs: a Llama, each matrix in the narrowest type that holds its integers exactly.

The layout is that of llama.cpp's convert_hf_to_gguf.py (LlamaModel): rows of q and k are interleaved for its rotary
embedding. Its types hold blocks of 32 with a scale in fp16 (ggml-common.h): Q4_0 scale·(0…15 − 8), Q4_1 scale·(0…15)
+ least (fp16), Q8_0 scale·(−128 … 127). A grid of blocks of 32, 64, 128 … goes into them integer for integer, and only
its scales are rounded; a scale of a longer block is written once for each 32. All else is held as `rest` says.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nightforge import gguf_models, models
from nightforge.blocks import HEAD
from nightforge.errors import ConfigError
from nightforge.export import _folder, _gguf_words
from nightforge.grids import Grid
from nightforge.held import Held
from nightforge.scoring import Ids, LogitsFn

RUNTIME = "llama.cpp"
FILE = "model.gguf"
HOW = """
```console
llama-cli -m model.gguf
```
"""
BLOCK = 32
OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", HEAD: "output"}
INNER = {
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


class Config(_folder.Artifact):
    """The file."""

    rest: Literal["f32", "f16", "q8_0"]
    """Type of every matrix that no grid holds, or a grid that no type of the format holds; norms are always f32."""


SAMPLE = Config(tolerance=0.05, rest="f16")


class Tensor(NamedTuple):
    """What goes into the file: values, or the bytes of a type's blocks."""

    kind: str
    values: NDArray[Any]


def convert(held: Held, plain: Path, out: Path, cfg: Config) -> list[str]:
    """Write the file; what it changes in the model, in words.

    Raises:
        ConfigError: no Llama, one with biases or stretched positions, a tokenizer that llama.cpp does not know, or
            integers of a low-rank layer.
    """
    import gguf

    _folder.refuse_factored(held, "GGUF")
    weights = {name.removesuffix(".weight"): tensor for name, tensor in _folder.tensors(plain).items()}
    facts = json.loads((plain / "config.json").read_text(encoding="utf-8"))
    _check(facts, weights)
    words = _gguf_words.read(plain, facts["vocab_size"])
    remarks = _Remarks(cfg.rest)
    tensors = {_name(layer): _tensor(layer, weights[layer], held, facts, remarks) for layer in weights}
    out.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(out / FILE, "llama")
    _describe(writer, facts)
    words.write(writer)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor.values, raw_dtype=gguf.GGMLQuantizationType[tensor.kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return [*words.remarks, *remarks.said()]


def _check(facts: dict[str, Any], weights: dict[str, Any]) -> None:
    named = (facts.get("architectures") or ["none"])[0]
    if named != "LlamaForCausalLM":
        raise ConfigError(f"gguf: expected a LlamaForCausalLM, whose layout this exporter writes, got {named}.")
    rope = facts["rope_parameters"].get("rope_type", "default")
    biases = sorted(name for name in weights if name.endswith(".bias"))
    if rope != "default" or biases:
        raise ConfigError(f"gguf: expected plain rotary positions and no biases, got {rope} and {biases[:3]}.")


def _describe(writer: Any, facts: dict[str, Any]) -> None:
    size = facts.get("head_dim") or facts["hidden_size"] // facts["num_attention_heads"]
    writer.add_block_count(facts["num_hidden_layers"])
    writer.add_context_length(facts["max_position_embeddings"])
    writer.add_embedding_length(facts["hidden_size"])
    writer.add_feed_forward_length(facts["intermediate_size"])
    writer.add_head_count(facts["num_attention_heads"])
    writer.add_head_count_kv(facts["num_key_value_heads"])
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(facts["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(facts["rms_norm_eps"])
    writer.add_vocab_size(facts["vocab_size"])


def _name(layer: str) -> str:
    if layer in OUTER:
        return f"{OUTER[layer]}.weight"
    _, _, at, inner = layer.split(".", 3)
    return f"blk.{at}.{INNER[inner]}.weight"


def _tensor(layer: str, weight: Any, held: Held, facts: dict[str, Any], remarks: "_Remarks") -> Tensor:
    values = weight.float().numpy()
    if values.ndim == 1:
        return Tensor("F32", values)
    order = _order(layer, len(values), facts)
    tied = layer == "model.embed_tokens" and facts.get("tie_word_embeddings", False)
    grid = held.grids.get(HEAD if tied else layer)
    if grid is not None and (kind := _kind(grid)):
        scales = grid.scales.half().float().numpy()[order]
        remarks.scales(kind, scales, grid.scales.numpy()[order])
        offsets = grid.ints.short() - grid.zeros.short()[:, grid.block_of()]
        ints = grid.ints if kind == "Q4_1" else offsets + (8 if kind == "Q4_0" else 0)
        least = -scales * grid.zeros.numpy()[order]
        repeat = np.arange(0, values.shape[1], BLOCK) // grid.spec.block_size
        return Tensor(kind, _blocks(kind, ints.numpy()[order], scales[:, repeat], least[:, repeat]))
    remarks.held_otherwise(layer, grid)
    return _rest(remarks.rest, values[order])


def _order(layer: str, rows: int, facts: dict[str, Any]) -> NDArray[np.int64]:
    """Rows of q and k as llama.cpp's rotary embedding wants them, in each head 0, half, 1, half + 1, …"""
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}.get(layer.rpartition(".")[2])
    at = np.arange(rows)
    return at if heads is None else at.reshape(facts[heads], 2, -1).swapaxes(1, 2).reshape(-1)


def _kind(grid: Grid) -> str | None:
    """The narrowest type that holds these integers exactly, if one does."""
    inputs, blocks = grid.ints.shape[1], grid.scales.shape[1]
    if inputs % BLOCK or (blocks > 1 and grid.spec.block_size % BLOCK):
        return None
    offsets = grid.ints.short() - grid.zeros.short()[:, grid.block_of()]
    low, high = int(offsets.min()), int(offsets.max())
    fits = {"Q4_0": low >= -8 and high < 8, "Q4_1": grid.spec.bits <= 4, "Q8_0": low >= -128 and high < 128}
    return next((kind for kind, does in fits.items() if does), None)


def _blocks(kind: str, ints: NDArray[Any], scales: NDArray[Any], least: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes of a matrix: (rows, blocks · bytes of a block). scales and least are (rows, blocks of 32)."""
    rows, inputs = ints.shape
    in_blocks = ints.reshape(rows, inputs // BLOCK, BLOCK)
    held: NDArray[Any] = in_blocks.astype(np.int8).view(np.uint8)
    if kind != "Q8_0":
        low, high = np.split(in_blocks.astype(np.uint8), 2, axis=-1)
        held = low | high << 4
    heads = [scales, least] if kind == "Q4_1" else [scales]
    parts = [part.astype(np.float16)[..., None].view(np.uint8) for part in heads]
    return np.concatenate([*parts, held], axis=-1).reshape(rows, -1)


def _rest(kind: str, values: NDArray[np.float32]) -> Tensor:
    import gguf

    if kind == "q8_0" and values.shape[1] % BLOCK == 0:
        return Tensor("Q8_0", gguf.quantize(values, gguf.GGMLQuantizationType.Q8_0))
    return Tensor("F32", values) if kind == "f32" else Tensor("F16", values.astype(np.float16))


class _Remarks:
    """What the format changes."""

    def __init__(self, rest: str) -> None:
        self.rest, self.moved, self.least = rest, 0.0, False
        self.others: defaultdict[str, list[str]] = defaultdict(list)

    def scales(self, kind: str, rounded: NDArray[np.float32], scales: NDArray[np.float32]) -> None:
        """Note how far they moved, and that a least value does."""
        self.least |= kind == "Q4_1"
        self.moved = max(self.moved, float(np.abs(rounded / scales - 1).max()))

    def held_otherwise(self, layer: str, grid: Grid | None) -> None:
        """Note a matrix that goes into `rest`."""
        if grid is not None:
            self.others[f"{grid.spec.bits} bits in blocks of {grid.spec.block_size} are no type of GGUF"].append(layer)
        elif self.rest != "f32":
            self.others["on no grid"].append(layer)

    def said(self) -> Iterator[str]:
        """In words."""
        if self.moved:
            yield f"scales are rounded to fp16, which changes a weight by {self.moved:.2g} of itself at most"
        if self.least:
            yield "the least value of a block with an offset is rounded to fp16"
        for why, layers in self.others.items():
            more = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
            yield f"{why}: held as {self.rest}: {', '.join(layers[:3])}{more}"


def opened(folder: Path) -> tuple[LogitsFn, Any]:
    """What the file holds, read by transformers and computed in fp32, as a function of tokens; and its tokenizer."""
    model, words = gguf_models.read(folder / FILE)
    _gguf_words.mend(folder / FILE, words)
    return models.logits_fn(model.eval()), words


def running(folder: Path) -> tuple[LogitsFn, Any]:
    """The same as llama.cpp computes it: activations in 8 bits where they meet integers, keys and values in fp16.

    Raises:
        AssetMissing: its package is not installed.
    """
    _folder.needs("llama_cpp", "llama-cpp")
    from llama_cpp import Llama

    made: dict[int, Any] = {}

    def runtime(tokens: int) -> Any:
        """One for so many tokens or more: it holds logits for as many as it could read, and a context may be long."""
        if not any(most >= tokens for most in made):
            made.clear()
            made[tokens] = Llama(str(folder / FILE), n_ctx=tokens, logits_all=True, verbose=False)
        return next(iter(made.values()))

    def logits(input_ids: Ids, attention_mask: Ids) -> NDArray[np.float32]:
        model, found = runtime(input_ids.shape[1]), []
        for row in input_ids.tolist():
            model.reset()
            model.eval(row)
            found.append(model.scores[: len(row)].copy())
        return np.stack(found).astype(np.float32)

    return logits, opened(folder)[1]
