"""Facts: the graph, what is held out, and what is asked."""

from hypothesis import given
from hypothesis import strategies as st

from nightforge.knowledge import Graph, Triple, graph, held_out, questions, tell

CAPITALS = [Triple(f"city{i}", "capital", f"land{i}", f"line {i}") for i in range(400)]
PHRASINGS = {"capital": "{subject}: {object}!"}


def test_the_graph_keeps_each_fact_once_with_its_first_place() -> None:
    facts, repeated = graph([*CAPITALS[:3], CAPITALS[1]._replace(place="later"), Triple("land0", "in", "city1", "x")])
    assert repeated == 1
    assert [facts.triple(i) for i in range(4)] == [*CAPITALS[:3], Triple("land0", "in", "city1", "x")]
    assert len(facts.names) == 6


def test_no_facts() -> None:
    facts, _ = graph([])
    assert facts.edges.shape == (0, 3)
    held = held_out(facts, PHRASINGS, 0.5, 1)
    assert questions(facts, ~held, held, PHRASINGS, 5, 3, None, 1) == []


def test_what_is_held_out_stays_held_out_when_facts_come_first() -> None:
    few, _ = graph(CAPITALS[200:])
    all_, _ = graph([*CAPITALS[:200], Triple("x", "other", "y", ""), *CAPITALS[200:]])
    held = held_out(few, PHRASINGS, 0.2, 7)
    again = held_out(all_, PHRASINGS, 0.2, 7)
    assert {few.triple(i) for i in held.nonzero()[0]} == {all_.triple(i) for i in again.nonzero()[0] if i > 200}
    assert 20 <= held.sum() <= 60  # 40 expected, standard deviation 5.7
    assert not again[200]  # a relation that cannot be asked for is never held out
    assert (held != held_out(few, PHRASINGS, 0.2, 8)).any()


def test_whatever_joins_the_same_two_names_is_held_out_together() -> None:
    """An inverse, or another relation of the two, would give the answer away."""
    inverse = [Triple(t.object, "has capital", t.subject, "") for t in CAPITALS]
    facts, _ = graph([*CAPITALS, *inverse, *(t._replace(relation="lies in") for t in CAPITALS), CAPITALS[0]])
    held = held_out(facts, PHRASINGS, 0.2, 7).reshape(3, 400)
    assert 40 <= held[0].sum() <= 120 and (held == held[0]).all()
    alone, _ = graph(CAPITALS)
    assert (held_out(alone, PHRASINGS, 0.2, 7) == held[0]).all()


def test_questions_name_the_truth_first_and_nothing_else_that_is_true() -> None:
    twice = [Triple("city0", "capital", "land1", "again")]
    facts, _ = graph([*CAPITALS[:30], *twice, Triple("city0", "hue", "red", "")])
    held = held_out(facts, PHRASINGS, 0.3, 3)
    found = questions(facts, ~held, held, PHRASINGS, 100, 9, "geo", 3)
    assert len(found) == 31 and {q.relation for q in found} == {"capital"}  # of the hue there is one object alone
    assert sum(not q.known for q in found) == held.sum() > 0
    for question in found:
        subject = question.texts[0].partition(":")[0]
        true = {f"{t.subject}: {t.object}!" for t in [*CAPITALS[:30], *twice] if t.subject == subject}
        assert question.texts[0] in true and not true & set(question.texts[1:])
        assert len(question.texts) == len(set(question.texts)) == 10
        assert question.label == "geo"
    few = questions(facts, ~held, held, PHRASINGS, 4, 9, "geo", 3)
    assert sum(q.known for q in few) == 4 and sum(not q.known for q in few) == 4
    untold = questions(facts, held & False, held, PHRASINGS, 100, 9, "geo", 3)
    assert untold == [q for q in found if not q.known]  # what was neither told nor held out is not asked


@given(st.text(), st.text())
def test_a_name_is_told_as_it_is(subject: str, object_: str) -> None:
    assert tell("{subject}|{object}", Triple(subject, "r", object_, "")) == f"{subject}|{object_}"


def test_kept_facts_keep_their_entities() -> None:
    facts, _ = graph(CAPITALS[:4])
    part = facts.keep(facts.edges[:, 0] > 0)
    assert isinstance(part, Graph)
    assert [part.triple(i) for i in range(3)] == CAPITALS[1:4]
