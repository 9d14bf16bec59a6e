import numpy as np

from nightforge.clean.image_flat import Config, judge
from nightforge.view import View
from tests.media_samples import encoded, record


def test_by_hand() -> None:
    halves = np.zeros((4, 4, 3), np.uint8)
    halves[:2] = 51  # brightness 0 and 51: standard deviation 25.5, a tenth of white
    view = View(record(encoded(halves), "image/png"))
    assert list(judge(view, Config(contrast_min=0.099))) == []
    assert [(w.reason, w.evidence) for w in judge(view, Config(contrast_min=0.11))] == [
        ("flat", "contrast 0.100 < 0.11")
    ]
