"""Moves a sound earlier or later; what it leaves is silent (nlpaug.model.audio.Shift)."""

import random
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from nightforge.augment._media import Told, Varied, audio
from nightforge.records import Record
from nightforge.sounds import Samples, Sound

MEDIA = "audio"


class Config(Varied):
    """How far it is moved."""

    share_max: float = Field(gt=0, le=0.5)
    """Most of its length, to either side; what is moved beyond the end is gone."""


SAMPLE = Config(tries=2, share_max=0.1)


def vary(record: Record, cfg: Config, rng: random.Random, assets: Path) -> Iterator[Record]:
    """At most `tries` moved sounds."""
    from nlpaug.model.audio import Shift

    def draw(sound: Sound, rng: random.Random) -> tuple[Samples, Told]:
        most = max(1, int(cfg.share_max * len(sound.samples)))
        shift = rng.choice([-1, 1]) * rng.randint(1, most)
        made: Samples = Shift().manipulate(sound.samples, shift)
        return made, {"shift_samples": shift}

    return audio(record, cfg, rng, draw)
