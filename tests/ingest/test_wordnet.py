import io

import pytest

from nightforge.ingest.wordnet import Config, parts, read
from nightforge.records import Record, Reject

CONTENT = (
    b"  1 THE LICENCE | is indented  \r\n"
    b"00001740 20 n 01 oak 0 000 | a tall tree  \r\n"
    b'00001930 28 n 02 noon 0 midday 0 000 | the middle of the day; "at noon"; "before noon"  \r\n'
    b"00002137 03 n 01 thing 0 000 | not asked for  \r\n"
    b"not a synset\r\n"
)
CFG = Config(classes=["plant", "time"], parts=["definition", "example"])


def test_definitions_and_examples_of_the_chosen_classes() -> None:
    found = list(read(io.BytesIO(CONTENT), CFG))
    records = [r for r in found if isinstance(r, Record)]
    assert [(r.text, r.label, r.meta["kind"]) for r in records] == [
        ("a tall tree", "plant", "definition"),
        ("the middle of the day", "time", "definition"),
        ("at noon", "time", "example"),
        ("before noon", "time", "example"),
    ]
    assert len({r.meta["document"] for r in records}) == 2, "a synset is one document"
    assert [r.reason for r in found if isinstance(r, Reject)] == ["not_a_synset"]
    assert len(list(read(io.BytesIO(CONTENT), CFG.model_copy(update={"parts": ["example"]})))) == 3


@pytest.mark.parametrize(
    ("gloss", "definition", "examples"),
    [
        ("a tree  ", "a tree", []),
        ('fear; "no fear"; "great fear"', "fear", ["no fear", "great fear"]),
        ('one; two: "three"', "one; two", ["three"]),
        ('the words (e.g., "he said so")', 'the words (e.g., "he said so")', []),
        ('the call "of duty" at noon; "unclosed', 'the call "of duty" at noon', ["unclosed"]),
    ],
)
def test_parts_of_a_gloss(gloss: str, definition: str, examples: list[str]) -> None:
    assert parts(gloss) == (definition, examples)
