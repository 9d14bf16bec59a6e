import numpy as np
import pytest

from nightforge.clean.image_size import Config, judge
from nightforge.view import View
from tests.media_samples import encoded, png, record

CFG = Config(side_min_px=16, side_max_px=100, aspect_max=2.0)


@pytest.mark.parametrize(
    ("width", "height", "reasons"),
    [
        (16, 16, []),
        (100, 50, []),
        (15, 20, ["too_small"]),
        (101, 60, ["too_large"]),
        (33, 16, ["too_oblong"]),
        (120, 10, ["too_small", "too_large", "too_oblong"]),
    ],
)
def test_a_picture_at_a_bound_stays(width: int, height: int, reasons: list[str]) -> None:
    content = encoded(np.zeros((height, width, 3), np.uint8))
    found = list(judge(View(record(content, "image/png")), CFG))
    assert [why.reason for why in found] == reasons
    assert all(f"{width}×{height}" in why.evidence for why in found)  # a size, and no bytes of the picture


def test_what_cannot_be_decoded_goes_and_a_text_is_not_asked() -> None:
    truncated = png(1)[:-40]
    assert [w.reason for w in judge(View(record(truncated, "image/png")), CFG)] == ["not_a_picture"]
    assert list(judge(View(record(b"", "text/plain", text="words")), CFG)) == []
