"""What nlpaug 1.1.11 lacks to work with today's nltk, offline and repeatably; tests/augment/test_nlpaug_shim.py says
when each part may go.

1. nltk >= 3.8.2 looks for `averaged_perceptron_tagger_eng`, nlpaug downloads the old name (makcedward/nlpaug#349):
   the tagger that TextBlob bundles takes its place.
2. nltk >= 3.10 refuses files outside `nltk.data.path`, and its WordNet reader loads a multilingual map that is not
   needed: the reader here names its folder and skips the map.
3. nlpaug draws from the global `random` (makcedward/nlpaug#6): `draw_from` hands it a generator.
4. nlpaug's tokenizer loses white space (makcedward/nlpaug#143): the tokens here join to the very text.
"""

import random
import re
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import nlpaug.augmenter.word as naw
from nltk import data as nltk_data
from nltk.corpus.reader.wordnet import WordNetCorpusReader
from textblob.en import parser

FIXED = "DT"
"""The tag that nlpaug never varies."""

VARIED = {"NN": "n", "JJ": "a", "RB": "r", "VB": "v", "VBP": "v"}
"""Tags of uninflected open-class words → WordNet's part of speech: a synonym of `leaves` would have to be inflected."""

_PROTECTED = r"""
    ```.*?```|`[^`\n]+`                                # code
  | <\|[^|>]*\|>|<[^<>\s][^<>]*>|\[[A-Z_]+\]           # special tokens, tags, redactions
  | (?:https?://|www\.)\S+|\S+@\S+\.\w+                # addresses
  | [^\w\s]*\w*\d[\w.,:/%°€$£-]*                       # numbers, money, versions, identifiers with digits
  | \w+(?:[_/\\.]\w+)+|\w+\(\)|\w*[a-z][A-Z]\w*        # paths, snake_case, camelCase
  | \w+(?:['’-]\w+)+                                   # compounds and contractions
"""
_TOKEN = re.compile(rf"(?P<protected>{_PROTECTED})|(?P<word>[^\W\d_]+)|(?P<other>\s+|.)", re.VERBOSE | re.DOTALL)


def tokens(text: str) -> list[str]:
    """Tokens that join to the text: words, and what is never varied (white space, punctuation, code, numbers, …)."""
    return [match.group() for match in _TOKEN.finditer(text)]


class _Reader(WordNetCorpusReader):  # type: ignore[misc]
    def map_wn(self, version: str = "wordnet") -> None:
        """No map of other languages."""


class Dictionary:
    """WordNet as nlpaug asks for it: `pos_tag` and `predict`."""

    def __init__(self, folder: Path) -> None:
        if (root := str(folder.resolve())) not in nltk_data.path:
            nltk_data.path.append(root)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.reader = _Reader(root, None)
        self.predict = lru_cache(maxsize=100_000)(self._predict)

    def pos_tag(self, tokens: list[str]) -> list[tuple[str, str]]:
        """A Penn tag for each token; FIXED for all that must stay."""
        words = [t for t in tokens if t.isalpha()]
        tags = iter(parser.find_tags(words)) if words else iter(())
        found = [(t, next(tags)[1] if t.isalpha() else FIXED) for t in tokens]
        return [(t, tag if tag in VARIED and self.predict(t, VARIED[tag]) else FIXED) for t, tag in found]

    def _predict(self, word: str, pos: str | None = None) -> list[str]:
        """Synonyms in the most frequent sense, where the word is its own base form; nothing for a capitalised word.

        No abbreviations (`yr`, `fig`): a synonym has four letters or more. It begins like the word, by vowel or
        consonant, so that `a` and `an` before it stay right.
        """
        if not word.islower() or len(word) < 3 or pos is None:
            return []
        senses = self.reader.synsets(word, pos=pos)
        names = senses[0].lemma_names() if senses else []
        if word not in names:
            return []
        alike = [n for n in names if n.replace("_", "").isalpha() and n.islower() and len(n) > 3 and n != word]
        return sorted(n for n in alike if (n[0] in "aeiou") == (word[0] in "aeiou"))


@lru_cache(maxsize=2)
def dictionary(folder: Path) -> Dictionary:
    """WordNet of a folder, loaded once a process (about 2 s)."""
    return Dictionary(folder)


class Synonyms(naw.SynonymAug):  # type: ignore[misc]
    """nlpaug's SynonymAug over a dictionary of ours, with our tokens."""

    def __init__(self, words: Dictionary, stopwords: list[str]) -> None:
        self._words = words
        super().__init__(tokenizer=tokens, reverse_tokenizer="".join, stopwords=stopwords)
        self.include_detail = True

    def get_model(self, *_: Any) -> Dictionary:
        """The dictionary handed in; nlpaug's own would download one."""
        return self._words

    def draw_from(self, rng: random.Random, count: int) -> None:
        """Draw from `rng`, and vary `count` words (nlpaug counts white space and punctuation as words)."""
        self.sample = rng.sample
        self.aug_min = self.aug_max = count
