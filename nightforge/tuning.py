"""From a range test to a learning rate (Smith 2017, arXiv 1506.01186, §3.3), and from timed batches to a batch size."""

import math
from collections.abc import Sequence
from typing import NamedTuple

MEMORY = 0.7
"""Of the losses before, in the smoothed one."""
DIVERGED = 1.5
"""A smoothed loss of so many times the best ends the test."""
GAIN = 1.05
"""A batch twice as large must be so much faster a unit, or it is not worth its memory."""


def smoothed(losses: Sequence[float]) -> list[float]:
    """The exponential moving average, without the bias towards zero at the beginning."""
    means, mean = [], 0.0
    for step, loss in enumerate(losses, 1):
        mean = MEMORY * mean + (1 - MEMORY) * loss
        means.append(mean / (1 - MEMORY**step))
    return means


def diverged(losses: Sequence[float]) -> bool:
    """Whether the test has seen enough."""
    means = smoothed(losses)
    return not math.isfinite(means[-1]) or means[-1] > DIVERGED * min(means)


class Found(NamedTuple):
    """Two marks of the curve; the peak learning rate of a run is well looked for between them."""

    steepest: float
    """Where the smoothed loss falls fastest, over the logarithm of the learning rate."""
    lowest: float
    """Where it is lowest: beyond it, steps are too long."""

    @property
    def suggested(self) -> float:
        """A tenth of where the loss is lowest, or the steepest place if that is lower, for a whole run is long."""
        return min(self.lowest / 10, self.steepest)


def find(rates: Sequence[float], losses: Sequence[float]) -> Found | None:
    """The marks of a range test; None where the loss never fell.

    Args:
        rates: rising by the same ratio from step to step.
        losses: of each step.
    """
    means = smoothed(losses)
    lowest = min(range(len(means)), key=means.__getitem__)
    falls = [means[i - 1] - means[i] for i in range(1, lowest + 1)]
    if not falls or max(falls) <= 0:
        return None
    return Found(rates[1 + max(range(len(falls)), key=falls.__getitem__)], rates[lowest])


def goes_on(speeds: Sequence[float]) -> bool:
    """Whether one of the last two doublings of the batch was worth it: units a second of each size so far."""
    return len(speeds) < 3 or max(speeds[-2:]) >= GAIN * max(speeds[:-2])


def same_steps(batch_size: int, accumulate: int, fastest: int) -> tuple[int, int]:
    """(batch_size, accumulate) that keep the size of a step and come nearest to the fastest micro-batch."""
    total = batch_size * accumulate
    size = min(fastest, total)
    return size, max(1, round(total / size))
