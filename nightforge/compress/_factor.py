"""What passes that factor matrices share: which layers, of which rank, and the two layers in the place of one.

A weight (outputs, inputs) of rank r is `up` (outputs, r) times `down` (r, inputs): r · (outputs + inputs) parameters.
All of them truncate a singular value decomposition (Eckart & Young 1936); they differ in what they multiply the weight
by before, which says which errors count.
"""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from pydantic import Field

from nightforge import blocks, config
from nightforge.blocks import EMBEDDING, HEAD, Moments
from nightforge.compress import _pass
from nightforge.compress._pass import Footprint, Given, Kind
from nightforge.held import Factored, Held, Tensors

COMPATIBLE = _pass.COMPATIBLE
KIND: Kind = "factor"
AFTER: set[Kind] = {"smooth", "shrink", "train", "factor"}
"""Not `prune`: a product of two matrices has none of the zeros that the weight had."""
Split = Callable[[torch.Tensor, Moments, int], Tensors]
"""(weight, what goes into the layer, rank) → `down` and `up`, as `truncated` gives them."""


class Factoring(config.Config):
    """Which layers are factored, and how far."""

    layers: list[str] = Field(min_length=1)
    """Patterns of layers' names, such as `model.layers.*.mlp.*`. Passes after this see `….down` and `….up`."""
    parameter_share: float = Field(gt=0, lt=1)
    """Share of each layer's parameters that is kept, at most; the rank follows from it."""


def rank(shape: Sequence[int], parameter_share: float) -> int:
    """The largest rank of (outputs, inputs) that takes no more than this share of the parameters; 0 where none does."""
    outputs, inputs = shape
    return int(parameter_share * outputs * inputs / (outputs + inputs) + 1e-9)


def least(footprints: Mapping[str, Footprint], cfg: Factoring) -> dict[str, Footprint]:
    """What the tensors take once the layers are two each."""
    found: dict[str, Footprint] = {}
    for name, one in footprints.items():
        layer = name.removesuffix(".weight")
        named = any(fnmatchcase(layer, pattern) for pattern in cfg.layers) and layer != EMBEDDING
        if len(one.shape) == 2 and named and not _made(layer) and (r := rank(one.shape, cfg.parameter_share)):
            found[f"{layer}.down.weight"] = one._replace(shape=(r, one.shape[1]))
            found[f"{layer}.up.weight"] = one._replace(shape=(one.shape[0], r))
        else:
            found[name] = one
    return found


def able(held: Held, cfg: Factoring) -> dict[str, torch.nn.Linear]:
    """The layers that can be factored, by name; `held.skipped` says of the others why.

    Raises:
        ConfigError: a pattern names none.
        DataError: a weight is not a finite number.
    """
    found = {}
    for name, layer in blocks.linears(held.model, cfg.layers).items():
        if _made(name):
            held.skipped[name] = "not factored: it is half of a layer that was factored before"
        elif name == HEAD and held.model.get_input_embeddings().weight is layer.weight:
            held.skipped[name] = "not factored: it is the embedding table too, which would stay beside it"
        elif not rank(layer.weight.shape, cfg.parameter_share):
            held.skipped[name] = (
                f"not factored: rank 1 of {layer.out_features} × {layer.in_features} is more than a share of "
                f"{cfg.parameter_share:g} of its parameters"
            )
        else:
            found[name] = layer
    return found


def each(held: Held, given: Given, cfg: Factoring, split: Split) -> Held:
    """Factor layer by layer, each for what the factored ones before it give; `held` is changed in place."""
    found = able(held, cfg)

    def visit(_: str, layers: Mapping[str, torch.nn.Linear], seen: Mapping[str, Moments]) -> None:
        for name, layer in layers.items():

            def made(name: str = name, layer: torch.nn.Linear = layer) -> Tensors:
                return split(layer.weight.detach(), seen[name], rank(layer.weight.shape, cfg.parameter_share))

            put(held, name, layer, given.keep(name, made))

    blocks.walk(held.model, given.calibration, visit, list(found))
    return held


def truncated(weighted: torch.Tensor, rank: int) -> Tensors:
    """The product `up` · `down` of this rank that is nearest to a matrix (outputs, inputs); float64.

    The singular values are shared between the two by their roots, so that neither is hard to round.
    """
    left, values, right = torch.linalg.svd(weighted.double(), full_matrices=False)
    roots = values[:rank].sqrt()
    return {"down": roots[:, None] * right[:rank], "up": left[:, :rank] * roots}


def put(held: Held, name: str, layer: torch.nn.Linear, tensors: Tensors) -> None:
    """Two layers in the place of one, in float32; the bias goes to the second."""
    r, inputs = tensors["down"].shape
    down = torch.nn.Linear(inputs, r, bias=False)
    up = torch.nn.Linear(r, layer.out_features, bias=layer.bias is not None)
    down.weight.data, up.weight.data = tensors["down"].float(), tensors["up"].float()
    if layer.bias is not None:
        up.bias.data = layer.bias.detach().clone()
    held.model.set_submodule(name, Factored(down, up).eval())


def _made(layer: str) -> bool:
    return layer.endswith((".down", ".up"))
