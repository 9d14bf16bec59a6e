import random
from pathlib import Path

import numpy as np
import pytest

from nightforge import sounds
from nightforge.augment.audio_noise import Config, vary
from tests.media_samples import record, sound, tone


def added(colour: str, seconds: float = 0.5) -> tuple[np.ndarray, np.ndarray, float]:
    given = record(sounds.wav(tone(500, seconds)), "audio/wav")
    cfg = Config.model_validate({"tries": 1, "colour": colour, "snr_min_db": 5, "snr_max_db": 20})
    made = next(vary(given, cfg, random.Random(1), Path()))
    before, after = (sounds.decoded(r.content or b"").samples for r in (given, made))
    return before, after - before, made.meta["edits"][0]["snr_db"]


@pytest.mark.parametrize("seconds", [0.5, 0.1250])
@pytest.mark.parametrize("colour", ["white", "pink", "red", "violet"])
def test_the_ratio_is_the_one_told_whatever_the_length(colour: str, seconds: float) -> None:
    before, noise, snr_db = added(colour, seconds)
    assert 5 <= snr_db <= 20
    assert 10 * np.log10(np.mean(before**2) / np.mean(noise**2)) == pytest.approx(snr_db, abs=0.6)


def test_red_noise_is_low_and_violet_is_high() -> None:
    def centre(colour: str) -> float:
        power = np.abs(np.fft.rfft(added(colour)[1])) ** 2
        return float((power * np.arange(len(power))).sum() / power.sum() / len(power))

    assert centre("red") < 0.1 < 0.4 < centre("white") < 0.6 < 0.7 < centre("violet")


def test_nothing_is_left_in_numpys_global_generator() -> None:
    np.random.seed(3)
    expected = np.random.rand()
    np.random.seed(3)
    list(vary(sound(1), Config(tries=2, colour="white", snr_min_db=5, snr_max_db=6), random.Random(1), Path()))
    assert np.random.rand() == expected
