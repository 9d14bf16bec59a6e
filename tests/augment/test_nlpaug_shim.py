"""One test a shim, which fails when the shim may go."""

import inspect
import random
import sys
from pathlib import Path

import nlpaug.base_augmenter
import nltk
import numpy as np
import pytest
from nlpaug.model.lang_models import Bert
from nlpaug.model.word_dict import Spelling, WordNet
from nlpaug.util.text.tokenizer import Tokenizer
from nltk.corpus.reader.wordnet import WordNetCorpusReader

from nightforge.augment import _nlpaug_shim as shim


def test_1_nlpaug_still_downloads_a_tagger_that_nltk_no_longer_reads() -> None:
    """May go when nlpaug asks for averaged_perceptron_tagger_eng, and the product ships that tagger."""
    assert "averaged_perceptron_tagger_eng" not in inspect.getsource(WordNet)
    assert "averaged_perceptron_tagger_eng" in inspect.getsource(nltk.tag)


def test_2_nltk_still_refuses_a_folder_that_is_not_on_its_path(tmp_path: Path, wordnet_assets: Path) -> None:
    """May go when its reader opens any folder, without a map of other languages."""
    from tests import mini_wordnet

    with pytest.raises(PermissionError):
        WordNetCorpusReader(str(mini_wordnet.write(tmp_path / "elsewhere")), None)
    stock = shim.stock_synonyms(wordnet_assets / "wordnet")
    random.seed(0)
    assert stock.augment("a tall tree")[0] in {"a high tree", "a lofty tree", "a tall arbor"}


def test_3_nlpaug_still_draws_from_the_global_generators() -> None:
    """May go when nlpaug takes a generator or a seed (makcedward/nlpaug#6)."""
    sample = nlpaug.base_augmenter.Augmenter.sample
    for x in (list(range(100)), 100):
        drawn = []
        for _ in range(2):
            random.seed(1)
            np.random.seed(1)
            drawn.append(sample(x, 5))
        assert drawn[0] == drawn[1]


def test_4_nlpaug_still_loses_white_space() -> None:
    """May go when its tokenizer and its inverse give the text back (makcedward/nlpaug#143)."""
    text = "see  https://a.b/c\n$3.50"
    assert Tokenizer.reverse_tokenizer(Tokenizer.tokenizer(text)) != text


def test_5_nlpaug_still_makes_sets_of_misspellings() -> None:
    """May go when its dictionary keeps the order of its file."""
    assert "list(set(" in inspect.getsource(Spelling.read)
    # this process has a hash seed of its own, as each has
    assert shim.misspellings()["luck"] == ["Lock", "lake", "like", "lock", "look", "luch", "lucke", "luke"]


def test_6_nlpaug_still_calls_what_transformers_no_longer_has() -> None:
    """May go, and contextual.py with it, when ContextualWordEmbsAug runs in batches (makcedward/nlpaug#187, #248)."""
    from transformers import BertTokenizer

    assert "_convert_token_to_id" in inspect.getsource(sys.modules[Bert.__module__])
    assert not hasattr(BertTokenizer, "_convert_token_to_id")


def test_an_augmenter_that_is_given_a_generator_leaves_the_global_ones_alone() -> None:
    from nlpaug.augmenter.char import KeyboardAug, RandomCharAug

    random.seed(3)
    np.random.seed(3)
    before = random.getstate(), np.random.get_state()[1].tolist()
    for kind, action in ((KeyboardAug, "substitute"), (RandomCharAug, "swap")):
        augmenter = shim.one_change(kind, min_char=1)
        drawn = [getattr(shim.drawing(augmenter, random.Random(5)), action)("particle") for _ in range(2)]
        assert drawn[0] == drawn[1] != "particle"
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
