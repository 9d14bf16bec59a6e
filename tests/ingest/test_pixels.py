import io

import numpy as np
import pytest
from PIL import Image

from nightforge.ingest.pixels import SAMPLE, Config, read
from nightforge.records import Record, Reject


def picture(item: Record | Reject) -> list[list[int]]:
    assert isinstance(item, Record) and item.content is not None
    return np.asarray(Image.open(io.BytesIO(item.content))).tolist()


def test_by_hand() -> None:
    (found,) = read(io.BytesIO(b"0,16,8,4,seven\n"), SAMPLE)
    assert picture(found) == [[0, 255], [128, 64]]
    assert isinstance(found, Record)
    assert (found.label, found.text, found.media_type, found.source) == ("seven", "", "image/png", "line 1")


def test_a_label_first_or_none() -> None:
    first = Config(width=1, height=2, brightest=255, label="first", delimiter=";")
    (found,) = read(io.BytesIO(b"3;255;0\n"), first)
    assert picture(found) == [[255], [0]] and isinstance(found, Record) and found.label == "3"
    (found,) = read(io.BytesIO(b"255;0\n"), first.model_copy(update={"label": None}))
    assert isinstance(found, Record) and found.label is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("label,a,b,c,d", "not_numbers"),
        ("1,2,3,4", "fields_unlike_pixels"),
        ("1,2,3,17,a", "beyond_brightest"),
        ("1,2,-3,4,a", "beyond_brightest"),
        ("1,2,nan,4,a", "beyond_brightest"),
    ],
)
def test_a_broken_line_costs_itself(line: str, reason: str) -> None:
    found = list(read(io.BytesIO(f"1,2,3,4,a\n{line}\n\n5,6,7,8,b\n".encode()), SAMPLE))
    assert [i.reason if isinstance(i, Reject) else i.label for i in found] == ["a", reason, "b"]


def test_scikit_learns_digits_come_out_as_they_went_in() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    rows = [",".join(map(str, [*map(int, row), label])) for row, label in zip(digits.data, digits.target, strict=True)]
    cfg = Config(width=8, height=8, brightest=16, label="last", delimiter=",")
    found = list(read(io.BytesIO("\n".join(rows[:100]).encode()), cfg))
    again = np.array([picture(item) for item in found]) / 255 * 16
    np.testing.assert_allclose(again, digits.images[:100], atol=0.04)
