"""Makes a sound, or a stretch of it, louder or quieter (nlpaug.model.audio.Loudness)."""

import random
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from nightforge.augment._media import Told, Varied, audio
from nightforge.records import Record
from nightforge.sounds import Samples, Sound

MEDIA = "audio"


class Config(Varied):
    """How much, and of what."""

    gain_max_db: float = Field(gt=0, le=40)
    """Most by which it becomes louder or quieter, in dB; it becomes no louder than full scale."""
    coverage: float = Field(gt=0, le=1)
    """Share of the sound that changes, in one stretch; 1: all of it."""


SAMPLE = Config(tries=2, gain_max_db=6.0, coverage=1.0)


def vary(record: Record, cfg: Config, rng: random.Random, assets: Path) -> Iterator[Record]:
    """At most `tries` sounds of another loudness."""
    from nlpaug.model.audio import Loudness

    def draw(sound: Sound, rng: random.Random) -> tuple[Samples, Told]:
        count = len(sound.samples)
        length = max(1, int(cfg.coverage * count))
        start = rng.randint(0, count - length)
        peak = float(abs(sound.samples[start : start + length]).max())
        factor = min(10 ** (rng.uniform(-cfg.gain_max_db, cfg.gain_max_db) / 20), 1 / max(peak, 1e-6))
        made: Samples = Loudness().manipulate(sound.samples, start, start + length, factor)
        return made, {"loudness_factor": round(factor, 4), "samples": [start, start + length]}

    return audio(record, cfg, rng, draw)
