"""Triples from JSON Lines."""

from pathlib import Path

from nightforge.facts import jsonl
from nightforge.knowledge import Triple
from nightforge.records import Reject


def test_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "facts.jsonl"
    file.write_text(
        '{"subject": "Oslo", "relation": "founded in", "object": 1048}\n'
        "\n"
        '{"subject": "Oslo", "relation": "founded in"\n'
        '["Oslo", "is in", "Norway"]\n'
        '{"subject": "Oslo", "relation": "is in", "object": ["Norway"]}\n'
    )
    first, *rest = jsonl.read(file, jsonl.SAMPLE)
    assert first == Triple("Oslo", "founded in", "1048", "line 1")
    assert [item.reason for item in rest] == ["not_json", "not_an_object", "no_object"]


def test_half_a_character_is_no_name(tmp_path: Path) -> None:
    """A lone surrogate cannot be written as UTF-8."""
    file = tmp_path / "facts.jsonl"
    file.write_text('{"subject": "\\ud800", "relation": "is in", "object": "Norway"}\n')
    assert list(jsonl.read(file, jsonl.SAMPLE)) == [Reject("not_unicode", "line 1: subject")]
