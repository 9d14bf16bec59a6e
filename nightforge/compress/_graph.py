"""What the passes over ONNX graphs share: which tensors are weights, and how one is held in another form."""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nightforge.compress._pass import Kind

FAMILIES = {"vae", "gan", "diffusion", "latent_diffusion", "text_diffusion", "seq2seq"}
COMPATIBLE = {"family": FAMILIES, "loader": {"array", "transformers"}, "runtime": {"onnx"}}
"""What a model must be before, and what runs it after."""
AFTER: set[Kind] = {"smooth", "shrink", "train"}
"""What works on the network, before it becomes graphs."""

OUTPUT_AXIS = {"Conv": 0, "ConvTranspose": 1, "Gather": 0, "MatMul": -1}
"""Operator → the axis of its weight along which each output has a scale of its own; Gemm's depends on transB."""
INT8_MAX = 127


class Weight(NamedTuple):
    """A tensor that an operator multiplies by, or looks rows up in."""

    name: str
    values: NDArray[np.float32]
    axis: int
    """See OUTPUT_AXIS."""


def weights(model: Any) -> Iterator[Weight]:
    """The weights of a graph, each once, in the order of their operators; some are turned before they are used."""
    from onnx.numpy_helper import to_array

    tensors = {t.name: t for t in model.graph.initializer if t.data_type == t.FLOAT and len(t.dims) > 1}
    turned = {n.output[0]: (n.input[0], _order(n)) for n in model.graph.node if n.op_type == "Transpose"}
    for node in model.graph.node:
        at = 0 if node.op_type == "Gather" else 1
        axis = OUTPUT_AXIS.get(node.op_type)
        if node.op_type == "Gemm":
            axis = 0 if any(a.name == "transB" and a.i for a in node.attribute) else 1
        if axis is None or len(node.input) <= at:
            continue
        name, order = turned.get(node.input[at], (node.input[at], None))
        if (tensor := tensors.pop(name, None)) is not None:
            axis %= len(tensor.dims)
            yield Weight(tensor.name, to_array(tensor), order[axis] if order else axis)


def _order(node: Any) -> list[int]:
    """Which axis each axis of a Transpose was before."""
    return next(list(a.ints) for a in node.attribute if a.name == "perm")


def rounded(weight: Weight) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A weight as integers −127 … 127, and the scale of each output: round to nearest, around zero."""
    others = tuple(i for i in range(weight.values.ndim) if i != weight.axis)
    scale = np.abs(weight.values).max(axis=others) / INT8_MAX
    scale = np.where(scale > 0, scale, 1).astype(np.float32)
    shape = [-1 if i == weight.axis else 1 for i in range(weight.values.ndim)]
    integers = np.rint(weight.values / scale.reshape(shape)).clip(-INT8_MAX, INT8_MAX).astype(np.int8)
    return integers, scale


def hold(model: Any, name: str, operator: str, held: Mapping[str, NDArray[Any]], **attributes: Any) -> None:
    """Hold a tensor as other ones, of which an operator at the head of the graph makes it when the graph runs."""
    from onnx import helper, numpy_helper

    kept = [t for t in model.graph.initializer if t.name != name]
    kept += [numpy_helper.from_array(value, name=f"{name}.{suffix}") for suffix, value in held.items()]
    node = helper.make_node(operator, [f"{name}.{suffix}" for suffix in held], [name], **attributes)
    nodes = [node, *model.graph.node]
    for field, items in (("initializer", kept), ("node", nodes)):
        model.graph.ClearField(field)
        getattr(model.graph, field).extend(items)


def least_mb(shapes: Mapping[str, tuple[int, ...]], bits: int) -> float:
    """The least that graphs can weigh in MB (10⁶ bytes) whose matrices have so many bits a weight, and all else 16."""
    return sum(prod(shape) * (bits if len(shape) > 1 else min(16, bits * 2)) for shape in shapes.values()) / 8 / 1e6
