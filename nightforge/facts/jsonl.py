"""Triples in JSON Lines (jsonlines.org): one object a line."""

import json
from collections.abc import Iterator
from pathlib import Path

from nightforge import config
from nightforge.facts._table import triple
from nightforge.knowledge import Triple
from nightforge.records import Reject


class Config(config.Config):
    """Which keys hold what."""

    subject: str
    """Key of the subject."""
    relation: str
    """Key of the relation."""
    object: str
    """Key of the object."""


SAMPLE = Config(subject="subject", relation="relation", object="object")


def read(file: Path, cfg: Config) -> Iterator[Triple | Reject]:
    """One item for every line that is not blank."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _fact(line, f"line {number}", cfg)


def _fact(line: bytes, place: str, cfg: Config) -> Triple | Reject:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as e:
        return Reject("not_json", f"{place}: {e}")
    if not isinstance(row, dict):
        return Reject("not_an_object", place)
    return triple((row.get(name) for name in (cfg.subject, cfg.relation, cfg.object)), place)
