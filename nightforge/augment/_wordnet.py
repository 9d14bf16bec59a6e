"""WordNet's own files as a table of synonyms in a word's most frequent sense: the format is that of wndb(5WN).

nltk's reader builds every synset (1.7 s, 274 MB a process); here the index is read once (0.3 s) and a line of the data
when a word is first asked for.
"""

from pathlib import Path

FILES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
LETTERS_MIN = 4
"""Of a synonym: shorter ones are abbreviations (`yr`, `fig`)."""


class Synonyms:
    """Synonyms of WordNet's words that are their own base form."""

    def __init__(self, folder: Path) -> None:
        self._first: dict[str, dict[str, int]] = {pos: _index(folder / f"index.{f}") for pos, f in FILES.items()}
        self._data = {pos: (folder / f"data.{f}").read_bytes() for pos, f in FILES.items()}
        self.words = frozenset().union(*self._first.values())
        """All that it has in lower-case letters, three or more."""

    def of(self, word: str, pos: str) -> tuple[str, ...]:
        """Synonyms in the most frequent sense of a lower-case word of three letters or more, sorted.

        They begin like the word, by vowel or consonant, so that `a` and `an` before it stay right.
        """
        if (offset := self._first[pos].get(word)) is None:
            return ()
        data = self._data[pos]
        fields = data[offset : data.index(b"\n", offset)].decode().split(" | ")[0].split()
        names = [n.partition("(")[0] for n in fields[4 : 4 + 2 * int(fields[3], 16) : 2]]
        if word not in names:  # the dictionary has it with a capital
            return ()
        alike = {n for n in names if n.replace("_", "").isalpha() and n.islower() and len(n) >= LETTERS_MIN} - {word}
        return tuple(sorted(n.replace("_", " ") for n in alike if (n[0] in "aeiou") == (word[0] in "aeiou")))


def _index(file: Path) -> dict[str, int]:
    """Word → where its most frequent sense stands in the data (bytes); the index lists senses by frequency."""
    found = {}
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            word, _, rest = line.partition(" ")
            if len(word) >= 3 and word.isalpha() and word.islower():
                # pos, senses, pointers p, p symbols, senses, tagged senses, offsets
                fields = rest.split()
                found[word] = int(fields[5 + int(fields[2])])
    return found
