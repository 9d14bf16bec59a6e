"""Weights and activations as 8-bit integers, their ranges taken from the calibration split before the graph is written.

Static quantization by ONNX Runtime's quantizer: QuantizeLinear and DequantizeLinear around each convolution and matrix
product (Jacob et al. 2018, arXiv 1712.05877, §2), weights per output channel.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from nightforge import config
from nightforge.compress import _graph
from nightforge.compress._context import Context, refuse_other
from nightforge.errors import DataError

COMPATIBLE, AFTER = _graph.COMPATIBLE, _graph.AFTER
OPERATORS = ["Conv", "ConvTranspose", "Gemm", "MatMul"]


class Config(config.Config):
    """How the ranges of activations are found."""

    ranges: Literal["MinMax", "Entropy", "Percentile"]
    """`MinMax` takes the extremes; `Entropy` and `Percentile` cut what is rare, so that the rest is told finer."""
    calls_max: int = Field(ge=1, le=10_000)
    """Calls of a part that are looked at, evenly spaced among those of as many rows that calibration made."""


SAMPLE = Config(ranges="MinMax", calls_max=20)


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model.

    Raises:
        ConfigError: it is not of a kind that this works on.
    """
    refuse_other("int8_static", COMPATIBLE, context)


def rewrite(model: Any, feeds: Sequence[Any], cfg: Config) -> Any:
    """The graph (an onnx.ModelProto) with integers between QuantizeLinear and DequantizeLinear.

    Raises:
        DataError: there is no call to take ranges from.
    """
    import onnx
    from onnxruntime import quantization

    if not feeds:
        raise DataError("int8_static: expected calls to take the ranges of activations from, got none.")
    alike = [one for one in feeds if _shapes(one) == _shapes(feeds[0])]  # histograms are of one shape
    for i, node in enumerate(model.graph.node):
        node.name = f"n{i}"  # the quantizer names its tensors after them
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")  # else it warns at every graph
    with tempfile.TemporaryDirectory(prefix="nightforge-static-") as name:
        out = Path(name) / "static.onnx"
        quantization.quantize_static(
            onnx.shape_inference.infer_shapes(model),
            str(out),
            _Reader(alike[:: -(-len(alike) // cfg.calls_max)]),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=OPERATORS,
            per_channel=True,
            calibrate_method=quantization.CalibrationMethod[cfg.ranges],
        )
        made = onnx.load(str(out))
    made.ClearField("metadata_props")
    made.graph.ClearField("value_info")
    for node in made.graph.node:
        node.ClearField("name")
    return made


def _shapes(feed: Any) -> list[tuple[int, ...]]:
    return [value.shape for value in feed.values()]


class _Reader:
    """Calls as ONNX Runtime's calibration asks for them."""

    def __init__(self, feeds: Sequence[Any]) -> None:
        self._left = iter(feeds)

    def get_next(self) -> Any:
        """The next, or none."""
        return next(self._left, None)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Asked for by name alone; all are read."""


def least_mb(context: Context, cfg: Config) -> float:
    """The least that the weights alone can weigh, in MB (10⁶ bytes), from their shapes."""
    return _graph.least_mb(context.shapes, 8)
