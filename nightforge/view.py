"""A record as the cleaning rules see it: its words, lines and paragraphs, each worked out once and shared by all."""

from collections.abc import Sequence
from functools import cached_property

from nightforge import words as words_of
from nightforge.records import Record


class View:
    """One record and the parts of its text. `words` may come from a tokenizer of the caller's own."""

    def __init__(self, record: Record, words: Sequence[str] | None = None) -> None:
        self.record, self.text = record, record.text
        if words is not None:
            self.words = list(words)

    @cached_property
    def words(self) -> list[str]:
        """The words as they stand, punctuation attached (nightforge/words.py)."""
        return words_of.words(self.text)

    @cached_property
    def folded(self) -> list[str]:
        """The words made comparable: NFKC, case folded, outer punctuation gone."""
        return words_of.folded(self.text)

    @cached_property
    def lines(self) -> list[str]:
        """The lines that are not blank, white space at their ends gone."""
        return [line.strip() for line in self.text.split("\n") if line.strip()]

    @cached_property
    def paragraphs(self) -> list[str]:
        """The paragraphs, parted by blank lines, white space at their ends gone."""
        return [p.strip() for p in self.text.split("\n\n") if p.strip()]
