"""Drops sounds that were recorded too loud: runs of samples that stay at one extreme, where the wave was cut off.

A single sample at full scale is a peak; of a wave that was cut, several in a row have the same value (cf. Laguna and
Lerch 2016, "An efficient algorithm for clipping detection and declipping audio", AES 141).
"""

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from nightforge import config
from nightforge.records import Reject
from nightforge.view import View


class Config(config.Config):
    """What counts as cut off, and how much of it there may be."""

    level_min: float = Field(gt=0, le=1)
    """Share of full scale from which a sample may be cut off; below 1, for a sound may have been made quieter since."""
    run_min: int = Field(ge=2)
    """Least samples in a row of one value."""
    clipped_share_max: float = Field(ge=0, le=1)
    """Largest share of samples in such runs."""


SAMPLE = Config(level_min=0.98, run_min=3, clipped_share_max=0.001)


def judge(view: View, cfg: Config) -> Iterator[Reject]:
    """That too much of it is cut off."""
    if view.sound is None:
        return
    samples = view.sound.samples
    edges = np.flatnonzero(np.diff(samples, prepend=np.nan) != 0)
    runs = np.diff(np.append(edges, len(samples)))
    cut = runs[(np.abs(samples[edges]) >= cfg.level_min) & (runs >= cfg.run_min)].sum()
    share = float(cut / len(samples))
    if share > cfg.clipped_share_max:
        yield Reject("clipped", f"{share:.4f} of the samples > {cfg.clipped_share_max:g}")
