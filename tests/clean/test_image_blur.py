import numpy as np
import pytest
from PIL import Image, ImageFilter

from nightforge.clean.image_blur import Config, judge
from nightforge.view import View
from tests.media_samples import encoded, record, scene


def variance(pixels: np.ndarray) -> float:
    found = list(judge(View(record(encoded(pixels), "image/png")), Config(variance_min=1e9)))
    return float(found[0].evidence.split()[1])


def test_by_hand() -> None:
    dot = np.zeros((5, 5, 3), np.uint8)
    dot[2, 2] = 100  # the Laplacian: −400 there, 100 at its four neighbours; mean 0
    assert variance(dot) == pytest.approx((400**2 + 4 * 100**2) / 25, abs=0.1)


def test_blur_lowers_it() -> None:
    sharp = scene(3, 64)
    blurred = [np.asarray(Image.fromarray(sharp).filter(ImageFilter.GaussianBlur(r))) for r in (1, 2, 4)]
    found = [variance(sharp), *map(variance, blurred)]
    assert found == sorted(found, reverse=True) and found[0] > 10 * found[-1]


def test_a_picture_at_the_bound_stays_and_a_flat_one_goes() -> None:
    flat = View(record(encoded(np.full((8, 8, 3), 7, np.uint8)), "image/png"))
    assert [why.reason for why in judge(flat, Config(variance_min=0.1))] == ["blurred"]
    assert list(judge(flat, Config(variance_min=0))) == []
