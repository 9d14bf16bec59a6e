"""Weights as 16-bit floats in the file, widened as they are loaded: half the size, the arithmetic in 32 bits.

Rounding to half precision costs at most 2⁻¹¹ of a weight (IEEE 754), so next to no quality. A CPU that computes in half
precision no faster than in single gains nothing by more, and a convolution would lose range.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from nightforge import config
from nightforge.compress import _graph
from nightforge.compress._context import Context, refuse_other

COMPATIBLE, AFTER = _graph.COMPATIBLE, _graph.AFTER


class Config(config.Config):
    """Which tensors are halved."""

    elements_min: int = Field(ge=2)
    """Tensors of fewer values stay as they are: the operator that widens one takes some 60 bytes itself."""


SAMPLE = Config(elements_min=64)


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model.

    Raises:
        ConfigError: it is not of a kind that this works on.
    """
    refuse_other("half_weights", COMPATIBLE, context)


def rewrite(model: Any, feeds: Sequence[Any], cfg: Config) -> Any:
    """The graph (an onnx.ModelProto, changed in place) with its larger tensors in half precision."""
    from onnx import TensorProto
    from onnx.numpy_helper import to_array

    for tensor in list(model.graph.initializer):
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= cfg.elements_min:
            half = to_array(tensor).clip(-65504, 65504).astype(np.float16)
            _graph.hold(model, tensor.name, "Cast", {"half": half}, to=TensorProto.FLOAT)
    return model


def least_mb(context: Context, cfg: Config) -> float:
    """The least that the weights alone can weigh, in MB (10⁶ bytes), from their shapes."""
    return _graph.least_mb(context.shapes, 16)
