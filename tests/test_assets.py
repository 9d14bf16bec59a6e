"""Assets: texts read in order, what is missing or broken is named with the way out."""

from pathlib import Path

import pytest

from nightforge import assets
from nightforge.errors import AssetMissing, DataError


def test_texts_in_the_order_of_the_files(tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.mkdir()
    (good / "b.txt").write_text("one\nstill one\r\n\r\n\n  two \n\n", newline="")
    (good / "a.jsonl").write_text('\ufeff{"text": "zero\u2028zero", "more": 1}\n\n{"text": " "}\n', encoding="utf-8")
    (good / "LICENCE").write_bytes(b"\xff not read")
    assert assets.texts(tmp_path, "good") == ["zero\u2028zero", "one\nstill one", "two"]


def test_what_is_missing_is_said_with_the_lines_to_add(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "none"):
        with pytest.raises(AssetMissing, match=rf"{name}: expected a model.*\n    - \{{name: {name}, address: "):
            assets.folder(tmp_path, name, "a model")


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("x.jsonl", b'{"text": "a"}\n{"txt": 1}', r"x\.jsonl:2: expected a JSON object"),
        ("x.jsonl", b'{"text": 1}', r"x\.jsonl:1: expected"),
        ("x.jsonl", b"[1]", r"x\.jsonl:1: expected"),
        ("x.jsonl", b"{", r"x\.jsonl:1: expected"),
        ("x.txt", b"caf\xe9", "expected UTF-8, got byte 0xe9 at 3"),
        ("x.txt", b"\n\n \n", "expected texts"),
        ("x.csv", b"a,b", "expected texts"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, file: str, content: bytes, complaint: str) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / file).write_bytes(content)
    with pytest.raises(DataError, match=complaint):
        assets.texts(tmp_path, "good")
