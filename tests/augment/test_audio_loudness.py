import random
from pathlib import Path

import numpy as np

from nightforge import sounds
from nightforge.augment.audio_loudness import Config, vary
from tests.media_samples import record, sound, tone


def test_the_factor_is_the_one_told() -> None:
    before = sounds.decoded(sound(1).content or b"").samples
    for made in vary(sound(1), Config(tries=9, gain_max_db=6, coverage=0.5), random.Random(1), Path()):
        edit = made.meta["edits"][0]
        start, end = edit["samples"]
        assert end - start == 2000 and 0.5 <= edit["loudness_factor"] <= 2.0
        after = sounds.decoded(made.content or b"").samples
        np.testing.assert_allclose(after[start:end], before[start:end] * edit["loudness_factor"], atol=1e-3)
        np.testing.assert_allclose(np.delete(after, slice(start, end)), np.delete(before, slice(start, end)), atol=1e-4)


def test_no_sound_is_made_louder_than_full_scale() -> None:
    given = record(sounds.wav(tone(440, 0.1, 0.9)), "audio/wav")
    for made in vary(given, Config(tries=20, gain_max_db=40, coverage=1), random.Random(1), Path()):
        assert made.meta["edits"][0]["loudness_factor"] <= 1 / 0.899
