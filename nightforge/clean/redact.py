"""Replaces personal data and secrets by their kind, such as `[EMAIL]`; what counts is in nightforge/privacy.py."""

from typing import Annotated

from pydantic import Field

from nightforge import config, privacy
from nightforge.records import Edit


class Config(config.Config):
    """What is redacted."""

    kinds: Annotated[list[privacy.Kind], Field(min_length=1)]
    """Kinds of personal data and secrets to look for."""


SAMPLE = Config(kinds=list(privacy.KINDS))


def edit(text: str, cfg: Config) -> Edit:
    """The text with each finding replaced, and how many there were of each kind."""
    return Edit(*privacy.redact(text, cfg.kinds))
