"""Drops texts by regular expressions of the user's own: what must occur, or must not, and how often."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Annotated

from pydantic import Field

from nightforge import config
from nightforge.clean._regex import Regex
from nightforge.records import Reject
from nightforge.view import View


class Pattern(config.Config):
    """A regular expression and how often it may match; a text at a bound stays."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """The reason that the metrics count: lower case, digits and underscores."""
    pattern: Regex
    """Searched everywhere in the text; flags stand inside, as in `(?im)^unsubscribe`."""
    matches_min: int = Field(ge=0)
    """Fewest matches: 1 drops texts without one."""
    matches_max: int | None = Field(ge=0)
    """Most matches: 0 drops every text with one; null for no bound."""


class Config(config.Config):
    """The patterns, each judged by itself."""

    patterns: Annotated[list[Pattern], Field(min_length=1)]
    """Names may repeat where two patterns say the same."""


SAMPLE = Config(
    patterns=[Pattern(name="unsubscribe", pattern=re.compile(r"(?i)\bunsubscribe\b"), matches_min=0, matches_max=2)],
)


def judge(view: View, cfg: Config) -> Iterator[Reject]:
    """Every name with a pattern that matches too seldom or too often; the evidence shows the first match."""
    said: set[str] = set()
    for rule in cfg.patterns:
        # One more than is allowed settles it.
        most = rule.matches_min if rule.matches_max is None else max(rule.matches_min, rule.matches_max + 1)
        found = list(islice(rule.pattern.finditer(view.text), most))
        if rule.name in said:
            continue
        if len(found) < rule.matches_min:
            said.add(rule.name)
            yield Reject(rule.name, f"{len(found)} matches < {rule.matches_min}")
        elif rule.matches_max is not None and len(found) > rule.matches_max:
            said.add(rule.name)
            yield Reject(rule.name, f"matches > {rule.matches_max}: {found[0].group()}")
