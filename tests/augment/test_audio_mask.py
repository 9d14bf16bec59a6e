import random
from pathlib import Path

import numpy as np

from nightforge import sounds
from nightforge.augment.audio_mask import Config, vary
from tests.media_samples import sound


def test_one_stretch_is_silent_and_the_rest_stays() -> None:
    before = sounds.decoded(sound(1).content or b"").samples
    for made in vary(sound(1), Config(tries=9, share_max=0.2), random.Random(1), Path()):
        start, end = made.meta["edits"][0]["masked_samples"]
        after = sounds.decoded(made.content or b"").samples
        assert 1 <= end - start <= 800 and (after[start:end] == 0).all()
        np.testing.assert_allclose(np.delete(after, slice(start, end)), np.delete(before, slice(start, end)), atol=1e-4)
