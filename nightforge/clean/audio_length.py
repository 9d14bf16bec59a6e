"""Drops sounds that are too short or too long, and what cannot be decoded."""

from collections.abc import Iterator

from pydantic import Field

from nightforge import config
from nightforge.records import Reject
from nightforge.view import View


class Config(config.Config):
    """Bounds on the length of a sound; one at a bound stays. What is no sound by its media type is not asked."""

    seconds_min: float = Field(ge=0)
    """Shortest, in seconds."""
    seconds_max: float = Field(gt=0)
    """Longest, in seconds."""
    rate_min_hz: int = Field(ge=1)
    """Lowest sample rate: below twice the highest frequency that the model is to learn, it is not there."""


SAMPLE = Config(seconds_min=0.1, seconds_max=30.0, rate_min_hz=8000)


def judge(view: View, cfg: Config) -> Iterator[Reject]:
    """Why its length or its rate is wrong."""
    if not view.record.media_type.startswith("audio/"):
        return
    if view.sound is None:
        yield Reject("not_a_sound", f"{len(view.record.content or b'')} bytes")
        return
    seconds = view.sound.seconds
    if seconds < cfg.seconds_min:
        yield Reject("too_short", f"{seconds:.3f} s < {cfg.seconds_min:g} s")
    if seconds > cfg.seconds_max:
        yield Reject("too_long", f"{seconds:.3f} s > {cfg.seconds_max:g} s")
    if view.sound.rate_hz < cfg.rate_min_hz:
        yield Reject("rate_too_low", f"{view.sound.rate_hz} Hz < {cfg.rate_min_hz} Hz")
