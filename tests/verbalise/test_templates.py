"""Facts as sentences."""

import random

from nightforge.knowledge import Triple, graph
from nightforge.verbalise import templates

FACTS, _ = graph([Triple("Oslo", "capital", "Norway", "1"), Triple("Oslo", "hue", "{subject}", "2")])


def test_by_hand() -> None:
    phrasings = {"capital": ["{subject} is the capital of {object}.", "{object}'s capital is {subject}."]}
    said = list(templates.say(FACTS, phrasings, templates.SAMPLE, random.Random(1)))
    assert {s.text for s in said} == {"Oslo is the capital of Norway.", "Norway's capital is Oslo."}
    assert [s.facts for s in said] == [[0], [0]]
    other = list(
        templates.say(FACTS, phrasings | {"*": ["{subject} {relation} {object}"]}, templates.SAMPLE, random.Random(1))
    )
    assert other[2].text == "Oslo hue {subject}"  # a name is a name, whatever it looks like


def test_no_more_phrasings_than_asked_and_all_get_their_turn() -> None:
    many, _ = graph(Triple(f"c{i}", "capital", f"d{i}", "") for i in range(60))
    phrasings = {"capital": [f"{n}: {{subject}} {{object}}" for n in range(4)]}
    said = list(templates.say(many, phrasings, templates.Config(phrasings_max=2), random.Random(1)))
    assert len(said) == 120
    assert {s.text[0] for s in said} == {"0", "1", "2", "3"}
    assert len({s.text for s in said}) == 120
