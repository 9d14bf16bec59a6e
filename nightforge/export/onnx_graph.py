"""Part of a network → an ONNX graph for ONNX Runtime, by torch.export and torch.onnx (dynamo), any number of rows.

What a graph needs not to run (names of Python files and lines, where in the network a node comes from) is left out: it
is half of a small model, and differs from one checkout to the next.
"""

import logging
import warnings
from typing import Any

from pydantic import Field

from nightforge import config, graphs

RUNTIME = "onnx"


class Config(config.Config):
    """The graph."""

    opset: int = Field(ge=18, le=23)
    """Version of the ONNX operators, such as 20."""


SAMPLE = Config(opset=20)


def graph(network: Any, part: graphs.Part, cfg: Config) -> Any:
    """An onnx.ModelProto that computes what the part does, for calls with as many rows as one likes.

    Args:
        network: what the part is of.
        part: as nightforge.graphs.watch found it; its first call is the example, of two rows or more.
    """
    import torch

    class Flat(torch.nn.Module):
        """The part with its constants in place, from tensors to tensors."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
            left = iter(tensors)
            given = [part.constants[i] if i in part.constants else next(left) for i in range(len(part.names))]
            args = [value for value, name in zip(given, part.names, strict=True) if name is None]
            named = {name: value for value, name in zip(given, part.names, strict=True) if name is not None}
            return graphs.flat(part.call(*args, **named))

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of torchvision, which nothing here needs
    example = part.calls[0]
    rows = {0: torch.export.Dim.DYNAMIC}
    shapes = {"tensors": tuple(rows if t.ndim else None for t in example)}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            Flat().eval(), example, dynamo=True, dynamic_shapes=shapes, opset_version=cfg.opset, verbose=False,
            input_names=[graphs.name(i) for i in range(len(example))], external_data=False,
        )  # fmt: skip
    return _bare(program.model_proto)


def _bare(model: Any) -> Any:
    """Without all that is for people."""
    model.ClearField("metadata_props")
    model.ClearField("producer_version")
    model.graph.ClearField("metadata_props")
    model.graph.ClearField("doc_string")
    model.graph.ClearField("value_info")
    for item in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        item.ClearField("doc_string")
        item.ClearField("metadata_props")
    for node in model.graph.node:
        node.ClearField("name")
    return model
