"""Drops sounds that are silent as a whole or for the most part: loudness in frames of 20 ms (RMS, dB of full scale)."""

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from nightforge import config
from nightforge.records import Reject
from nightforge.sounds import FLOOR_DB, decibel
from nightforge.view import View

FRAME_S = 0.02


class Config(config.Config):
    """What counts as silence, and how much of it there may be."""

    silent_below_db: float = Field(ge=FLOOR_DB, le=0)
    """Loudness below which a frame is silent, in dB of full scale: −60 is the noise of a quiet room, recorded well."""
    silent_share_max: float = Field(ge=0, le=1)
    """Largest share of silent frames."""


SAMPLE = Config(silent_below_db=-60.0, silent_share_max=0.8)


def judge(view: View, cfg: Config) -> Iterator[Reject]:
    """That it is silent, or too much of it."""
    if view.sound is None:
        return
    samples, frame = view.sound.samples, max(1, round(FRAME_S * view.sound.rate_hz))
    starts = np.arange(0, len(samples), frame)
    sizes = np.diff(np.append(starts, len(samples)))
    loud = np.sqrt(np.add.reduceat(samples.astype(np.float64) ** 2, starts) / sizes)
    silent = float((20 * np.log10(np.maximum(loud, 1e-12)) < cfg.silent_below_db).mean())
    if silent == 1:
        yield Reject("silent", f"the loudest frame {decibel(float(loud.max())):.1f} dB < {cfg.silent_below_db:g} dB")
    elif silent > cfg.silent_share_max:
        yield Reject("mostly_silent", f"{silent:.3f} > {cfg.silent_share_max:g}")
