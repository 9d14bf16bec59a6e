"""What nlpaug 1.1.11 lacks to work with today's nltk, offline and repeatably; tests/augment/test_nlpaug_shim.py says
when each part may go.

1. nltk >= 3.8.2 looks for `averaged_perceptron_tagger_eng`, nlpaug downloads the old name (makcedward/nlpaug#349):
   the tagger that TextBlob bundles takes its place.
2. nltk >= 3.10 refuses files outside `nltk.data.path`, and its WordNet reader loads a multilingual map that is not
   needed: the reader here names its folder and skips the map.
3. nlpaug draws from the global `random` and `numpy.random` (makcedward/nlpaug#6): `drawing` hands it a generator.
4. nlpaug's tokenizer loses white space (makcedward/nlpaug#143): its augmenters are given one word at a time.
5. nlpaug's dictionary of misspellings comes in the order of a set, which differs from process to process.
6. nlpaug's ContextualWordEmbsAug calls what transformers 5 no longer has (makcedward/nlpaug#187), its back-translation
   loads models on its own: contextual.py and back_translation.py use transformers themselves.
7. nlpaug's ShiftAug raises where the direction is to be drawn, and its NoiseAug adds noise of a loudness that hangs on
   the length of the sound: the audio_*.py draw themselves and call what changes the samples (nlpaug.model.audio).
   SpeedAug, PitchAug and VtlpAug need librosa, and are left out.
"""

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

A = TypeVar("A")


def one_change(kind: Callable[..., A], **settings: Any) -> A:
    """An augmenter of nlpaug that is given one word at a time and varies it in one place.

    Args:
        kind: a class of nlpaug.augmenter.char.
        settings: its own.
    """
    once = {"aug_char_min": 1, "aug_char_max": 1, "aug_word_min": 1, "aug_word_max": 1}
    return kind(tokenizer=_one_word, reverse_tokenizer="".join, **once, **settings)


def _one_word(text: str) -> list[str]:
    return [text]


def drawing(augmenter: A, rng: random.Random) -> A:
    """The augmenter, made to draw from `rng` alone."""

    augmenter.__dict__.update(sample=rng.sample)
    return augmenter


@lru_cache(maxsize=1)
def misspellings() -> dict[str, list[str]]:
    """Word → how people misspell it, in the order of the alphabet: Belinkov and Bisk 2018, arXiv 1711.02173."""
    from nlpaug.model.word_dict.spelling import Spelling
    from nlpaug.util import LibraryUtil

    known = Spelling(f"{LibraryUtil.get_res_dir()}/word/spelling/spelling_en.txt", include_reverse=False).dict
    kept = {word: sorted(w for w in wrong if w.isalpha() and w != word) for word, wrong in known.items()}
    return {word: wrong for word, wrong in kept.items() if wrong}


def stock_synonyms(folder: Path) -> Any:
    """nlpaug's SynonymAug as it comes, but that it finds its tagger and its dictionary: what ours is held against."""
    import nlpaug.augmenter.word as naw
    from nlpaug.model.word_dict import WordNet
    from nltk import data as nltk_data
    from nltk.corpus.reader.wordnet import WordNetCorpusReader
    from textblob.en import parser

    if (root := str(folder.resolve())) not in nltk_data.path:
        nltk_data.path.append(root)

    class Reader(WordNetCorpusReader):  # type: ignore[misc]
        def map_wn(self, version: str = "wordnet") -> None:
            """No map of other languages."""

    class Dictionary(WordNet):  # type: ignore[misc]
        def read(self) -> Any:
            """The asset's WordNet; nlpaug's own would be downloaded."""
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return Reader(root, None)

        @classmethod
        def pos_tag(cls, tokens: list[str]) -> list[tuple[str, str]]:
            """Penn tags by TextBlob's tagger."""
            return [(token, tag) for token, tag in parser.find_tags(tokens)]

    class Synonyms(naw.SynonymAug):  # type: ignore[misc]
        @classmethod
        def get_model(cls, *_: Any) -> Dictionary:
            """The dictionary of the folder."""
            return Dictionary(lang="eng")

    return Synonyms()


@contextmanager
def numpy_drawing(rng: random.Random) -> Iterator[None]:
    """Let numpy's global generator, from which nlpaug's sounds draw, answer from `rng`; afterwards it is as it was."""
    import numpy as np

    before = np.random.get_state()
    np.random.seed(rng.getrandbits(32))
    try:
        yield
    finally:
        np.random.set_state(before)
