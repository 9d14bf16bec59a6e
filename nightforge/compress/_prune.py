"""What passes that put weights to zero share: how many of a layer, which, and how many at a step of a schedule."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from pydantic import AfterValidator, Field, StringConstraints

from nightforge import blocks, config
from nightforge.compress import _pass
from nightforge.compress._context import Context, refuse_other
from nightforge.compress._pass import Footprint, Kind
from nightforge.held import Held

COMPATIBLE = _pass.COMPATIBLE
KIND: Kind = "prune"
AFTER: set[Kind] = {"smooth", "prune", "shrink", "factor", "train"}
NO_SPEED_UP = (
    "zeros in a dense matrix are multiplied like any other number and stored like any other number: no runtime that is "
    "exported to here gets faster or smaller by them. What gets faster is prune_ffn, prune_heads and prune_layers."
)
"""Why a model with zeros is no faster, for the report."""
Rate = Annotated[float, Field(gt=0, lt=1)]


def _some_stay(pattern: str) -> str:
    zeros, of = pattern.split(" of ")
    if int(zeros) >= int(of):
        raise ValueError(f"expected fewer zeros than weights, as in 2 of 4, got {pattern!r}")
    return pattern


Pattern = Annotated[str, StringConstraints(pattern=r"^[1-9]\d? of (2|4|8|16|32)$"), AfterValidator(_some_stay)]


class Pruning(config.Config):
    """Which layers, and how many of their weights."""

    layers: list[str] = Field(min_length=1)
    """Patterns of layers' names, such as `model.layers.*`."""
    sparsity: Rate | Pattern
    """Share of the weights that are put to zero, or `2 of 4`: so many of each so many inputs side by side (n:m)."""


def parts(sparsity: float | str) -> tuple[int, int] | None:
    """Zeros of how many, where `sparsity` is a pattern."""
    if not isinstance(sparsity, str):
        return None
    zeros, of = sparsity.split(" of ")
    return int(zeros), int(of)


def refuse(name: str, context: Context) -> None:
    """Refuse another kind of model.

    Raises:
        ConfigError: it is not of a kind that passes in memory work on.
    """
    refuse_other(name, COMPATIBLE, context)


def least(footprints: Mapping[str, Footprint], cfg: object) -> dict[str, Footprint]:
    """A zero takes as much as any other number."""
    return dict(footprints)


def able(held: Held, patterns: Sequence[str], sparsity: float | str | None) -> dict[str, torch.nn.Linear]:
    """The layers that can be pruned so, by name; `held.skipped` says of the others why.

    Raises:
        DataError: a weight is not a finite number.
    """
    found = blocks.linears(held.model, patterns)
    for name, layer in list(found.items()):
        if (pattern := parts(sparsity or 0.0)) and layer.in_features % pattern[1]:
            held.skipped[name] = f"not pruned: its {layer.in_features} inputs are no multiple of {pattern[1]}"
            del found[name]
    return found


def lowest(scores: torch.Tensor, sparsity: float | str) -> torch.Tensor:
    """Where the least scores of each row are: as many as the rate says, or as the pattern says of each group.

    Of equal scores the first goes.

    Args:
        scores: (rows, inputs).
        sparsity: see Pruning.

    Returns:
        (rows, inputs) bool.
    """
    if pattern := parts(sparsity):
        count, of = pattern
        grouped = scores.reshape(len(scores), -1, of)
    else:
        count, grouped = int(float(sparsity) * scores.shape[1]), scores[:, None]
    order = grouped.argsort(dim=-1, stable=True)[..., :count]
    return torch.zeros_like(grouped, dtype=torch.bool).scatter_(-1, order, True).reshape(scores.shape)


def sparsity_at(step: int, steps: int, final: float, initial: float = 0.0) -> float:
    """Share of zeros after a step of a gradual schedule: quick at first, when much can go, and slow towards the end.

    Zhu & Gupta 2017 (1710.01878, eq. 1): s = s_f + (s_i − s_f)(1 − t/n)³.

    Args:
        step: 0 … steps; beyond, it stays at `final`.
        steps: of the whole schedule.
        final: share at its end.
        initial: share at its begin.
    """
    left = 1 - min(1.0, step / steps)
    return final + (initial - final) * left**3
