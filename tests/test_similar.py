import random

import numpy as np
import pytest

from nightforge import similar
from nightforge.similar import KEPT, Near, clusters, jaccard, sketch

NEAR = Near(shingle_words=3, bands=32, rows=4, jaccard_min=0.7)


def text_of(rng: random.Random, size: int) -> list[str]:
    return [f"w{rng.randrange(5_000)}" for _ in range(size)]


def true_jaccard(a: str, b: str, n: int = 3) -> float:
    x, y = ({tuple(t.split()[i : i + n]) for i in range(max(1, len(t.split()) - n + 1))} for t in (a, b))
    return len(x & y) / len(x | y)


def changed(rng: random.Random, base: list[str], share: float) -> str:
    return " ".join(f"z{rng.randrange(10**6)}" if rng.random() < share else w for w in base)


def test_jaccard_by_hand() -> None:
    # shingles: abc bcd cde | abc bcd cdx: 2 of 4
    assert jaccard(sketch("a b c d e", NEAR), sketch("A b, c d x.", NEAR)) == 2 / 4
    assert jaccard(sketch("one", NEAR), sketch("One!", NEAR)) == 1
    assert jaccard(sketch("…", NEAR), sketch("!", NEAR)) == 0, "texts without words are compared as they stand"


@pytest.mark.parametrize("size", [12, 120, 1_500])
def test_jaccard_is_exact_up_to_kept_and_close_beyond(size: int) -> None:
    rng = random.Random(size)
    for share in (0.01, 0.05, 0.15):
        base = text_of(rng, size)
        a, b = " ".join(base), changed(rng, base, share)
        found, true = jaccard(sketch(a, NEAR), sketch(b, NEAR)), true_jaccard(a, b)
        assert found == true if size < KEPT else abs(found - true) < 0.1  # 3 standard errors


def test_minhash_estimates_as_theory_says() -> None:
    """A broken hash family passes unnoticed through banding: one that we tried had a mean error of 0.30."""
    rng = random.Random(1)
    errors, expected = [], []
    for _ in range(300):
        base = text_of(rng, 60)
        a, b = " ".join(base), changed(rng, base, rng.choice((0.01, 0.05, 0.1, 0.2)))
        true = true_jaccard(a, b)
        errors.append(abs(float((sketch(a, NEAR).minhash == sketch(b, NEAR).minhash).mean()) - true))
        expected.append(np.sqrt(true * (1 - true) / 128) * np.sqrt(2 / np.pi))
    assert np.mean(errors) < 1.5 * np.mean(expected)


def test_clusters_equal_brute_force() -> None:
    rng = random.Random(3)
    texts = []
    for _ in range(120):
        base = text_of(rng, rng.choice((4, 12, 40)))
        texts += [" ".join(base), *(changed(rng, base, 0.02) for _ in range(rng.randrange(3)))]
    rng.shuffle(texts)
    found = clusters((sketch(t, NEAR) for t in texts), NEAR)
    brute = similar.Clusters(len(texts))
    for j in range(len(texts)):
        for i in range(j):
            if true_jaccard(texts[i], texts[j]) >= NEAR.jaccard_min:
                brute.join(i, j)
    roots = [brute.root(i) for i in range(len(texts))]
    assert [found.root(i) for i in range(len(texts))] == roots
    assert len(set(roots)) < len(texts), "some were joined"


def test_clusters_are_transitive_and_rooted_in_the_first() -> None:
    words = [f"w{i}" for i in range(40)]
    chain = [" ".join(words[i : i + 30]) for i in (0, 4, 8)]  # neighbours J = 24/32, the ends 20/36
    assert true_jaccard(chain[0], chain[2]) < NEAR.jaccard_min <= true_jaccard(chain[0], chain[1])
    found = clusters([sketch(t, NEAR) for t in [chain[2], "something else altogether", chain[0], chain[1]]], NEAR)
    assert [found.root(i) for i in range(4)] == [0, 1, 0, 0]


def test_an_index_finds_what_brute_force_finds() -> None:
    rng = random.Random(4)
    bases = [text_of(rng, rng.choice((3, 12, 40))) for _ in range(150)]
    index = similar.Index((sketch(" ".join(b), NEAR) for b in bases), NEAR)
    found = 0
    for base in bases:
        asked = changed(rng, base, rng.choice((0, 0.03, 0.3)))
        near = [i for i, b in enumerate(bases) if true_jaccard(" ".join(b), asked) >= NEAR.jaccard_min]
        at = index.find(sketch(asked, NEAR))
        assert at in near if near else at is None
        found += at is not None
    assert 50 < found < 150


def test_nothing_gives_nothing() -> None:
    assert clusters([], NEAR).parent == []
    assert similar.Index([], NEAR).find(sketch("a tree", NEAR)) is None
