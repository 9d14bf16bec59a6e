"""Which parts of a text an augmenter may touch, and how its changes are made: shared by every method of this folder.

Nothing but prose is varied. Code, fences, addresses, numbers, money, identifiers, placeholders, markup, special tokens,
line breaks and white space survive to the byte, because a method never writes a text: it names `Change`s at places that
`prose_words` or `sentences` gave it.
"""

import math
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import Field

from nightforge import config
from nightforge.records import Record, content_id, edited, pair_text

P = TypeVar("P")

_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u109f\u1780-\u17ff\u200c\u200d"
    "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Marks that belong to the letter before them, and scripts whose words white space does not part: no words to vary."""
_LETTER = rf"[^\W\d_{_MARKS}]"

_PLAIN = r"(?:[A-Z]++[a-z]*+|[a-z]++)"

_TOKEN = re.compile(
    rf"""
    (?<![\w'’&%\\@#/.-])(?P<plain>{_PLAIN}(?:[ ]{_PLAIN})*)                                  # most words, in runs
    (?=[ \n]|[,;:.!?)"]+(?:\s|\Z)|\Z)[ ]?
  | (?=[\w`~<\[&\]$\\{{%@#/-]|^[ \t])(?P<kept>                                                  # how each begins
        (?:```|~~~).*?(?:```|~~~|\Z)|`[^`\n]+`                                              # fences, inline code
      | <(?P<tag>script|style|code|pre|kbd)\b.*?(?:</(?P=tag)\s*>|\Z)                        # markup that holds code
      | ^(?:[ ]{{4,}}|\t)[^\n]*[{{}};=|\\$][^\n]*$                                             # indented code
      | <\|[^|>]*\|>|<[^<>\s][^<>]*>|&\#?\w+;                                                # special tokens, tags
      | \[[A-Z][A-Z0-9_]*\]|\]\([^)\s]*\)                                                    # redactions, link targets
      | \$\S[^$\n]*(?<=\S)\$|\\[A-Za-z]+(?:\{{[^{{}}\n]*\}})*                                  # formulas, TeX
      | \$?\{{[^{{}}\n]*\}}|%(?:\(\w+\))?[sdifr]\b                                             # slots of templates
      | (?:https?|ftp|file)://\S+|www\.\S+|(?:mailto:)?[\w.+-]++@[\w-]+(?:\.[\w-]+)+         # addresses
      | [@\#]\w[\w-]*|(?<![\w-])--?[A-Za-z][\w-]*                                             # handles, tags, options
      | ~?(?:/[\w.+-]+)+/?                                                                   # paths
      | [^\W\d]*+\d[\w.,:/%°€$£-]*                                                        # numbers, money, versions
      | \w++(?:[/\\.]\w++)+|[^\W_]*+_\w*|\w++\([^()\n]*\)?|\w*[a-z][A-Z]\w*                      # snake_case, camelCase
    )
  | (?P<joined>\w++(?:['’-]\w++)+)                                                             # compounds, contractions
  | (?P<word>{_LETTER}++(?![{_MARKS}]))
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_SENTENCE = re.compile(r"\S[^\n]*?(?:[.!?]+(?=\s|$)|(?=\s*$))", re.MULTILINE)
ROLES = {"all": {"user", "assistant"}, "prompt": {"user"}, "response": {"assistant"}}
"""Part → the turns of a chat that it means; what the system or a tool says is never varied."""


class Varied(config.Config):
    """What the config of every augmenter holds."""

    part: Literal["all", "prompt", "response"]
    """What is varied of a pair (its prompt, its response, or both) and of a chat (the user's turns, the assistant's, or
    both). A plain text is varied whatever this says."""
    tries: int = Field(ge=1, le=100)
    """Most variants of one copy to draw; the stage takes the first that it may use."""


class Change(NamedTuple):
    """A piece of a text and what stands there instead; nothing before: it is put in; nothing after: it is left out."""

    at: int
    """Characters from the start of the text as it was."""
    before: str
    after: str


Draw = Callable[[random.Random], Iterable[Change]]
"""Draws the changes of one variant: none overlaps another, in any order."""


def prose_words(text: str) -> list[tuple[int, str]]:
    """Where each word stands that may be varied, and the word: letters only, of a script that parts its words."""
    found = []
    for m in _TOKEN.finditer(text):
        if run := m[1]:
            at = m.start()
            for word in run.split(" "):
                found.append((at, word))
                at += len(word) + 1
        elif (word := m["word"]) and word.isalpha():  # `²` is no letter
            found.append((m.start(), word))
    return found


def sentences(text: str, words_min: int) -> list[tuple[int, str]]:
    """Where each sentence stands that holds nothing to be kept and so many words or more, and the sentence."""
    kept = [m.span() for m in _TOKEN.finditer(text) if m["kept"] is not None]
    found = []
    for line in re.finditer(r"[^\n]+", text):
        for m in _SENTENCE.finditer(line.group()):
            start, end = line.start() + m.start(), line.start() + m.end()
            if len(m.group().split()) >= words_min and not any(a < end and b > start for a, b in kept):
                found.append((start, m.group()))
    return found


def changed(text: str, changes: Iterable[Change]) -> str:
    """The text with the changes made."""
    done, parts = 0, []
    for at, before, after in sorted(changes):
        parts += [text[done:at], after]
        done = at + len(before)
    return "".join([*parts, text[done:]])


def some(share: float, words: int, places: Sequence[P], change: Callable[[P, random.Random], Change]) -> Draw | None:
    """Draws a change at so large a share of the words (rounded up), as far as there are places for it."""
    count = wanted(share, words, len(places))
    return (lambda rng: [change(place, rng) for place in rng.sample(places, count)]) if count else None


def wanted(share: float, words: int, places: int) -> int:
    """How many of the places such a share of the words is, rounded up."""
    return min(places, math.ceil(share * words))


def variants(record: Record, cfg: Varied, rng: random.Random, plan: Callable[[str], Draw | None]) -> Iterator[Record]:
    """At most `cfg.tries` variants of a record that differ from it; none where no part of it has anything to vary.

    Args:
        record: a text, a pair or a chat (`meta.messages`).
        cfg: which parts of it are varied, and how often.
        rng: the only source of chance.
        plan: a part's text → what draws its changes, or none where there is nothing to vary; asked once a part.

    Yields:
        Records with an id of their own, `meta.parent`, and `meta.edits`: a list of {part, at, before, after}.
    """
    draws = [(name, plan(text) if chosen else None) for name, text, chosen in _parts(record, cfg.part)]
    if not any(draw for _, draw in draws):
        return
    for _ in range(cfg.tries):
        edits: list[dict[str, Any]] = []
        variant = edited(record, partial(_change, iter(draws), rng, edits))
        if variant.text != record.text:
            meta = {**variant.meta, "parent": record.id, "edits": edits}
            yield replace(variant, id=content_id(variant.text, record.label), meta=meta)


def _change(
    draws: Iterator[tuple[str, Draw | None]], rng: random.Random, edits: list[dict[str, Any]], text: str
) -> str:
    name, draw = next(draws)
    drawn = sorted(c for c in draw(rng) if c.before != c.after) if draw else []
    edits += [{"part": name, "at": at, "before": before, "after": after} for at, before, after in drawn]
    return changed(text, drawn)


def _parts(record: Record, part: str) -> list[tuple[str, str, bool]]:
    """(name, text, whether it is to be varied) of each part, in the order in which `records.edited` comes by them."""
    if messages := record.meta.get("messages"):
        return [(f"messages.{i}", m["content"], m["role"] in ROLES[part]) for i, m in enumerate(messages)]
    if record.prompt is None or record.response is None:
        return [("text", record.text, True)]
    found = [("prompt", record.prompt, part != "response"), ("response", record.response, part != "prompt")]
    composed = record.text == pair_text(record.prompt, record.response)
    return found if composed else [*found, ("text", record.text, True)]
