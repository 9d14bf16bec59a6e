"""Weights as 8-bit integers with a scale for each output, widened as the graph runs; activations stay as they are.

Symmetric round-to-nearest per output channel (Krishnamoorthi 2018, arXiv 1806.08342, §3.1). It reads no data. Biases
and norms stay in 32 bits.
"""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from nightforge import config
from nightforge.compress import _graph
from nightforge.compress._context import Context, refuse_other

COMPATIBLE, AFTER = _graph.COMPATIBLE, _graph.AFTER


class Config(config.Config):
    """No values: every weight of a convolution, a matrix product or a table is rounded."""


SAMPLE = Config()


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model.

    Raises:
        ConfigError: it is not of a kind that this works on.
    """
    refuse_other("int8_weights", COMPATIBLE, context)


def rewrite(model: Any, feeds: Sequence[Any], cfg: Config) -> Any:
    """The graph (an onnx.ModelProto, changed in place) with its weights as integers."""
    for weight in list(_graph.weights(model)):
        integers, scale = _graph.rounded(weight)
        held: dict[str, NDArray[Any]] = {"integers": integers, "scale": scale}
        _graph.hold(model, weight.name, "DequantizeLinear", held, axis=weight.axis)
    return model


def least_mb(context: Context, cfg: Config) -> float:
    """The least that the weights alone can weigh, in MB (10⁶ bytes), from their shapes."""
    return _graph.least_mb(context.shapes, 8)
