"""Takes lines out that are no sentences, as C4 did (Raffel et al. 2020, arXiv 1910.10683, section 2.2).

The other half of C4, which drops whole texts, is the rule `c4`; it comes after this one. Words are cut at white
space, as in the reference (tensorflow_datasets `c4_utils.py`).
"""

import re
from collections import Counter

from pydantic import Field

from nightforge import config
from nightforge.records import Edit

_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")


class Config(config.Config):
    """Which lines stay."""

    ends: list[str]
    """What a line must end with; an ellipsis is none of them. None given: a line may end as it likes."""
    words_min: int = Field(ge=0)
    """Fewest words of a line."""
    word_chars_max: int = Field(ge=1)
    """Most characters of any word in it."""
    phrases: list[str]
    """Phrases that no line may hold, in lower case."""
    citations: bool
    """Whether citation marks of Wikipedia such as `[3]` stay."""


SAMPLE = Config(
    ends=[".", "?", "!", '"', "'"],
    words_min=3,
    word_chars_max=1000,
    phrases=[
        "javascript", "terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"
    ],
    citations=False,
)  # fmt: skip


def edit(text: str, cfg: Config) -> Edit:
    """The lines that stay, their ends trimmed; counts say why the others went."""
    kept, counts, ends, whole = [], Counter[str](), tuple(cfg.ends), text.lower()
    phrases = [phrase for phrase in cfg.phrases if phrase in whole]
    for given in text.splitlines():
        line = given.strip() if cfg.citations or "[" not in given else _CITATION.sub("", given.strip())
        if ends and (not line.endswith(ends) or line.endswith("...")):
            counts["unended_lines"] += bool(line)
        elif len(words := given.split()) < cfg.words_min:
            counts["short_lines"] += bool(line)
        elif len(given) > cfg.word_chars_max and max(map(len, words)) > cfg.word_chars_max:
            counts["long_word_lines"] += 1
        elif phrases and any(map(line.lower().__contains__, phrases)):
            counts["phrase_lines"] += 1
        else:
            kept.append(line)
    return Edit("\n".join(kept).strip(), +counts)
