"""Drops texts that hold more personal data or secrets than one would redact: lists of members, dumps of credentials.

What counts is in nightforge/privacy.py. To replace the findings of the texts that stay, put the rule `redact` after.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from nightforge import config, privacy
from nightforge.records import Reject
from nightforge.view import View


class Config(config.Config):
    """How much is too much; a text at a bound stays."""

    kinds: Annotated[list[privacy.Kind], Field(min_length=1)]
    """Kinds of personal data and secrets to look for."""
    findings_max: int = Field(ge=0)
    """Most findings; 0 drops every text that has one."""
    char_share_max: float = Field(ge=0, le=1)
    """Largest share of the characters that may lie in findings; 1 asks nothing."""


SAMPLE = Config(kinds=list(privacy.KINDS), findings_max=10, char_share_max=0.2)


def judge(view: View, cfg: Config) -> Iterator[Reject]:
    """Too many findings, or too much of the text in them; the evidence counts them by kind."""
    found = list(privacy.spans(view.text, cfg.kinds))
    counts = Counter(span.kind for span in found)
    shown = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
    if len(found) > cfg.findings_max:
        yield Reject("too_many_findings", f"{len(found)} > {cfg.findings_max}: {shown}")
    inside = sum(span.end - span.start for span in found)
    if inside > cfg.char_share_max * len(view.text):
        yield Reject("too_much_in_findings", f"{inside / len(view.text):.2f} > {cfg.char_share_max}: {shown}")
