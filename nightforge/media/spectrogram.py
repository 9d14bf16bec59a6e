"""Sounds as log-mel spectrograms, and back by inverse mel and Griffin–Lim; numpy and scipy alone.

The short-time Fourier transform has a Hann window, frames centred and the ends mirrored, as in librosa and torchaudio.
Mel: 2595·log₁₀(1 + f/700) (O'Shaughnessy 1987), triangles of unit height (HTK), over powers. They are in dB of a
full-scale sine: `floor_db` becomes −1, 0 dB becomes 1. Back: the filters' pseudo-inverse gives magnitudes, and phases
are found by the fast Griffin–Lim algorithm (Perraudin, Balazs, Søndergaard 2013, WASPAA; momentum 0.99).
"""

from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from nightforge import sounds
from nightforge.config import Config as BaseConfig
from nightforge.errors import DataError
from nightforge.records import Record
from nightforge.sounds import Sound

MOMENTUM = 0.99
Floats = NDArray[np.float32]


class Config(BaseConfig):
    """The array that a sound becomes."""

    sample_rate: int = Field(ge=1000, le=192_000)
    """Samples a second, to which sounds are resampled, in Hz; half of it is the highest frequency there is."""
    n_fft: int = Field(ge=16, le=8192, multiple_of=2)
    """Samples of a window."""
    hop: int = Field(ge=1)
    """Samples from one frame to the next; at most half a window, or the way back loses what lies between."""
    mels: int = Field(ge=4, le=512)
    """Bands of frequency: the height of the array."""
    frames: int = Field(ge=4, le=8192)
    """Frames: the width of the array. A longer sound is cut, a shorter one is followed by silence."""
    floor_db: float = Field(ge=-120, le=-10)
    """What counts as silence, in dB of a full-scale sine."""
    rounds: int = Field(ge=0, le=1000)
    """Rounds of Griffin–Lim when an array is made a sound."""

    @model_validator(mode="after")
    def _covered(self) -> Self:
        if self.hop > self.n_fft // 2:
            raise ValueError(f"expected hop of at most half of n_fft, {self.n_fft // 2}, got {self.hop}")
        bands = filters(self.sample_rate, self.n_fft, self.mels)
        if not bands.any(axis=1).all():
            raise ValueError(f"{self.mels} mels are too many for n_fft {self.n_fft}: some hold none")
        return self


def filters(sample_rate: int, n_fft: int, mels: int) -> Floats:
    """(mels, n_fft / 2 + 1) how much of each frequency is in each band."""
    top = 2595 * np.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, mels + 2) / 2595) - 1)
    at = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    up = (at - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - at) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(up, down)).astype(np.float32)


SAMPLE = Config(sample_rate=8000, n_fft=256, hop=64, mels=16, frames=16, floor_db=-80.0, rounds=8)


def shape(cfg: Config) -> tuple[int, int, int]:
    """(1, mels, frames); the lowest band is the first row."""
    return 1, cfg.mels, cfg.frames


def array(record: Record, cfg: Config) -> Floats:
    """The sound of a record, −1 (silence) to 1 (a full-scale sine): (1, mels, frames).

    Raises:
        DataError: its content is no sound; the message names the record.
    """
    try:
        samples = sounds.resampled(sounds.decoded(record.content or b""), cfg.sample_rate)
    except sounds.NotASound as e:
        raise DataError(f"record {record.id} ({record.source}): expected a sound, got {e}: {e.detail}") from None
    wanted = cfg.hop * (cfg.frames - 1)
    samples = np.pad(samples[:wanted], (0, max(0, wanted - len(samples))))
    power = filters(cfg.sample_rate, cfg.n_fft, cfg.mels) @ np.abs(stft(samples, cfg)) ** 2
    level_db = 10 * np.log10(np.maximum(power, 1e-18))
    return np.asarray(np.clip(1 - 2 * level_db / cfg.floor_db, -1, 1), np.float32)[None]


def render(array: Floats, cfg: Config) -> bytes:
    """An array (1, mels, frames) as WAV of 16 bits, `hop` × (`frames` − 1) samples; the same bytes each time."""
    level_db = (1 - np.clip(array[0], -1, 1)) / 2 * cfg.floor_db
    power = np.where(level_db <= cfg.floor_db, 0, 10 ** (level_db / 10))
    magnitude = np.sqrt(np.maximum(0, _inverse(cfg.sample_rate, cfg.n_fft, cfg.mels) @ power))
    return sounds.wav(Sound(griffin_lim(magnitude, cfg), cfg.sample_rate))


@lru_cache(maxsize=8)
def _inverse(sample_rate: int, n_fft: int, mels: int) -> NDArray[np.float64]:
    return np.linalg.pinv(filters(sample_rate, n_fft, mels).astype(np.float64))


def _window(n_fft: int) -> NDArray[np.float64]:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)


def stft(samples: NDArray[np.floating], cfg: Config) -> NDArray[np.complex128]:
    """(n_fft / 2 + 1, frames) spectrum of hop × (frames − 1) samples; a full-scale sine has magnitude 1 in its bin."""
    half = cfg.n_fft // 2
    whole = samples.astype(np.float64)
    padded = np.pad(whole, half, mode="reflect") if len(whole) > half else np.pad(whole, half)
    frames = np.lib.stride_tricks.sliding_window_view(padded, cfg.n_fft)[:: cfg.hop]
    window = _window(cfg.n_fft)
    spectrum: NDArray[np.complex128] = np.fft.rfft(frames * window, axis=1).T * (2 / window.sum())
    return spectrum


def istft(spectrum: NDArray[np.complex128], cfg: Config) -> NDArray[np.float64]:
    """The samples whose spectrum is nearest, by overlap-add (Griffin and Lim 1984, IEEE TASSP 32)."""
    window, frames = _window(cfg.n_fft), spectrum.shape[1]
    pieces = np.fft.irfft(spectrum.T * (window.sum() / 2), cfg.n_fft, axis=1) * window
    size = cfg.n_fft + cfg.hop * (frames - 1)
    total, weight = np.zeros(size), np.zeros(size)
    for at, piece in enumerate(pieces):
        total[at * cfg.hop : at * cfg.hop + cfg.n_fft] += piece
        weight[at * cfg.hop : at * cfg.hop + cfg.n_fft] += window**2
    inside = slice(cfg.n_fft // 2, size - cfg.n_fft // 2)
    return total[inside] / np.maximum(weight[inside], 1e-8)


def griffin_lim(magnitude: NDArray[np.floating], cfg: Config) -> Floats:
    """Samples whose spectrum has about these magnitudes (n_fft / 2 + 1, frames); phases begin at a fixed draw."""
    start = np.random.default_rng(0).uniform(0, 2 * np.pi, magnitude.shape)
    phases = np.exp(1j * start)
    before = np.zeros_like(phases)
    for _ in range(cfg.rounds):
        now = stft(istft(magnitude * phases, cfg), cfg)
        phases = now + MOMENTUM * (now - before)
        phases /= np.maximum(np.abs(phases), 1e-12)
        before = now
    return istft(magnitude * phases, cfg).astype(np.float32)
