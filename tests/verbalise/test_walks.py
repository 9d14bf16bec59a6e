"""Walks: along facts, none twice, told in their order."""

import random

from nightforge.knowledge import Triple, graph
from nightforge.verbalise import walks

FACTS, _ = graph(
    [
        Triple("Oslo", "capital", "Norway", "1"),
        Triple("Norway", "part", "Europe", "2"),
        Triple("Europe", "holds", "Norway", "3"),
        Triple("Rome", "hue", "ochre", "4"),
    ]
)
PHRASINGS = {"*": ["{subject} {relation} {object}."]}


def test_by_hand() -> None:
    said = list(walks.say(FACTS, PHRASINGS, walks.Config(walks=3, facts=5), random.Random(1)))
    assert [(s.text, s.facts) for s in said] == [
        ("Oslo capital Norway. Norway part Europe. Europe holds Norway.", [0, 1, 2]),
        ("Norway part Europe. Europe holds Norway.", [1, 2]),
        ("Europe holds Norway. Norway part Europe.", [2, 1]),
    ]  # Rome leads to a place that nothing is said of, and a walk of one fact is no walk


def test_bounds_and_missing_phrasings() -> None:
    said = list(walks.say(FACTS, PHRASINGS, walks.Config(walks=1, facts=2), random.Random(1)))
    assert max(len(s.facts) for s in said) == 2
    assert not list(walks.say(FACTS, {"hue": PHRASINGS["*"]}, walks.SAMPLE, random.Random(1)))
