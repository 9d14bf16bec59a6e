import random
from pathlib import Path

import numpy as np

from nightforge import sounds
from nightforge.augment.audio_shift import Config, vary
from tests.media_samples import sound


def test_it_moves_and_what_it_leaves_is_silent() -> None:
    before = sounds.decoded(sound(1).content or b"").samples
    seen = set()
    for made in vary(sound(1), Config(tries=20, share_max=0.1), random.Random(1), Path()):
        after, shift = sounds.decoded(made.content or b"").samples, made.meta["edits"][0]["shift_samples"]
        assert 1 <= abs(shift) <= 400
        expected = np.zeros_like(before)
        expected[max(0, shift) : len(before) + min(0, shift)] = before[max(0, -shift) : len(before) - max(0, shift)]
        np.testing.assert_allclose(after, expected, atol=2**-14)
        seen.add(shift > 0)
    assert seen == {True, False}
