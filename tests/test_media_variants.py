import numpy as np
import pytest

from nightforge import sounds
from nightforge.media_variants import MediaQuality, changed_share, problem
from nightforge.sounds import Sound
from tests.media_samples import encoded, picture, record, sound, tone

CFG = MediaQuality(changed_min=0.05, changed_max=0.5, near=None)


def test_the_change_by_hand() -> None:
    black = record(encoded(np.zeros((4, 4, 3), np.uint8)), "image/png")
    half = np.zeros((4, 4, 3), np.uint8)
    half[:2] = 51
    assert changed_share(black, record(encoded(half), "image/png")) == pytest.approx(0.2 / 2**0.5)
    loud = Sound(tone(440).samples * 1.25, 8000)
    before, after = (record(sounds.wav(one), "audio/wav") for one in (tone(440), loud))
    assert changed_share(before, after) == pytest.approx(0.25, abs=1e-3)


def test_what_may_not_be_trained_on() -> None:
    assert problem(picture(1), picture(1), CFG) == "changed_too_little"
    assert problem(sound(1), record(sounds.wav(tone(3000)), "audio/wav"), CFG) == "changed_too_much"
    assert problem(picture(1), record(b"no", "image/png"), CFG) == "not_a_picture"
    assert problem(picture(1), record(encoded(np.zeros((4, 4, 3), np.uint8)), "image/png"), CFG) == "changed_too_much"
