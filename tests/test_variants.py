import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.metrics.distance import edit_distance

from nightforge import classifier
from nightforge.records import Record, content_id
from nightforge.variants import (
    FOLDS,
    Agreement,
    Labels,
    Quality,
    changed_share,
    fold,
    learn_labels,
    problem,
    word_distance,
)
from nightforge.words import folded

OPEN = Quality(changed_words_min=0, changed_words_max=9, language_confidence_min=None, label=None)
TREE = Record(id="p", text="a tall tree with showy flowers stands beside the river", label="plant")


def variant(text: str, parent: Record = TREE) -> Record:
    return replace(parent, id=content_id(text), text=text, meta={"parent": parent.id})


@given(*[st.lists(st.sampled_from("abc"), max_size=8)] * 2)
def test_the_distance_is_levenshteins(a: list[str], b: list[str]) -> None:
    assert word_distance(a, b) == edit_distance(a, b)


def test_the_share_is_of_the_words_changed() -> None:
    assert changed_share(TREE, TREE) == 0
    assert changed_share(TREE, variant(TREE.text.replace("tall", "high"))) == 1 / 10
    edits = [{"part": "text", "at": 2, "before": "tall tree", "after": "tree tall"}]
    assert changed_share(TREE, replace(TREE, meta={"edits": edits})) == 2 / 10, "along the edits, where they are told"


@pytest.mark.parametrize(
    ("text", "changes", "reason"),
    [
        (TREE.text, {"changed_words_min": 0.01}, "changed_too_little"),
        ("an oak", {"changed_words_max": 0.5}, "changed_too_much"),
        (TREE.text + " of jane.doe@example.org", {}, "made_up_private_data"),
        (TREE.text + " <|eos|>", {}, "made_up_marker"),
        ("ein hoher Baum mit schönen Blüten steht am Ufer", {"language_confidence_min": 0.8}, "language_lost"),
        (TREE.text.replace("tall", "high"), {"language_confidence_min": 0.8}, ""),
    ],
)
def test_each_reason(text: str, changes: dict[str, float], reason: str) -> None:
    assert problem(TREE, variant(text), OPEN.model_copy(update=changes), None) == reason


def test_what_the_parent_holds_is_not_made_up() -> None:
    parent = replace(TREE, text="ask jane.doe@example.org about the <|x|> tree")
    assert problem(parent, variant(parent.text.replace("tree", "arbor"), parent), OPEN, None) == ""


def labelled(rows: int = 90) -> list[Record]:
    rng = random.Random(0)
    words = {"plant": ["leaf", "tree", "root"], "food": ["soup", "bread", "meal"]}
    made = []
    for i in range(rows):
        label = ("plant", "food")[i % 2]
        text = f"the {rng.choice(words[label])} and the {rng.choice(words[label])} of w{rng.randrange(30)}"
        made.append(Record(id=f"{i}", text=text, label=label, meta={"document": f"d{i}"}))
    return made


def learnt(rows: list[Record]) -> tuple[Labels, float] | None:
    return learn_labels((fold(r), r.label or "", classifier.hashes(folded(r.text))) for r in rows)


def test_a_label_is_lost_when_the_classifier_is_sure_of_another(tmp_path: Path) -> None:
    rows = labelled()
    found = learnt(rows)
    assert found and found[1] > 0.95
    found[0].save(tmp_path / "labels.npz")
    labels = Labels.load(tmp_path / "labels.npz")
    cfg = OPEN.model_copy(update={"label": Agreement(confidence_min=0.6, rows_max=100)})
    parent = replace(rows[0], text="the leaf and the tree of w1", label="plant")
    assert labels.of(parent.text, parent)[0] == "plant"
    assert labels.of(parent.text, parent) == found[0].of(parent.text, parent)
    turned = variant("the soup and the bread of w1", parent)
    assert problem(parent, turned, cfg, labels) == "label_lost"
    assert problem(parent, variant("the leaf and the root of w1", parent), cfg, labels) == ""
    # a classifier that is wrong about the row itself has no say, nor one that is not sure
    wrong = replace(parent, label="food")
    assert problem(wrong, variant("the root and the leaf of w1", wrong), cfg, labels) == ""
    sure = OPEN.model_copy(update={"label": Agreement(confidence_min=1.0, rows_max=100)})
    assert problem(parent, turned, sure, labels) == ""


def test_a_row_is_judged_by_a_classifier_that_has_not_seen_it() -> None:
    """A mislabelled row is learnt by heart by the classifiers that saw it, and told by the one that did not."""
    rows = labelled()
    odd = replace(
        rows[0], id="odd", text="the soup and the zebra of the bread", label="plant", meta={"document": "odd"}
    )
    found = learnt([*rows, odd])
    assert found
    own = found[0].of(odd.text, odd)
    seen = [Labels(found[0].names, found[0].folds[n:] + found[0].folds[:n]).of(odd.text, odd) for n in range(1, FOLDS)]
    assert own[0] == "food" and all(own[1] > p if label == "food" else True for label, p in seen)


def test_one_label_cannot_be_lost() -> None:
    assert learnt([replace(r, label="plant") for r in labelled()]) is None
    assert learnt([]) is None


def test_the_bounds_must_be_in_order() -> None:
    with pytest.raises(ValueError, match="changed_words_min <= changed_words_max"):
        Quality(changed_words_min=0.5, changed_words_max=0.1, language_confidence_min=None, label=None)
