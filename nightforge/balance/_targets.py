"""How many rows each class shall have, for all balancers.

A class's *level* is its rows ÷ its weight. Thinning lowers the highest levels, copying raises the lowest, so that with
equal weights classes come nearer in size, and with others nearer to the shares that the weights stand for. By
temperature a class weighs rows^(1/T), as languages do in multilingual sampling (Conneau & Lample 2019, arXiv
1901.07291, section 3.1, α = 1/T; mT5, Xue et al. 2021, arXiv 2010.11934, α = 0.3).
"""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from nightforge import config
from nightforge.errors import ConfigError

Ints = npt.NDArray[np.int64]
Sizes = Mapping[str, int]


class Temperature(config.Config):
    """A class weighs its rows^(1/temperature)."""

    temperature: float = Field(ge=1)
    """1: shares stay as they are; 3: what mT5 uses, about; large: all classes even."""


Weights = Annotated[
    Literal["equal"] | Temperature | dict[str, Annotated[float, Field(gt=0)]], Field(union_mode="left_to_right")
]


class Thin(config.Config):
    """What every method that drops rows is told."""

    weights: Weights
    """`equal`; `{temperature: T}`; or a weight for each class, by name: shares of the rows, up to a factor."""
    median_ratio_max: float | None = Field(ge=1)
    """Largest level of a class (rows ÷ weight) ÷ the median level; null: any."""
    rows_max: int | None = Field(ge=1)
    """Most rows of a class; null: any number."""


class Copy(config.Config):
    """What every method that copies rows is told."""

    weights: Weights
    """`equal`; `{temperature: T}`; or a weight for each class, by name: shares of the rows, up to a factor."""
    synthetic_share_max: float = Field(ge=0, lt=1)
    """Largest share of copies in what results."""
    copies_max: int = Field(ge=1, le=100)
    """Most copies of one row."""


def coded(labels: Sequence[str]) -> tuple[list[str], npt.NDArray[np.int32]]:
    """The classes by name, and each row's place among them (4 bytes a row)."""
    names = sorted(set(labels))
    at = {name: i for i, name in enumerate(names)}
    return names, np.fromiter((at[label] for label in labels), np.int32, len(labels))


def lowered(sizes: Sizes, cfg: Thin) -> dict[str, int]:
    """Rows to keep, of the classes that have too many; at least one of each.

    Raises:
        ConfigError: a class has no weight.
    """
    if not sizes:
        return {}
    weight = weighed(sizes, cfg.weights)
    middle = median(size / weight[label] for label, size in sizes.items())
    ratio = float("inf") if cfg.median_ratio_max is None else cfg.median_ratio_max
    kept = {label: min(size, max(1, _whole(ratio * middle * weight[label], size))) for label, size in sizes.items()}
    kept = {label: min(n, cfg.rows_max or n) for label, n in kept.items()}
    return {label: n for label, n in kept.items() if n < sizes[label]}


def raised(sizes: Sizes, cfg: Copy) -> dict[str, int]:
    """Copies to make, of the classes that get any: as water fills a vessel, the lowest level rises first, then it and
    the next together, until the copies allowed are used up.

    No class rises above the highest level there is, nor beyond `copies_max` copies of each row.

    Raises:
        ConfigError: a class has no weight.
    """
    if not sizes:
        return {}
    labels = sorted(sizes, key=lambda label: (sizes[label], label))  # a copy that two could have goes to the smaller
    weight = weighed(sizes, cfg.weights)
    top = max(size / weight[label] for label, size in sizes.items())
    ceiling = [min(_whole(top * weight[x], sizes[x] * 101), sizes[x] * (1 + cfg.copies_max)) for x in labels]
    held = np.array([sizes[x] for x in labels])
    room = np.maximum(0, np.array(ceiling) - held)
    allowed = int(cfg.synthetic_share_max / (1 - cfg.synthetic_share_max) * sum(sizes.values()))
    copies = poured(allowed, held, np.array([weight[x] for x in labels]), room)
    return {label: int(n) for label, n in zip(labels, copies, strict=True) if n}


def weighed(sizes: Sizes, weights: Weights) -> dict[str, float]:
    """The weight of each class.

    Raises:
        ConfigError: weights are given by name, and a class is not among them.
    """
    if isinstance(weights, Temperature):
        return {label: size ** (1 / weights.temperature) for label, size in sizes.items()}
    if isinstance(weights, dict):
        if missing := sorted(set(sizes) - set(weights)):
            raise ConfigError(
                f"balance: weights: expected one for each class, got none for {', '.join(missing)}. "
                f"The train split has: {', '.join(sorted(sizes))}."
            )
        return {label: weights[label] for label in sizes}
    return dict.fromkeys(sizes, 1.0)


def _whole(rows: float, most: int) -> int:
    """Whole rows; what is short of a whole one by rounding alone counts as it."""
    return int(min(rows + 1e-6, most))


def poured(
    amount: int, held: npt.NDArray[np.int_], weights: npt.NDArray[np.float64], room: npt.NDArray[np.int_]
) -> Ints:
    """How much of `amount` each vessel gets, unit by unit: the next always goes where (held + 1) ÷ weight is lowest.

    This is Jefferson's method of apportionment, found by bisection over the level. Vessels without weight get, evenly,
    what the others have no room for; among equals the earlier comes first.

    Args:
        amount: units to give.
        held: (n,) units that each holds already.
        weights: (n,) 0 or more.
        room: (n,) most units that each can get.
    """

    def filled(level: float) -> Ints:
        return np.clip(np.floor(level * weights) - held, 0, room).astype(np.int64)

    some = weights > 0
    if not some.any():
        return np.zeros_like(room) if not len(room) else poured(amount, 0 * held, np.ones(len(room)), room)
    low, high = 0.0, float(((held + room + 1)[some] / weights[some]).max())
    if filled(high).sum() <= amount:
        low = high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if filled(middle).sum() <= amount else (low, middle)
    added = filled(low)
    level = np.where(some & (added < room), (held + added + 1) / np.where(some, weights, 1), np.inf)
    spare = min(int(amount - added.sum()), int(np.isfinite(level).sum()))
    added[np.argsort(level, kind="stable")[:spare]] += 1  # what no whole level could use
    if (left := int(amount - added.sum())) and not some.all():
        added[~some] = poured(left, 0 * held[~some], np.ones(int((~some).sum())), room[~some])
    return added


def sized(names: Sequence[str], codes: npt.NDArray[np.int32]) -> dict[str, int]:
    """Rows of each class."""
    return dict(zip(names, np.bincount(codes, minlength=len(names)).tolist(), strict=True)) if names else {}
