"""A record as the cleaning rules see it: its words, lines and paragraphs, each worked out once and shared by all."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nightforge import words as words_of
from nightforge.records import Record

_BLANK_LINE = re.compile(r"\n\s*\n")


class View:
    """One record and the parts of its text. `words` may come from a tokenizer of the caller's own.

    Such a tokenizer may count punctuation among the words, as spaCy's does: `tokens` are the words as given, `words`
    those of them that hold a letter or a digit. With our own tokenizer the two are one.
    """

    def __init__(self, record: Record, words: Sequence[str] | None = None) -> None:
        self.record, self.text = record, record.text
        if words is not None:
            self.tokens = list(words)
            self.words = [w for w in self.tokens if w.isalnum() or any(map(str.isalnum, w))]
            self.folded = [w.casefold() for w in self.words]

    @cached_property
    def words(self) -> list[str]:
        """The words as they stand, without punctuation (nightforge/words.py)."""
        return words_of.words(self.text)

    @cached_property
    def tokens(self) -> list[str]:
        """All that the tokenizer counts as a word."""
        return self.words

    @cached_property
    def folded(self) -> list[str]:
        """The words made comparable: NFKC and case folded."""
        return words_of.folded(self.text)

    @cached_property
    def counts(self) -> Counter[str]:
        """Token → how often it occurs, in the order of first occurrence."""
        return Counter(self.tokens)

    @cached_property
    def numbers(self) -> npt.NDArray[np.int64]:
        """Each token as the number of its kind, in the order of first occurrence: (tokens,)."""
        kinds = {token: at for at, token in enumerate(self.counts)}
        return np.fromiter(map(kinds.__getitem__, self.tokens), np.int64, len(self.tokens))

    @cached_property
    def kinds(self) -> set[str]:
        """The different words, in lower case."""
        return set(map(str.lower, self.counts))

    @cached_property
    def characters(self) -> Counter[str]:
        """Character → how often it occurs."""
        return Counter(self.text)

    @cached_property
    def lower(self) -> str:
        """The text in lower case."""
        return self.text.lower()

    @cached_property
    def raw_lines(self) -> list[str]:
        """The lines that are not blank, as they stand."""
        return [line for line in self.text.split("\n") if line and not line.isspace()]

    @cached_property
    def lines(self) -> list[str]:
        """The lines that are not blank, white space at their ends gone."""
        return list(map(str.strip, self.raw_lines))

    @cached_property
    def repeated_lines(self) -> tuple[int, int]:
        """Lines that repeat an earlier one to the character, and the characters in them."""
        return repeated(self.raw_lines)

    @cached_property
    def paragraphs(self) -> list[str]:
        """The paragraphs, parted by blank lines, white space at their ends gone."""
        return [p for p in map(str.strip, _BLANK_LINE.split(self.text)) if p] if "\n" in self.text else [self.text]


def repeated(units: list[str]) -> tuple[int, int]:
    """Units that repeat an earlier one, and the characters in them."""
    kinds = set(units)
    if len(kinds) == len(units):
        return 0, 0
    return len(units) - len(kinds), sum(map(len, units)) - sum(map(len, kinds))
