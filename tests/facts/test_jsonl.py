"""Triples from JSON Lines."""

from pathlib import Path

from nightforge.facts import jsonl
from nightforge.knowledge import Triple


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
