"""A causal LM as one graph that takes tokens and the keys and values before them: what torch.export makes of it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightforge.errors import ConfigError
from nightforge.held import Held
from nightforge.scoring import Ids, LogitsFn

Arrays = list[NDArray[Any]]
Step = Callable[[Ids, Arrays], tuple[NDArray[np.float32], Arrays]]
"""(input_ids (rows, tokens), past) → logits (rows, tokens, vocab), past with the new tokens; past is a key and a value
for each layer, (rows, heads of keys, tokens before, size of a head) each."""
HOW = """
It takes token ids (rows, tokens) and a key and a value for each layer (rows, heads of keys, tokens before, size of a
head), and gives logits and the keys and values with the new tokens; config.json has the sizes.
"""
"""How such a graph is run, for people."""
TRACES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")
"""What a node says of the Python that it was made of: paths and lines, other ones in each checkout."""


def program(held: Held) -> Any:
    """The torch.export.ExportedProgram of (input_ids, past) → (logits, *past), any rows, tokens and tokens before.

    Raises:
        ConfigError: a layer attends to a window alone, for which there are no such keys and values.
    """
    import torch
    from transformers.cache_utils import DynamicCache, DynamicLayer

    config = held.model.config
    _refuse_windows(config)

    class Decoder(torch.nn.Module):
        """With its keys and values in the open."""

        def __init__(self) -> None:
            super().__init__()
            self.net = held.model

        def forward(self, input_ids: torch.Tensor, past: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            cache = DynamicCache()
            for key, value in zip(past[::2], past[1::2], strict=True):
                layer = DynamicLayer()
                # Set and not added to what is empty: some converters cannot join a tensor of no axes.
                layer.dtype, layer.device, layer.is_initialized = key.dtype, key.device, True
                layer.keys, layer.values = key, value
                cache.layers.append(layer)
            out = self.net(input_ids=input_ids, past_key_values=cache, use_cache=True)
            return (out.logits, *(t for layer in out.past_key_values.layers for t in (layer.keys, layer.values)))

    heads, size = shape(config.to_dict())[1:]
    ids = torch.ones(2, 5, dtype=torch.long)
    past = tuple(torch.zeros(2, heads, 3, size) for _ in range(2 * config.num_hidden_layers))
    free = torch.export.Dim.DYNAMIC
    sizes = {"input_ids": {0: free, 1: free}, "past": tuple({0: free, 2: free} for _ in past)}
    with torch.no_grad():
        made = torch.export.export(Decoder().eval(), (ids, past), dynamic_shapes=sizes, strict=False)
    for node in made.graph.nodes:
        for trace in TRACES:
            node.meta.pop(trace, None)
    return made


def without_past(held: Held) -> Any:
    """A torch module of input_ids (rows, tokens) → logits (rows, tokens, vocab)."""
    import torch

    class Whole(torch.nn.Module):
        """Reads all tokens at once."""

        def __init__(self) -> None:
            super().__init__()
            self.net = held.model

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.net(input_ids=input_ids, use_cache=False).logits
            return logits

    return Whole().eval()


def _refuse_windows(config: Any) -> None:
    kinds = getattr(config, "layer_types", None) or (["sliding"] if getattr(config, "sliding_window", None) else [])
    if {*kinds} - {"full_attention"}:
        raise ConfigError(f"expected layers that attend to all tokens before, got {', '.join(sorted({*kinds}))}.")


def shape(facts: dict[str, Any]) -> tuple[int, int, int]:
    """Layers, heads of keys and values, and size of a head, of a config.json."""
    heads = facts["num_attention_heads"]
    size = facts.get("head_dim") or facts["hidden_size"] // heads
    return facts["num_hidden_layers"], facts.get("num_key_value_heads") or heads, size


def empty(folder: Path, rows: int) -> Arrays:
    """The past of a beginning, for a folder with a config.json."""
    layers, heads, size = shape(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    return [np.zeros((rows, heads, 0, size), np.float32) for _ in range(2 * layers)]


def logits_fn(folder: Path, step: Step) -> LogitsFn:
    """A decoder as `nightforge.scoring.document_nats` wants it."""

    def logits(input_ids: Ids, attention_mask: Ids) -> NDArray[np.float32]:
        # Right padding cannot reach a real token through a causal mask, so that no mask is needed.
        return step(np.ascontiguousarray(input_ids), empty(folder, len(input_ids)))[0]

    return logits


def words(folder: Path) -> Any:
    """The tokenizer that lies in the folder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def greedy(step: Step, past: Arrays, prompt: Sequence[int]) -> Any:
    """Each next token, without end: the likeliest, one after the other."""
    ids = np.array([list(prompt)], dtype=np.int64)
    while True:
        logits, past = step(ids, past)
        ids = logits[:, -1:].argmax(axis=-1)
        yield int(ids[0, 0])
