"""Silences a stretch of a sound (nlpaug.model.audio.Mask; cf. the time masks of SpecAugment, Park et al. 2019, arXiv
1904.08779)."""

import random
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from nightforge.augment._media import Told, Varied, audio
from nightforge.records import Record
from nightforge.sounds import Samples, Sound

MEDIA = "audio"


class Config(Varied):
    """How long the stretch is."""

    share_max: float = Field(gt=0, le=0.5)
    """Longest, as a share of the sound."""


SAMPLE = Config(tries=2, share_max=0.1)


def vary(record: Record, cfg: Config, rng: random.Random, assets: Path) -> Iterator[Record]:
    """At most `tries` sounds with a gap."""
    from nlpaug.model.audio import Mask

    def draw(sound: Sound, rng: random.Random) -> tuple[Samples, Told]:
        count = len(sound.samples)
        length = rng.randint(1, max(1, int(cfg.share_max * count)))
        start = rng.randint(0, count - length)
        made = Mask().manipulate(sound.samples, start, start + length, False)
        return made, {"masked_samples": [start, start + length]}

    return audio(record, cfg, rng, draw)
