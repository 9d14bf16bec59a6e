"""What a share of zeros costs: the quality of the dense model, pruned at one rate after the other."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import ModuleType
from typing import NamedTuple

import torch

from nightforge.compress._pass import Given, made_at_once
from nightforge.config import Config
from nightforge.held import Held

RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class Point(NamedTuple):
    """One point of the curve."""

    sparsity: float
    """Share of zeros that was asked for."""
    nats: float
    """Per token on the validation split."""


def curve(module: ModuleType, cfg: Config, given: Given, rates: Sequence[float] = RATES) -> Iterator[Point]:
    """Sparsity against quality, the dense model first; each point is measured as it is asked for, and kept, so that one
    that was cut off goes on.

    Args:
        module: a pass whose Config has a `sparsity`: magnitude, wanda, sparsegpt, gradual.
        cfg: its other values.
        given: whose teacher is pruned.
        rates: shares of zeros.
    """

    def nats(rate: float) -> float:
        def make() -> dict[str, torch.Tensor]:
            held = Held(given.teacher())
            if rate:
                alone = replace(given, keep=made_at_once)  # or layers of two rates would have one key
                held = module.apply(held, alone, cfg.model_copy(update={"sparsity": rate}))
            return {"nats": torch.tensor(given.validate(held.model), dtype=torch.float64)}

        return float(given.keep(f"curve_{rate:g}", make)["nats"])

    return (Point(rate, nats(rate)) for rate in (0.0, *rates))
