"""Drops texts that repeat themselves: Gopher's rules (Rae et al. 2021, arXiv 2112.11446, table A1).

The fractions are as published; an n-gram that occurs once repeats nothing, so a short text without repetition passes
whatever its length (in a text of five words any pair of words holds two fifths of it).
"""

from collections import Counter
from typing import Annotated

from pydantic import Field

from nightforge import config
from nightforge.records import Record, Reject
from nightforge.words import folded

Share = Annotated[float, Field(ge=0, le=1)]
Words = Annotated[int, Field(ge=1, le=20)]


class Config(config.Config):
    """The largest share of a text that each kind of repetition may hold."""

    duplicate_line_share: Share
    """Lines that repeat an earlier line ÷ lines."""
    duplicate_line_char_share: Share
    """Characters in such lines ÷ characters."""
    duplicate_paragraph_share: Share
    """Paragraphs (parted by blank lines) that repeat an earlier one ÷ paragraphs."""
    duplicate_paragraph_char_share: Share
    """Characters in such paragraphs ÷ characters."""
    top_ngram_char_share: dict[Words, Share]
    """Words n → characters in the most frequent repeated n-gram, all its occurrences, ÷ characters of words."""
    duplicate_ngram_char_share: dict[Words, Share]
    """Words n → characters of words inside an n-gram that repeats an earlier one ÷ characters of words."""


SAMPLE = Config(
    duplicate_line_share=0.3,
    duplicate_line_char_share=0.2,
    duplicate_paragraph_share=0.3,
    duplicate_paragraph_char_share=0.2,
    top_ngram_char_share={2: 0.2, 3: 0.18, 4: 0.16},
    duplicate_ngram_char_share={5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1},
)


def apply(record: Record, cfg: Config) -> Record | Reject:
    """The record itself, or its first repetition beyond its bound."""
    for what, share, limit in _shares(record.text, cfg):
        if share > limit:
            return Reject(f"repeated_{what}", f"{share:.2f} > {limit}: {record.text}")
    return record


def _shares(text: str, cfg: Config) -> list[tuple[str, float, float]]:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    paragraphs = [p.strip() for p in text.split("\n\n") if p.strip()]
    tokens = folded(text)
    return [
        ("lines", _units(lines, by_char=False), cfg.duplicate_line_share),
        ("line_characters", _units(lines, by_char=True), cfg.duplicate_line_char_share),
        ("paragraphs", _units(paragraphs, by_char=False), cfg.duplicate_paragraph_share),
        ("paragraph_characters", _units(paragraphs, by_char=True), cfg.duplicate_paragraph_char_share),
        *((f"{n}_gram", top_share(tokens, n), limit) for n, limit in sorted(cfg.top_ngram_char_share.items())),
        *((f"{n}_grams", dup_share(tokens, n), limit) for n, limit in sorted(cfg.duplicate_ngram_char_share.items())),
    ]


def _units(units: list[str], *, by_char: bool) -> float:
    seen: set[str] = set()
    total = repeated = 0
    for unit in units:
        size = len(unit) if by_char else 1
        total += size
        repeated += size if unit in seen else 0
        seen.add(unit)
    return repeated / total if total else 0.0


def top_share(tokens: list[str], n: int) -> float:
    """Characters of the most frequent repeated n-gram, all occurrences, ÷ characters of all words (at most 1)."""
    counts = Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))
    total = sum(map(len, tokens))
    held = max((count * sum(map(len, gram)) for gram, count in counts.items() if count > 1), default=0)
    return min(1.0, held / total) if total else 0.0


def dup_share(tokens: list[str], n: int) -> float:
    """Characters of words that lie in an n-gram seen earlier in the text ÷ characters of all words; each word once."""
    seen: set[tuple[str, ...]] = set()
    inside = [False] * len(tokens)
    for i in range(len(tokens) - n + 1):
        gram = tuple(tokens[i : i + n])
        if gram in seen:
            inside[i : i + n] = [True] * n
        seen.add(gram)
    total = sum(map(len, tokens))
    return sum(len(t) for t, repeated in zip(tokens, inside, strict=True) if repeated) / total if total else 0.0
