"""A model folder that ONNX Runtime GenAI loads, seen from outside: its logits, and what its weights really are."""

import json
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightforge.scoring import Ids, LogitsFn

GRAPH = "model.onnx"
INTEGER_OPS = {"MatMulNBits": 1, "GatherBlockQuantized": 0}
"""Operators that hold integer weights, and which of their inputs holds them."""


def logits_fn(folder: Path, threads: int = 0) -> LogitsFn:
    """An exported decoder as `nightforge.scoring.document_nats` wants it, run by ONNX Runtime on the CPU.

    Args:
        folder: with model.onnx and genai_config.json.
        threads: intra-op threads; 0 leaves it to the runtime.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = ort.InferenceSession(str(folder / GRAPH), options, providers=["CPUExecutionProvider"])
    decoder = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))["model"]["decoder"]
    heads, size = decoder["num_key_value_heads"], decoder["head_size"]
    past = {i.name: i.type for i in session.get_inputs() if i.name.startswith("past_key_values")}
    empty = {
        "tensor(float)": (size, np.float32),
        "tensor(int8)": (size, np.int8),
        "tensor(uint8)": (size // 2, np.uint8),
    }

    def logits(input_ids: Ids, attention_mask: Ids) -> NDArray[np.float32]:
        # Right padding cannot reach a real token through a causal mask, so every token may be called real.
        batch = len(input_ids)
        feeds: dict[str, Any] = {"input_ids": input_ids, "attention_mask": np.ones_like(input_ids)}
        for name, kind in past.items():
            width, dtype = empty[kind]
            feeds[name] = np.zeros((batch, heads, 0, width), dtype)
        out: NDArray[np.float32] = session.run(["logits"], feeds)[0]
        return out

    return logits


def integer_share(folder: Path) -> float:
    """Share of a model's weights that the file really holds as integers: 0 says that no grid is in it.

    A weight counts as often as it is stored; a table that the output shares counts once, and of a low rank count the
    factors. Norms and caches of the rotary embedding, which no recipe touches, are part of the whole.
    """
    import onnx

    graph = onnx.load(str(folder / GRAPH), load_external_data=False).graph
    sizes = {t.name: prod(t.dims) for t in graph.initializer if t.data_type != onnx.TensorProto.INT64}
    cast = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast" and node.input[0] in sizes}
    integers, helpers = {}, set()
    for node in graph.node:
        if node.op_type not in INTEGER_OPS:
            continue
        at = INTEGER_OPS[node.op_type]
        values = {a.name: a.i for a in node.attribute}
        helpers |= {cast.get(name, name) for name in node.input} - {node.input[1 - at]}
        if node.input[at] in sizes:
            whole = values["K"] * values["N"] if "K" in values else 0  # the last block of a row may be filled up
            integers[node.input[at]] = whole or sizes[node.input[at]] * 8 // values.get("bits", 4)
    rest = sum(size for name, size in sizes.items() if name not in helpers)
    total = sum(integers.values()) + rest
    return sum(integers.values()) / total if total else 0.0
