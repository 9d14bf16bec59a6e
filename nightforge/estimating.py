"""What a training run will take, from one measured step; and what a size of model costs."""

import math
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nightforge.batching import order
from nightforge.training import Settings

TOKENS_PER_PARAMETER = 20
"""What a model from scratch is best trained on for its cost (Hoffmann et al. 2022, arXiv 2203.15556)."""
LOOKED_AT = 400
"""Micro-batches whose sizes are looked at."""


class Measured(NamedTuple):
    """Seconds, each measured once on the project's own data."""

    prepare: float
    """Until the first step: data and model made ready, precision and compilation tried."""
    step: float
    step_size: float
    """Of the measured step, as `work` counts."""
    evaluation: float
    save: float
    finish: float
    """Writing the model folder."""


class Forecast(NamedTuple):
    """Seconds of each part of a run that is not stopped early."""

    prepare: float
    steps: float
    evaluations: float
    saves: float
    finish: float

    @property
    def total(self) -> float:
        """All of it."""
        return sum(self)


def work(sizes: NDArray[np.int64], rows: Sequence[int]) -> int:
    """What a micro-batch is computed over, padding included: rows × the size of the largest."""
    return len(rows) * int(sizes[list(rows)].max())


def drawn(sizes: NDArray[np.int64], settings: Settings, seed: int) -> list[list[int]]:
    """The first micro-batches of a run."""
    return list(islice(order(sizes, settings.batch_size, seed), LOOKED_AT))


def seconds(measured: Measured, settings: Settings, mean_work: float) -> Forecast:
    """What a run takes.

    Args:
        measured: see there.
        settings: of the run.
        mean_work: of a step, over the run.
    """
    evaluations, saves = events(settings)
    step = measured.step * mean_work / measured.step_size
    return Forecast(
        measured.prepare,
        settings.steps * step,
        evaluations * measured.evaluation,
        saves * measured.save,
        measured.finish,
    )


def events(settings: Settings) -> tuple[int, int]:
    """How many evaluations and how many checkpoints a run makes: the last step has both."""
    at = {*range(settings.eval_every, settings.steps + 1, settings.eval_every), settings.steps}
    return len(at), len(at | set(range(settings.save_every, settings.steps + 1, settings.save_every)))


def hours(parameters: int, units_per_s: float) -> float:
    """Of training a model from scratch on as many tokens as its size is worth."""
    return TOKENS_PER_PARAMETER * parameters / units_per_s / 3600


def state_bytes(parameters: int, moments: int, ema: bool) -> int:
    """What a run holds beside activations: weights, gradients, best weights, the optimizer's moments, an average."""
    return 4 * parameters * (3 + moments + ema)


def in_words(duration_s: float) -> str:
    """Such as `42 s`, `3 min 20 s`, `5 h 12 min`, `17 days`."""
    minutes, rest = divmod(round(duration_s), 60)
    if minutes < 1:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest} s"
    if minutes < 72 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{math.ceil(minutes / 60 / 24)} days"
