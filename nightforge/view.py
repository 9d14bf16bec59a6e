"""A record as the cleaning rules see it: its words and lines, its pixels, each worked out once and shared by all."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from nightforge import pictures, sounds
from nightforge import words as words_of
from nightforge.records import Record

T = TypeVar("T")
_BLANK_LINE = re.compile(r"\n\s*\n")


class once(Generic[T]):
    """functools.cached_property without the lock that Python 3.11 takes for each: a view belongs to one thread."""

    def __init__(self, work_out: Callable[[Any], T]) -> None:
        self.work_out, self.name, self.__doc__ = work_out, work_out.__name__, work_out.__doc__

    def __get__(self, view: Any, owner: type) -> T:
        """Worked out, and left in the view under its own name, where it is found from then on."""
        value = view.__dict__[self.name] = self.work_out(view)
        return value


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

    @once
    def pixels(self) -> pictures.Pixels | None:
        """(height, width, 3) the picture that the record is, on white; none where it is no picture."""
        if not self.record.media_type.startswith("image/"):
            return None
        try:
            return pictures.pixels(self.record.content or b"")
        except pictures.NotAPicture:
            return None

    @once
    def sound(self) -> sounds.Sound | None:
        """The sound that the record is; none where it is no sound."""
        if not self.record.media_type.startswith("audio/"):
            return None
        try:
            return sounds.decoded(self.record.content or b"")
        except sounds.NotASound:
            return None

    @once
    def words(self) -> list[str]:
        """The words as they stand, without punctuation (nightforge/words.py)."""
        return words_of.words(self.text)

    @once
    def tokens(self) -> list[str]:
        """All that the tokenizer counts as a word."""
        return self.words

    @once
    def folded(self) -> list[str]:
        """The words made comparable: NFKC and case folded."""
        return words_of.folded(self.text)

    @once
    def counts(self) -> Counter[str]:
        """Token → how often it occurs, in the order of first occurrence."""
        return Counter(self.tokens)

    @once
    def numbers(self) -> npt.NDArray[np.int64]:
        """Each token as the number of its kind, in the order of first occurrence: (tokens,)."""
        kinds = {token: at for at, token in enumerate(self.counts)}
        return np.fromiter(map(kinds.__getitem__, self.tokens), np.int64, len(self.tokens))

    @once
    def kinds(self) -> set[str]:
        """The different words, in lower case."""
        return set(map(str.lower, self.counts))

    @once
    def characters(self) -> Counter[str]:
        """Character → how often it occurs."""
        return Counter(self.text)

    @once
    def lower(self) -> str:
        """The text in lower case."""
        return self.text.lower()

    @once
    def raw_lines(self) -> list[str]:
        """The lines that are not blank, as they stand."""
        return list(filter(str.strip, self.text.split("\n")))

    @once
    def lines(self) -> list[str]:
        """The lines that are not blank, white space at their ends gone."""
        return list(map(str.strip, self.raw_lines))

    @once
    def repeated_lines(self) -> tuple[int, int]:
        """Lines that repeat an earlier one to the character, and the characters in them."""
        return repeated(self.raw_lines)

    @once
    def paragraphs(self) -> list[str]:
        """The paragraphs, parted by blank lines, white space at their ends gone."""
        return [p for p in map(str.strip, _BLANK_LINE.split(self.text)) if p] if "\n" in self.text else [self.text]


def repeated(units: list[str]) -> tuple[int, int]:
    """Units that repeat an earlier one, and the characters in them."""
    kinds = set(units)
    if len(kinds) == len(units):
        return 0, 0
    return len(units) - len(kinds), sum(map(len, units)) - sum(map(len, kinds))
