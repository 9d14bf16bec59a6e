import numpy as np

from nightforge import sounds
from nightforge.clean.silence import Config, judge
from nightforge.sounds import Sound
from nightforge.view import View
from tests.media_samples import RATE_HZ, record, tone


def reasons(samples: np.ndarray, share: float) -> list[str]:
    view = View(record(sounds.wav(Sound(samples.astype(np.float32), RATE_HZ)), "audio/wav"))
    return [why.reason for why in judge(view, Config(silent_below_db=-60, silent_share_max=share))]


def test_frames_of_20_ms_are_counted() -> None:
    loud, quiet = tone(500, 0.2).samples, np.zeros(round(0.6 * RATE_HZ))  # 10 frames of 40
    assert reasons(np.concatenate([loud, quiet]), 0.75) == []
    assert reasons(np.concatenate([loud, quiet]), 0.74) == ["mostly_silent"]


def test_silence_is_a_level_and_not_zeros() -> None:
    assert reasons(tone(500, 0.5, 0.0005).samples, 1.0) == ["silent"]  # −69 dB
    assert reasons(tone(500, 0.5, 0.01).samples, 1.0) == []  # −43 dB
    assert reasons(np.zeros(7), 1.0) == ["silent"]  # less than a frame
