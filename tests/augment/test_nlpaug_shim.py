"""One test a shim, which fails when the shim may go."""

import inspect
import random
from pathlib import Path

import nlpaug.base_augmenter
import nltk
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nlpaug.model.word_dict import WordNet
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
    assert shim.dictionary(wordnet_assets / "wordnet").predict("tree", "n") == []
    assert shim.dictionary(wordnet_assets / "wordnet").predict("tall", "a") == ["high", "lofty"]


def test_3_nlpaug_still_draws_from_the_global_generator() -> None:
    """May go when nlpaug takes a generator or a seed (makcedward/nlpaug#6)."""
    random.seed(1)
    first = nlpaug.base_augmenter.Augmenter.sample(list(range(100)), 5)
    random.seed(1)
    assert nlpaug.base_augmenter.Augmenter.sample(list(range(100)), 5) == first


def test_4_nlpaug_still_loses_white_space() -> None:
    """May go when its tokenizer and its inverse give the text back (makcedward/nlpaug#143)."""
    text = "see  https://a.b/c\n$3.50"
    assert Tokenizer.reverse_tokenizer(Tokenizer.tokenizer(text)) != text


@given(st.text(max_size=80))
def test_our_tokens_join_to_the_text(text: str) -> None:
    assert "".join(shim.tokens(text)) == text
