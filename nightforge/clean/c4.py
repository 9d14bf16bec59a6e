"""Drops texts as C4 did (Raffel et al. 2020, arXiv 1910.10683, section 2.2); `c4_lines` before it takes lines out."""

import re
from collections.abc import Iterator
from itertools import islice

from pydantic import Field

from nightforge import config
from nightforge.records import Reject
from nightforge.view import View

_SHORT_FORMS = ("e.g", "i.e", "vs", "Mr", "Mrs", "Ms", "Dr", "Prof", "St", "Jr", "Sr", "Inc", "Ltd", "Co", "Corp")
# The sign itself stands first and what is before it is asked after, so that the search leaps from sign to sign.
# Bounded repetitions: time stays linear in the text, whatever it is.
_END = re.compile(
    r"[.!?։؟।॥‼⁇⁈⁉。！？｡](?:(?<=[。！？｡])[。！？｡]*(?=[^\s。！？｡])|(?<![。！？｡])(?<![\s.].)(?!(?<=\.)\.)"
    + "".join(rf"(?<!\b{form}\.)" for form in [*map(re.escape, _SHORT_FORMS), "[A-Z]"])
    + r"[^\w\s]{0,3}\s+[^\w\s]{0,3}(?=\w))"
)


class Config(config.Config):
    """What a text must have and may not hold."""

    sentences_min: int = Field(ge=0)
    """Fewest sentences; the end of a line ends one."""
    lorem_ipsum: bool
    """Whether placeholder text may occur."""
    curly_brackets: bool
    """Whether `{` may occur; it is the mark of code, also of wanted code."""


SAMPLE = Config(sentences_min=5, lorem_ipsum=False, curly_brackets=False)


def judge(view: View, cfg: Config) -> Iterator[Reject]:
    """Every bound that the text breaks."""
    if not cfg.lorem_ipsum and "lorem ipsum" in view.lower:
        yield Reject("lorem_ipsum", "“lorem ipsum”")
    if not cfg.curly_brackets and "{" in view.text:
        yield Reject("curly_bracket", "“{”")
    # A line is a sentence at least: only a text of few lines is looked at closely.
    if len(view.lines) < cfg.sentences_min and (count := sentences(view.lines, cfg.sentences_min)) < cfg.sentences_min:
        yield Reject("too_few_sentences", f"{count} < {cfg.sentences_min}")


def sentences(lines: list[str], enough: int) -> int:
    """Sentences in lines that are not blank, as far as `enough`: one a line, and one more for each end within, short
    forms aside."""
    ends = (end for line in lines for end in _END.finditer(line))
    return len(lines) + sum(1 for _ in islice(ends, max(0, enough - len(lines))))
