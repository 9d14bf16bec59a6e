"""Replaces personal data and secrets by their kind, such as `[EMAIL]`; what counts is in nightforge/privacy.py."""

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from nightforge import config, privacy
from nightforge.records import Record, Reject


class Config(config.Config):
    """What is redacted."""

    kinds: Annotated[list[privacy.Kind], Field(min_length=1)]
    """Kinds of personal data and secrets to look for."""


SAMPLE = Config(kinds=list(privacy.KINDS))


def apply(record: Record, cfg: Config) -> Record | Reject:
    """The record with findings replaced in text, prompt and response; `meta.redactions` counts those of the text."""
    text, counts = privacy.redact(record.text, cfg.kinds)
    prompt = record.prompt and privacy.redact(record.prompt, cfg.kinds)[0]
    response = record.response and privacy.redact(record.response, cfg.kinds)[0]
    if (text, prompt, response) == (record.text, record.prompt, record.response):
        return record
    meta = {**record.meta, "redactions": dict(sorted(counts.items()))}
    return replace(record, text=text, prompt=prompt, response=response, meta=meta)
