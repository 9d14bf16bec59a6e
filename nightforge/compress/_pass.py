"""What passes over a language model share: what they may ask for, and the way from layer to layer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch

from nightforge import blocks
from nightforge.batching import Data
from nightforge.blocks import Moments, Rows
from nightforge.grids import Grid
from nightforge.held import Held, Tensors, put

Kind = Literal["smooth", "prune", "shrink", "factor", "train", "quantize"]
"""What a pass does: moves scale between layers; puts weights to zero; takes rows and columns out; factors matrices;
trains; rounds. A pass's KIND is what it does, and its AFTER the kinds that may come before it in a recipe."""
Keep = Callable[[str, Callable[[], Tensors]], Tensors]
"""(key, how to make them) → tensors, as made or as kept from a run that was cut off."""
COMPATIBLE = {"family": {"causal_lm", "hf_config"}, "loader": {"transformers"}}
"""What a model must be for the passes that work on a language model in memory."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a pass may ask for."""

    calibration: Sequence[Rows]
    """Of the calibration split, that nothing is judged on."""
    teacher: Callable[[], Any]
    """Loads the dense model anew."""
    data: Callable[[], Data]
    """The train split, for passes that train."""
    validate: Callable[[Any], float]
    """Nats per token of a model on the validation split."""
    size_mb_max: float | None
    """What the contract leaves for the whole folder, in MB (10⁶ bytes); None if it does not ask."""
    seed: int
    keep: Keep
    matrix_bits: int = 32
    """Of a weight of a matrix that no pass rounds, as the exporter stores it."""


class Footprint(NamedTuple):
    """What is known of a tensor before any work: `least(footprints, cfg)` of a pass says what it makes of them."""

    shape: tuple[int, ...]
    bits: float
    """A weight, at least."""


def made_at_once(key: str, make: Callable[[], Tensors]) -> Tensors:
    """A Keep that keeps nothing."""
    return make()


def each_linear(
    held: Held,
    given: Given,
    patterns: Sequence[str],
    make: Callable[[str, torch.Tensor, Moments], Grid | torch.Tensor],
) -> Held:
    """Give every linear layer that a pattern names another weight, made from its own and from what goes into it.

    Block by block, each on what the changed ones before it give. What `make` gave is kept by layer, so that a run that
    was cut off goes on at the layer where it was.

    Args:
        held: changed in place; `skipped` names the layers that are neither in a block nor the output projection.
        given: of which the calibration rows and `keep` are used.
        patterns: of names, as nightforge.blocks.linears takes them.
        make: (name, weight (outputs, inputs), moments) → a grid, or a weight of the same shape.
    """
    wanted = list(blocks.linears(held.model, patterns))
    left = {*wanted}

    def visit(_: str, layers: Mapping[str, torch.nn.Linear], seen: Mapping[str, Moments]) -> None:
        left.difference_update(layers)
        for name, layer in layers.items():

            def made(name: str = name, layer: torch.nn.Linear = layer) -> Tensors:
                new = make(name, layer.weight.detach().clone(), seen[name])
                return new.tensors() if isinstance(new, Grid) else {"weight": new}

            put(held, name, layer, given.keep(name, made))

    blocks.walk(held.model, given.calibration, visit, wanted)
    held.skipped |= dict.fromkeys(sorted(left), "left as it was: it lies in no block, and is not the output projection")
    return held
