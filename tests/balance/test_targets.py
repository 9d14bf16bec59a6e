import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightforge.balance._targets import Copy, Temperature, Thin, coded, lowered, poured, raised, weighed
from nightforge.errors import ConfigError

SIZES = {"a": 2, "b": 5, "c": 20}
counted = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 60), min_size=1)


def copy(share: float, copies_max: int = 100, weights: object = "equal") -> Copy:
    return Copy.model_validate({"weights": weights, "synthetic_share_max": share, "copies_max": copies_max})


def thin(weights: object = "equal", ratio: float | None = None, rows: int | None = None) -> Thin:
    return Thin.model_validate({"weights": weights, "median_ratio_max": ratio, "rows_max": rows})


def test_raised_by_hand() -> None:
    # 27 rows, 11 copies: 9 raise 2 and 5 to 8, one more each for both
    assert raised(SIZES, copy(0.3)) == {"a": 7, "b": 4}
    assert raised(SIZES, copy(0.3, copies_max=1)) == {"a": 2, "b": 5}, "each row once at most"
    assert raised({"a": 2, "b": 5, "c": 6}, copy(0.9)) == {"a": 4, "b": 1}, "no class rises above the largest"
    assert raised({"a": 10, "b": 40}, copy(0.9, weights={"a": 2, "b": 1})) == {"a": 70}, "shares of two to one"
    assert raised({}, copy(0.3)) == raised(SIZES, copy(0)) == {}


def test_by_temperature_shares_are_those_of_multilingual_sampling() -> None:
    sizes = {"en": 1000, "sw": 10, "fr": 100}
    copies = raised(sizes, copy(0.9, weights={"temperature": 2}))
    after = {x: sizes[x] + copies.get(x, 0) for x in sizes}
    assert after["en"] == 1000, "the largest is never copied"
    roots = {x: sizes[x] ** 0.5 for x in sizes}
    for x in sizes:
        assert after[x] / after["en"] == pytest.approx(roots[x] / roots["en"], abs=0.001)
    assert raised(sizes, copy(0.9, weights={"temperature": 1})) == {}, "at 1 all levels are equal"


def test_lowered_by_hand() -> None:
    assert lowered(SIZES, thin(ratio=1.5)) == {"c": 7}, "1.5 × the median of 5"
    assert lowered(SIZES, thin(rows=4)) == {"b": 4, "c": 4}
    assert lowered(SIZES, thin(ratio=1, weights={"a": 1, "b": 1, "c": 4})) == {}, "levels 2, 5, 5"
    assert lowered(SIZES, thin(ratio=1, weights={"a": 1, "b": 1, "c": 2})) == {"c": 10}
    assert lowered(SIZES, thin(ratio=1, weights={"temperature": 2})) == {"c": 10}, "√20 × the middle level √5"
    assert lowered(SIZES, thin(ratio=1, weights={"a": 1, "b": 9, "c": 1})) == {"c": 2}
    assert lowered({}, thin(ratio=1)) == lowered(SIZES, thin()) == {}


def test_a_class_without_a_weight_is_said() -> None:
    with pytest.raises(ConfigError, match=r"got none for b, c\. The train split has: a, b, c"):
        weighed(SIZES, {"a": 1.0, "z": 2.0})


def test_a_class_may_be_called_anything_but_temperature() -> None:
    assert copy(0, weights={"temperature": 2}).weights == Temperature(temperature=2)
    assert copy(0, weights={"heat": 2}).weights == {"heat": 2.0}


@given(counted, st.floats(0, 0.8), st.integers(1, 5))
def test_raised_is_fair_and_uses_all_it_may(sizes: dict[str, int], share: float, copies_max: int) -> None:
    copies = dict.fromkeys(sizes, 0) | raised(sizes, copy(share, copies_max))
    after, allowed = {x: sizes[x] + n for x, n in copies.items()}, int(share / (1 - share) * sum(sizes.values()))
    assert sum(copies.values()) <= allowed
    assert all(n <= copies_max * sizes[x] for x, n in copies.items())
    assert all(n == 0 for x, n in copies.items() if sizes[x] == max(sizes.values()))
    free = [x for x in sizes if after[x] < min(max(sizes.values()), sizes[x] * (1 + copies_max))]
    got = [after[x] for x in sizes if copies[x]]
    assert not free or sum(copies.values()) == allowed, "what is left could have been used"
    assert not free or not got or max(got) - min(after[x] for x in free) <= 1, "a smaller class was passed over"


@given(counted, st.dictionaries(st.sampled_from("abcdef"), st.floats(0.1, 9), min_size=6), st.floats(0, 0.8))
def test_by_weights_no_class_passes_the_highest_level(
    sizes: dict[str, int], weights: dict[str, float], s: float
) -> None:
    copies = raised(sizes, copy(s, weights=weights))
    top = max(sizes[x] / weights[x] for x in sizes)
    assert all((sizes[x] + n) / weights[x] <= top * (1 + 1e-3) for x, n in copies.items())
    kept = lowered(sizes, thin(ratio=1, weights=weights))
    assert all(1 <= n < sizes[x] for x, n in kept.items())


@given(
    st.integers(0, 60),
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0.0, 0.5, 1.0, 3.0]), st.integers(0, 9)), max_size=8),
)
def test_poured_is_what_one_unit_after_the_other_gives(amount: int, vessels: list[tuple[int, float, int]]) -> None:
    held = np.array([v[0] for v in vessels], int)
    weights, room = np.array([v[1] for v in vessels], float), np.array([v[2] for v in vessels], int)
    if not (weights > 0).all():  # what has no weight starts when the rest is full
        held = np.zeros_like(held)
    added = [0] * len(vessels)
    for _ in range(amount):
        open_ = [i for i in range(len(vessels)) if added[i] < room[i]]
        if not open_:
            break

        def level(i: int) -> tuple[float, int]:
            return ((held[i] + added[i] + 1) / weights[i], 0) if weights[i] else (float("inf"), added[i])

        added[min(open_, key=level)] += 1
    assert poured(amount, held, weights, room).tolist() == added


def test_labels_become_their_places_by_name() -> None:
    names, codes = coded(["b", "a", "b"])
    assert names == ["a", "b"] and codes.tolist() == [1, 0, 1]
    assert coded([])[1].tolist() == []
