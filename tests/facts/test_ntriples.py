"""N-Triples: the examples of the recommendation, and names."""

from pathlib import Path

from nightforge.facts import ntriples
from nightforge.knowledge import Triple
from nightforge.records import Reject

TEXT = r"""# a comment
<http://example.org/New_York> <http://example.org/isIn> <http://example.org/USA> .
_:alice <http://xmlns.com/foaf/0.1/knows> _:bob . # bob knows nobody
<http://e.org/x#Krak%C3%B3w> <http://e.org/saidAs> "Cracow \"old\" \u00e9\U0001F600"@en .
<http://e.org/x#Krak%C3%B3w> <http://e.org/saidAs> "Krakau"@de .
<http://e.org/x#Krak%C3%B3w> <http://e.org/founded> "1257"^^<http://www.w3.org/2001/XMLSchema#integer> .
<http://e.org/Q1> <http://www.w3.org/2000/01/rdf-schema#label> "Rome"@en-GB .
<http://e.org/Q1> <http://e.org/P36> <http://e.org/Q2> .
<http://e.org/P36> <http://www.w3.org/2000/01/rdf-schema#label> "is the capital of" .
<http://e.org/Q1> <http://e.org/P36> .
"""


def test_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "facts.nt"
    file.write_text(TEXT, encoding="utf-8")
    *found, last = ntriples.read(file, ntriples.SAMPLE)
    assert found == [
        Triple("New York", "is in", "USA", "line 2"),
        Triple("alice", "knows", "bob", "line 3"),
        Triple("Kraków", "said as", 'Cracow "old" é😀', "line 4"),
        Reject("other_language", "line 5: de"),
        Triple("Kraków", "founded", "1257", "line 6"),
        Triple("Rome", "is the capital of", "Q2", "line 8"),
    ]
    assert last == Reject("not_a_statement", "line 10: <http://e.org/Q1> <http://e.org/P36> .")


def test_all_languages_and_no_labels(tmp_path: Path) -> None:
    file = tmp_path / "facts.nt"
    file.write_text(TEXT, encoding="utf-8")
    found = [t for t in ntriples.read(file, ntriples.Config(label=None, language=None)) if isinstance(t, Triple)]
    assert Triple("Kraków", "said as", "Krakau", "line 5") in found
    assert Triple("Q1", "label", "Rome", "line 7") in found
    assert len(found) == 8


def test_an_escape_that_is_no_character_costs_its_line(tmp_path: Path) -> None:
    file = tmp_path / "facts.nt"
    file.write_text('<http://e/a> <http://e/r> "x\\U00110000" .\n<http://e/a> <http://e/r> "x\\uD800" .\n')
    reasons = [item.reason for item in ntriples.read(file, ntriples.SAMPLE) if isinstance(item, Reject)]
    assert reasons == ["not_a_statement", "not_unicode"]
