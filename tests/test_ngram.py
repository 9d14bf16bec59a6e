"""The n-gram: by hand, against a slow reading of the paper, and as a distribution."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightforge import ngram
from nightforge.errors import ConfigError

CORPUS: list[ngram.Document] = [
    ("a", b"abracadabra, abra and cadabra"),
    ("a", b"a tall tree of the tropics"),
    ("b", b"a small tree of tropical America"),
    (None, "naïve café".encode()),
    ("b", b"any of several trees, tall or small"),
    ("b", b""),
]


def slow_nats(train: list[ngram.Document], texts: list[ngram.Document], order: int) -> list[float]:
    """Interpolated modified Kneser–Ney from dictionaries; the label symbol begins each text, once."""
    known = {label for label, _ in train}

    def symbols(doc: ngram.Document) -> tuple:
        return (("label", doc[0] if doc[0] in known else None), *doc[1])

    counts: list[Counter] = [Counter() for _ in range(order + 1)]
    for doc in train:
        s = symbols(doc)
        for k in range(1, order + 1):
            for end in range(max(2, k), len(s) + 1):
                counts[k][s[end - k : end]] += 1
    adjusted = [Counter() for _ in range(order)] + [counts[order]]
    for k in range(1, order):
        left = defaultdict(set)
        for gram in counts[k + 1]:
            left[gram[1:]].add(gram[0])
        for gram, count in counts[k].items():
            adjusted[k][gram] = count if isinstance(gram[0], tuple) else len(left[gram])

    def discount(k: int, count: int) -> float:
        n = [sum(v == i for v in adjusted[k].values()) for i in range(5)]
        fallback = [0.0, 0.5, 1.0, 1.5]
        if not (n[1] and n[2] and n[3]):
            return fallback[min(count, 3)]
        y = n[1] / (n[1] + 2 * n[2])
        d = [0.0, *(i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3))]
        if any(not 0 <= v <= i for i, v in enumerate(d)):
            d = fallback
        return d[min(count, 3)]

    def p(context: tuple, w: int) -> float:
        lower = p(context[1:], w) if context else 1 / 256
        k = len(context) + 1
        followers = {g[-1]: c for g, c in adjusted[k].items() if g[:-1] == context}
        total = sum(followers.values())
        if not total:
            return lower
        held = sum(discount(k, c) for c in followers.values())
        seen = followers.get(w, 0)
        return (seen - discount(k, seen) if seen else 0.0) / total + held / total * lower

    return [
        sum(-math.log(p(s[max(0, i - order + 1) : i], s[i])) for i in range(1, len(s))) for s in map(symbols, texts)
    ]


def test_unigram_by_hand() -> None:
    fitted = ngram.fit([(None, b"aab")], order=1)
    # counts a: 2, b: 1; fallback discounts 1 and 0.5; the 1.5 held back go to 256 bytes evenly
    a, b, other = (2 - 1) / 3 + 0.5 / 256, (1 - 0.5) / 3 + 0.5 / 256, 0.5 / 256
    want = [-math.log(a), -math.log(b), -math.log(other), -math.log(a) - math.log(b)]
    got = ngram.document_nats(fitted, [(None, b"a"), (None, b"b"), (None, b"z"), (None, b"ab")])
    np.testing.assert_allclose(got, want)


@pytest.mark.parametrize("order", [1, 2, 3, 5, 7])
def test_agrees_with_the_slow_one(order: int) -> None:
    texts = [*CORPUS[:3], ("a", b"a tropical cadabra"), ("never seen", b"zzz"), ("b", b"")]
    fitted = ngram.fit(CORPUS, order)
    np.testing.assert_allclose(ngram.document_nats(fitted, texts), slow_nats(CORPUS, texts, order), rtol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    train=st.lists(st.tuples(st.sampled_from([None, "a", "b"]), st.binary(max_size=30)), min_size=1, max_size=8),
    context=st.binary(max_size=12),
    label=st.sampled_from([None, "a", "new"]),
    order=st.integers(1, 7),
)
def test_sums_to_one_after_any_context(
    train: list[ngram.Document], context: bytes, label: str | None, order: int
) -> None:
    fitted = ngram.fit(train, order)
    before = ngram.document_nats(fitted, [(label, context)])[0]
    after = ngram.document_nats(fitted, [(label, context + bytes([b])) for b in range(256)])
    assert np.exp(before - after).sum() == pytest.approx(1.0)


def test_the_label_helps() -> None:
    train = [("x", b"xylophone"), ("y", b"yellow")] * 5
    fitted = ngram.fit(train, 7)
    right, wrong = ngram.document_nats(fitted, [("x", b"xylophone"), ("y", b"xylophone")])
    assert right < wrong - 1


def test_order_must_fit_in_64_bits() -> None:
    with pytest.raises(ConfigError, match="expected 1 to 7, got 8"):
        ngram.fit(CORPUS, 8)


@settings(max_examples=40, deadline=None)
@given(
    train=st.lists(st.tuples(st.sampled_from([None, "a"]), st.binary(max_size=30)), max_size=8),
    text=st.binary(max_size=40),
    order=st.integers(1, 7),
)
def test_in_backoff_form_it_says_the_same(train: list[ngram.Document], text: bytes, order: int) -> None:
    fitted = ngram.fit([*train, (None, text[::2])], order)
    for given_text in (text, text[::2], text[1::2] + text):
        want = ngram.document_nats(fitted, [(None, given_text)])[0]
        assert ngram.text_nats(ngram.backed_off(fitted), given_text) == pytest.approx(want, rel=1e-9)
