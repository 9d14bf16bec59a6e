import numpy as np
import pytest

from nightforge import sounds
from nightforge.clean.clipping import SAMPLE, Config, judge
from nightforge.sounds import Sound
from nightforge.view import View
from tests.media_samples import RATE_HZ, record, tone


def reasons(samples: np.ndarray, cfg: Config = SAMPLE) -> list[str]:
    view = View(record(sounds.wav(Sound(samples.astype(np.float32), RATE_HZ)), "audio/wav"))
    return [why.reason for why in judge(view, cfg)]


def test_a_wave_cut_off_goes_and_a_loud_one_stays() -> None:
    wave = tone(100, 0.5, 1.0).samples
    assert reasons(wave * 0.999) == []
    assert reasons(np.clip(wave * 1.5, -1, 1)) == ["clipped"]
    assert reasons(np.clip(wave * 1.5, -1, 1) * 0.5) == []  # made quieter since: the level says no


@pytest.mark.parametrize(("run", "share", "gone"), [(2, 0.019, True), (2, 0.02, False), (3, 0.0, False)])
def test_runs_by_hand(run: int, share: float, gone: bool) -> None:
    samples = np.sin(np.arange(100)) * 0.5
    samples[10:12] = 1.0  # 2 of 100 samples
    found = reasons(samples, Config(level_min=0.98, run_min=run, clipped_share_max=share))
    assert found == (["clipped"] if gone else [])
