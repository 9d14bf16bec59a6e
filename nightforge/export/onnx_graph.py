"""Part of a network → an ONNX graph for ONNX Runtime, by torch.export and torch.onnx (dynamo), any number of rows.

Other axes are of any size where the calls that were watched say so: tokens are, the sides of a picture are not.

What a graph needs not to run (names of Python files and lines, where in the network a node comes from) is left out: it
is half of a small model, and differs from one checkout to the next.
"""

import logging
import warnings
from typing import Any

from pydantic import Field

from nightforge import config, graphs

RUNTIME = "onnx"
HOW = """
Each part of the network is a graph of its own:

```python
import onnxruntime as ort

part = ort.InferenceSession("decode.onnx")  # for one
print([(one.name, one.shape) for one in part.get_inputs()])
```

`nightforge generate` makes samples with the accepted model.
"""


class Config(config.Config):
    """The graph."""

    opset: int = Field(ge=18, le=23)
    """Version of the ONNX operators, such as 20."""


SAMPLE = Config(opset=20)


def graph(network: Any, part: graphs.Part, cfg: Config) -> Any:
    """An onnx.ModelProto that computes what the part does, for calls with as many rows as one likes.

    Args:
        network: what the part is of.
        part: as nightforge.graphs.find found it; one call must have two or more along each axis of any size.
    """
    import torch

    together = all(len({len(tensor) for tensor in call}) == 1 for call in part.calls)

    class Flat(torch.nn.Module):
        """The part with its constants in place, from tensors to tensors."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
            if together:  # said, or attention between two of them would take their rows for other sizes
                for other in tensors[1:]:
                    torch._check(len(other) == len(tensors[0]))  # type: ignore[no-untyped-call]
            args, named = part.arguments(tensors)
            return graphs.flat(part.call(*args, **named))

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of torchvision, which nothing here needs
    axes = _axes(part)
    example = next(call for call in part.calls if all(call[i].shape[axis] > 1 for i, axis in axes))  # 1 is a constant
    dynamic = [{axis: torch.export.Dim.DYNAMIC for of, axis in axes if of == i} or None for i in range(len(example))]
    shapes = {"tensors": tuple(dynamic)}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            Flat().eval(), example, dynamo=True, dynamic_shapes=shapes, opset_version=cfg.opset, verbose=False,
            input_names=[graphs.name(i) for i in range(len(example))], external_data=False,
        )  # fmt: skip
    return _bare(program.model_proto)


def _axes(part: graphs.Part) -> list[tuple[int, int]]:
    """The tensor and the axis of all that may be of any size: rows, and what was not the same in every call."""
    return [
        (i, axis)
        for i, tensors in enumerate(zip(*part.calls, strict=True))
        for axis in range(tensors[0].ndim)
        if axis == 0 or len({tensor.shape[axis] for tensor in tensors}) > 1
    ]


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
