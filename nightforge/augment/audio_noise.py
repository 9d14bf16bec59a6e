"""Adds noise to a sound, so loud in proportion to it: nlpaug's coloured noise (nlpaug.model.audio.Noise)."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from nightforge.augment._media import Told, Varied, audio
from nightforge.augment._nlpaug_shim import numpy_drawing
from nightforge.records import Record
from nightforge.sounds import Samples, Sound

MEDIA = "audio"


class Config(Varied):
    """Which noise, and how loud."""

    colour: Literal["white", "pink", "red", "violet"]
    """How its amplitude depends on the frequency f, as nlpaug has it: not at all, 1/f, 1/f², f²."""
    snr_min_db: float = Field(ge=-20, le=100)
    """Least ratio of the sound's loudness to that of the noise, in dB; at 20 noise is heard clearly."""
    snr_max_db: float = Field(ge=-20, le=100)
    """Largest such ratio; each variant draws its own."""


SAMPLE = Config(tries=2, colour="white", snr_min_db=15.0, snr_max_db=30.0)


def vary(record: Record, cfg: Config, rng: random.Random, assets: Path) -> Iterator[Record]:
    """At most `tries` noisy sounds; none of a silent one."""
    from nlpaug.model.audio import Noise

    def draw(sound: Sound, rng: random.Random) -> tuple[Samples, Told]:
        snr_db = round(rng.uniform(cfg.snr_min_db, cfg.snr_max_db), 2)
        with numpy_drawing(rng):
            noise, _ = Noise().get_noise_and_color(len(sound.samples), None, cfg.colour)
        noise = np.resize(noise, len(sound.samples))  # nlpaug's is a sample short or long for odd lengths
        loud, have = (float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) for x in (sound.samples, noise))
        scaled = noise * (loud / max(have, 1e-12) * 10 ** (-snr_db / 20))
        made = sound.samples + scaled.astype(np.float32)
        return made, {"noise": cfg.colour, "snr_db": snr_db}

    return audio(record, cfg, rng, draw)
