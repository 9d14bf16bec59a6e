"""The classifier of words: against scikit-learn's own, alone as in a batch, and refused where it has learnt nothing."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from nightforge import classifier
from nightforge.errors import DataError

RNG = random.Random(0)
NOUNS = {"plant": ["tree", "herb", "leaf", "root"], "food": ["soup", "bread", "cake", "sauce"], "time": ["day", "hour"]}
TEXTS = [
    (" ".join(RNG.choices([*NOUNS[kind], "a", "the", "of", "old", "small"], k=8)), kind)
    for kind in NOUNS
    for _ in range(30)
]
WORDS = [text.split() for text, _ in TEXTS]
CLASSES = np.array([list(NOUNS).index(kind) for _, kind in TEXTS])


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("names", [2, 3])
def test_agrees_with_scikit_learn_where_no_two_words_share_a_hash(names: int, balanced: bool) -> None:
    words, classes = WORDS[: 30 * names], CLASSES[: 30 * names]
    tfidf = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, analyzer="word", token_pattern=r"\S+")
    matrix = tfidf.fit_transform([" ".join(w) for w in words])
    theirs = LogisticRegression(C=classifier.STRENGTH, class_weight="balanced" if balanced else None, tol=1e-8)
    theirs.fit(matrix, classes)
    ours = classifier.fit([classifier.hashes(w) for w in words], classes, names, balanced=balanced)
    assert len(ours.weights) == matrix.shape[1]
    unseen = [*WORDS, ["tree", "never", "seen", "tree"]]
    want = theirs.predict_proba(tfidf.transform([" ".join(w) for w in unseen]))
    np.testing.assert_allclose(classifier.probabilities(ours, [classifier.hashes(w) for w in unseen]), want, atol=0.02)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["tree", "soup", "day", "x", "é"]), max_size=6), min_size=1, max_size=5))
def test_a_text_alone_is_as_in_any_batch(texts: list[list[str]]) -> None:
    hashed = [classifier.hashes(text) for text in texts]
    together = classifier.probabilities(MODEL, hashed)
    np.testing.assert_allclose(together.sum(1), 1)
    for one, row in zip(hashed, together, strict=True):
        np.testing.assert_array_equal(classifier.probabilities(MODEL, [one])[0], row)


MODEL = classifier.fit([classifier.hashes(w) for w in WORDS], CLASSES, 3, balanced=False)


def test_no_texts_no_rows() -> None:
    assert classifier.probabilities(MODEL, []).shape == (0, 3)


def test_a_class_that_does_not_occur_is_never_probable() -> None:
    texts = [classifier.hashes(w) for w in WORDS]
    for classes in (np.where(CLASSES == 1, 0, CLASSES), CLASSES):  # two of three occur; three of four
        model = classifier.fit(texts, classes, 4, balanced=False)
        p = classifier.probabilities(model, texts)
        assert (p.argmax(1) == classes).mean() > 0.9
        assert not p[:, [c for c in range(4) if c not in classes]].any()


def test_pairs_of_words_do_not_reach_over_the_end_of_a_text() -> None:
    ab, b, a = (classifier.hashes(w) for w in (["a", "b"], ["b"], ["a"]))
    assert len(classifier._counted([a, b])[0]) == 2
    assert len(classifier._counted([ab])[0]) == 3


def test_examples_that_differ_are_learnt() -> None:
    learned = classifier.learn(*([t for t, kind in TEXTS if kind == wanted] for wanted in ("plant", "food")))
    assert learned.auc > 0.95
    assert (
        classifier.score(learned.model, ["the", "old", "tree"]) > 0.6 > 0.4 > classifier.score(learned.model, ["cake"])
    )
    assert classifier.score(learned.model, []) == pytest.approx(0.5, abs=0.2)


def test_examples_that_do_not_differ_are_refused() -> None:
    rng = random.Random(5)
    same = [" ".join(rng.choices("abcdefgh", k=12)) for _ in range(60)]
    with pytest.raises(DataError, match=r"told apart \(AUC over 0\.68 .* got AUC 0\.\d\d of 30 good and 30 bad"):
        classifier.learn(same[:30], same[30:])


def test_examples_without_words_are_none() -> None:
    with pytest.raises(DataError, match=r"expected 10 different .* with words, got 0 and 0"):
        classifier.learn(["!" * i for i in range(1, 15)], ["?" * i for i in range(1, 15)])


def test_few_examples_and_repeated_ones_are_refused() -> None:
    with pytest.raises(DataError, match=r"expected 10 different .* got 2 and 12"):
        classifier.learn(["a", "b"] * 20, [f"c {i}" for i in range(12)])
