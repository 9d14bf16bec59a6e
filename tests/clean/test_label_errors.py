"""Label errors: planted flips are found with the recall and precision stated, and little else is touched."""

import random

from nightforge.clean import label_errors
from nightforge.clean.label_errors import SAMPLE, select, signature
from nightforge.records import Record, Reject
from nightforge.signatures import Held
from nightforge.view import View

OWN = {
    "plant": ["tree", "herb", "leaf", "root", "stem", "seed", "bark", "bud", "petal", "moss", "fern", "vine"],
    "food": ["soup", "bread", "cake", "sauce", "cream", "meat", "noon", "meal", "sweet", "salt", "dish", "bean"],
    "time": ["day", "hour", "month", "year", "noon", "week", "dawn", "season", "night", "age", "moment", "date"],
}
SHARED = ["a", "the", "of", "old", "small", "any", "with", "used", "in", "large", "kind", "part", "often", "several"]


def corpus(rows: int, flipped_share: float, seed: int = 0) -> tuple[list[Record], set[int]]:
    """Texts of ten words, four of their class's own, some labels exchanged; classes of 3 : 2 : 1."""
    rng = random.Random(seed)
    records, flipped = [], set()
    for i in range(rows):
        kind = rng.choices(list(OWN), [3, 2, 1])[0]
        words = rng.choices(OWN[kind], k=4) + rng.choices(SHARED, k=6)
        rng.shuffle(words)
        if rng.random() < flipped_share:
            flipped.add(i)
            kind = rng.choice([other for other in OWN if other != kind])
        records.append(Record(id=f"r{i}", text=" ".join(words), label=kind))
    return records, flipped


def found(records: list[Record], **changes: object) -> dict[int, Reject]:
    cfg = SAMPLE.model_copy(update=changes)
    return dict(select(Held((r.id, signature(View(r), cfg)) for r in records), cfg))


def test_planted_flips_are_found() -> None:
    records, flipped = corpus(2_500, 0.05)
    got = found(records)
    hits = len(flipped & set(got))
    assert hits / len(flipped) >= 0.85, f"recall {hits}/{len(flipped)}"
    assert hits / len(got) >= 0.95, f"precision {hits}/{len(got)}"
    at = min(flipped & set(got))
    assert got[at].reason == "suspected_label_error"
    assert got[at].evidence.startswith(f"labelled {records[at].label}, looks like ")


def test_where_no_label_is_wrong_next_to_none_is_suspected() -> None:
    records, _ = corpus(1_500, 0)
    assert len(found(records)) <= 0.003 * len(records)


def test_a_sample_to_learn_from_is_enough_and_less_doubt_drops_fewer() -> None:
    records, flipped = corpus(2_500, 0.05)
    sampled = set(found(records, fit_rows_max=500))
    assert len(flipped & sampled) / len(flipped) > 0.6
    strict, loose = (set(found(records, self_confidence_max=share)) for share in (0.02, 0.5))
    assert strict < loose


def test_rows_without_a_label_and_small_classes_are_not_judged() -> None:
    records, _ = corpus(300, 0)
    unjudged = [
        Record(id="none", text="tree herb leaf root", label=None),
        *(Record(id=f"rare{i}", text="tree herb leaf root", label="rare") for i in range(19)),
    ]
    assert not set(found([*unjudged, *records])) & set(range(len(unjudged)))
    assert found([r for r in records if r.label == "plant"]) == {}  # one class: nothing to look like


def test_a_class_of_two_rows_does_not_trip_the_folds() -> None:
    records, _ = corpus(200, 0)
    rare = [Record(id=f"rare{i}", text="quartz ore", label="rare") for i in range(2)]
    assert not set(found([*rare, *records], class_rows_min=2, folds=20)) - set(range(2))


def test_the_signature_holds_label_and_words() -> None:
    for label in (None, "", "é" * 300):
        record = Record(id="r", text="Tree herb", label=label)
        kept, words = label_errors._parts(signature(View(record), SAMPLE))
        assert kept == (None if label is None else label.encode())
        assert words.tolist() == label_errors.classifier.hashes(["tree", "herb"]).tolist()
    long = Record(id="r", text="tree " * 1_000, label="x")
    assert len(signature(View(long), SAMPLE)) == 2 + 1 + 4 * label_errors.WORDS_READ


def test_a_class_that_a_model_never_saw_is_not_judged_by_it() -> None:
    """Of a rare class next to no row is in a small sample: a model that does not know it says nothing of it."""
    records, _ = corpus(2_000, 0)
    rare = [Record(f"rare{i}", f"quark lepton boson gluon {i}", label="physics") for i in range(20)]
    for rows in (100, 150, 200):
        assert not [i for i in found([*records, *rare], fit_rows_max=rows) if i >= 2_000]


def test_rows_without_words_are_not_judged() -> None:
    assert found([Record(f"{i}", "!" * (i + 1), label="xy"[i % 2]) for i in range(60)]) == {}
    records, _ = corpus(1_500, 0)
    silent = [Record(f"s{i}", "!" * (i + 1), label="time") for i in range(40)]  # the rarest class: else it looks wrong
    assert not [i for i in found([*records, *silent], self_confidence_max=0.5) if i >= 1_500]


def test_where_a_model_sees_one_class_alone_it_judges_nothing() -> None:
    rows = [Record("a", "one two", label="x"), Record("b", "three", label="x")]
    rows += [Record(f"c{i}", f"four five {i}", label="y") for i in range(2)]
    for folds in range(2, 8):
        assert found(rows, class_rows_min=2, folds=folds) == {}
    assert found([*rows[:2], *(Record(f"d{i}", "six", label="y") for i in range(9_000))], class_rows_min=2) == {}
