import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightforge.overlap import Hit, Items, Overlap

CFG = Overlap(run_words=4, item_words_min=3, share_min=0.0)


def runs(words: list[str], length: int) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


def brute(items: list[list[str]], words: list[str], cfg: Overlap) -> tuple[str, int, int] | None:
    """Every item against the text, by the runs themselves."""
    best: tuple[float, int, int, int] | None = None
    for at, item in enumerate(items):
        length = min(len(item), cfg.run_words)
        if length < cfg.item_words_min:
            continue
        mine = runs(item, length)
        shared = len(mine & runs(words, length))
        if shared and shared / len(mine) >= cfg.share_min:
            best = (
                max(best, (shared / len(mine), -at, shared, len(mine)))
                if best
                else (shared / len(mine), -at, shared, len(mine))
            )
    return (str(-best[1]), *best[2:]) if best else None


words = st.lists(st.sampled_from("abc"), max_size=12)


@settings(deadline=None)
@given(st.lists(words, max_size=6), words, st.sampled_from([0.0, 0.4, 1.0]))
def test_find_is_what_comparing_every_item_gives(items: list[list[str]], text: list[str], share_min: float) -> None:
    cfg = CFG.model_copy(update={"share_min": share_min})
    held = Items(((str(at), item) for at, item in enumerate(items)), cfg)
    hit = held.find(text)
    assert (hit and hit[:3]) == brute(items, text, cfg)
    assert held.passed_over == sum(len(item) < 3 for item in items)
    if hit:
        assert tuple(hit.passage.split()) in runs(text, len(hit.passage.split()))


def test_by_hand() -> None:
    held = Items([("x", ["a", "b", "c", "d", "e", "f"]), ("y", ["c", "d", "e", "f", "g"])], CFG)
    assert held.find(["z", "b", "c", "d", "e", "f", "z"]) == Hit("x", 2, 3, "b c d e"), "2 of 3 runs before 1 of 2"
    assert held.find(["z", "c", "d", "e", "f", "z"]) == Hit("y", 1, 2, "c d e f")
    assert held.find(["a", "b", "c", "e", "f", "g"]) is None and held.find([]) is None


def test_items_are_taken_in_portions_and_none_is_lost() -> None:
    rng = random.Random(1)
    texts = [[f"w{rng.randrange(50)}" for _ in range(rng.randrange(12))] for _ in range(100)]
    stream, names = iter([(str(at), text) for at, text in enumerate(texts)]), list[str]()
    while True:
        some = Items(stream, CFG, runs_max=40)
        assert len(some.runs) < 40 + 12
        names += some.names
        if some.exhausted:
            break
    assert names == [str(at) for at, text in enumerate(texts) if len(text) >= 3]


def test_an_item_shorter_than_the_shortest_is_an_error_of_the_values() -> None:
    with pytest.raises(ValueError, match="item_words_min 9 is over run_words 8"):
        Overlap(run_words=8, item_words_min=9, share_min=0)
