"""Counts by hand, statistics against other implementations, and bounds that do not grow with the rows."""

import gc
import math
import random
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import mutual_info_score

from nightforge import representation
from nightforge.drift import js_bits
from nightforge.records import Record, content_id
from nightforge.representation import Census, Representation, census, information_bits, log_odds, ngrams, report

WORDS = ["stone", "river", "hill", "bird", "wing", "sand", "moss", "rain", "wind", "snow"]


def config(**changes: Any) -> Representation:
    plain = {
        "target": None,
        "length_edges_words": [3, 6],
        "groups": {"women": ["woman", "She"], "men": ["man", "he"]},
        "ngram_words_max": 2,
        "ngram_rows": 1000,
        "rows_min": 10,
        "label_share_min": 0.9,
        "false_alarms": 0.01,
        "shown": 10,
    }
    return Representation.model_validate(plain | changes)


def record(text: str, label: str | None, at: int = 0, **more: Any) -> Record:
    return Record(id=content_id(f"{text} {at}", label), text=text, label=label, source=f"in/a.csv#{at}", **more)


def counted(records: list[Record], cfg: Representation) -> Census:
    return census(lambda: iter(records), len(records), cfg)


def noise(rows: int, seed: int = 0, planted: str = "") -> list[Record]:
    """Random words of two labels, the first three times as frequent; `planted` stands in a tenth of the second's."""
    rng = random.Random(seed)
    made = []
    for at in range(rows):
        label = "rare" if at % 4 == 0 else "often"
        words = rng.choices(WORDS, k=5) + ([planted] if planted and label == "rare" and rng.random() < 0.4 else [])
        made.append(record(" ".join(words), label, at))
    return made


def test_rows_are_counted_by_what_they_are() -> None:
    records = [record("a b", "x", 1), record("a b c d", "x", 2, language="en"), record("a b c d e f g", None, 3)]
    told = report(counted(records[:2], config()), counted(records, config()), None, config())
    shares = {facet: {r["name"]: (r["before"], r["after"]) for r in rows} for facet, rows in told["facets"].items()}
    assert shares == {
        "label": {"x": (2, 2), "none": (0, 1)},
        "source": {"in/a.csv": (2, 3)},
        "language": {"none": (1, 2), "en": (1, 1)},
        "length": {"0–2 words": (1, 1), "3–5 words": (1, 1), "≥6 words": (0, 1)},
    }
    assert list(shares["length"]) == ["0–2 words", "3–5 words", "≥6 words"]
    assert told["facets"]["label"][0]["share_after"] == 2 / 3
    assert told["groups_too_rare"] == ["women", "men"] and told["target"] is None


def test_more_values_than_are_told_apart_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(representation, "NAMES_MAX", 2)
    found = counted([record("a", f"label{i % 4}", i) for i in range(8)], config())
    assert found.facets["label"] == {"label0": 2, "label1": 2, "(other)": 4} and found.rows == 8


def test_a_planted_shortcut_is_found_and_noise_is_not() -> None:
    clean, planted = counted(noise(800), config()), counted(noise(800, planted="zebra"), config())
    assert report(clean, clean, None, config())["shortcuts"] == []
    (found,) = report(clean, planted, None, config())["shortcuts"]
    assert found["ngram"] == "zebra" and found["label"] == "rare" and found["label_share"] == 1
    assert found["rows_before"] is None, "not there before"
    n, p = found["rows"], 0.25
    assert found["z"] == pytest.approx((1 - p) / math.sqrt(p * (1 - p) / n))  # Gardner et al., with the label's share
    assert found["accuracy"] == (n + 600) / 800, "names the rare label where the word stands, else the frequent one"
    told = report(planted, planted, None, config())
    assert told["shortcut_baseline_accuracy"] == 0.75 and told["shortcuts"][0]["rows_before"] == n


def test_chance_alone_brings_forth_no_shortcut_and_no_association() -> None:
    cfg = config(label_share_min=0.3, groups={word: [word] for word in WORDS})
    alarms = 0
    for seed in range(20):
        side = counted(noise(400, seed), cfg)
        told = report(side, side, None, cfg)
        alarms += bool(told["shortcuts"]) + bool(told["associations"])
    assert alarms <= 2


def test_shown_ngrams_are_redacted_and_none_holds_another() -> None:
    side = counted([record("ask 555-123-4567 now", "x", i) for i in range(20)] + noise(60), config())
    found = report(side, side, None, config())["shortcuts"]
    assert [s["ngram"] for s in found] == ["[PHONE]", "ask", "now"], "and none of two words, that hold these"


@given(st.dictionaries(st.sampled_from("abc"), st.tuples(st.integers(0, 30), st.integers(1, 30)), min_size=1))
def test_information_is_that_of_scikit_learn(rows: dict[str, tuple[int, int]]) -> None:
    there = [(x, 1) for x, (held, _) in rows.items() for _ in range(held)]
    there += [(x, 0) for x, (_, others) in rows.items() for _ in range(others)]
    labels, every = Counter({x: held for x, (held, _) in rows.items()}), Counter({x: sum(n) for x, n in rows.items()})
    theirs = mutual_info_score([x for x, _ in there], [p for _, p in there]) / math.log(2)
    assert information_bits(labels, every) == pytest.approx(theirs, abs=1e-9)


