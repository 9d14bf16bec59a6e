"""Sounds as samples: WAV, FLAC, OGG and the like, by libsndfile; for rules, augmenters, signals and readers of them."""

import io
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nightforge.errors import DataError

MEDIA_TYPES = {
    **{"WAV": "audio/wav", "WAVEX": "audio/wav", "FLAC": "audio/flac"},
    **{"OGG": "audio/ogg", "MP3": "audio/mpeg", "AIFF": "audio/aiff"},
}
SAMPLES_MAX = 100_000_000
"""Most samples of a sound over all channels: beyond, a small file would take gigabytes to unpack."""
FLOOR_DB = -120.0
"""How loud nothing at all is called, in dB of full scale."""

Samples = npt.NDArray[np.float32]


class NotASound(ValueError):
    """Bytes that are no sound; the message is the reason in a word, `detail` what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.detail = detail


class Sound(NamedTuple):
    """A sound of one channel, the mean of those it had."""

    samples: Samples
    """(samples,) −1 … 1 of full scale."""
    rate_hz: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate_hz


def media_type(content: bytes) -> str:
    """The media type of a sound that `decoded` reads."""
    import soundfile

    return MEDIA_TYPES[soundfile.info(io.BytesIO(content)).format]


def decoded(content: bytes) -> Sound:
    """A sound, decoded to its end.

    Raises:
        NotASound: `not_a_sound`, `too_many_samples`, `empty_sound` or `non_finite_sound`.
    """
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            if file.format not in MEDIA_TYPES:
                raise NotASound("not_a_sound", f"a file of format {file.format}")
            if file.frames * file.channels > SAMPLES_MAX:
                raise NotASound("too_many_samples", f"{file.frames} × {file.channels}, at most {SAMPLES_MAX} are read")
            samples, rate_hz = file.read(dtype="float32", always_2d=True), file.samplerate
    except (soundfile.LibsndfileError, RuntimeError, TypeError):
        raise NotASound("not_a_sound", f"{len(content)} bytes") from None
    if not len(samples):
        raise NotASound("empty_sound", f"{len(content)} bytes")
    if not np.isfinite(samples).all():
        raise NotASound("non_finite_sound", f"{len(samples)} samples")
    return Sound(samples.mean(axis=1), rate_hz)


def wav(sound: Sound) -> bytes:
    """A sound as WAV of 16 bits; samples beyond full scale are cut."""
    import soundfile

    out = io.BytesIO()
    soundfile.write(out, np.clip(sound.samples, -1, 1), sound.rate_hz, format="WAV", subtype="PCM_16")
    return out.getvalue()


def decibel(share: float) -> float:
    """A share of full scale in dB, `FLOOR_DB` at the least."""
    return max(FLOOR_DB, 20 * float(np.log10(max(share, 1e-12))))


def resampled(sound: Sound, rate_hz: int) -> Samples:
    """The samples at another rate, by a polyphase filter (scipy.signal.resample_poly).

    Raises:
        DataError: the rates are too far apart to be told by a small fraction.
    """
    from math import gcd

    from scipy.signal import resample_poly

    if sound.rate_hz == rate_hz:
        return sound.samples
    common = gcd(sound.rate_hz, rate_hz)
    up, down = rate_hz // common, sound.rate_hz // common
    if max(up, down) > 10_000:
        raise DataError(f"expected rates with a small ratio, got {sound.rate_hz} and {rate_hz} Hz; resample it first.")
    return np.asarray(resample_poly(sound.samples, up, down), np.float32)
