"""A linear classifier of texts by their words and neighbouring pairs of words, learnt from examples in seconds.

TF-IDF over hashed features (Weinberger et al. 2009, arXiv 0902.2206) and a logistic regression, as Brown et al. 2020
(arXiv 2005.14165, appendix A) told good web pages from bad. Deterministic: one thread, and no draw but of folds, which
are seeded. A word of 2¹⁸ that were never seen in training counts nothing.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from nightforge.errors import DataError
from nightforge.words import folded

Hashes = npt.NDArray[np.uint32]
"""The words of a text in order, each as 32 bits."""
Floats = npt.NDArray[np.float64]

BITS = 18
FOLDS = 5
STRENGTH = 3.0
"""Inverse of the regularisation."""
FEWEST = 10
"""Examples of a kind below which no classifier is tried."""
_PAIR = np.uint64(0x9E3779B97F4A7C15)  # odd: 2⁶⁴ divided by the golden ratio


class Classifier(NamedTuple):
    """A fitted model."""

    column: npt.NDArray[np.int32]
    """(2**BITS,) feature → row of `weights`; -1 if it was never seen."""
    idf: Floats
    """(seen,)"""
    weights: Floats
    """(seen, classes)"""
    bias: Floats
    """(classes,)"""


class Learned(NamedTuple):
    """A classifier of good and bad, and how well it told examples apart that it had not seen."""

    model: Classifier
    auc: float


def hashes(words: Sequence[str]) -> Hashes:
    """Words as numbers: all that a classifier needs of a text."""
    return np.array([xxhash.xxh32_intdigest(word.encode("utf-8", "surrogatepass")) for word in words], np.uint32)


def fit(texts: Sequence[Hashes], classes: npt.NDArray[np.integer[Any]], names: int, *, balanced: bool) -> Classifier:
    """Learn to tell classes 0, 1, … below `names` apart; one that does not occur is never probable.

    Args:
        texts: examples.
        classes: of each; two of them must occur.
        names: how many classes there are.
        balanced: whether each class weighs the same, however many examples it has.
    """
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    owner, feature, count = _counted(texts)
    seen, column = np.unique(feature, return_inverse=True)
    idf = np.log((1 + len(texts)) / (1 + np.bincount(column))) + 1
    value = _normed(owner, (1 + np.log(count)) * idf[column], len(texts))
    matrix = csr_matrix((value, (owner, column)), (len(texts), len(seen)))
    with threadpool_limits(1):  # sums of several threads come out differently
        weighed = "balanced" if balanced else None
        regression = LogisticRegression(C=STRENGTH, class_weight=weighed, max_iter=100, tol=1e-3)
        regression.fit(matrix, classes)
    weights, bias = np.zeros((len(seen), names)), np.full(names, -np.inf)
    # Of two classes it learns the second alone.
    learnt = regression.classes_[-regression.coef_.shape[0] :]
    bias[regression.classes_] = 0
    weights[:, learnt], bias[learnt] = regression.coef_.T, regression.intercept_
    columns = np.full(2**BITS, -1, np.int32)
    columns[seen] = np.arange(len(seen))
    return Classifier(columns, idf, weights, bias)


def probabilities(model: Classifier, texts: Sequence[Hashes]) -> Floats:
    """(texts, classes); the same for a text alone and in any batch."""
    owner, feature, count = _counted(texts)
    column = model.column[feature]
    known = column >= 0
    owner, column, count = owner[known], column[known], count[known]
    value = _normed(owner, (1 + np.log(count)) * model.idf[column], len(texts))
    scores = np.stack([np.bincount(owner, value * w[column], len(texts)) for w in model.weights.T], axis=1) + model.bias
    scores -= scores.max(axis=1, keepdims=True, initial=-np.inf)
    odds = np.exp(scores)
    shares: Floats = odds / odds.sum(axis=1, keepdims=True)
    return shares


def learn(good: Sequence[str], bad: Sequence[str]) -> Learned:
    """A classifier of examples, class 1 the good ones, held against chance by cross-validation.

    Raises:
        DataError: fewer than FEWEST of a kind, or examples left out are told apart no better than by chance (one-sided
            test of the rank sum at 1 %: Mann & Whitney 1947).
    """
    kinds = [{text: words for text in kind if (words := folded(text))} for kind in (good, bad)]
    if min(map(len, kinds)) < FEWEST:
        raise DataError(
            f"expected {FEWEST} different good and bad examples or more with words, got {len(kinds[0])} and "
            f"{len(kinds[1])}."
        )
    texts = [hashes(words) for kind in kinds for words in kind.values()]
    classes = np.repeat([1, 0], [len(kind) for kind in kinds])
    auc = _cross_validated(texts, classes)
    n = len(kinds[0]) * len(kinds[1])
    chance = 0.5 + 2.33 * ((len(texts) + 1) / (12 * n)) ** 0.5
    if auc < chance:
        raise DataError(
            f"expected examples that can be told apart (AUC over {chance:.2f} on those left out, which chance reaches "
            f"once in a hundred), got AUC {auc:.2f} of {len(kinds[0])} good and {len(kinds[1])} bad ones. "
            "Give more of them, or such as differ in their words."
        )
    return Learned(fit(texts, classes, 2, balanced=True), auc)


def score(model: Classifier, words: Sequence[str]) -> float:
    """How probably a text is good, in [0, 1], rounded so that no last digit of a machine decides."""
    return round(float(probabilities(model, [hashes(words)])[0, 1]), 4)


def _cross_validated(texts: list[Hashes], classes: Any) -> float:
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    found = np.zeros(len(texts))
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(texts, classes):
        model = fit([texts[i] for i in train], classes[train], 2, balanced=True)
        found[test] = probabilities(model, [texts[i] for i in test])[:, 1]
    return float(roc_auc_score(classes, found))


def _counted(texts: Sequence[Hashes]) -> tuple[Any, Any, Any]:
    """Text, feature and its count there, for every feature of every text, in that order."""
    lengths = np.array([len(text) for text in texts], np.int64)
    word = np.concatenate([np.empty(0, np.uint32), *texts]).astype(np.uint64)
    owner = np.repeat(np.arange(len(texts)), lengths)
    inside = owner[1:] == owner[:-1]
    pair = (word[:-1] * _PAIR + word[1:])[inside]
    feature = np.concatenate([word * _PAIR, pair * _PAIR]) >> np.uint64(64 - BITS)
    key = (np.concatenate([owner, owner[1:][inside]]) << BITS) | feature.astype(np.int64)
    unique, count = np.unique(key, return_counts=True)
    return unique >> BITS, unique & (2**BITS - 1), count


def _normed(owner: Any, value: Floats, texts: int) -> Floats:
    """The values of each text, of length 1 together."""
    length = np.sqrt(np.bincount(owner, value**2, texts))
    normed: Floats = value / length[owner]
    return normed