def test_log_odds_by_hand_and_shrunk_where_little_is_known() -> None:
    records = [record("she said", "x", i) for i in range(40)] + [record("it said", "x", i) for i in range(60)]
    records += [record("she said", "y", i) for i in range(20)] + [record("it said", "y", i) for i in range(280)]
    side = counted(records, config())
    prior = 100 * 60 / 400  # 100 rows in which every seventh names the group, as over all
    expected = math.log((40 + prior) / (60 + 100 - prior)) - math.log((20 + prior) / (280 + 100 - prior))
    odds, error = log_odds(side, "women", "x")
    assert odds == pytest.approx(expected) and error == pytest.approx(math.sqrt(1 / 55 + 1 / 35))
    assert odds == pytest.approx(-log_odds(side, "women", "y")[0])
    raw = math.log(40 / 60) - math.log(20 / 280)
    assert 0 < odds < raw
    told = report(side, side, None, config())
    assert [(a["group"], a["label"]) for a in told["associations"]] == [("women", "x"), ("women", "y")]
    assert told["groups_too_rare"] == ["men"]
    first = told["associations"][0]
    assert first["low"] < first["log_odds"] == first["log_odds_before"] < first["high"]


def test_a_word_of_a_group_is_a_whole_word_in_any_case() -> None:
    found = counted(
        [record("SHE ran", "x", 1), record("shed a tear", "x", 2), record("a man and he", "x", 3)], config()
    )
    assert found.groups == {("women", "x"): 1, ("men", "x"): 1}


def test_a_word_may_name_two_groups_and_a_phrase_is_refused() -> None:
    found = counted([record("an actor", "x")], config(groups={"a": ["actor"], "b": ["Actor", "actress"]}))
    assert found.groups == {("a", "x"): 1, ("b", "x"): 1}
    with pytest.raises(ValidationError, match=r"expected single words, got .*'old man'"):
        config(groups={"the old": ["old man"]})
    with pytest.raises(ValidationError, match="expected numbers that rise"):
        config(length_edges_words=[6, 3])


def test_distance_from_the_target() -> None:
    cfg = config(target="domain")
    near, far = [record("a cat sat", "x", i) for i in range(9)], [record("rates fell", "y", i) for i in range(9)]
    before, after = counted(far + near[:1], cfg), counted(far[:1] + near, cfg)
    told = report(before, after, ["a cat sat", "a cat sat"], cfg)["target"]
    assert told["halves_js_bits"] == 0 and told["after_js_bits"] < told["before_js_bits"] < 1
    assert told["by_label"]["x"] == {"before_js_bits": 0, "after_js_bits": 0}
    assert told["by_label"]["y"] == {"before_js_bits": pytest.approx(1), "after_js_bits": pytest.approx(1)}
    # 27 of 29 words are the target's three, 2 others: as scipy has it
    assert told["after_js_bits"] == pytest.approx(jensenshannon([9, 9, 9, 1, 1], [1, 1, 1, 0, 0], base=2) ** 2)


@given(st.lists(st.integers(1, 50), min_size=2, max_size=9), st.integers(0, 9))
def test_divergence_is_scipys(counts: list[int], seed: int) -> None:
    other = np.random.default_rng(seed).integers(0, 9, len(counts)) + np.eye(len(counts), dtype=int)[0]
    assert js_bits(np.array(counts), other) == pytest.approx(jensenshannon(counts, other, base=2) ** 2, abs=1e-9)


def test_ngrams_are_each_once_in_order() -> None:
    assert ngrams(["a", "b", "a", "b"], 2) == ["a", "b", "a b", "b a"]
    assert ngrams([], 3) == [] and ngrams(["a"], 3) == ["a"]


def test_no_frequent_ngram_is_missed_though_all_fall_into_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    records = noise(200)
    whole = counted(records, config()).ngrams
    monkeypatch.setattr(representation, "TABLE", 1)
    assert counted(records, config()).ngrams == whole
    brute = Counter(g for r in records for g in ngrams(r.text.split(), 2))
    assert {g: n.total() for g, n in whole.items()} == {g: n for g, n in brute.items() if n >= 10}


def test_a_sample_is_fair_and_the_same_twice() -> None:
    records = noise(20_000)
    found = counted(records, config())
    assert 850 < found.sampled.total() < 1150 and found.sampled == counted(records, config()).sampled
    assert found.sampled["rare"] / found.sampled.total() == pytest.approx(0.25, abs=0.05)
    assert found.rows == 20_000, "all rows are counted, only n-grams in a sample"


def test_memory_does_not_grow_with_the_rows() -> None:
    def stream(rows: int) -> Iterator[Record]:
        for at in range(rows):
            yield record(f"word{at} other{at} more{at}", f"label{at % 3}", at)

    peaks = []
    for rows in (2_000, 12_000):
        gc.collect()  # what other tests left would otherwise be let go at any moment
        tracemalloc.start()
        census(partial(stream, rows), rows, config())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 8 * 10_000


def test_nothing_to_tell() -> None:
    cfg = config(target="domain")
    told = report(counted([], cfg), counted([], cfg), ["..."], cfg)
    assert told["shortcuts"] == told["associations"] == [] and told["target"]["after_js_bits"] is None
    emoji = counted([record("🎉", "x")], cfg)
    assert report(emoji, emoji, ["a"], cfg)["facets"]["length"][0]["name"] == "0–2 words"
