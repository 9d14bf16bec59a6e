"""Drops texts that repeat themselves: Gopher's rules (Rae et al. 2021, arXiv 2112.11446, table A1).

Shares are of the characters of the whole text, white space included, and the words inside repeated n-grams are
counted as datatrove 0.10 does it (`gopher_repetition_filter.py`). One thing differs: an n-gram that occurs once repeats
nothing, so a short text without repetition passes whatever its length (of five words any pair holds two fifths).
"""

from collections.abc import Iterator
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from nightforge import config
from nightforge.records import Reject
from nightforge.view import View, repeated

Share = Annotated[float, Field(ge=0, le=1)]
Words = Annotated[int, Field(ge=1, le=20)]
Array = npt.NDArray[np.int64]


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
    """Words n → characters in the most frequent repeated n-gram, all its occurrences, ÷ characters."""
    duplicate_ngram_char_share: dict[Words, Share]
    """Words n → characters of words inside an n-gram that repeats an earlier one ÷ characters."""


SAMPLE = Config(
    duplicate_line_share=0.3,
    duplicate_line_char_share=0.2,
    duplicate_paragraph_share=0.3,
    duplicate_paragraph_char_share=0.2,
    top_ngram_char_share={2: 0.2, 3: 0.18, 4: 0.16},
    duplicate_ngram_char_share={5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1},
)


def judge(view: View, cfg: Config) -> Iterator[Reject]:
    """Every kind of repetition beyond its bound."""
    lines, paragraphs, size = view.lines, view.paragraphs, len(view.text)
    yield from _units(
        "line", view.repeated_lines, len(lines), size, cfg.duplicate_line_share, cfg.duplicate_line_char_share
    )
    yield from _units(
        "paragraph",
        repeated(paragraphs),
        len(paragraphs),
        size,
        cfg.duplicate_paragraph_share,
        cfg.duplicate_paragraph_char_share,
    )
    top, duplicate = cfg.top_ngram_char_share, cfg.duplicate_ngram_char_share
    for n, at, group, times in repeats(view.numbers, max((*top, *duplicate), default=0)):
        if n in top:
            chars, gram = top_chars(view.tokens, n, at, times)
            if chars > top[n] * size:
                yield Reject(f"repeated_{n}_gram", f"{chars / size:.2f} > {top[n]}: {gram}")
        if n in duplicate:
            chars = duplicate_chars(view.tokens, n, at, group)
            if chars > duplicate[n] * size:
                yield Reject(f"repeated_{n}_grams", f"{chars / size:.2f} > {duplicate[n]}")


def _units(
    what: str, again: tuple[int, int], units: int, size: int, share_max: float, char_share_max: float
) -> Iterator[Reject]:
    """Lines or paragraphs that repeat an earlier one: so many, and so many characters."""
    count, chars = again
    if count > share_max * units:
        yield Reject(f"repeated_{what}s", f"{count / units:.2f} > {share_max}")
    if chars > char_share_max * size:
        yield Reject(f"repeated_{what}_characters", f"{chars / size:.2f} > {char_share_max}")


def repeats(numbers: Array, most: int) -> Iterator[tuple[int, Array, Array, Array]]:
    """For n = 1 … `most`: n, the places (ascending) whose n-gram repeats, its number at each, and how often it occurs.

    An (n+1)-gram can repeat only where its first n words do, so the places dwindle; the numbers are exact, not hashes.
    Ends when nothing repeats.
    """
    at, group, kinds = np.arange(len(numbers)), numbers, len(numbers)
    for n in range(1, most + 1):
        if n > 1:
            at, group = (at[:-1], group[:-1]) if at[-1] == len(numbers) - n + 1 else (at, group)
            group = _numbered(group * kinds + numbers[at + n - 1])
        times = np.bincount(group)[group]
        again = times > 1
        at, group, times = at[again], group[again], times[again]
        if not len(at):
            return
        yield n, at, group, times


def _numbered(keys: Array) -> Array:
    """The keys as numbers from 0 on, equal where they are (`numpy.unique` does more and takes twice as long)."""
    order = keys.argsort()
    ordered = keys[order]
    numbers = np.empty_like(keys)
    numbers[order[:1]] = 0
    numbers[order[1:]] = (ordered[1:] != ordered[:-1]).cumsum()
    return numbers


def top_chars(tokens: list[str], n: int, at: Array, times: Array) -> tuple[int, str]:
    """Characters in all occurrences of the most frequent n-gram (the first such), spaces between words included."""
    top = times.argmax()
    first = int(at[top])
    gram = " ".join(tokens[first : first + n])
    return len(gram) * int(times[top]), gram


def duplicate_chars(tokens: list[str], n: int, at: Array, group: Array) -> int:
    """Characters of words in n-grams seen before, from left to right: one that counts is stepped over whole."""
    seen: set[int] = set()
    chars = free = 0
    for place, gram in zip(at.tolist(), group.tolist(), strict=True):
        if place < free:
            continue
        if gram in seen:
            chars += sum(map(len, tokens[place : place + n]))
            free = place + n
        else:
            seen.add(gram)
    return chars
