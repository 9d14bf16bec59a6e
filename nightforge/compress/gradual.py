"""Weights put to zero in rounds, training in between, so that those that stay can take over.

Zhu & Gupta 2017 (1710.01878, §3): the share of zeros rises quickly at first and slowly towards the end
(`_prune.sparsity_at`); by magnitude, which training after each round has made telling. Zeros stay zeros in training.
"""

from dataclasses import replace

from pydantic import Field

from nightforge.compress import _prune, _recover, magnitude
from nightforge.compress._context import Context
from nightforge.compress._pass import Given, Keep
from nightforge.held import Held

COMPATIBLE, KIND, AFTER = _prune.COMPATIBLE, _prune.KIND, _prune.AFTER
least = _prune.least


class Config(_recover.Config):
    """Which weights, in how many rounds; the training is that of one round."""

    layers: list[str] = Field(min_length=1)
    """Patterns of layers' names, such as `model.layers.*`."""
    sparsity: _prune.Rate
    """Share of each layer's weights that is zero at the end."""
    rounds: int = Field(ge=2, le=100)
    """Times that weights are put to zero and the rest is trained."""


SAMPLE = Config(
    loop=_recover.SAMPLE_LOOP, alpha=0.0, temperature=1.0, hidden=0.0, layers=["model.layers.*"], sparsity=0.6, rounds=2
)


def check(context: Context, cfg: Config) -> None:
    """Refuse another kind of model, and settings that would not give the same twice.

    Raises:
        ConfigError: see there.
    """
    _prune.refuse("gradual", context)
    _recover.check("gradual", cfg)


def apply(held: Held, given: Given, cfg: Config) -> Held:
    """Prune and train in turns; `held` is changed in place, and has the figures of each round in its notes.

    Raises:
        DataError: a weight is not a finite number, or the teacher is worse than the model that it should teach.
    """
    for at in range(1, cfg.rounds + 1):
        rate = _prune.sparsity_at(at, cfg.rounds, cfg.sparsity)
        values = magnitude.Config(layers=cfg.layers, sparsity=rate, threshold=None, scope="layer")
        magnitude.apply(held, given, values)
        figures = _recover.recover(held, replace(given, keep=_of_round(given.keep, at)), cfg, "all", None)
        held.notes.append((f"gradual, round {at}", {"sparsity": rate, **figures}))
    return held


def _of_round(keep: Keep, at: int) -> Keep:
    """What a round keeps, under keys of its own."""
    return lambda name, make: keep(f"{name}_{at}", make)
