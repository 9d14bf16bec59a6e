"""Replaces what regular expressions of the user's own match: footers, markers, house style."""

import re
from typing import Annotated, Self

from pydantic import Field, model_validator

from nightforge import config
from nightforge.clean._regex import Regex
from nightforge.records import Edit


class Replacement(config.Config):
    """A regular expression and what comes in its place."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """What the metrics count: lower case, digits and underscores."""
    pattern: Regex
    """Everywhere in the text; flags stand inside, as in `(?im)^sent from my .*$`."""
    by: str
    """In its place; empty takes it out, and `\\1` or `\\g<name>` stands for a group."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.pattern.search(""):
            raise ValueError(f"{self.name}: the pattern matches the empty text, so it would insert everywhere")
        try:
            self.pattern.sub(self.by, "")
        except (re.error, IndexError) as e:
            raise ValueError(f"{self.name}: by: {e}") from None
        return self


class Config(config.Config):
    """The replacements, in this order, each on what the one before left."""

    replacements: Annotated[list[Replacement], Field(min_length=1)]
    """Names may repeat; their counts are added."""


SAMPLE = Config(replacements=[Replacement(name="sent_from", pattern=re.compile(r"(?im)^sent from my .*$"), by="")])


def edit(text: str, cfg: Config) -> Edit:
    """The text after all replacements, and how many each name made."""
    counts: dict[str, int] = {}
    for one in cfg.replacements:
        text, made = one.pattern.subn(one.by, text)
        if made:
            counts[one.name] = counts.get(one.name, 0) + made
    return Edit(text, counts)
