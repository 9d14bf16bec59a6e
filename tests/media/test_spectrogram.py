import math

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import signal

from nightforge import sounds
from nightforge.errors import DataError
from nightforge.media.spectrogram import Config, array, filters, istft, render, stft
from nightforge.records import Record
from nightforge.sounds import Sound
from tests.media_samples import RATE_HZ, record, tone

CFG = Config(sample_rate=RATE_HZ, n_fft=512, hop=128, mels=40, frames=32, floor_db=-80, rounds=32)
SECONDS = CFG.hop * (CFG.frames - 1) / RATE_HZ


def of(sound: Sound) -> Record:
    return record(sounds.wav(sound), "audio/wav")


def centre_hz(band: int) -> float:
    """Of a mel band, by the formula: bands are evenly spaced in mel between 0 and half the rate."""
    top = 2595 * math.log10(1 + 4000 / 700)
    return 700 * (10 ** ((band + 1) * top / 41 / 2595) - 1)


@pytest.mark.parametrize("band", [5, 18, 35])
def test_a_pure_tone_peaks_in_its_band_at_its_level(band: int) -> None:
    made = array(of(tone(centre_hz(band), SECONDS, 0.1)), CFG)[0]
    assert made[:, 4:-4].argmax(axis=0).tolist() == [band] * (CFG.frames - 8)
    # 0.1 is −20 dB, of a range of 80: 1 − 2 · 20/80; a Hann window spreads up to 1.8 dB into the band
    assert made[band, 16] == pytest.approx(0.5, abs=2 / 40)


def test_silence_is_minus_one_and_a_short_sound_is_followed_by_it() -> None:
    assert (array(of(Sound(np.zeros(4000, np.float32), RATE_HZ)), CFG) == -1).all()
    made = array(of(tone(1000, SECONDS / 2)), CFG)[0]
    assert made[:, :14].max() > 0.5 and (made[:, 20:] == -1).all()
    longer, exact = (array(of(tone(1000, seconds)), CFG) for seconds in (2 * SECONDS, SECONDS))
    np.testing.assert_allclose(longer[..., :-3], exact[..., :-3], atol=1e-3)


def test_the_transform_is_scipys() -> None:
    samples = np.random.default_rng(0).normal(size=CFG.hop * 31)
    window = signal.windows.hann(CFG.n_fft, sym=False)
    other = signal.ShortTimeFFT(window, CFG.hop, RATE_HZ, phase_shift=None)
    reference = other.stft(np.pad(samples, CFG.n_fft // 2, mode="reflect"), p0=2, p1=34)
    ours = stft(samples, CFG)
    assert ours.shape == (257, 32)
    np.testing.assert_allclose(np.abs(ours), np.abs(reference) * 2 / window.sum(), atol=1e-9)
    np.testing.assert_allclose(istft(ours, CFG), samples, atol=1e-12)


def test_filters_are_triangles_that_share_each_frequency() -> None:
    bands = filters(RATE_HZ, 4096, 20)
    assert bands.shape == (20, 2049) and bands.max() <= 1
    at = np.linspace(0, 4000, 2049)
    top = 2595 * math.log10(1 + 4000 / 700)
    first, last = (700 * (10 ** (k * top / 21 / 2595) - 1) for k in (1, 20))
    inside = (at > first) & (at < last)
    np.testing.assert_allclose(bands.sum(axis=0)[inside], 1, atol=1e-5)


def test_back_to_sound_keeps_the_pitch_and_about_the_level() -> None:
    heard = of(tone(centre_hz(18), SECONDS, 0.3))
    once = array(heard, CFG)
    content = render(once, CFG)
    sound = sounds.decoded(content)
    assert (len(sound.samples), sound.rate_hz) == (CFG.hop * (CFG.frames - 1), RATE_HZ)
    spectrum = np.abs(np.fft.rfft(sound.samples))
    peak_hz = spectrum.argmax() * RATE_HZ / len(sound.samples)
    assert abs(peak_hz - centre_hz(18)) < 40
    again = array(record(content, "audio/wav"), CFG)
    loud = once > 0
    assert np.abs(again - once)[loud].mean() < 0.1  # 4 dB
    assert content == render(once, CFG)


def test_another_rate_is_resampled() -> None:
    at = np.arange(round(44_100 * SECONDS)) / 44_100
    sound = Sound((0.5 * np.sin(2 * np.pi * 1000 * at)).astype(np.float32), 44_100)
    same, other = array(of(sound), CFG)[0], array(of(tone(1000, SECONDS)), CFG)[0]
    strong = other[:, 4:-4] > -0.2
    np.testing.assert_allclose(same[:, 4:-4][strong], other[:, 4:-4][strong], atol=0.03)


def test_bad_input() -> None:
    with pytest.raises(DataError, match="expected a sound, got not_a_sound"):
        array(record(b"no", "audio/wav"), CFG)
    for wrong, said in (({"hop": 300}, "at most half"), ({"mels": 400}, "too many")):
        with pytest.raises(ValidationError, match=said):
            Config.model_validate(CFG.model_dump() | wrong)
